"""What a kernel stores above a bound is reported, whatever lane and tail it is in, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Buffer,
    Kernel,
    Load,
    Phase,
    Reduce,
    ScalarArg,
    Store,
)
from graphc.ir.kernel_bound import Bound
from graphc.ir.kernel_text import parse, show
from graphc.ir.types import DTYPES, i64
from tests.codegen_cpu.compiled_kernel import Native, module_text

LIMIT, SITE = 1024.0, 7
BAD = 1100.0, -3e4, np.inf, -np.inf, np.nan
ROWS = Affine((("d0", "s0"), ("d1", 1)))


def doubling(dtype: str, late: bool = False) -> Kernel:
    """y = x + x, row by row."""
    t = DTYPES[dtype]
    body = (
        Load("%0", t, "x", ROWS),
        Apply("%1", t, "add", ("%0", "%0")),
        Store("y", "%1", ROWS, bound=Bound(LIMIT, "c0", late)),
    )
    buffers = Buffer("x", t, "r"), Buffer("y", t, "w")
    axes = Axis("d0", "n0"), Axis("d1", "s0")
    return Kernel(
        "k", "map", buffers, ("s0", "n0"), (ScalarArg("c0", i64),), axes, (Phase((), body),)
    )


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_a_bad_element_is_told_wherever_it_is(dtype: str) -> None:
    native = Native([doubling(dtype)])
    for rows, columns in ((1, 1), (3, 37), (2, 64), (65, 16)):
        x = np.full((rows, columns), 512.0).astype(DTYPES[dtype].numpy)  # 1024 is allowed
        x[0, 0] *= -1
        y = np.zeros_like(x)
        given = {"x": x, "y": y}, {"s0": columns, "n0": rows}, {"c0": SITE}
        assert native.run(*given, threads=2)[0] == 0
        for k in {0, columns // 2, rows * columns - 1}:
            for bad in BAD:
                kept = x.flat[k]
                x.flat[k] = bad
                found = native.run(*given, threads=2)
                assert found[:2] == [1, SITE], (rows, columns, k, bad)
                x.flat[k] = kept


def test_only_a_bound_before_the_commit_point_may_fail_and_text_says_which() -> None:
    early, late = doubling("f32"), doubling("f32", late=True)
    assert early.may_fail() and not late.may_fail()
    assert "= %1 within 1024.0 by c0" in show(early)
    assert "= %1 noted within 1024.0 by c0" in show(late)
    assert parse(show(early)) == early and parse(show(late)) == late


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_the_largest_size_of_a_row_takes_one_instruction_and_keeps_nan(dtype: str) -> None:
    t = DTYPES[dtype]
    row = (Load("%0", t, "x", ROWS), Apply("%1", t, "abs", ("%0",)), Reduce("%2", t, "max", "%1"))
    phases = Phase((Axis("d1", "s0"),), row), Phase((), (Store("y", "%2", Affine((("d0", 1),))),))
    buffers = Buffer("x", t, "r"), Buffer("y", t, "w")
    kernel = Kernel("k", "map", buffers, ("s0", "n0"), (), (Axis("d0", "n0"),), phases)
    text = module_text([kernel], Target.host())
    assert "llvm.smax" in text and (dtype == "bf16" or "fcmp" not in text)  # which rounds by one
    native = Native([kernel])
    for columns in (0, 1, 5, 37, 300):
        x = np.random.default_rng(0).standard_normal((6, columns)).astype(t.numpy)
        x[1, :1], x[2, columns // 2 : columns // 2 + 1], x[3, :] = np.nan, -np.inf, -0.0
        y = np.full(6, 7.0).astype(t.numpy)
        native.run({"x": x.reshape(-1), "y": y}, {"s0": columns, "n0": 6}, {}, threads=2)
        want = np.abs(x.astype(np.float64)).max(axis=1, initial=-np.inf)
        np.testing.assert_array_equal(y.astype(np.float64), want)
