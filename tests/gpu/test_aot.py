"""Compiling for architectures that are not here: images, their cache, and their facts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

from graphc.codegen_gpu import abi, facts, image
from graphc.codegen_gpu import compile as compile_
from graphc.codegen_gpu.library import GpuLibrary, key
from graphc.codegen_gpu.pool import Pool, Worker
from graphc.errors import BackendError
from graphc.ir.cuda_abi import GridDim, Image, Source
from graphc.runtime.disk_cache import DiskCache
from tests.gpu.sources import GEMM, POINTWISE, ROW_SUM, SOURCES, SPILLING, Arch

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

ARCHES = ("sm_80", "sm_90a")
TENSOR_CORE = {"sm_80": "HMMA", "sm_90a": "HGMMA"}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


@pytest.fixture(scope="module")
def images(pool: Pool) -> dict[tuple[str, str], Image]:
    return {
        (made.source.name, arch): made
        for arch in ARCHES
        for made in GpuLibrary(Arch(arch), pool=pool).images(SOURCES)
    }


@pytest.fixture
def compiled(images: dict[tuple[str, str], Image]) -> Image:
    return images["gemm", "sm_90a"]


# ---- what comes out ----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_an_image_is_what_its_source_asks_for(images: dict, source, arch: str) -> None:
    made = images[source.name, arch]
    assert made.source == source and made.arch == arch and made.entry == source.name
    assert made.cubin[:4] == b"\x7fELF"
    assert f".target {arch}" in made.ptx
    assert facts.entry_parameters(made) == abi.parameter_types(source)
    assert not facts.spills(made)


@pytest.mark.parametrize("arch", ARCHES)
def test_instructions_are_the_fast_ones(images: dict, arch: str) -> None:
    pointwise = facts.instructions(facts.sass(images["scale", arch]))
    assert any(name.startswith("LDG.") and name.endswith(".128") for name in pointwise)
    assert any(name.startswith("STG.") and name.endswith(".128") for name in pointwise)
    gemm = facts.instructions(facts.sass(images["gemm", arch]))
    assert any(name.startswith(TENSOR_CORE[arch]) for name in gemm)
    assert any(name.startswith("LDGSTS") and name.endswith(".128") for name in gemm)


def test_alignment_is_what_makes_accesses_wide(pool: Pool) -> None:
    """The same text, whose pointers and size may be anything: no vector may be loaded."""
    loose = replace(POINTWISE, params=tuple(replace(p, align=1) for p in POINTWISE.params))
    (made,) = GpuLibrary(Arch("sm_90a"), pool=pool).images([loose])
    found = facts.instructions(facts.sass(made))
    assert not any(name.endswith(".128") for name in found)


def test_spilled_registers_are_seen(pool: Pool) -> None:
    (made,) = GpuLibrary(Arch("sm_80"), pool=pool).images([SPILLING])
    assert facts.resources(made).registers == 255 and facts.spills(made)


def test_what_ptxas_spills_is_asked_for_with_more_registers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It spills of itself, so that one program more runs beside."""
    asked: list[int] = []

    def made(source: Source, same: Source, arch: str, folder: Path, registers: int = 0) -> Image:
        asked.append(registers)
        return Image(source, arch, ptx=str(registers))

    monkeypatch.setattr(compile_, "_made", made)
    monkeypatch.setattr(facts, "resources", lambda _: facts.Resources(80, 8, 0, 0))
    for least, then in ((0, [0]), (100, [0, 120]), (200, [0, 120, 255]), (256, [0, 120, 255])):
        asked.clear()
        monkeypatch.setattr(facts, "spills", lambda image, n=least: int(image.ptx) < n)
        got = compile_.compile_source(POINTWISE, "sm_90a", tmp_path)
        assert asked == then
        assert int(got.ptx) == (0 if least > 255 else then[-1])
    assert compile_.limits(255, 8) == [] and compile_.limits(100, 16) == [128]


def test_a_wrong_parameter_list_is_seen(compiled: Image) -> None:
    fewer = replace(GEMM, params=GEMM.params[:-1])
    assert facts.entry_parameters(compiled) != abi.parameter_types(fewer)


