"""unread: what nobody reads is not computed, and what is zero for that reason is not multiplied.

Input: a graph with its derivatives. Output: the same in which

    slice(f(x))         is f(slice(x)) where all that read f(x) read the same part of it,
    f(pad(g), x)        is pad(f(g, slice(x))) where `pad` puts the cotangents of what was read
                        among the zeros of what was not.

So a classifier on the first token, or the last row's logits, costs one row in the layers behind
the last mixing of rows, forward and backward. The first line holds for every float. The second is
what a derivative means, the gradient of what has no influence is zero, where arithmetic as written
would multiply that zero by what the unread part holds, and give NaN if that is not finite.

An op is described by its threads: axes that run through it, such that a part of the result along
one takes the same part of some operands, whatever the other positions hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value, uses
from graphc.ir.interpret import evaluate
from graphc.ir.ops import Op
from graphc.ir.rewrite import rebuild
from graphc.ir.sizes import is_fixed, is_one, same, typical
from graphc.ir.types import DType, Shape, TensorSpec
from graphc.passes.group import is_op
from graphc.passes.view import reshape_groups

PRODUCTS = frozenset({"contract", "attention"})  # kinds of ops that are worth the trouble
PROBES = (-3.0, -0.5, 0.0, 1.0, 7.0)  # what an operand may hold where others are zero


@dataclass(frozen=True, slots=True)
class Thread:
    """An axis that runs through an op: where it is in the result, None if summed away, and in each
    operand, None if that is read as a whole."""

    result: int | None
    operands: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some positions of an axis: `count` of them from `start` on."""

    axis: int
    start: int
    count: int

    def along(self, axis: int) -> Part:
        return Part(axis, self.start, self.count)

    def like(self, other: Part) -> bool:
        return same(self.start, other.start) and same(self.count, other.count)


def unread(graph: Graph) -> Graph:
    """First zeros go down to the sums that end them, if a product gets smaller; then slices up."""
    down = rebuild(graph, _without_zeros)
    return _narrowed(down if _multiplied(down) < _multiplied(graph) else graph)


def _multiplied(graph: Graph) -> int:
    """How many elements products read and give."""
    products = (v for v in graph.values() if v.op is not None and v.op.kind in PRODUCTS)
    return sum(prod(map(typical, x.shape)) for v in products for x in (v, *v.args))


# ---- threads -------------------------------------------------------------------------------------


def threads(v: Value) -> Iterator[Thread]:
    """Those of the op of `v`."""
    assert v.op is not None
    find = THREADS.get(v.op.name, BY_KIND.get(v.op.kind))
    return find(v) if find is not None and not v.op.can_fail(v.spec.dtype) else iter(())


def _elementwise(v: Value) -> Iterator[Thread]:
    for k in range(len(v.shape)):
        yield Thread(k, (k,) * len(v.args))


def _transpose(v: Value) -> Iterator[Thread]:
    for k, p in enumerate(v.attrs["perm"]):
        yield Thread(k, (p,))


def _unchanged(v: Value) -> Iterator[Thread]:
    """Axes that expand, slice and pad leave as they are."""
    low = v.attrs.get("low", (0,) * len(v.shape))  # a pad may move an axis, too
    for k, (n, m) in enumerate(zip(v.args[0].shape, v.shape, strict=True)):
        if same(n, m) and same(low[k], 0):
            yield Thread(k, (k,))


def _reshape(v: Value) -> Iterator[Thread]:
    old, new = v.args[0].shape, v.shape
    for olds, news in reshape_groups(old, new):
        wide = [k for k in olds if not is_one(old[k])], [k for k in news if not is_one(new[k])]
        if len(wide[0]) == len(wide[1]) == 1:
            yield Thread(wide[1][0], (wide[0][0],))


def _reduce(v: Value) -> Iterator[Thread]:
    if "axes" not in v.attrs:
        return
    kept = [k for k in range(len(v.args[0].shape)) if k not in v.attrs["axes"]]
    yield from (Thread(r, (k,)) for r, k in enumerate(kept))


def _sum(v: Value) -> Iterator[Thread]:
    yield from _reduce(v)
    yield from (Thread(None, (k,)) for k in v.attrs["axes"])


