"""decompose: ops without a kernel of their own, written over the others.

concat          nested where over padded operands: one kernel, no copies
fold            windows that do not overlap are a reshape; else the sum of the shifted taps
conv, dilated   an input dilation of s is s dense convolutions per dimension, interleaved, so no
                multiplication by an inserted zero is ever made
"""

from __future__ import annotations

from itertools import product
from math import gcd

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value, uses
from graphc.ir.ops import OPS, Attrs
from graphc.ir.rewrite import Visit, replaced
from graphc.ir.types import Shape, TensorType
from graphc.passes.group import is_op


def decompose(graph: Graph) -> Graph:
    """Replace every op of `RULES`."""
    readers = uses(graph)
    new: dict[Value, Value] = {}
    for v in graph.values():
        if v.op is None:
            new[v] = v
            continue
        rule = RULES.get(v.op.name, _keep)
        if is_op(v, "fold") and _waits(v, readers[v]):
            rule = _keep
        new[v] = replaced(v, tuple(new[a] for a in v.args), rule)
    return graph.with_outs(new[v] for v in graph.outs)


def _keep(v: Value) -> Value:
    return v


def _concat(v: Value) -> Value:
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


def _fold(v: Value) -> Value:
    """Both folds of two-dimensional windows at once: an inner fold waits for the outer one."""
    if v.attrs["step"] == v.args[0].shape[-1] and v.attrs["dilation"] == 1:
        return _fold_apart(v.args[0], v.attrs["axis"], v.attrs["length"])
    folds = [v]
    while is_op(folds[-1].args[0], "fold"):
        folds.append(folds[-1].args[0])
    return _fold_taps(folds[-1].args[0], [f.attrs for f in folds])


def _waits(v: Value, readers: list[Value]) -> bool:
    """Whether a fold of overlapping windows is the operand of another one."""
    apart = v.attrs["step"] == v.args[0].shape[-1] and v.attrs["dilation"] == 1
    return not apart and len(readers) == 1 and is_op(readers[0], "fold")


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


def _conv(v: Value) -> Value:
    dilation: Shape = v.attrs["lhs_dilation"]
    if all(d == 1 for d in dilation):
        return v
    stride = tuple(1 if d > 1 else s for d, s in zip(dilation, v.attrs["stride"]))
    if stride != v.attrs["stride"]:
        return _conv_spread(v)
    phases = product(*(range(d) for d in dilation))
    parts = {r: _phase_conv(v, r) for r in phases}
    return _interleave(parts, dilation, v.shape)


def _conv_spread(v: Value) -> Value:
    """A strided convolution of a dilated input: zeros inserted (second derivatives alone need it)."""
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
        P.reshape(wide, (*x.shape[:axis], n * d, *x.shape[axis + 1 :])), axis, (n - 1) * d + 1
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
            quiet = tuple(
                -(-(n - q) // e) for n, q, e in zip(v.shape[2:], phase, v.attrs["lhs_dilation"])
            )
            return P.zeros(v, TensorType(v.type.dtype, (*v.shape[:2], *quiet)))
        m = s // gcd(s, d)
        gap = m * d // s
        before = (lo - r - taps[0] * d) // s
        after = count - x.shape[2 + k] - before + (len(taps) - 1) * gap
        padding.append((before, after))
        starts.append(taps[0])
        steps.append(m)
        dilations.append(gap)
    sub = P.slice(w, (0, 0, *starts), w.shape, (1, 1, *steps))
    kept, cut = _pad_or_cut(x, padding)
    attrs = {
        **v.attrs,
        "padding": kept,
        "lhs_dilation": (1,) * len(phase),
        "rhs_dilation": tuple(dilations),
    }
    return v.builder.emit(OPS["conv"], (cut, sub), attrs)


def _pad_or_cut(
    x: Value, padding: list[tuple[int, int]]
) -> tuple[tuple[tuple[int, int], ...], Value]:
    """Negative padding is a slice."""
    start = (0, 0, *(max(-a, 0) for a, _ in padding))
    stop = (*x.shape[:2], *(n - max(-b, 0) for n, (_, b) in zip(x.shape[2:], padding)))
    return tuple((max(a, 0), max(b, 0)) for a, b in padding), P.slice(x, start, stop)


def _interleave(parts: dict[Shape, Value], dilation: Shape, shape: Shape) -> Value:
    """parts[r][.., q] at out[.., s*q + r]."""
    full = {r: part for r, part in parts.items() if part.type.numel}
    some = next(iter(parts.values()))
    return some.builder.apply(
        "assemble",
        *full.values(),
        shape=shape,
        starts=tuple((0, 0, *r) for r in full),
        steps=((1, 1, *dilation),) * len(full),
    )


RULES: dict[str, Visit] = {"concat": _concat, "fold": _fold, "conv": _conv}
