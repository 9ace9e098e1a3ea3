"""Small graphs over the primitives, shared by the tests of the passes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np

from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.types import Array, Shape, TensorSpec, bool_, f32, i64

SAME = {
    "stride": (1, 1),
    "padding": ((1, 1), (1, 1)),
    "lhs_dilation": (1, 1),
    "rhs_dilation": (1, 1),
}


class Case(NamedTuple):
    """A graph: its function over inputs of `shapes`, and how many kernels it must become."""

    name: str
    build: Callable[..., Value | tuple[Value, ...]]
    shapes: tuple[Shape, ...]
    kernels: int
    integers: tuple[int, ...] = ()
    states: tuple[int, ...] = ()


def make(case: Case) -> Graph:
    """The graph of a case; its last outputs become its state inputs, in order."""
    b = Builder()
    inputs = tuple(
        b.input(f"x{k}", TensorSpec(i64 if k in case.integers else f32, shape))
        for k, shape in enumerate(case.shapes)
    )
    out = case.build(b, *inputs)
    outs = out if isinstance(out, tuple) else (out,)
    roles = tuple("state" if k in case.states else "arg" for k in range(len(inputs)))
    states = [inputs[k] for k in case.states]
    targets = (*([None] * (len(outs) - len(states))), *states)
    return Graph(case.name, inputs, roles, outs, targets)


def sample(case: Case, seed: int = 0) -> list[Array]:
    """Inputs of a case: normal numbers, and small non-negative integers."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 3, shape) if k in case.integers else rng.standard_normal(shape).astype("f4")
        for k, shape in enumerate(case.shapes)
    ]


def channels(v: Value, shape: Shape) -> Value:
    """A vector over dimension 1, repeated over `shape`."""
    return P.expand(P.reshape(v, (1, shape[1], *([1] * (len(shape) - 2)))), shape)


def softmax(b: Builder, x: Value) -> Value:
    top = P.expand_over(b.apply("max", x, axes=(1,)), (1,), x.shape)
    e = b.apply("exp", x - top)
    return e / P.expand_over(P.sum(e, (1,)), (1,), x.shape)


def linear(b: Builder, x: Value, w: Value, bias: Value) -> Value:
    y = b.apply("dot", x, w, batch=(), contract=((1, 1),))
    return b.apply("relu", y + P.expand(P.reshape(bias, (1, bias.shape[0])), y.shape))


def two_convs(b: Builder, x: Value, w: Value, u: Value) -> Value:
    return b.apply("conv", b.apply("relu", b.apply("conv", x, w, **SAME)), u, **SAME)


def batch_norm(b: Builder, x: Value, w: Value, bias: Value) -> Value:
    """Training statistics from one pass of sums, shifted by the first element of each channel."""
    n, c = x.spec.numel // x.shape[1], x.shape[1]
    first = P.reshape(P.slice(x, (0,) * 4, (1, c, 1, 1)), (c,))
    d = x - channels(first, x.shape)
    s1, s2 = P.sum(d, (0, 2, 3)) * (1 / n), P.sum(d * d, (0, 2, 3)) * (1 / n)
    scale = w * b.apply("rsqrt", s2 - s1 * s1 + 1e-5)
    shift = bias - (first + s1) * scale
    return b.apply("relu", x * channels(scale, x.shape) + channels(shift, x.shape))


def conv_norm(b: Builder, x: Value, w: Value, scale: Value, bias: Value) -> Value:
    return batch_norm(b, b.apply("conv", x, w, **SAME), scale, bias)


def max_pool(b: Builder, x: Value) -> Value:
    w = b.apply("unfold", x, axis=2, size=2, step=2, dilation=1)
    w = b.apply("unfold", w, axis=3, size=2, step=2, dilation=1)
    w = P.reshape(w, (*w.shape[:4], 4))
    index = b.apply("argmax", w, axis=4)
    return P.reshape(
        b.apply("take_along", w, P.reshape(index, (*index.shape, 1)), axis=4), index.shape
    )


def update(b: Builder, x: Value, w: Value) -> tuple[Value, Value]:
    g = b.apply("dot", x, x, batch=(), contract=((0, 0),))
    return P.sum(g, (0, 1)), w - g * 0.1


def conv_update(b: Builder, x: Value, g: Value, w: Value, m: Value) -> tuple[Value, ...]:
    """The forward, the weight gradient and a momentum step of one convolution."""
    y = b.apply("conv", x, w, **SAME)
    xt, gt = P.transpose(x, (1, 0, 2, 3)), P.transpose(g, (1, 0, 2, 3))
    dw = P.transpose(b.apply("conv", xt, gt, **SAME), (1, 0, 2, 3))
    momentum = m * 0.9 + dw
    return P.sum(y, (0, 1, 2, 3)), w - momentum * 0.1, momentum