def _dot(v: Value) -> Iterator[Thread]:
    batch, contract = v.attrs["batch"], v.attrs["contract"]
    yield from (Thread(r, pair) for r, pair in enumerate(batch))
    r = len(batch)
    for side, x in enumerate(v.args):
        taken = [pair[side] for pair in (*batch, *contract)]
        for k in (k for k in range(len(x.shape)) if k not in taken):
            yield Thread(r, (k, None) if side == 0 else (None, k))
            r += 1
    yield from (Thread(None, pair) for pair in contract)


def _attention(v: Value) -> Iterator[Thread]:
    """The rows of the queries, and what is attended to apart. (Dropout counts its positions over
    all of them.)"""
    if v.attrs["drop"]:
        return
    assert v.op is not None
    rows = len(v.args[0].shape) - 2
    every = [None if k in OPERANDS["numbers"] else rows for k in range(len(v.args))]
    for k in range(rows):
        yield Thread(k, tuple(None if r is None else k for r in every))
    yield Thread(
        rows if "l" in v.op.axes else None,
        tuple(None if k in OPERANDS["columns"] else r for k, r in enumerate(every)),
    )


# Operands of attention and its gradients: k and v, the numbers of dropout, g and its mean.
OPERANDS = {"columns": (1, 2), "numbers": (4, 5), "cotangents": (8, 9)}
BY_KIND: dict[str, Callable[[Value], Iterator[Thread]]] = {
    "elementwise": _elementwise,
    "reduce": _reduce,
    "attention": _attention,
}
THREADS: dict[str, Callable[[Value], Iterator[Thread]]] = {
    "transpose": _transpose,
    "reshape": _reshape,
    "expand": _unchanged,
    "slice": _unchanged,
    "pad": _unchanged,
    "sum": _sum,
    "dot": _dot,
}


# ---- parts ---------------------------------------------------------------------------------------


def _worth(count: int, of: int) -> bool:
    """Whether so few positions are read that loops over them cost clearly less."""
    return not same(count, of) and (
        is_one(count) or (is_fixed((count, of)) and 2 * count <= of and count > 0)
    )


def _with(shape: Shape, axis: int, n: int) -> Shape:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _cut(x: Value, part: Part) -> Value:
    """That part of x."""
    shape = _with(x.shape, part.axis, part.count)
    if x.const is not None:
        return x.builder.constant(x.const, TensorSpec(x.spec.dtype, shape))
    if is_op(x, "expand") and is_one(x.args[0].shape[part.axis]):
        return P.expand(x.args[0], shape)
    if any(p.axis == part.axis and p.like(part) for p in _zeros(x)):
        return _padded(x.args[0], *(_with(x.attrs[k], part.axis, 0) for k in ("low", "high")))
    if is_op(x, "slice") and x.attrs["step"][part.axis] == 1:  # a slice of a slice is one
        start, stop, step = (x.attrs[k] for k in ("start", "stop", "step"))
        x, first = x.args[0], start[part.axis] + part.start
    else:
        start, stop, step, first = (0,) * len(shape), shape, None, part.start
    start = _with(start, part.axis, first)
    return P.slice(x, start, _with(stop, part.axis, first + part.count), step)


def _padded(x: Value, low: Shape, high: Shape) -> Value:
    """Zeros around x; around zeros, one frame."""
    if not _frames(x):
        return P.pad(x, low, high)
    low, high = (
        tuple(a + b for a, b in zip(x.attrs[k], more, strict=True))
        for k, more in (("low", low), ("high", high))
    )
    return P.pad(x.args[0], low, high)


def _causal(v: Value, thread: Thread, part: Part) -> bool | None:
    """Whether rows of attention see the columns before theirs alone, if `v` is one and these are
    all the rows; None where its op cannot say it."""
    causal: bool = v.attrs.get("causal", False)
    if not causal or thread.operands[OPERANDS["columns"][0]] is not None or same(part.start, 0):
        return causal
    rows, columns = v.args[0].shape[-2], v.args[1].shape[-2]
    last = is_one(part.count) and same(part.start + 1, rows) and same(rows, columns)
    return False if last else None  # the last row sees them all


