"""What a kernel stores above a bound is reported, whatever lane and tail it is in, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.kernel import Affine, Apply, Axis, Buffer, Kernel, Load, Phase, ScalarArg, Store
from graphc.ir.kernel_bound import Bound
from graphc.ir.kernel_text import parse, show
from graphc.ir.types import DTYPES, i64
from tests.codegen_cpu.compiled_kernel import Native

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
