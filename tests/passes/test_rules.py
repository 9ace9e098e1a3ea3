"""Each rewrite rule fires, and its sides agree bit for bit on the floats where algebra fails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, topological
from graphc.ir.interpret import interpret
from graphc.ir.rewrite import Rule, apply_rules, hole, node
from graphc.ir.types import Array, TensorSpec, bool_, f32
from graphc.passes.simplify import RULES, simplify

SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 3e38, 1e-45], "float32")
x, y = hole("x"), hole("y")
WRONG = [
    Rule("add_zero", x + 0.0, x),  # -0.0 + 0.0 is 0.0
    Rule("mul_zero", x * 0.0, x * 0.0 + 0.0),  # -1.5 * 0.0 is -0.0
    Rule("sub_self", x + -x, x * 0.0),  # -1.5 + 1.5 is 0.0, but -1.5 * 0.0 is -0.0
    Rule("relu_as_max", node("relu", x), node("maximum", x, 0.0)),  # relu keeps -0.0
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule(rule: Rule) -> None:
    check_rule(rule)


@pytest.mark.parametrize("rule", WRONG, ids=lambda rule: rule.name)
def test_a_wrong_rule_is_caught(rule: Rule) -> None:
    with pytest.raises(AssertionError, match="changes values"):
        check_rule(rule)


def check_rule(rule: Rule) -> None:
    b = Builder()
    grids = [g.ravel() for g in np.meshgrid(SPECIAL, SPECIAL)]
    shape = grids[0].shape
    holes = {name: b.input(name, TensorSpec(f32, shape)) for name in "xy"}
    holes["c"] = b.input("c", TensorSpec(bool_, shape))
    before, after = (side.build(holes, like=holes["x"]) for side in (rule.before, rule.after))
    assert apply_rules(before, [rule]) is after, f"{rule.name} never fires"
    graph = Graph(rule.name, tuple(holes.values()), ("arg",) * 3, (before, after), (None, None))
    condition = np.arange(grids[0].size) % 3 == 0
    left, right = interpret(graph, *grids, condition)
    assert same_bits(left, right), f"{rule.name} changes values"


def same_bits(a: Array, b: Array) -> bool:
    """Equal down to the sign of zero; any NaN equals any NaN."""
    same_sign = (np.signbit(a) == np.signbit(b)) | np.isnan(a)
    return np.array_equal(a, b, equal_nan=True) and bool(np.all(same_sign))


def one_input() -> Value:
    return Builder().input("v", TensorSpec(f32, (4, 6)))


def simplified(v: Value, w: Value) -> Value:
    return simplify(Graph("g", (v,), ("arg",), (w,), (None,))).outs[0]


def test_movement_that_cancels_leaves_nothing() -> None:
    v = one_input()
    w = P.transpose(P.transpose(v, (1, 0)), (1, 0))
    assert simplified(v, P.reshape(P.reshape(w, (24,)), (4, 6))) is v
    assert simplified(v, P.slice(P.pad(v, (1, 2), (3, 4)), (1, 2), (5, 8))) is v


def test_a_slice_into_the_padding_stays() -> None:
    v = one_input()
    w = P.slice(P.pad(v, (1, 2), (3, 4)), (0, 2), (5, 8))
    assert simplified(v, w) is w


def test_taking_the_extreme_is_a_reduction() -> None:
    v = one_input()
    b = v.builder
    at = P.reshape(b.apply("argmax", v, axis=1), (4, 1))
    got = simplified(v, b.apply("take_along", v, at, axis=1))
    assert got.op is not None and got.op.name == "reshape"
    assert got.args[0].op is not None and got.args[0].op.name == "max"


def test_the_extreme_of_a_row_of_minus_infinity_alone_is_at_any_place() -> None:
    v = one_input()
    b = v.builder
    place = b.apply("argmax", v, axis=1)
    best = P.reshape(b.apply("max", v, axes=(1,)), (4,))
    first = b.apply("iota", shape=(4,), axis=0, dtype="i64")
    for bound, goes in ((-math.inf, True), (0.0, False)):
        at = P.where(b.apply("eq", best, bound), first, place)
        got = simplified(v, b.apply("take_along", v, P.reshape(at, (4, 1)), axis=1))
        used = {u.op.name for u in topological([got]) if u.op is not None}
        assert ("take_along" in used) is not goes
    at = P.where(b.apply("eq", best, -math.inf), first, place)
    checked = b.apply("check_index", P.reshape(at, (4, 1)), bound=6, what="index")
    whole = b.apply("take_along", v, checked, axis=1)
    assert simplified(v, whole) is whole


def pooled(v: Value, size: int, step: int, pad: int) -> tuple[Value, Value]:
    """A cotangent of max-pooling along the second dimension of v, and where that puts it."""
    b = v.builder
    low = (0, pad)
    x = P.pad(v, low, low, float("-inf")) if pad else v
    windows = b.apply("unfold", x, axis=1, size=size, step=step, dilation=1)
    at = P.reshape(b.apply("argmax_last_nan", windows, axis=2), (*windows.shape[:2], 1))
    g = b.input("%g", TensorSpec(f32, at.shape))
    put = P.put_along(g, at, 2, windows.shape)
    back = b.apply("fold", put, axis=1, length=x.shape[1], step=step, dilation=1)
    return g, P.slice(back, low, (4, pad + v.shape[1])) if pad else back


@pytest.mark.parametrize(("size", "step", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 3, 0)])
@pytest.mark.parametrize("comparison", ["le", "lt"])
def test_a_mask_of_what_was_pooled_is_one_of_the_extremes(
    size: int, step: int, pad: int, comparison: str
) -> None:
    v = one_input()
    g, back = pooled(v, size, step, pad)
    whole = P.where(v.builder.apply(comparison, v, 0.0), 0.0, back)
    got = simplified(v, whole)
    masks = [u for u in topological([got]) if u.op is not None and u.op.name == "where"]
    assert [u.shape for u in masks] == [g.shape]
    rng = np.random.default_rng(1)
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0], np.float32)
    for _ in range(20):
        values = [*special, *rng.normal(size=6)]
        arrays = [rng.choice(values, u.shape).astype(np.float32) for u in (v, g)]
        graph = Graph("g", (v, g), ("arg",) * 2, (whole, got), (None, None))
        before, after = interpret(graph, *arrays)
        assert same_bits(before, after)


def test_a_mask_of_something_else_stays_where_it_is() -> None:
    v = one_input()
    _, back = pooled(v, 2, 2, 0)
    other = v.builder.apply("le", v * v, 0.0)
    for whole in (P.where(other, 0.0, back), P.where(v.builder.apply("le", v, 0.0), 1.0, back)):
        assert simplified(v, whole) is whole


def test_arithmetic_on_repeated_values_runs_once() -> None:
    v = one_input()
    small = P.slice(v, (0, 0), (1, 6))
    got = simplified(v, P.expand(small, (4, 6)) * P.expand(small, (4, 6)))
    assert got.op is not None and got.op.name == "expand" and got.args[0].shape == (1, 6)