def test_this_process_never_imports_triton(tmp_path: Path) -> None:
    code = (
        "import sys; from graphc.codegen_gpu.library import GpuLibrary;"
        "from tests.gpu.sources import POINTWISE, Arch;"
        "(made,) = GpuLibrary(Arch('sm_80')).images([POINTWISE]); assert made.cubin;"
        "sys.exit(any(name in sys.modules for name in ('triton', 'torch')))"
    )
    root = Path(__file__).parent.parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# ---- memory and disk ---------------------------------------------------------------------------


def test_an_image_is_compiled_once_and_found_on_disk(tmp_path: Path, pool: Pool) -> None:
    cache = DiskCache(tmp_path / "cache")
    first = GpuLibrary(Arch("sm_80"), cache, pool)
    made = first.images([POINTWISE, POINTWISE, ROW_SUM])
    assert (first.compiled, first.hits) == (2, 0) and made[0] == made[1]
    first.images([ROW_SUM])
    assert (first.compiled, first.hits) == (2, 0)
    second = GpuLibrary(Arch("sm_80"), cache, pool)
    assert second.images([POINTWISE, ROW_SUM]) == [made[0], made[2]]
    assert (second.compiled, second.hits) == (0, 2)


def test_a_line_tells_how_many_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two seconds, and where somebody looks."""
    told: list[Any] = []

    class Line:
        def __init__(self, **options: Any) -> None:
            told.append(options)

        def __enter__(self) -> Line:
            return self

        def __exit__(self, *_: object) -> None:
            told.append("end")

        def update(self) -> None:
            told.append("one")

    class Instant:
        def compile(self, sources: Any, arch: str, done: Callable[[], object]) -> Any:
            for k, source in enumerate(sources):
                done()
                yield k, Image(source, arch, cubin=b"x")

    monkeypatch.setattr("tqdm.tqdm", Line)
    library = GpuLibrary(Arch("sm_80"), pool=cast(Pool, Instant()))
    library.images([POINTWISE, ROW_SUM])
    library.images([POINTWISE])  # is there
    (options, *rest) = told
    assert rest == ["one", "one", "end"] and options["total"] == 2
    assert options["delay"] == 2.0 and options["disable"] is None


def test_a_source_that_differs_in_its_grid_shares_the_code(tmp_path: Path, pool: Pool) -> None:
    library = GpuLibrary(Arch("sm_80"), DiskCache(tmp_path / "cache"), pool)
    other = replace(POINTWISE, grid=(GridDim((7,), 1024),))
    one, two = library.images([POINTWISE, other])
    assert library.compiled == 1 and one.cubin == two.cubin
    assert (one.source, two.source) == (POINTWISE, other)


@pytest.mark.parametrize("damage", ["cut", "flipped", "another"])
def test_damage_is_compiled_anew(tmp_path: Path, pool: Pool, damage: str) -> None:
    cache = DiskCache(tmp_path / "cache")
    (good,) = GpuLibrary(Arch("sm_80"), cache, pool).images([POINTWISE])
    data = image.encode(good)
    data = {
        "cut": data[:-1],
        "flipped": bytes([*data[:40], data[40] ^ 255, *data[41:]]),
        "another": image.encode(replace(good, source=ROW_SUM)),
    }[damage]
    cache.put(key(POINTWISE, "sm_80"), data)
    library = GpuLibrary(Arch("sm_80"), cache, pool)
    assert library.images([POINTWISE]) == [good]
    assert (library.compiled, library.hits) == (1, 0)
    again = GpuLibrary(Arch("sm_80"), cache, pool)
    assert again.images([POINTWISE]) == [good] and again.hits == 1


@pytest.mark.parametrize(
    "change",
    [
        {"text": POINTWISE.text + "\n"},
        {"constants": (("BLOCK", 512),)},
        {"num_warps": 8},
        {"num_stages": 3},
        {"params": tuple(replace(p, align=1) for p in POINTWISE.params)},
        {"params": (replace(POINTWISE.params[0], dtype="f16"), *POINTWISE.params[1:])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_code_changes_the_key(change: dict) -> None:
    assert key(replace(POINTWISE, **change), "sm_80") != key(POINTWISE, "sm_80")


def test_architecture_and_version_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(POINTWISE, "sm_80")
    assert key(POINTWISE, "sm_90a") != before
    monkeypatch.setattr(abi, "installed_version", lambda: "0.0")
    assert key(POINTWISE, "sm_80") != before


# ---- as bytes ----------------------------------------------------------------------------------


def test_an_image_reads_back(compiled: Image) -> None:
    assert image.decode(image.encode(compiled)) == compiled
    assert image.decode(image.encode(Image(ROW_SUM))) == Image(ROW_SUM)


def test_every_cut_of_an_image_is_refused(compiled: Image) -> None:
    data = image.encode(replace(compiled, cubin=b"ELF", ptx=""))
    for length in range(len(data)):
        with pytest.raises(ValueError):
            image.decode(data[:length])


@pytest.mark.parametrize(
    "old, new",
    [
        (b'"num_warps":8', b'"num_warps":-'),
        (b'"num_warps":8', b'"num_warps":""'[:14]),
        (b'"pointer"', b'"painter"'),
        (b'"name":"gemm"', b'"name":"../x"'),
        (b'"shared_bytes"', b'"shored_bytes"'),
        (b"graphc.image", b"graphc.imago"),
    ],
)
def test_wrong_fields_of_an_image_are_refused(compiled: Image, old: bytes, new: bytes) -> None:
    data = image.encode(compiled)
    assert old in data
    with pytest.raises(ValueError):
        image.decode(data.replace(old, new))


# ---- what fails --------------------------------------------------------------------------------


def test_a_kernel_that_does_not_compile_is_named(pool: Pool, tmp_path: Path) -> None:
    """The others are kept, and the next kernel compiles as ever."""
    bad = replace(POINTWISE, name="bad", text=POINTWISE.text.replace("def scale", "def bad"))
    bad = replace(bad, text=bad.text.replace("tl.load", "tl.lode"))
    library = GpuLibrary(Arch("sm_80"), DiskCache(tmp_path / "cache"), pool)
    with pytest.raises(BackendError, match=r"kernel bad does not compile for sm_80: .*lode"):
        library.images([bad, POINTWISE])
    assert library.compiled == 1 and library.images([POINTWISE])


def test_a_worker_that_died_is_replaced(pool: Pool) -> None:
    library = GpuLibrary(Arch("sm_80"), pool=pool)
    library.images([POINTWISE])
    for worker in pool._idle:
        worker.process.kill()
    assert library.images([ROW_SUM])[0].cubin


def test_a_kernel_that_kills_its_worker_is_named(pool: Pool) -> None:
    deadly = replace(POINTWISE, text="import os\nos._exit(3)\n" + POINTWISE.text)
    with pytest.raises(BackendError, match="kernel scale does not compile"):
        GpuLibrary(Arch("sm_80"), pool=pool).images([deadly])


def test_variables_of_triton_do_not_reach_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("TRITON_PTXAS_PATH", "/nowhere")
    fresh = Pool(1)
    try:
        assert GpuLibrary(Arch("sm_80"), pool=fresh).images([POINTWISE])[0].cubin
    finally:
        fresh.close()


def test_a_worker_ends_with_its_owner() -> None:
    worker = Worker()
    worker.close()
    assert worker.process.returncode == 0


@pytest.mark.parametrize("version, word", [("3.5.1", "old"), ("3.10.0", "new"), ("4.0.0", "new")])
def test_other_versions_of_triton_are_refused(version: str, word: str) -> None:
    with pytest.raises(BackendError, match=f"Triton {version} is too {word}") as e:
        abi.check_version(version)
    assert "pip install" in e.value.remedy


def test_known_versions_pass() -> None:
    for version in ("3.6.0", "3.7.1", "3.9.0+git"):
        abi.check_version(version)


@pytest.mark.parametrize("arch", ["", "sm_75", "gfx90a", "sm_"])
def test_old_architectures_are_refused(arch: str, pool: Pool) -> None:
    with pytest.raises(BackendError, match="no code can be made for"):
        GpuLibrary(Arch(arch), pool=pool).images([POINTWISE])


def test_a_missing_triton_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    abi.toolchain.cache_clear()
    with pytest.raises(BackendError, match="needs Triton") as e:
        abi.toolchain()
    assert "pip install" in e.value.remedy
    abi.toolchain.cache_clear()
