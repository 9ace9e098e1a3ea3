"""What a graph's outputs must be, and how far rounding may take them from it.

The graph is interpreted in float64, once plainly and a few times with every rounding of the real
dtypes imitated by a random one of the same size (stochastic arithmetic, after Vignes' CESTAC). The
spread of the noisy runs is how far a right answer may be off, however ill-conditioned the graph. An
element where the runs do not even agree on being finite is left out; so that they do not where the
order of a sum decides whether it overflows, one run gives NaN there, one inf and one -inf.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import constant, evaluate, interpret
from graphc.ir.ops import Op
from graphc.ir.types import Array, DType, TensorSpec, bf16, f64

OVERFLOWS = (np.nan, np.inf, -np.inf)  # one for each noisy run
SLACK = 40.0  # spreads; three runs underestimate the worst case of one element
ULPS = 8.0  # on top, relative to the element: spreads are 0 where runs agree by luck

SUMS = frozenset({"sum", "dot", "conv", "fold", "scatter_add", "put_along"})


class Noise(NamedTuple):
    """What a run imitates rounding with, and what it takes a sum for that may overflow."""

    draw: np.random.Generator
    overflow: float


class Expected(NamedTuple):
    """An output's value in float64 (or exactly), its slack, and where both can be relied on."""

    value: Array
    slack: Array
    sure: Array


def expect(graph: Graph, inputs: list[Array]) -> list[Expected]:
    """One row per output."""
    plain = run_wide(graph, inputs, None)
    noises = [Noise(np.random.default_rng(k), over) for k, over in enumerate(OVERFLOWS)]
    noisy = [run_wide(graph, inputs, noise) for noise in noises]
    eager = interpret(graph, *inputs)
    return [
        _row(v.spec.dtype, p, [n[k] for n in noisy], e)
        for k, (v, p, e) in enumerate(zip(graph.outs, plain, eager, strict=True))
    ]


def _row(dtype: DType, plain: Array, noisy: list[Array], eager: Array) -> Expected:
    if not dtype.is_floating_point:
        return Expected(eager, np.zeros(eager.shape), np.ones(eager.shape, bool))
    with np.errstate(all="ignore"):
        wide = eager.astype(np.float64)
        runs = [wide, *(n.astype(dtype.numpy).astype(np.float64) for n in noisy)]
        narrow = plain.astype(dtype.numpy).astype(np.float64)
        sure = np.ones(plain.shape, bool)
        for r in runs:
            sure &= np.isfinite(r) == np.isfinite(narrow)
            sure &= np.isfinite(narrow) | (np.isnan(r) == np.isnan(narrow)) & ~(r == -narrow)
        spread = np.max([np.abs(r - narrow) for r in runs], axis=0)
        spread = np.where(np.isfinite(narrow) & sure, spread, 0.0)
        usual = np.sqrt(np.mean(spread**2)) if spread.size else 0.0
        size = np.where(np.isfinite(narrow), np.abs(narrow), 0.0)
        slack = SLACK * (spread + usual) + ULPS * eps(dtype) * size + 4 * smallest(dtype)
    return Expected(narrow, slack, sure)


def run_wide(graph: Graph, inputs: list[Array], noise: Noise | None) -> list[Array]:
    """The outputs with floats held as float64; `noise` imitates the rounding of each result."""
    env = {v: _widened(a) for v, a in zip(graph.inputs, inputs, strict=True)}
    for v in graph.values():
        if v.const is not None:
            env[v] = _widened(constant(v))
        elif v.op is not None:
            env[v] = _evaluate(v, [env[a] for a in v.args], noise)
    return [env[v] for v in graph.outs]


def _evaluate(v: Value, args: list[Array], noise: Noise | None) -> Array:
    op, dtype = v.op, v.spec.dtype
    assert op is not None
    attrs = dict(v.attrs)
    if op.name == "cast" and dtype.is_floating_point:
        attrs["dtype"] = "f64"
    wide = f64 if dtype.is_floating_point else dtype
    risky: Array | None = None
    if noise is not None and op.name in SUMS and dtype.is_floating_point:
        sizes = [np.where(np.isfinite(a), np.abs(a), 0) if _real(a) else a for a in args]
        risky = evaluate(op, sizes, attrs, TensorSpec(wide, v.shape)) > largest(dtype)
        if dtype is bf16 and op.kind == "contract":
            risky |= _flushed(op, args, attrs, TensorSpec(wide, v.shape))
        args = [_jiggled(a, dtype, noise) if _real(a) else a for a in args]
    out = evaluate(op, args, attrs, TensorSpec(wide, v.shape))
    if risky is not None and noise is not None:
        out = np.where(risky, noise.overflow, out)
    if not dtype.is_floating_point:
        return out
    if op.name == "cast" or op.name == "iota":
        with np.errstate(all="ignore"):  # a narrowing is part of the meaning
            out = _widened(out.astype(dtype.numpy))
    rounds = (not op.exact and op.kind != "movement") or op.name in SUMS
    return out if noise is None or not rounds else _jiggled(out, dtype, noise)


def _flushed(op: Op, args: list[Array], attrs: dict[str, Any], spec: TensorSpec) -> Array:
    """Where a denormal meets an infinity: products of bf16 pairs take it for zero."""
    least = float(ml_dtypes.finfo(bf16.numpy).smallest_normal)
    small = [((np.abs(a) < least) & (a != 0)).astype(np.float64) for a in args]
    huge = [np.isinf(a).astype(np.float64) for a in args]
    meets = [evaluate(op, pair, attrs, spec) for pair in ((small[0], huge[1]), (huge[0], small[1]))]
    return np.asarray(meets[0] + meets[1] > 0)


def _jiggled(x: Array, dtype: DType, noise: Noise) -> Array:
    """x with a relative error as rounding to `dtype` makes it; zeros and infinities as they are."""
    sign = noise.draw.uniform(-1, 1, x.shape)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(x == 0, x, x * (1 + eps(dtype) * sign) + smallest(dtype) * sign))


def _widened(a: Array) -> Array:
    return np.asarray(a, np.float64) if _real(a) else a


def _real(a: Array) -> bool:
    return a.dtype.kind == "f" or a.dtype == ml_dtypes.bfloat16


def eps(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype.numpy).eps)


def largest(dtype: DType) -> float:
    """Of what sums are accumulated in."""
    return float(np.finfo(np.float64 if dtype is f64 else np.float32).max)


def smallest(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype.numpy).smallest_subnormal)


def complaint(got: Array, want: Expected, spec: TensorSpec) -> str:
    """Why `got` is not what was expected, or nothing."""
    if got.shape != spec.shape or got.dtype != spec.dtype.numpy:
        return f"is {got.dtype}{list(got.shape)}"
    if not spec.dtype.is_floating_point:
        bad = got != want.value
    else:
        bad = _off(got.astype(np.float64), want) & want.sure
    if not bad.any():
        return ""
    at = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(bad)))
    place = at if spec.shape else ()
    return (
        f"differs in {int(bad.sum())} of {bad.size} elements, first at {place}: "
        f"{got[place]!r}, expected {want.value[place]!r} within {want.slack[place]:.3g}"
    )


def _off(got: Array, want: Expected) -> Array:
    with np.errstate(all="ignore"):
        close = np.abs(got - want.value) <= want.slack
    same = (got == want.value) | (np.isnan(got) & np.isnan(want.value))
    return np.asarray(~(same | np.isfinite(want.value) & close))
