"""Products whose operands come by tensor descriptors: in Triton's interpreter, and as code."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")

from kernels import SMALL
from test_contract import check_case

from graphc.codegen_gpu import abi, facts
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.target import Target
from graphc.ir.kernel import Kernel
from graphc.ir.types import DType, bf16, f16, f32
from tests.codegen_cpu.contract_kernels import Case, at, contract

MADE = "tl.make_tensor_descriptor("


def product(
    m: int, n: int, k: int, layout: str, dtype: DType, batch: int = 1, named: bool = False
) -> Case:
    """Matrices of x and y, each turned where its letter is a t; the rows may be an argument."""
    rows = "n0" if named else m
    a = at(i=m * k, m=k, k=1) if layout[0] == "n" else at(i=m * k, k=m, m=1)
    b = at(i=k * n, k=n, n=1) if layout[1] == "n" else at(i=k * n, n=k, k=1)
    kernel = contract(
        [("i", batch), ("m", rows), ("n", n)], [("k", k)], a, b, at(i=m * n, m=n, n=1),
        dtypes=(dtype, dtype, dtype), sizes=("n0",) if named else (),
    )  # fmt: skip
    lengths = {"a": batch * m * k, "b": batch * k * n, "y": batch * m * n}
    return Case(kernel, lengths, {"n0": m} if named else {})


def count(kernel: Kernel, target: Target = SMALL, tf32: bool = False) -> int:
    return emit(kernel, [70] * len(kernel.sizes), target, tf32=tf32).text.count(MADE)


@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
def test_every_layout(layout: str) -> None:
    case = product(72, 80, 520, layout, bf16, batch=2)
    assert count(case.kernel) == 2
    check_case(case, target=SMALL, rtol=2**-7)


@pytest.mark.parametrize("named", [False, True])
def test_edges_are_zeros(named: bool) -> None:
    case = product(67, 72, 1000, "nt", f16, named=named)
    assert count(case.kernel) == 2
    check_case(case, target=SMALL, rtol=2**-9)


def test_pointers_where_rows_are_no_whole_lines() -> None:
    case = product(67, 72, 520, "tn", bf16)
    assert count(case.kernel) == 1
    check_case(case, target=SMALL, rtol=2**-7)
    assert not count(product(67, 70, 1001, "nn", bf16).kernel)


def test_pointers_where_rows_lie_in_no_line() -> None:
    kernel = contract(
        [("o", 5), ("m", 16), ("n", 72)], [("k", 520)], at(o=9001, m=528, k=1), at(k=72, n=1),
        at(o=16 * 72, m=72, n=1), dtypes=(bf16, bf16, bf16),
    )  # fmt: skip
    case = Case(kernel, {"a": 5 * 9001, "b": 520 * 72, "y": 80 * 72})
    assert count(case.kernel) == 1
    check_case(case, target=SMALL, rtol=2**-7)


def test_pointers_elsewhere() -> None:
    kernel = product(128, 128, 1024, "nt", f32).kernel
    assert not count(kernel), "exact products read operands from registers"
    assert count(kernel, tf32=True) == 2
    assert not count(kernel, Target("sm_80", sms=1), tf32=True)
    assert not count(product(128, 128, 128, "nt", f32).kernel, tf32=True), "few steps"


def test_tiles_move_by_tma() -> None:
    kernels = [product(512, 256, 1024, *kind).kernel for kind in (("nt", bf16), ("nn", bf16))]
    target, pool = Target.named("sm_90a"), Pool()
    sources = [emit(k, (), Target("sm_90a", sms=1)) for k in kernels]
    for image in GpuLibrary(target, pool=pool).images(sources):
        found = facts.instructions(facts.sass(image))
        assert any(name.startswith("UTMALDG") for name in found), found
        assert any(name.startswith("HGMMA") for name in found)
        assert image.global_scratch[0] and not facts.spills(image)
        assert facts.entry_parameters(image) == abi.parameter_types(image.source)
    pool.close()


def test_boxes_where_rows_skip() -> None:
    """A convolution of one tap with a stride: its points are on lines, but not on one line."""
    kernel = contract(
        [("i", 2), ("h", 6), ("w", 6), ("n", 64)], [("k", 512)],
        at(i=12 * 12 * 512, h=2 * 12 * 512, w=2 * 512, k=1), at(n=512, k=1),
        at(i=36 * 64, h=6 * 64, w=64, n=1), dtypes=(bf16, bf16, bf16),
    )  # fmt: skip
    assert count(kernel) == 2
    lengths = {"a": 2 * 144 * 512, "b": 64 * 512, "y": 2 * 36 * 64}
    check_case(Case(kernel, lengths, {}), target=SMALL, rtol=2**-7)
