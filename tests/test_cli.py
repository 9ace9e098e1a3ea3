"""Every command: its answer as text and as JSON, and the status it exits with."""

from __future__ import annotations

import ctypes
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.__main__ import COMMANDS, main
from graphc.cli.command import Exit
from graphc.cli.measure import CHAINS, _barrier, _chains, _copies, cache_bytes
from graphc.codegen_cpu.jit import assembly
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.target import Target
from graphc.errors import all_errors
from graphc.frontend.report.page import record_of
from graphc.frontend.step.native_backend import native
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.peaks import Peaks, save


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(folder))
    return folder


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    status = main([*argv, "--json"])
    return status, json.loads(capsys.readouterr().out)


def dumped(folder: Path) -> Path:
    """A folder as GRAPHC_DUMP writes it, small enough to read here."""
    (folder / "kernels").mkdir(parents=True)
    (folder / "01_trace.gir").write_text("// a\ngraph() {\n  return %1\n}\n")
    (folder / "02_simplify.gir").write_text("// b\ngraph() {\n  return %2\n}\n")
    (folder / "kernels" / "add__fc.ll").write_text("define void @add()\n")
    (folder / "kernels" / "add__fc.s").write_text("add:\n  ret\n")
    counts = {"kernels": 1, "launches": 2, "arena_bytes": 64, "bound_bytes": 64, "peak_bytes": 128}
    stats = {"name": "train_step", **counts, "ms": {"trace": 1.5, "simplify": 0.25}}
    (folder / "stats.json").write_text(json.dumps(stats))
    return folder


def test_doctor_runs_its_self_test(capsys: pytest.CaptureFixture[str], own_cache: Path) -> None:
    status, data = answer(capsys, "doctor")
    assert status == Exit.OK
    assert data["self_test"]["passed"]
    assert data["cache"]["path"] == str(own_cache)
    assert {"python", "numpy", "llvmlite", "llvm"} <= set(data["versions"])
    assert data["cpu"]["vector_bits"] >= 128


def test_doctor_prints_the_switches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == Exit.OK
    out = capsys.readouterr().out
    assert "self_test" in out
    assert "GRAPHC_DUMP" in out


@pytest.mark.parametrize("code", sorted(all_errors()))
def test_explain_knows_every_code(capsys: pytest.CaptureFixture[str], code: str) -> None:
    status, data = answer(capsys, "explain", code.lower())
    assert status == Exit.OK
    assert data["code"] == code
    assert data["doc"] and data["why"] and data["fix"]


def test_explain_of_an_unknown_code_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "GC777"]) == Exit.NOT_FOUND
    assert "GC104" in capsys.readouterr().err


def test_explain_of_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = dumped(tmp_path / "dump")
    assert main(["explain", str(folder)]) == Exit.OK
    assert "1 kernels in 2 launches" in capsys.readouterr().out
    _, data = answer(capsys, "explain", str(folder))
    assert data["programs"][0]["name"] == "train_step"


def test_ir_lists_shows_and_compares(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(dumped(tmp_path / "dump"))
    assert answer(capsys, "ir", folder)[1]["stages"] == {"trace": 4, "simplify": 4}
    assert "return %1" in answer(capsys, "ir", folder, "--stage", "trace")[1]["text"]
    diff = answer(capsys, "ir", folder, "--diff", "trace", "simplify")[1]["diff"]
    assert "%2 for %1 in return" in diff
    assert "define" in answer(capsys, "ir", folder, "--kernel", "add__fc")[1]["text"]
    assert "ret" in answer(capsys, "ir", folder, "--kernel", "add__fc", "--asm")[1]["text"]


@pytest.mark.parametrize(
    "argv", [["--stage", "fuse"], ["--diff", "trace", "fuse"], ["--kernel", "mul"]]
)
def test_ir_of_what_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    status, data = answer(capsys, "ir", str(dumped(tmp_path / "dump")), *argv)
    assert status == Exit.NOT_FOUND
    assert "there are" in data["error"]


def test_ir_of_an_empty_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["ir", str(tmp_path / "nothing")]) == Exit.NOT_FOUND
    assert "GRAPHC_DUMP" in capsys.readouterr().err


SCRIPT = """
import sys
import torch

model = torch.compile(torch.nn.Linear(4, 2))
for _ in range(int(sys.argv[1])):
    model(torch.ones(3, 4)).sum().backward()
"""