def _of_part(v: Value, args: list[Value], thread: Thread, part: Part) -> Value | None:
    """The op of `v` over a part of what runs along a thread; None where it has no such form."""
    assert v.op is not None
    attrs, causal = dict(v.attrs), _causal(v, thread, part)
    if causal is None:
        return None
    if "shape" in attrs and thread.result is not None:
        attrs["shape"] = _with(v.shape, thread.result, part.count)
    if v.op.name == "slice":  # of zeros, whole along this axis
        attrs["stop"] = _with(attrs["stop"], part.axis, part.count)
    if "causal" in attrs:
        attrs["causal"] = causal
    return v.builder.emit(v.op, args, attrs)


# ---- zeros go down -------------------------------------------------------------------------------


def _frames(x: Value) -> bool:
    """Whether x is the cotangent of a slice: what was not read got zeros."""
    return is_op(x, "pad") and x.where.phase == "bw" and same(x.attrs["value"], 0.0)


def _zeros(x: Value) -> list[Part]:
    """Where x, if it is such a cotangent, holds anything else than zeros."""
    if not _frames(x):
        return []
    inner = x.args[0].shape
    return [
        Part(k, low, m)
        for k, (low, m, n) in enumerate(zip(x.attrs["low"], inner, x.shape, strict=True))
        if _worth(m, n)
    ]


def _without_zeros(v: Value) -> Value:
    """`v` computed where the cotangents that it reads are not zeros."""
    if v.op is None or v.where.phase != "bw":
        return v
    found = [(k, part) for k, a in enumerate(v.args) for part in _zeros(a)]
    if not found:
        return v
    if _frames(v):
        return _padded(v.args[0], v.attrs["low"], v.attrs["high"])
    for thread in threads(v):
        along = {k: p for k, p in found if thread.operands[k] == p.axis}
        w = _along(v, thread, along) if along else None
        if w is not None:
            return _without_zeros(w)
    return v


def _along(v: Value, thread: Thread, zeros: Mapping[int, Part]) -> Value | None:
    """`v` over the part of a thread where those operands are not zeros, among zeros again."""
    part, *others = zeros.values()
    if not all(part.like(p) for p in others) or not _stays_zero(v, frozenset(zeros)):
        return None
    r = thread.result
    w = _of_part(v, _operands(v.args, thread, part), thread, part if r is None else part.along(r))
    if w is None or r is None:
        return w
    low = _with((0,) * len(v.shape), r, part.start)
    return _padded(w, low, _with(low, r, v.shape[r] - part.start - part.count))


def _operands(args: Sequence[Value], thread: Thread, part: Part) -> list[Value]:
    return [
        a if k is None else _cut(a, part.along(k))
        for a, k in zip(args, thread.operands, strict=True)
    ]


def _stays_zero(v: Value, zeros: frozenset[int]) -> bool:
    """Whether where these operands are zero, so is the result, or what they add to it."""
    assert v.op is not None
    if v.op.kind == "attention":
        given = {k for k in OPERANDS["cotangents"] if k < len(v.args)}
        return bool(given) and given <= zeros
    if v.op.kind != "elementwise":
        return v.op.linear or v.op.kind == "contract"
    held = tuple(
        (a.spec.dtype, 0.0 if k in zeros else None if is_unknown(a.const) else a.const)
        for k, a in enumerate(v.args)
    )
    return _probed(v.op, held, tuple(sorted(v.attrs.items())), v.spec.dtype)


@lru_cache(maxsize=256)
def _probed(
    op: Op, held: tuple[tuple[DType, Any], ...], attrs: tuple[tuple[str, Any], ...], gives: DType
) -> bool:
    """Whether an elementwise op gives zero for all probes of the operands of which nothing is
    known."""
    every = product(*(PROBES if known is None else (known,) for _, known in held))
    columns = zip(zip(*every, strict=True), held, strict=True)
    with np.errstate(all="ignore"):
        arrays = [np.array(column).astype(dtype.numpy) for column, (dtype, _) in columns]
    out = evaluate(op, arrays, dict(attrs), TensorSpec(gives, arrays[0].shape))
    return not np.asarray(out != 0).any()