def fold_twice(b: Builder, x: Value) -> Value:
    """The gradient of overlapping two-dimensional windows, 3x3 every 2."""
    y = b.apply("fold", x, axis=3, length=12, step=2, dilation=1)
    return b.apply("fold", y, axis=2, length=9, step=2, dilation=1)


def dilated(b: Builder, x: Value, w: Value) -> Value:
    attrs = {**SAME, "padding": ((2, 2), (2, 2)), "lhs_dilation": (2, 2)}
    return b.apply("conv", x, w, **attrs)


def interleaving(b: Builder, g: Value, w: Value, x: Value) -> tuple[Value, ...]:
    """A strided convolution's data gradient, behind an activation and its norm's gradient."""
    spread = {**SAME, "padding": ((1, 2), (1, 2)), "lhs_dilation": (2, 2)}
    a = b.apply("conv", g, w, **spread)
    m = P.where(b.apply("le", x, 0.0), 0.0, a)
    kept = P.sum(m, (0, 2, 3)) + P.sum(m * x, (0, 2, 3))
    return m - channels(kept, m.shape), kept


def attend(b: Builder, q: Value, k: Value, v: Value, g: Value) -> tuple[Value, ...]:
    """Attention with causal order and dropout, and the cotangents of its operands."""
    zero, mask = TensorSpec(i64, ()), TensorSpec(bool_, (*q.shape[:-1], k.shape[-2]))
    seeds = b.constant(7, zero), b.constant(3, zero)
    operands = (q, k, v, b.constant(True, mask), *seeds)
    attrs = {
        "scale": 0.5,
        "causal": True,
        "fill": -inf,
        "safe": False,
        "drop": 1 << 22,
        "gain": 4 / 3,
    }
    z, lse = (b.apply(op, *operands, **attrs) for op in ("attention", "attention_lse"))
    pulls = (f"attention_d{x}" for x in "qkv")
    return z, *(b.apply(op, *operands, z, lse, g, **attrs) for op in pulls)


CASES = [
    Case("attention", attend, ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 3), (2, 3, 5, 3)), 2),
    Case("add", lambda b, x, y: x + y * 2.5, ((3, 4), (3, 4)), 1),
    Case("softmax", softmax, ((5, 7),), 1),
    Case("linear", linear, ((6, 8), (4, 8), (4,)), 1),
    Case("two_convs", two_convs, ((2, 3, 6, 6), (4, 3, 3, 3), (5, 4, 3, 3)), 8),
    Case("conv_norm", conv_norm, ((4, 3, 40, 40), (16, 3, 3, 3), (16,), (16,)), 5),
    Case("max_pool", max_pool, ((2, 3, 6, 6),), 1),
    Case("update", update, ((6, 8), (8, 8)), 2, states=(1,)),
    Case("conv_update", conv_update, ((2, 3, 6, 6), (2, 4, 6, 6), (4, 3, 3, 3), (4, 3, 3, 3)), 5,
         states=(2, 3)),
    Case("dilated", dilated, ((2, 3, 5, 5), (4, 3, 3, 3)), 10),
    Case("interleaving", interleaving, ((2, 4, 8, 8), (3, 4, 3, 3), (2, 3, 16, 16)), 11),
    Case("grouped", lambda b, x, w: b.apply("conv", x, w, groups=2, **SAME),
         ((2, 4, 6, 6), (6, 2, 3, 3)), 4),
    Case("depthwise", lambda b, x, w: b.apply("conv", x, w, groups=4, **SAME),
         ((2, 4, 6, 6), (4, 1, 3, 3)), 4),
    Case("batch_groups", lambda b, x, w: b.apply("conv", x, w, batch_groups=2, **SAME),
         ((4, 3, 6, 6), (6, 3, 3, 3)), 4),
    Case("concat", lambda b, x, y: b.apply("concat", x, y, axis=1), ((2, 3), (2, 5)), 2),
    Case("fold", lambda b, x: b.apply("fold", x, axis=1, length=9, step=2, dilation=1),
         ((2, 4, 3),), 2),
    Case("fold_apart", lambda b, x: b.apply("fold", x, axis=1, length=9, step=2, dilation=1),
         ((2, 4, 2),), 1),
    Case("fold_twice", fold_twice, ((2, 3, 4, 5, 3, 3),), 2),
    # An index that may be anything is checked in a kernel of its own.
    Case("gather", lambda b, x, i: b.apply("gather", x, i, axis=0), ((5, 4), (2, 3)), 2, (1,)),
    Case("scatter_add", lambda b, x, i: b.apply("scatter_add", x, i, axis=0, length=5),
         ((2, 3, 4), (2, 3)), 2, (1,)),
    Case("take_along", lambda b, x, i: b.apply("take_along", x, i, axis=1),
         ((4, 5), (4, 2)), 2, (1,)),
    Case("put_along", lambda b, x, i: b.apply("put_along", x, i, axis=1, length=5),
         ((4, 2), (4, 2)), 2, (1,)),
]  # fmt: skip