def test_opt_does_what_the_pipeline_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    step = graphc.compile(lambda x, w: ((x + 0.0) @ w).relu().sum(0))
    step(graphc.ones(4, 3), graphc.ones(3, 2))

    def rows(text: str) -> list[str]:
        return text.rstrip().splitlines()[1:]  # the title has the time that it took

    path = tmp_path / "graph.gir"
    for before, after in itertools.pairwise(["check_indices", "simplify", "decompose", "tidy"]):
        path.write_text(step.ir(before))
        status, data = answer(capsys, "opt", str(path), "--pass", after)
        assert status == Exit.OK and rows(data["text"]) == rows(step.ir(after))
    path.write_text(step.ir("foresee"))
    _, kernels = answer(capsys, "opt", str(path), "--pass", "fuse")
    assert kernels["text"].count("kernel ") == len(step.kernels)
    _, program = answer(capsys, "opt", str(path), "--pass", "memory")
    assert program["text"].startswith("program ") and "launch" in program["text"]
    path.write_text("no graph")
    assert main(["opt", str(path), "--pass", "fuse"]) == Exit.NOT_FOUND
    assert "holds no graph" in capsys.readouterr().err


def test_report_of_a_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script, page = tmp_path / "script.py", tmp_path / "out.html"
    script.write_text(SCRIPT)
    with clean_process():
        status = main(["report", "--json", "-o", str(page), str(script), "2"])
    data = json.loads(capsys.readouterr().out)
    assert status == Exit.OK and data["programs"] == 2
    record = record_of(page.read_text())
    assert record["files"][0]["path"] == "script.py"
    assert all(x["s"] is not None for u in record["units"] for x in u["launches"])


ALIKE = """
import graphc

for x in (graphc.ones(4), graphc.ones(4, 3), graphc.ones(4, 3)):
    graphc.compile(lambda x: x.relu())(x)
"""


def test_report_of_programs_whose_kernels_are_called_alike(tmp_path: Path) -> None:
    """Two of them have one text, too; each has its own times."""
    script, page = tmp_path / "script.py", tmp_path / "out.html"
    script.write_text(ALIKE)
    with clean_process():
        assert main(["report", "-o", str(page), str(script)]) == Exit.OK
    units = record_of(page.read_text())["units"]
    launches = [x for u in units for x in u["launches"]]
    assert [x["written"] for x in launches] == [16, 48, 48]
    assert len({x["s"] for x in launches}) == 3


@pytest.mark.parametrize(
    "argv, status",
    [
        (["report", "DIR", "-o", "page.html"], Exit.MISUSED),
        (["report", "-o", "nowhere/page.html", "DIR"], Exit.NOT_FOUND),
        (["report", "-o", "DIR/page.html", "DIR"], Exit.NOT_FOUND),
        (["ir", "DIR", "--diff", "simplify", "trace"], Exit.NOT_FOUND),
        (["bisect", "DIR/script.py"], Exit.NOT_FOUND),
        (["opt", "DIR/lacking.gir", "--pass", "fuse"], Exit.NOT_FOUND),
    ],
)
def test_what_cannot_be_meant_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str], status: Exit
) -> None:
    folder = dumped(tmp_path / "dump")
    (folder / "report.html").write_text("no report")
    (folder / "script.py").write_text("1 + 1\n")
    lacking = "// graphc 1  f\ngraph(%x: f32[1]) {\n  %1: f32[4] = expand %x\n  return %1\n}\n"
    (folder / "lacking.gir").write_text(lacking)
    with clean_process():
        assert main([a.replace("DIR", str(folder)) for a in argv]) == status
    out, err = capsys.readouterr()
    assert not out and len(err.splitlines()) == 1


def test_report_of_what_was_dumped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    graphc.compile(lambda x: x + 1)(graphc.ones(3))
    page = tmp_path / "out.html"
    status = main(["report", "--json", "-o", str(page), str(tmp_path / "dump")])
    data = json.loads(capsys.readouterr().out)
    assert status == Exit.OK and data["programs"] == 1
    assert record_of(page.read_text())["units"][0]["launches"]
    assert main(["report", str(tmp_path / "nowhere")]) == Exit.NOT_FOUND


def test_profile_of_a_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with clean_process():
        status = main(["profile", "--json", "--by", "phase", str(tmp_path / "script.py"), "3"])
    data = json.loads(capsys.readouterr().out)
    assert status == Exit.OK
    assert {r["name"] for r in data["rows"]} >= {"forward", "backward"}
    assert [p["calls"] for p in data["programs"]] == [2, 2], "the first run of each is cold"
    assert main(["profile", str(tmp_path / "none.py")]) == Exit.NOT_FOUND


