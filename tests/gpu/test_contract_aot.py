"""Contractions compiled for architectures that are not here: what their machine code is made of."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from graphc.codegen_gpu import facts
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.target import Target
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.kernel import Apply, Buffer, Kernel, Load, Store
from graphc.ir.types import DType, bf16, f32, f64

sys.path.insert(0, str(Path(__file__).parent.parent / "codegen_cpu"))
import contract_kernels
from contract_kernels import at, contract

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

TARGETS = (Target.named("sm_80"), Target.named("sm_90a"))


def product(m: int, n: int, k: int, dtype: DType) -> Kernel:
    """x @ w.T with an unknown number of rows, as a linear layer's."""
    return contract(
        [("m", "n0"), ("n", n)], [("k", k)], at(m=k, k=1), at(n=k, k=1), at(m=n, n=1),
        dtypes=(dtype, dtype, dtype), sizes=("n0",),
    )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A contraction, how it is computed, and the instructions that say so on each target."""

    kernel: Kernel
    sizes: tuple[int, ...]
    tf32: bool
    instructions: tuple[str, str]

    def source(self, target: Target) -> Source:
        return emit(self.kernel, self.sizes, target, tf32=self.tf32)


GRADIENT = contract_kernels.weight_gradient(32, 30, 64, 64, symbolic=True).kernel
ROWS = {
    "bf16": Row(product(4096, 4096, 4096, bf16), (4096,), False, ("HMMA", "HGMMA")),
    "bf16 split": Row(product(128, 256, 8192, bf16), (128,), False, ("HMMA", "HGMMA")),
    "tf32": Row(product(2048, 1024, 1024, f32), (2048,), True, ("HMMA", "HGMMA")),
    "exact": Row(product(2048, 1024, 1024, f32), (2048,), False, ("FFMA", "FFMA")),
    "f64": Row(product(256, 256, 256, f64), (256,), False, ("DMMA", "DMMA")),
    "convolution": Row(
        contract_kernels.conv(8, 30, 64, 64, symbolic=True).kernel, (8,), True, ("HMMA", "HGMMA")
    ),
    "weight gradient": Row(GRADIENT, (32,), True, ("HMMA", "HGMMA")),
    "depthwise": Row(contract_kernels.depthwise(8, 30, 64).kernel, (), True, ("FFMA", "FFMA")),
}
CORES = {"HMMA", "HGMMA", "DMMA"}


@pytest.fixture(scope="module")
def images() -> Iterator[dict[tuple[str, str], Image]]:
    pool = Pool()
    found = {}
    for target in TARGETS:
        made = GpuLibrary(target, pool=pool).images([row.source(target) for row in ROWS.values()])
        found |= {(name, target.arch): image for name, image in zip(ROWS, made, strict=True)}
    yield found
    pool.close()


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.arch)
def test_machine_code(images: dict[tuple[str, str], Image], target: Target, name: str) -> None:
    """Tensor cores where they are allowed and nowhere else, registers enough, memory enough."""
    image = images[name, target.arch]
    found: Counter[str] = Counter()
    for instruction, times in facts.instructions(facts.sass(image)).items():
        found[instruction.split(".")[0]] += times
    wanted = ROWS[name].instructions[TARGETS.index(target)]
    assert found[wanted]
    assert not (CORES - {wanted}) & set(found)
    assert not found["STL"] and not found["LDL"], "registers are spilled"
    assert image.shared_bytes <= target.shared_bytes


def test_a_split_sum_says_what_it_needs() -> None:
    target = TARGETS[1]
    for name in ("bf16 split", "weight gradient"):
        source = ROWS[name].source(target)
        assert source.scratch_bytes
        assert [p.bound for p in source.params][-2:] == ["scratch", "counters"]


def reading(count: int) -> Kernel:
    """A linear layer whose results are multiplied by so many other values."""
    where = at(m=128, n=1)
    names = [f"e{k}" for k in range(count)]
    loads = [Load(f"%{x}", bf16, x, where) for x in names]
    sums, last = [], "%dot"
    for k, x in enumerate(names):
        wide = Apply(f"%w{k}", f32, "cast", (f"%{x}",))
        sums += [wide, Apply(f"%s{k}", f32, "mul", (last, wide.name))]
        last = f"%s{k}"
    end = (Apply("%y", bf16, "cast", (last,)), Store("y", "%y", where))
    return contract(
        [("m", "n0"), ("n", 128)], [("k", 64)], at(m=64, k=1), at(n=64, k=1), where,
        dtypes=(bf16, bf16, bf16), sizes=("n0",), epilogue=(*loads, *sums, *end),
        buffers=tuple(Buffer(x, bf16, "r") for x in names),
    )  # fmt: skip


def test_threads_have_registers_for_what_an_epilogue_reads() -> None:
    """Four values beside each sum are more than a thread of four warps may have of a tile of 64 by
    128; of eight warps each has half."""
    target = Target.named("sm_90a")
    warps = {n: emit(reading(n), (1 << 20,), target).num_warps for n in (2, 3, 4, 6)}
    assert warps == {2: 4, 3: 4, 4: 8, 6: 8}


@pytest.mark.parametrize("n,k", [(64, 256), (1024, 512), (16, 4096)])
def test_the_first_batch_chooses_no_instruction(n: int, k: int) -> None:
    """A group of warps (wgmma) and single ones (mma.sync) may round another way: of rows that are
    unknown, tiles have so many that the same ones compute them whatever the first batch was."""
    target = Target.named("sm_90a")
    found = {}
    for rows in (1, 16, 63, 64, 1000, 1 << 15):
        source = emit(product(0, n, k, bf16), (rows,), target)
        (block,) = {d.block for d in source.grid if d.extents == ("n0",)}
        found[rows] = block >= 64 and source.num_warps >= 4
    assert {*found.values()} == {True}, found
