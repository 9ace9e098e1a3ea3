"""simplify: algebra that no float can tell, shorter chains of movement, constants folded.

Input and output: a Graph with the same meaning, bit for bit. `RULES` holds what reads as an
equation; `MOVEMENT` what depends on shapes. Rules are directional and never make a graph larger.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value, topological
from graphc.ir.interpret import evaluate
from graphc.ir.rewrite import Rule, apply_rules, hole, node, rebuild
from graphc.ir.sizes import same
from graphc.ir.types import TensorSpec
from graphc.passes.extreme_rules import mask_of_extreme, take_extreme
from graphc.passes.view import reshape_groups

x, y = hole("x"), hole("y")

RULES = [
    Rule("mul_one", x * 1.0, x),
    Rule("div_one", x / 1.0, x),
    Rule("sub_zero", x - 0.0, x),
    Rule("add_minus_zero", x + -0.0, x),
    Rule("neg_neg", -(-x), x),  # noqa: B002  -- a pattern of two negations, not a decrement
    Rule("mul_neg_neg", -x * -y, x * y),
    Rule("add_neg", x + -y, x - y),
    Rule("sub_neg", x - -y, x + y),
    Rule("relu_relu", node("relu", node("relu", x)), node("relu", x)),
]

MAX_ROUNDS = 8  # a value is rewritten until it rests; rules shrink, so few rounds suffice


def simplify(graph: Graph) -> Graph:
    """Apply every rule bottom-up until values rest."""
    return rebuild(graph, _visit)


def _visit(v: Value) -> Value:
    for _ in range(MAX_ROUNDS):
        w = _once(v)
        if w is v:
            break
        v = w
    return v


def _once(v: Value) -> Value:
    if v.op is None:
        return v
    w = apply_rules(v, RULES)
    if w is not v:
        return w
    special = SPECIAL.get(v.op.name)
    if special is not None:
        with v.builder.by(f"{v.op.name} of {v.args[0].op or 'a leaf'}"):
            w = special(v)
        if w is not v:
            return w
    if v.op.kind == "elementwise" and not v.op.checks:
        return _hoist_expand(_fold_constants(v))
    return v


def _fold_constants(v: Value) -> Value:
    """An elementwise op on constants is a constant."""
    if v.op is None or not v.args or any(a.const is None or is_unknown(a.const) for a in v.args):
        return v
    arrays = [np.array(a.const, a.spec.dtype.numpy) for a in v.args]
    out = evaluate(v.op, arrays, v.attrs, TensorSpec(v.spec.dtype, ()))
    return v.builder.constant(out.item(), v.spec)


def _hoist_expand(v: Value) -> Value:
    """f(expand a, expand b, const) => expand f(a, b, const): compute small, then repeat."""
    if v.op is None or not v.args:
        return v
    shapes = {a.args[0].shape for a in v.args if a.op is not None and a.op.name == "expand"}
    simple = all(
        a.const is not None or (a.op is not None and a.op.name == "expand") for a in v.args
    )
    if not simple or len(shapes) != 1:
        return v
    (shape,) = shapes
    small = [
        a.builder.constant(a.const, TensorSpec(a.spec.dtype, shape))
        if a.const is not None
        else a.args[0]
        for a in v.args
    ]
    return P.expand(v.builder.emit(v.op, small, v.attrs), v.shape)


def _is(v: Value, name: str) -> bool:
    return v.op is not None and v.op.name == name


def _constant_moved(v: Value) -> Value:
    """A moved constant is a constant."""
    (a,) = v.args
    if a.const is None:
        return v
    return v.builder.constant(a.const, v.spec)


def _reshape(v: Value) -> Value:
    (a,) = v.args
    if a.shape == v.shape:
        return a
    if _is(a, "reshape"):
        return P.reshape(a.args[0], v.shape)
    return _constant_moved(v)


def _transpose(v: Value) -> Value:
    (a,) = v.args
    perm = v.attrs["perm"]
    if perm == tuple(range(len(perm))):
        return a
    if _is(a, "transpose"):
        return P.transpose(a.args[0], tuple(a.attrs["perm"][p] for p in perm))
    if _is(a, "reshape"):
        return _transpose_of_reshape(v, a)
    return _constant_moved(v)


def _transpose_of_reshape(v: Value, a: Value) -> Value:
    """transpose(merge x) => merge(transpose x), so that merges meet and become one."""
    source = a.args[0]
    groups = reshape_groups(source.shape, a.shape)
    merges = {news[0]: olds for olds, news in groups if len(news) == 1}
    if len(merges) != len(a.shape) or sum(map(len, merges.values())) != len(source.shape):
        return v
    inner = tuple(k for p in v.attrs["perm"] for k in merges[p])
    return P.reshape(P.transpose(source, inner), v.shape)


def _expand(v: Value) -> Value:
    (a,) = v.args
    if a.shape == v.shape:
        return a
    if _is(a, "expand"):
        return P.expand(a.args[0], v.shape)
    return _constant_moved(v)


def _slice(v: Value) -> Value:
    (a,) = v.args
    if a.shape == v.shape:
        return a
    if _is(a, "pad") and all(s == 1 for s in v.attrs["step"]):
        return _slice_of_pad(v, a)
    return _constant_moved(v)


def _slice_of_pad(v: Value, a: Value) -> Value:
    """A slice that keeps only the padded tensor's inside is a slice of the inside."""
    inner = a.args[0].shape
    low, start, stop = a.attrs["low"], v.attrs["start"], v.attrs["stop"]
    inside = all(p <= s and e <= p + n for p, s, e, n in zip(low, start, stop, inner))
    if not inside:
        return v
    return P.slice(
        a.args[0],
        tuple(s - p for s, p in zip(start, low)),
        tuple(e - p for e, p in zip(stop, low)),
    )


def _pad(v: Value) -> Value:
    (a,) = v.args
    if all(same(n, 0) for n in (*v.attrs["low"], *v.attrs["high"])):
        return a
    value = v.attrs.get("value", 0.0)
    if a.const is None or is_unknown(a.const):
        return v
    if repr(float(a.const)) == repr(float(value)):
        return v.builder.constant(a.const, v.spec)
    return v


def _cast(v: Value) -> Value:
    return v.args[0] if v.args[0].spec == v.spec else v


def _empty_axes(v: Value) -> Value:
    return v if v.attrs["axes"] else v.args[0]


def _where(v: Value) -> Value:
    """where(true, x, y) => x, where(false, x, y) => y, where(c, x, x) => x, unless what goes out
    of use with it may raise."""
    condition, x, y = v.args
    if isinstance(condition.const, bool):
        x, *gone = (x, y) if condition.const else (y, x)
    elif x is y:
        gone = [condition]
    else:
        return mask_of_extreme(v)
    return v if any(u.op is not None and u.op.checks for u in topological(gone)) else x


def _check(v: Value) -> Value:
    """check(x, true) => x"""
    x, condition = v.args
    return x if condition.const is True else v


SPECIAL: dict[str, Callable[[Value], Value]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "expand": _expand,
    "slice": _slice,
    "pad": _pad,
    "flip": _constant_moved,
    "unfold": _constant_moved,
    "diagonal": _constant_moved,
    "cast": _cast,
    "sum": _empty_axes,
    "prod": _empty_axes,
    "max": _empty_axes,
    "min": _empty_axes,
    "take_along": take_extreme,
    "where": _where,
    "check": _check,
}
