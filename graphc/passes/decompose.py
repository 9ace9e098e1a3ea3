"""decompose: ops without a kernel of their own, written over the others.

concat          `assemble`: what computes a part writes it right into its place
put_along       of one place in each short row is a selection, elementwise
scatters        of many rows, which may all have one number, add up in float64; halves in float32
fold            windows that do not overlap are a reshape; else the sum of the shifted taps, or of
                diagonals where there are many taps
dot             of float32 that may be narrow: of operands rounded to bfloat16, where that pays
conv, dilated   an input dilation of s is s dense convolutions per dimension, whose results
                `assemble` interleaves: no inserted zero is ever multiplied
attention       products and softmax, where the target has no kernel of the two in one
functions       elementary functions as formulas over those with a kernel (`elementary.py`)
sums of nothing a constant: no loop then stands around loads from a buffer without elements
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import gcd, prod

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value, uses
from graphc.ir.ops import OPS, Attrs
from graphc.ir.rewrite import Visit, replaced
from graphc.ir.sizes import typical
from graphc.ir.types import Shape, TensorSpec, bf16, f32, f64
from graphc.passes.decompose_attention import RESULTS, attention
from graphc.passes.elementary import FUNCTIONS
from graphc.passes.group import is_op
from graphc.passes.profile import Profile

Rule = Callable[[Value, Profile], Value]


def decompose(graph: Graph, profile: Profile) -> Graph:
    """Replace every op of `RULES`."""
    readers = uses(graph)
    new: dict[Value, Value] = {}
    for v in graph.values():
        if v.op is None:
            new[v] = v
            continue
        args = tuple(new[a] for a in v.args)
        rule = RULES.get(v.op.name, _keep)
        if is_op(v, "fold") and v not in graph.outs and _waits(v, args[0], readers[v]):
            rule = _keep
        new[v] = replaced(v, args, _for(rule, profile))
    return graph.with_outs(new[v] for v in graph.outs)


def _for(rule: Rule, profile: Profile) -> Visit:
    return lambda v: rule(v, profile)


def _keep(v: Value, profile: Profile) -> Value:
    return v


def _concat(v: Value, profile: Profile) -> Value:
    parts = [a for a in v.args if a.shape[v.attrs["axis"]]]
    return concat(parts, v.attrs["axis"]) if parts else v.args[0]


def concat(parts: list[Value], axis: int) -> Value:
    """The parts one behind the other, each written in place by what computes it."""
    rank = len(parts[0].shape)
    starts, at = [], 0
    for part in parts:
        starts.append(tuple(at if k == axis else 0 for k in range(rank)))
        at += part.shape[axis]
    shape = tuple(at if k == axis else n for k, n in enumerate(parts[0].shape))
    steps = ((1,) * rank,) * len(parts)
    return parts[0].builder.apply(
        "assemble", *parts, shape=shape, starts=tuple(starts), steps=steps
    )


# ---- fold --------------------------------------------------------------------------------------


def _fold(v: Value, profile: Profile) -> Value:
    """Both folds of two-dimensional windows at once: an inner fold waits for the outer one."""
    if _apart(v):
        return _fold_apart(v.args[0], v.attrs["axis"], v.attrs["length"])
    folds = [v, *_waiting(v.args[0])]
    taps = folds[-1].args[0].shape[-len(folds) :]
    if prod(taps) > profile.many_taps:
        y = folds[-1].args[0]
        for f in reversed(folds):
            y = _fold_diagonals(y, f.attrs["axis"], f.attrs)
        return y
    return _fold_taps(folds[-1].args[0], [f.attrs for f in folds])


def _apart(v: Value) -> bool:
    """Whether the windows do not overlap."""
    return bool(v.attrs["step"] == v.args[0].shape[-1] and v.attrs["dilation"] == 1)


def _waiting(v: Value) -> list[Value]:
    """The folds, from the outside in, that were left for the one that reads `v`."""
    folds = []
    while is_op(v, "fold"):
        folds.append(v)
        (v,) = v.args
    return folds


def _waits(v: Value, arg: Value, readers: list[Value]) -> bool:
    """Whether the fold `v`, of `arg` by now, is left for the fold that reads it.

    Only where the two, and those that `v` itself is to do, fold different axes, none of which is
    the windows of another.
    """
    outer = readers[0] if len(readers) == 1 else v
    if outer is v or not is_op(outer, "fold") or _apart(v) or _apart(outer):
        return False
    axes = [f.attrs["axis"] for f in (v, *_waiting(arg))]
    return max(axes) < len(outer.shape) and outer.attrs["axis"] not in axes


def _fold_taps(a: Value, folds: list[Attrs]) -> Value:
    """The sum over all taps (the trailing dimensions of `a`), each shifted to its places.

    Output place q * step + phase along a folded axis stands at [q, phase] of a grid, in which a tap
    is the whole window grid at an offset; the grid is the output once its pairs merge.
    """
    rank = len(a.shape) - len(folds)
    axes = {f["axis"]: (k, f) for k, f in enumerate(folds)}
    wide = {axis: -(-f["length"] // f["step"]) for axis, (_, f) in axes.items()}
    total: Value | None = None
    for tap in product(*(range(n) for n in a.shape[rank:])):
        one = P.slice(a, (0,) * rank + tap, a.shape[:rank] + tuple(k + 1 for k in tap))
        low, high, shape = [], [], []
        for d in range(rank):
            shape.append(a.shape[d])
            low.append(0)
            high.append(0)
            if d in axes:
                k, f = axes[d]
                first, phase = divmod(tap[k] * f["dilation"], f["step"])
                low[-1], high[-1] = first, wide[d] - a.shape[d] - first
                shape.append(1)
                low.append(phase)
                high.append(f["step"] - 1 - phase)
        grid = P.pad(P.reshape(one, tuple(shape)), tuple(low), tuple(high))
        total = grid if total is None else total + grid
    assert total is not None
    steps = {axis: f["step"] for axis, (_, f) in axes.items()}
    merged = tuple(wide[d] * steps[d] if d in axes else a.shape[d] for d in range(rank))
    joined = P.reshape(total, merged)
    stop = tuple(axes[d][1]["length"] if d in axes else a.shape[d] for d in range(rank))
    return P.slice(joined, (0,) * rank, stop)


def _fold_diagonals(a: Value, axis: int, fold: Attrs) -> Value:
    """out[p] = sum over the taps t of a[(p - t * dilation) / step, t], where that is a window.

    With steps of 1 these are diagonals of a, taps turned round and zeros before and behind. Steps
    of s cut the taps in runs of s, each of which gives s neighbours; a dilation that stands in the
    way of that is made 1 by taps of zeros.
    """
    step, spread = fold["step"], fold["dilation"]
    if step > 1 and spread > 1:
        a, spread = _spread(a, len(a.shape) - 1, spread), 1
    last, taps = len(a.shape) - 1, -(-a.shape[-1] // step)
    runs = _padded(a, last, 0, taps * step - a.shape[-1])
    runs = P.reshape(runs, (*a.shape[:-1], taps, step))
    perm = (*range(last), last + 1, last)
    turned = P.apply("flip", P.transpose(runs, perm), axes=(last + 1,))
    around = _padded(turned, axis, (taps - 1) * spread, (taps - 1) * spread)
    views = P.apply("unfold", around, axis=axis, size=taps, step=1, dilation=spread)
    sums = P.apply("sum", P.apply("diagonal", views), axes=(last + 1,))
    places = sums.shape[axis] * step
    side_by_side = (*range(axis + 1), last, *range(axis + 1, last))
    joined = P.reshape(
        P.transpose(sums, side_by_side), (*a.shape[:axis], places, *a.shape[axis + 1 : -1])
    )
    length = fold["length"]
    return _cut(_padded(joined, axis, 0, max(0, length - places)), axis, length)


def _padded(v: Value, axis: int, low: int, high: int) -> Value:
    none = (0,) * len(v.shape)
    return P.pad(v, (*none[:axis], low, *none[axis + 1 :]), (*none[:axis], high, *none[axis + 1 :]))


def _fold_apart(a: Value, axis: int, length: int) -> Value:
    """Windows side by side: [.., O, .., K] -> [.., O, K, ..] -> [.., O*K, ..], zeros behind."""
    rank, covered = len(a.shape), a.shape[axis] * a.shape[-1]
    perm = (*range(axis + 1), rank - 1, *range(axis + 1, rank - 1))
    moved = P.transpose(a, perm)
    joined = P.reshape(moved, (*a.shape[:axis], covered, *a.shape[axis + 1 : -1]))
    rest = tuple(length - covered if k == axis else 0 for k in range(rank - 1))
    return P.pad(joined, (0,) * (rank - 1), rest)


def _cut(v: Value, axis: int, length: int) -> Value:
    stop = tuple(length if k == axis else n for k, n in enumerate(v.shape))
    return P.slice(v, (0,) * len(v.shape), stop)


# ---- convolution with a dilated input ----------------------------------------------------------


def _conv(v: Value, profile: Profile) -> Value:
    dilation: Shape = v.attrs["lhs_dilation"]
    if 0 in (*v.args[0].shape, *v.shape):
        return v.full(0, v.spec)
    if all(d == 1 for d in dilation):
        return v
    stride = tuple(1 if d > 1 else s for d, s in zip(dilation, v.attrs["stride"]))
    if stride != v.attrs["stride"]:
        return _conv_spread(v)
    phases = product(*(range(d) for d in dilation))
    parts = {r: _phase_conv(v, r) for r in phases}
    return _interleave(parts, dilation, v.shape)


def _conv_spread(v: Value) -> Value:
    """A strided convolution of a dilated input, zeros inserted; only second derivatives need it."""
    x, w = v.args
    for k, d in enumerate(v.attrs["lhs_dilation"]):
        x = _spread(x, 2 + k, d)
    attrs = {**v.attrs, "lhs_dilation": (1,) * (len(x.shape) - 2)}
    return v.builder.emit(OPS["conv"], (x, w), attrs)


def _spread(x: Value, axis: int, d: int) -> Value:
    """d - 1 zeros between elements along `axis`."""
    if d == 1:
        return x
    n, rank = x.shape[axis], len(x.shape)
    grid = P.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    high = tuple(d - 1 if k == axis + 1 else 0 for k in range(rank + 1))
    wide = P.pad(grid, (0,) * (rank + 1), high)
    return _cut(
        P.reshape(wide, (*x.shape[:axis], n * d, *x.shape[axis + 1 :])), axis, max(0, n * d - d + 1)
    )


def _phase_conv(v: Value, phase: Shape) -> Value:
    """The dense convolution that gives the outputs p with p % lhs_dilation == phase.

    Along one dimension, output s*q + r sees input q + (r + k*d - lo) / s for the taps k that make
    the division exact: k0, k0 + m, ... with m = s / gcd(s, d).
    """
    x, w = v.args
    padding, starts, steps, dilations = [], [], [], []
    for k, r in enumerate(phase):
        s, d = v.attrs["lhs_dilation"][k], v.attrs["rhs_dilation"][k]
        lo = v.attrs["padding"][k][0]
        count = -(-(v.shape[2 + k] - r) // s)
        taps = [t for t in range(w.shape[2 + k]) if (r + t * d - lo) % s == 0]
        if not taps or count <= 0:
            return _quiet(v, phase)
        m = s // gcd(s, d)
        gap = m * d // s
        before = (lo - r - taps[0] * d) // s
        span = (count - 1) * v.attrs["stride"][k] + (len(taps) - 1) * gap + 1
        padding.append((before, span - x.shape[2 + k] - before))
        starts.append(taps[0])
        steps.append(m)
        dilations.append(gap)
    if any(-min(p) >= n for p, n in zip(padding, x.shape[2:])):
        return _quiet(v, phase)
    sub = P.slice(w, (0, 0, *starts), w.shape, (1, 1, *steps))
    kept, cut = _pad_or_cut(x, padding)
    attrs = {
        **v.attrs,
        "padding": kept,
        "lhs_dilation": (1,) * len(phase),
        "rhs_dilation": tuple(dilations),
    }
    return v.builder.emit(OPS["conv"], (cut, sub), attrs)


def _quiet(v: Value, phase: Shape) -> Value:
    """The outputs of a phase that sees inserted zeros and padding only."""
    dilation = v.attrs["lhs_dilation"]
    space = tuple(-(-(n - r) // s) for n, r, s in zip(v.shape[2:], phase, dilation))
    return P.zeros(v, TensorSpec(v.spec.dtype, (*v.shape[:2], *space)))


def _pad_or_cut(
    x: Value, padding: list[tuple[int, int]]
) -> tuple[tuple[tuple[int, int], ...], Value]:
    """Negative padding is a slice."""
    start = (0, 0, *(max(-a, 0) for a, _ in padding))
    stop = (*x.shape[:2], *(n - max(-b, 0) for n, (_, b) in zip(x.shape[2:], padding)))
    return tuple((max(a, 0), max(b, 0)) for a, b in padding), P.slice(x, start, stop)


def _interleave(parts: dict[Shape, Value], dilation: Shape, shape: Shape) -> Value:
    """parts[r][.., q] at out[.., s*q + r]."""
    full = {r: part for r, part in parts.items() if part.spec.numel}
    some = next(iter(parts.values()))
    return some.builder.apply(
        "assemble",
        *full.values(),
        shape=shape,
        starts=tuple((0, 0, *r) for r in full),
        steps=((1, 1, *dilation),) * len(full),
    )


# ---- narrow products ---------------------------------------------------------------------------


def _dot(v: Value, profile: Profile) -> Value:
    """A product that may be narrow, of rounded operands. Neither the left one's rows nor the terms
    have a say: a batch lies there, and a row has the same bits in any."""
    whole = _of_nothing(v, profile)
    if whole is not v or not (v.attrs.get("narrow") and profile.narrow and v.spec.dtype is f32):
        return whole
    x, y = v.args
    batch, contract = v.attrs["batch"], v.attrs["contract"]
    taken = {j for _, j in (*batch, *contract)}
    columns = prod(n for j, n in enumerate(y.shape) if j not in taken)
    if typical(columns) < profile.narrow:
        return v
    sides = _rounded(x), _rounded(y)
    return v.builder.apply("dot", *sides, batch=batch, contract=contract, dtype=f32.name)


def _rounded(v: Value) -> Value:
    """`v` in bfloat16, one copy for all ways to read it."""
    if v.op is not None and v.op.name in ("transpose", "reshape", "expand"):
        return v.builder.emit(v.op, [_rounded(v.args[0])], v.attrs)
    return P.cast(v, bf16)


# ---- sums of nothing ---------------------------------------------------------------------------


def _of_nothing(v: Value, profile: Profile) -> Value:
    """The identity of a fold whose operands have no elements, although its result has."""
    values = v.args if is_op(v, "dot") else v.args[:1]
    if v.spec.numel == 0 or all(a.spec.numel for a in values):
        return v
    return v.full(int(is_op(v, "prod")), v.spec)


def _put_along(v: Value, profile: Profile) -> Value:
    """One place in each short row: elementwise, where(one_hot, x, 0), which fuses."""
    x, index = v.args
    axis, shape = v.attrs["axis"], v.shape
    whole = tuple(1 if k == axis else n for k, n in enumerate(shape))
    if index.shape != whole or shape[axis] > profile.short_axis:
        return _scatter(v, index.shape[axis], profile)
    return P.where(P.one_hot(index, axis, shape), P.expand(x, shape), 0)


def _scatter_add(v: Value, profile: Profile) -> Value:
    return _scatter(v, v.args[1].spec.numel, profile)


def _scatter(v: Value, terms: int, profile: Profile) -> Value:
    """A scatter that may add `terms` rows to one place."""
    x, index = v.args
    dtype, many = v.spec.dtype, terms > profile.many_terms
    if v.op is None or not (dtype.is_half or (dtype is f32 and many)):
        return _of_nothing(v, profile)
    wide = P.cast(x, f64 if many else f32)
    return P.cast(v.builder.emit(v.op, (wide, index), v.attrs), dtype)


def _function(v: Value, profile: Profile) -> Value:
    assert v.op is not None
    out: Value = FUNCTIONS[v.op.name](*v.args, **v.attrs)
    return out


RULES: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(RESULTS, attention),
    "concat": _concat,
    "fold": _fold,
    "conv": _conv,
    "sum": _of_nothing,
    "prod": _of_nothing,
    "dot": _dot,
    "scatter_add": _scatter_add,
    "put_along": _put_along,
}