@contextmanager
def clean_process() -> Iterator[None]:
    """As in one without PyTorch; what a command changes in it is as before afterwards."""
    modules, path, argv = dict(sys.modules), list(sys.path), list(sys.argv)
    engine, finders = native()._engine, list(sys.meta_path)
    for name in modules:
        if name.partition(".")[0] == "torch":
            del sys.modules[name]
    try:
        yield
    finally:
        engine.timed = None
        sys.path[:], sys.argv[:], sys.meta_path[:] = path, argv, finders
        for name in set(sys.modules) - set(modules):
            del sys.modules[name]
        sys.modules.update(modules)


def test_cache_is_shown_and_emptied(capsys: pytest.CaptureFixture[str], own_cache: Path) -> None:
    DiskCache().put("a kernel", b"its code")
    status, before = answer(capsys, "cache", "info")
    assert status == Exit.OK
    assert before["entries"] == 1 and before["path"] == str(own_cache)
    assert answer(capsys, "cache", "clear")[1]["removed"] == 1
    assert answer(capsys, "cache", "info")[1]["entries"] == 0


def test_bench_without_the_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphc.cli.bench.SCRIPT", Path("/nonexistent/run.py"))
    status, data = answer(capsys, "bench", "mlp")
    assert status == Exit.NOT_FOUND
    assert "clone" in data["error"]


def test_bad_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cache", "polish"])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command.name, "--help"])
        assert stop.value.code == 0
        assert command.doc in " ".join(capsys.readouterr().out.split())


def test_demo_one_epoch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One epoch learns, but does not reach the accuracy that the demo demands: status 1."""
    pytest.importorskip("sklearn")
    folder = tmp_path / "ir"
    status, data = answer(capsys, "demo", "--epochs", "1", "--ir", str(folder))
    assert status == (Exit.OK if data["test_accuracy"] >= 0.97 else Exit.FAILED)
    assert data["test_accuracy"] > 0.85
    assert data["losses"]["eager"] == pytest.approx(data["losses"]["compiled"], rel=1e-3)
    assert data["compiles"] >= 1
    assert data["programs"] == 1, "the last, smaller batch of an epoch needs none of its own"
    assert {"eager", "compiled"} <= set(data["median_ms"])
    stages = [path.name for path in sorted(folder.glob("*.gir"))]
    assert stages[0] == "01_trace.gir"
    assert len(stages) >= 5
    assert list((folder / "kernels").glob("*.ll"))


@pytest.mark.skipif(Target.host().vector_bytes < 32, reason="counts the products of x86")
def test_measured_chains_are_as_many_as_they_say() -> None:
    """LLVM leaves one of several that are equal, and the peak would be several times too high."""
    text = assembly(_chains(Target.host()), Target.host())
    assert text.count("vfmadd") == CHAINS


def test_caches_are_measured_where_the_system_names_them(tmp_path: Path) -> None:
    rows = [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K")]
    rows.append(("3", "Unified", "16384K"))
    for k, row in enumerate(rows):
        (tmp_path / f"index{k}").mkdir()
        for name, text in zip(("level", "type", "size"), row):
            (tmp_path / f"index{k}" / name).write_text(f"{text}\n")
    assert cache_bytes(tmp_path) == {
        "L1": (32 << 10, False), "L2": (1 << 20, False), "L3": (16 << 20, True)
    }  # fmt: skip
    assert cache_bytes(tmp_path / "none") == {}


def test_copies_copy_and_launches_meet() -> None:
    target = Target.host()
    code = KernelLibrary(target).native(_copies(target), ["copies"])
    a, b = np.arange(4 * target.vector_bytes, dtype=np.uint8), np.zeros(512, np.uint8)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(code[0])
    run(a.ctypes.data, b.ctypes.data, 3, 2)
    copied = 3 * target.vector_bytes
    assert (b[:copied] == a[:copied]).all() and not b[copied:].any()
    assert 0 < _barrier(target) < 1


def test_doctor_tells_what_was_measured(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(Peaks("zen", 2, 2e11, 1e10, {"L1": 3e11}, 1e-6))
    main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["peaks"] == {
        "threads": 2, "gflops": 200.0, "gbytes": 10.0, "gbytes_L1": 300.0, "barrier_us": 1.0
    }  # fmt: skip
    assert told["gpu_peaks"] == {}