# ---- slices go up --------------------------------------------------------------------------------

Plan = dict[Value, tuple[Thread, Part]]  # the part of a result that is read, along which thread


def _narrowed(graph: Graph) -> Graph:
    """Compute of each value the part that is read."""
    plan = _plan(graph)
    new: dict[Value, Value] = {}
    for v in graph.values():
        args = [new[a] for a in v.args]
        if v.op is None or (v not in plan and all(a is b for a, b in zip(args, v.args))):
            new[v] = v
            continue
        since = v.builder.mark()
        with v.builder.at(v.where):
            new[v] = v.builder.heir(_again(v, args, plan), v, since)
    return graph.with_outs(new[v] for v in graph.outs)


def _again(v: Value, args: list[Value], plan: Plan) -> Value:
    """The part of `v` that is read, or all of it, over arguments of which the same holds."""
    assert v.op is not None
    if is_op(v, "slice"):
        read, wanted = ([plan[x][1]] if x in plan else [] for x in (v.args[0], v))
        return _resliced(v, args[0], read, wanted)
    if v not in plan:
        return v.builder.emit(v.op, args, v.attrs)
    thread, part = plan[v]
    cut = [
        new if k is None or a in plan else _cut(new, part.along(k))
        for a, new, k in zip(v.args, args, thread.operands, strict=True)
    ]
    w = _of_part(v, cut, thread, part)
    assert w is not None, "the plan asked before"
    return w


def _resliced(v: Value, x: Value, read: list[Part], wanted: list[Part]) -> Value:
    """What a slice gives of a part of its operand, which takes care of one axis; and of what it
    gives a part."""
    start, stop = v.attrs["start"], v.attrs["stop"]
    for p in read:
        start, stop = _with(start, p.axis, 0), _with(stop, p.axis, p.count)
    for p in wanted:
        if p.axis not in [q.axis for q in read]:
            start = _with(start, p.axis, start[p.axis] + p.start)
            stop = _with(stop, p.axis, start[p.axis] + p.count)
    return P.slice(x, start, stop, v.attrs["step"])


def _plan(graph: Graph) -> Plan:
    """What all readers of a value agree to need of it; nothing, where no product gets smaller."""
    readers, outs = uses(graph), frozenset(graph.outs)
    plan: Plan = {}
    for v in reversed(graph.values()):
        if v.op is None or v in outs:
            continue
        parts = _agreed(v, readers[v], plan)
        for part in sorted(parts, key=lambda p: typical(p.count) / typical(v.shape[p.axis])):
            thread = _thread_of(v, part)
            if thread is not None:
                plan[v] = thread, part
                break
    return plan if any(v.op is not None and v.op.kind in PRODUCTS for v in plan) else {}


def _agreed(v: Value, readers: Sequence[Value], plan: Plan) -> list[Part]:
    """The parts of `v` each of which is all that its readers need."""
    agreed: list[Part] | None = None
    for r in readers:
        for k, a in enumerate(r.args):
            if a is v:
                parts = _needed(r, k, plan)
                agreed = parts if agreed is None else _both(agreed, parts)
                if not agreed:
                    return []
    return agreed or []


def _both(some: list[Part], others: list[Part]) -> list[Part]:
    return [p for p in some if any(p.axis == q.axis and p.like(q) for q in others)]


def _needed(r: Value, operand: int, plan: Plan) -> list[Part]:
    """The parts of an operand that `r` needs, by axes of which one is to be chosen."""
    found = []
    if r in plan:
        thread, part = plan[r]
        k = thread.operands[operand]
        found = [] if k is None else [part.along(k)]
    if not is_op(r, "slice"):
        return found
    start, step = r.attrs["start"], r.attrs["step"]
    return found + [
        Part(k, start[k], m)
        for k, (m, n) in enumerate(zip(r.shape, r.args[0].shape, strict=True))
        if step[k] == 1 and _worth(m, n)
    ]


def _thread_of(v: Value, part: Part) -> Thread | None:
    """The thread of `v` that leads to that part, where its op has such a form."""
    for thread in threads(v):
        if thread.result == part.axis and _causal(v, thread, part) is not None:
            return thread
    return None
