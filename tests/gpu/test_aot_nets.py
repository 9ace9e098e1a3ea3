"""Kernels of whole training steps, compiled for architectures that are not here.

Of each net a few always, another kind each; all of them where slow tests run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.codegen_gpu import abi, facts
from graphc.codegen_gpu.grouped import grouped, may_group
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.routine import LONGEST
from graphc.codegen_gpu.target import Target
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.kernel import Kernel, Load, Reduce, Store

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

ARCHES = ("sm_80", "sm_90a")
NETS = ("resnet18_224", "mobilenetv2_224", "tinybert")
FEW = 6  # of one net, always


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


def noted(net: str, half: bool, arch: str) -> dict[Source, Kernel]:
    import gpu_kernels

    return gpu_kernels.net_sources(gpu_kernels.small(net, half), arch)


def likeness(kernel: Kernel) -> tuple[object, ...]:
    """What kernels of one template have in common."""
    statements = list(kernel.statements())
    return (
        kernel.kind,
        frozenset(s.op for s in statements if isinstance(s, Reduce)),
        any(isinstance(s, Load | Store) and s.indirect for s in statements),
    )


def different(found: dict[Source, Kernel]) -> list[Source]:
    """One of each kind, the one whose text is shortest: what takes longest adds little."""
    kinds: dict[tuple[object, ...], Source] = {}
    for source in sorted(found, key=lambda s: len(s.text)):
        kinds.setdefault(likeness(found[source]), source)
    return [*kinds.values()][:FEW]


def check(image: Image, half: bool, arch: str) -> None:
    """No spills, no more shared memory than there is, parameters as they are packed, products by
    tensor cores where their operands are halves, and by FFMA where they are to be exact."""
    name = image.source.name
    assert not facts.spills(image), f"{name} spills:\n{image.source.text}"
    assert image.shared_bytes <= Target.named(arch).shared_bytes, name
    assert facts.entry_parameters(image) == abi.parameter_types(image.source), name
    if "tl.dot(" in image.source.text:
        assert bool(facts.tensor_core_instruction(image)) == half, image.source.text


def test_those_with_most_in_their_registers(pool: Pool) -> None:
    """Sums of as much as is summed over one domain, and a check of each of a loop's elements: its
    lanes agree before one of them asks memory, once."""
    found = noted("tinybert", False, "sm_90a")
    loops = [s for s, k in found.items() if k.kind == "map" and any(p.axes for p in k.phases)]
    crowded = max(loops, key=lambda s: s.text.count("tl.load(") * ("tl.sum(" in s.text))
    checking = [s for s in loops if "atomic_xchg" in s.text and "for " in s.text]
    assert checking
    library = GpuLibrary(Target.named("sm_90a"), pool=pool)
    for image in library.images([crowded, *checking]):
        check(image, False, "sm_90a")
    (image,) = library.images(checking[:1])
    asked = [n for n in facts.instructions(facts.sass(image)) if n.startswith("ATOM")]
    assert sum(facts.instructions(facts.sass(image))[n] for n in asked) == 1


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("net", NETS)
def test_one_kernel_of_each_kind(net: str, arch: str, pool: Pool) -> None:
    half = net != "tinybert"
    sources = different(noted(net, half, arch))
    assert len(sources) > 3
    for image in GpuLibrary(Target.named(arch), pool=pool).images(sources):
        check(image, half, arch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["f32", "tf32", "bf16"])
@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("net", ["resnet18_cifar", *NETS])
def test_every_kernel(net: str, arch: str, kind: str, pool: Pool) -> None:
    """As `benchmarks/gpu_facts.py` prints it."""
    import gpu_facts

    library = GpuLibrary(Target.named(arch), pool=pool)
    row = gpu_facts.facts_of(net, lambda: gpu_facts.step_sources(net, kind, arch), library)
    assert row["kernels"] > 40 and not row["bad"], row


@pytest.mark.parametrize("drop", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("arch", ARCHES)
def test_attention_stays_in_registers(arch: str, drop: float, pool: Pool) -> None:
    """Of halves, forward and both gradients; none waits for another's atomics."""
    import gpu_kernels

    def step(*args: Any) -> Any:
        q, k, v = (x.detach().requires_grad_() for x in args)
        attend = graphc.nn.functional.scaled_dot_product_attention
        out = attend(q, k, v, is_causal=True, dropout_p=drop)
        return graphc.autograd.grad(out.float().sum(), (q, k, v))

    args = [graphc.zeros(2, 4, 256, 64, dtype=graphc.bfloat16) for _ in range(3)]
    found = gpu_kernels.sources(step, args, arch)
    sources = [s for s, k in found.items() if k.kind == "attention"]
    assert len(sources) == 3 and not any("atomic" in s.text for s in sources)
    for image in GpuLibrary(Target.named(arch), pool=pool).images(sources):
        check(image, True, arch)
        code = facts.instructions(facts.sass(image))
        products = sum(n for name, n in code.items() if name.startswith("HGMMA"))
        assert 2 * code["WARPGROUP.ARRIVE"] <= products, "each waits for the one before"


def test_a_large_product_uses_whole_groups_of_warps(pool: Pool) -> None:
    import gpu_kernels

    a, b = (graphc.zeros(1024, 1024, dtype=graphc.bfloat16) for _ in range(2))
    sources = [*gpu_kernels.sources(lambda a, b: a @ b, (a, b), "sm_90a")]
    (image,) = GpuLibrary(Target.named("sm_90a"), pool=pool).images(sources)
    check(image, True, "sm_90a")
    found = facts.instructions(facts.sass(image))
    assert any(name.startswith("HGMMA") for name in found)
    assert any(name.startswith(("LDGSTS", "UTMALDG")) for name in found)


def test_an_elementwise_kernel_loads_whole_vectors(pool: Pool) -> None:
    import gpu_kernels

    x = graphc.zeros(1 << 20, dtype=graphc.bfloat16)
    sources = [*gpu_kernels.sources(lambda x: (x * x).relu(), (x,), "sm_90a")]
    (image,) = GpuLibrary(Target.named("sm_90a"), pool=pool).images(sources)
    found = facts.instructions(facts.sass(image))
    assert any(name.startswith("LDG") and name.endswith(".128") for name in found), found


def test_a_sort_stays_in_registers(pool: Pool) -> None:
    import gpu_kernels

    x = graphc.zeros(64, LONGEST)
    found = gpu_kernels.sources(lambda x: x.argsort(1, descending=True), (x,), "sm_80")
    (source,) = [s for s in found if "tl.sort" in s.text]
    (image,) = GpuLibrary(Target.named("sm_80"), pool=pool).images([source])
    check(image, False, "sm_80")


@pytest.mark.parametrize("arch", ARCHES)
def test_a_group_of_launches_loads_whole_vectors(arch: str, pool: Pool) -> None:
    """The addresses come out of a table, and are still known to be multiples of 16."""
    import gpu_kernels

    x = graphc.zeros(1 << 20)
    found = gpu_kernels.sources(lambda x: (x * 1.5).relu(), (x,), arch)
    (single,) = [s for s, k in found.items() if may_group(k)]
    source = grouped(single)
    assert source is not None
    (image,) = GpuLibrary(Target.named(arch), pool=pool).images([source])
    check(image, False, arch)
    names = facts.instructions(facts.sass(image))
    assert any(n.startswith("LDG") and n.endswith(".128") for n in names), names
