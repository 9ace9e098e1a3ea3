"""Rows bound to types give the bits of the rows; lists leave out what only changes shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.eager.bound import BOUND, bound
from graphc.frontend.eager.lines import Lines, Together
from graphc.frontend.eager.rows import FAST
from graphc.frontend.tensor import eager
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.ops import OPS, Op
from graphc.ir.types import FROM_NUMPY, Array, TensorSpec, f32
from tests.op_table import TABLE, OpRow
from tests.ops.rows import samples, tensors


def value_of(op: Op, arrays: Sequence[Any], attrs: Any) -> Value:
    builder = Builder()
    specs = [TensorSpec(FROM_NUMPY[a.dtype], a.shape) for a in arrays]
    return builder.emit(op, [builder.input(f"x{k}", s) for k, s in enumerate(specs)], attrs)


def agree(op: Op, arrays: Sequence[Any], attrs: Any) -> None:
    """What is bound gives the bits of the row, or of the meaning where there is none."""
    v = value_of(op, arrays, attrs)
    function, left = bound(v)
    with np.errstate(all="ignore"):
        got = np.asarray(function(*arrays, **left))
        want = np.asarray(FAST.get(op.name, op.evaluate)(*arrays, **attrs))
    assert (got.dtype, got.shape) == (want.dtype, want.shape), op.name
    assert got.tobytes() == want.tobytes(), op.name


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation that eager mode runs by itself is compared."""

    def both(op: Op, args: Sequence[Any], attrs: Any) -> Any:
        if op.name in BOUND and all(isinstance(a, graphc.Tensor) for a in args):
            agree(op, [a.array for a in args], attrs)
        return eager(op, args, attrs)

    monkeypatch.setattr("graphc.frontend.tensor.eager", both)
    monkeypatch.setattr("graphc.frontend.whole.watched", lambda: True)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_over_the_op_table(row: OpRow, watched: None) -> None:
    ours = tensors(samples(row, "float32"), row.grad)
    y = row.fn(graphc, *ours)
    if row.grad:
        y.sum().backward()


def noise(*shape: int) -> Array:
    x = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    x.reshape(-1)[::7] = np.resize([0.0, -0.0, np.inf, -np.inf, np.nan], x[..., :].size)[::7]
    return x


@pytest.mark.parametrize("side", [3, 70, 300])
def test_at_sizes_that_go_other_ways(side: int) -> None:
    x, y = noise(side, 2 * side), noise(side, 2 * side)[::-1]
    for axes in ((0,), (1,), (0, 1), ()):
        for a in (x, x.T, np.broadcast_to(x[:1], x.shape), x[:, ::2]):
            agree(OPS["sum"], [a], {"axes": axes})
            agree(OPS["max"], [a], {"axes": axes})
            agree(OPS["min"], [a], {"axes": axes})
    agree(OPS["where"], [x > 0, x, y], {})
    agree(OPS["relu"], [x], {})
    agree(OPS["sub"], [x, y], {})
    agree(OPS["sub"], [x > 0, y > 0], {})
    agree(OPS["reshape"], [x], {"shape": (2 * side, side)})
    agree(OPS["expand"], [x[:1]], {"shape": x.shape})
    agree(OPS["expand"], [x.T[:1, ::3]], {"shape": x.T[:, ::3].shape})
    agree(OPS["cast"], [np.nan_to_num(x, posinf=0, neginf=0)], {"dtype": "i64"})
    x, y = np.nan_to_num(x, posinf=1, neginf=2), np.nan_to_num(y, posinf=1, neginf=2)
    for batch, pairs in (((), ((1, 1),)), ((), ((0, 0),)), (((0, 0),), ((1, 1),)), ((), ())):
        if pairs or side < 50:
            agree(OPS["dot"], [x, y], {"batch": batch, "contract": pairs})


def test_a_view_of_what_has_a_buffer_can_be_written() -> None:
    x = np.zeros((4, 1), np.float32)
    FAST["expand"](x, shape=(4, 3))[1] = 1
    FAST["unfold"](x, axis=0, size=2, step=2, dilation=1)[1] += 2
    assert x.ravel().tolist() == [0, 1, 2, 2]


# ---- what lists leave out ------------------------------------------------------------------------


def lines(out: Value, *given: Value) -> list[str]:
    made = Lines(given, [out])
    return [getattr(x.function, "__name__", type(x.function).__name__) for x in made._lines]


def test_shapes_that_come_to_the_same_are_not_taken() -> None:
    b = Builder()
    x, bias = b.input("x", TensorSpec(f32, (4, 3))), b.input("b", TensorSpec(f32, (3,)))

    def reshaped(v: Value, *shape: int) -> Value:
        return b.emit(OPS["reshape"], [v], {"shape": shape})

    wide = b.emit(OPS["expand"], [reshaped(bias, 1, 3)], {"shape": (4, 3)})
    assert lines(x + wide, x, bias) == ["add"]
    assert lines(b.apply("where", b.apply("lt", x, 0.0), wide, x), x, bias) == ["less", "where"]
    total = x + x
    there = reshaped(reshaped(total, 2, 6), 12)
    assert lines(there, x) == ["add", "methodcaller"]
    assert lines(b.apply("neg", reshaped(there, 4, 3)), x) == ["add", "negative"]
    assert lines(wide, bias) == ["methodcaller", "partial"]  # nobody else gives its shape


def test_a_choice_by_a_repeated_condition_is_whole() -> None:
    """What gives the result its shape is not read as it is."""
    b = Builder()
    x = b.input("x", TensorSpec(f32, (4, 3)))
    row = b.input("c", TensorSpec(f32, (1, 3)))
    condition = b.emit(OPS["expand"], [b.apply("lt", row, 0.0)], {"shape": (4, 3)})
    out = b.apply("where", condition, x, b.emit(OPS["expand"], [row], {"shape": (4, 3)}))
    a, c = noise(4, 3), noise(1, 3)
    (got,) = Lines([x, row], [out])([a, c])
    assert got.tobytes() == np.where(c < 0, a, c).tobytes() and got.shape == (4, 3)


def test_a_group_reads_what_is_led_by_ones_as_it_is() -> None:
    """A row under a dimension of size 1 is a row to compiled code, too."""
    b = Builder()
    x, bias = b.input("x", TensorSpec(f32, (600, 100))), b.input("b", TensorSpec(f32, (100,)))
    led = b.emit(OPS["reshape"], [bias], {"shape": (1, 100)})
    wide = b.emit(OPS["expand"], [led], {"shape": (600, 100)})
    out = b.apply("where", b.apply("lt", x, wide), wide, x + wide)
    made = Lines([x, bias], [out])
    assert [type(line.function) for line in made._lines] == [Together]
    a, c = noise(600, 100), noise(100)
    with np.errstate(invalid="ignore"):
        want = np.where(a < c, c, a + c)
    for _ in range(4):  # by NumPy, then compiled
        (got,) = made([a, c])
        assert got.tobytes() == want.tobytes()
