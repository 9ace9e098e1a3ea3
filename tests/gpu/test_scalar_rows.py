"""Every scalar op on special values, interpreted, against its NumPy meaning."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton")

from kernels import SMALL, expected, launch

from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.scalar import SCALAR
from graphc.ir.kernel import Affine, Apply, Axis, Buffer, Index, Kernel, Phase, ScalarArg, Store
from graphc.ir.kernel_interpret import Failure
from graphc.ir.meaning.sources import random_bits
from graphc.ir.ops import OPS
from graphc.ir.types import DTYPES, Array, DType, bool_, i32, i64
from graphc.passes.elementary import FUNCTIONS
from tests.codegen_cpu.test_scalar import (
    CASTS,
    MATH,
    ROWS,
    WHOLE,
    assert_close,
    elementwise,
    operands,
    result_dtype,
    specials,
)
from tests.codegen_cpu.test_scalar import expected as meaning

DIVISIONS = ("floordiv", "rem", "fmod")


def run(op: str, dtype: DType, args: list[Array]) -> tuple[Array, list[int]]:
    result = result_dtype(op, dtype)
    kernel = elementwise(op, dtype, result)
    data = dict(zip("xy", args)) | {"o": np.zeros(len(args[0]), result.numpy)}
    source = emit(kernel, [len(args[0])], SMALL)
    got = launch(kernel, source, data, {"n": len(args[0])}, {})
    return got["o"], [int(x) for x in got["error"]]


@pytest.mark.parametrize("op,d", ROWS, ids=lambda x: x)
def test_row(op: str, d: str) -> None:
    dtype, args = DTYPES[d], operands(op, DTYPES[d])
    got, _ = run(op, dtype, args)
    want = meaning(op, dtype, args)
    if op in MATH and dtype.is_floating_point:
        assert_close(got, want, dtype, 8)
        return
    same = (got == want) | ((got != got) & (want != want))
    if op in DIVISIONS and not dtype.is_floating_point:
        same |= args[1] == 0
    assert same.all(), [(*(a[k] for a in args), got[k], want[k]) for k in np.flatnonzero(~same)[:5]]


def test_relu_keeps_negative_zero_and_nan() -> None:
    got, _ = run("relu", DTYPES["f32"], [np.array([-0.0, np.nan, -1.0, 2.0], np.float32)])
    assert np.signbit(got[0]) and np.isnan(got[1]) and list(got[2:]) == [0, 2]


@pytest.mark.parametrize("op", DIVISIONS)
@pytest.mark.parametrize("d", WHOLE)
def test_division_by_zero_reports_the_first(op: str, d: str) -> None:
    dtype = DTYPES[d]
    x, y = (np.arange(1, 41).astype(dtype.numpy), np.ones(40, dtype.numpy))
    assert run(op, dtype, [x, y])[1] == [0, 0, 0, 0]
    y[[35, 37]] = 0
    assert run(op, dtype, [x, y])[1] == [1, 0, 36, 0]


def test_rows_are_total() -> None:
    elementwise_ops = {name for name, op in OPS.items() if op.kind == "elementwise"}
    assert set(SCALAR) | {"cast"} == elementwise_ops - set(FUNCTIONS) | {"random_bits"}


@pytest.mark.parametrize("a,b", CASTS)
def test_cast(a: str, b: str) -> None:
    source, target = DTYPES[a], DTYPES[b]
    x = specials(source)
    if source.is_floating_point and not target.is_floating_point and target is not bool_:
        x = x[np.abs(x.astype(np.float64)) < 100]  # beyond: unspecified
    data = {"x": x, "o": np.zeros(len(x), target.numpy)}
    kernel = elementwise("cast", source, target)
    got = launch(kernel, emit(kernel, [len(x)], SMALL), data, {"n": len(x)}, {})["o"]
    want = expected(kernel, data, {"n": len(x)}, {}, [])["o"]
    same = (got == want) | ((got != got) & (want != want))
    assert same.all(), (x[~same], got[~same], want[~same])


@pytest.mark.parametrize("seed,draw", [(0x123456789ABCDEF, (1 << 40) + 5), (-5, 3)])
def test_random_bits_are_philox(seed: int, draw: int) -> None:
    at = Affine((("i", 1),))
    body = (
        Index("%0", i64, at),
        Apply("%1", i32, "random_bits", ("seed", "draw", "%0")),
        Store("o", "%1", at),
    )
    scalars = (ScalarArg("seed", i64), ScalarArg("draw", i64))
    axes, out = (Axis("i", "n"),), Buffer("o", i32, "w")
    kernel = Kernel("bits", "map", (out,), ("n",), scalars, axes, (Phase((), body),))
    data = {"o": np.zeros(1003, np.int32)}
    numbers = {"seed": seed, "draw": draw}
    got = launch(kernel, emit(kernel, [1003], SMALL), data, {"n": 1003}, numbers)["o"]
    want = random_bits(np.asarray(seed), np.asarray(draw), shape=(1003,))
    assert got.tobytes() == want.tobytes()


def test_a_check_tells_the_first_and_stays() -> None:
    """The words keep what was there before."""
    dtype, errors = DTYPES["i32"], list[Failure]()
    kernel = elementwise("floordiv", dtype, dtype)
    data = {"x": np.arange(9, dtype=np.int32), "y": np.zeros(9, np.int32)}
    data["o"] = np.zeros(9, np.int32)
    expected(kernel, data, {"n": 9}, {}, errors)
    words = np.array([1, 7, 8, 9])
    got = launch(kernel, emit(kernel, [9], SMALL), data, {"n": 9}, {}, error=words.copy())
    assert (got["error"] == words).all() and errors
