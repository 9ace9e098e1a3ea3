"""attention: softmax between two products becomes one op, which stores no matrix of weights.

Input: a graph as traced. Output: the same in which `attention` stands for

    dropout(softmax(mask(scale * (q . k)))) . v

where nothing else reads what lies between the two products, or where the derivative was traced
through the op already (`frontend/fused.py`), so that it is there anyway. The chain is taken as
people write it: a scale on the scores or on an operand, masks that are filled in or added, softmax
of one axis, scaled_dot_product_attention's softmax that gives zeros for a row of -inf, dropout by
the numbers of its positions. `match` says what an op like that would compute; what it is not sure
of, it leaves alone. A profile whose target has no such kernel leaves all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

import numpy as np

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value, depending, uses
from graphc.ir.meaning.attention import UNIT_BITS
from graphc.ir.ops import OPS
from graphc.ir.rewrite import replaced
from graphc.ir.sizes import is_one, same_shape
from graphc.ir.types import Shape, TensorSpec, bool_, f32, i64
from graphc.passes.group import is_op
from graphc.passes.profile import Profile

LEAST_SCALE = float(np.finfo(np.float32).tiny)
MOST_STEPS = 12  # ops between the scores and their softmax


def attention(graph: Graph, profile: Profile) -> Graph:
    """Say so where nobody needs the weights."""
    chosen = _chosen(graph, profile.attention_halves) if profile.attention else frozenset()
    if not chosen:
        return graph
    new: dict[Value, Value] = {}
    for v in graph.values():
        visit = _fused if v in chosen else _kept
        new[v] = v if v.op is None else replaced(v, tuple(new[a] for a in v.args), visit)
    return graph.with_outs(new[v] for v in graph.outs)


def _fused(v: Value) -> Value:
    found = match(v)
    return v if found is None else found.emit()


def _kept(v: Value) -> Value:
    return v


def _chosen(graph: Graph, halves: bool) -> frozenset[Value]:
    """The products that are attention's last step, those of half types if there is code for it."""
    readers, made, outs = uses(graph), set(graph.values()), frozenset(graph.outs)
    found = ((v, match(v)) for v in graph.values())
    return frozenset(
        v
        for v, m in found
        if m is not None
        and (halves or not v.spec.dtype.is_half)
        and (m.emit() in made or _closed(v, m.inner, readers, outs))
    )


def _closed(
    v: Value,
    inner: frozenset[Value],
    readers: Mapping[Value, Iterable[Value]],
    outs: frozenset[Value],
) -> bool:
    """Whether only `v` sees what lies inside."""
    return all(
        u not in outs and all(r is v or r in inner for r in readers.get(u, ())) for u in inner
    )


@dataclass(frozen=True, slots=True)
class Match:
    """What a product computes: `attention` over `args`, each turned from what the products read."""

    args: tuple[Value, ...]
    attrs: Mapping[str, Any]
    inner: frozenset[Value]  # from the scores to the weights
    product: Value  # the scores
    swapped: bool  # whether the queries are its right operand
    scaled: tuple[bool, bool]  # whether a scale was taken off its operands, left and right
    perms: tuple[Shape, Shape, Shape]  # how q, k and v were turned

    def emit(self) -> Value:
        return self.product.builder.emit(OPS["attention"], self.args, self.attrs)


def match(v: Value) -> Match | None:
    """The attention that `v` is, or None."""
    if not is_op(v, "dot") or not (v.spec.dtype is f32 or v.spec.dtype.is_half):
        return None
    weights, values = v.args
    batch, contract = v.attrs["batch"], v.attrs["contract"]
    rank = len(weights.shape)
    if len(contract) != 1 or len(batch) != rank - 2 or len(values.shape) != rank:
        return None
    ((axis, places),) = contract
    narrow = _narrowed(weights)
    drop = _dropout(narrow)
    soft = _softmax(_narrowed(drop.weights), axis)
    chain = None if soft is None else _scores(soft.scores, MOST_STEPS)
    if soft is None or chain is None:
        return None
    if {a.spec.dtype for a in (chain.product, weights, values)} != {v.spec.dtype}:
        return None
    (row,) = {*range(rank)} - {axis} - {i for i, _ in batch}
    lead = tuple(i for i, _ in batch)
    turned = (*lead, row, axis)  # the scores' dimensions, as the op has them
    if drop.drop and turned != tuple(range(rank)):
        return None  # positions are counted over the weights as they are
    found = _operands(chain, turned)
    mask = None if found is None else _mask(chain, turned, soft.safe)
    if found is None or mask is None or mask.value.spec.dtype not in (bool_, v.spec.dtype, f32):
        return None
    if not found.scale > LEAST_SCALE:  # back ends look for the largest score before they scale it
        return None
    of_values = (*(j for _, j in batch), places, _left(rank, (*(j for _, j in batch), places)))
    builder = v.builder
    number = TensorSpec(i64, ())
    seeds = drop.seeds or (builder.constant(0, number), builder.constant(0, number))
    attrs = {
        "scale": found.scale, "causal": mask.causal, "fill": mask.fill, "safe": soft.safe,
        "drop": drop.drop, "gain": drop.gain,
    }  # fmt: skip
    args = (
        P.transpose(found.q, found.perms[0]), P.transpose(found.k, found.perms[1]),
        P.transpose(values, of_values), mask.value, *seeds,
    )  # fmt: skip
    inner = frozenset((weights, narrow, drop.weights, *drop.inner, *soft.inner, *chain.inner))
    perms = (*found.perms, of_values)
    return Match(args, attrs, inner, chain.product, found.swapped, found.scaled, perms)


def _narrowed(v: Value) -> Value:
    """Softmax of half types is one of float32, rounded; as an op it is not."""
    return v.args[0] if is_op(v, "cast") and v.spec.dtype.is_half and _is_f32(v.args[0]) else v


def _is_f32(v: Value) -> bool:
    return v.spec.dtype is f32


def _left(rank: int, taken: Shape) -> int:
    return next(k for k in range(rank) if k not in taken)


def _number(v: Value) -> float | None:
    """The number that fills v."""
    return None if v.const is None or is_unknown(v.const) else float(v.const)


def _under(v: Value, *names: str) -> Value:
    """What is under these ops, outermost first, where they are there."""
    for name in names:
        if is_op(v, name):
            v = v.args[0]
    return v


# ---- dropout -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Dropout:
    weights: Value
    seeds: tuple[Value, ...] = ()
    drop: int = 0
    gain: float = 1.0
    inner: tuple[Value, ...] = ()


def _dropout(v: Value) -> _Dropout:
    """The weights before dropout, and which numbers keep one."""
    if not is_op(v, "mul"):
        return _Dropout(v)
    weights, kept = v.args
    gain = _number(kept.args[1]) if is_op(kept, "mul") else None
    test = _under(kept, "mul", "cast")
    if gain is None or not is_op(test, "le"):
        return _Dropout(v)
    rate, unit = _number(test.args[0]), test.args[1]
    bits = _under(unit, "mul", "cast", "and", "shr")
    numbers = [_number(u.args[1]) for u in _along(unit, bits) if len(u.args) > 1]
    if rate is None or not 0 < rate <= 1:  # what keeps all has a gain as well
        return _Dropout(v)
    if not is_op(bits, "random_bits") or bits.shape != weights.shape:
        return _Dropout(v)
    if numbers != [2.0**-UNIT_BITS, 2**UNIT_BITS - 1, 32 - UNIT_BITS]:
        return _Dropout(v)
    drop = ceil(float(np.float32(rate)) * 2**UNIT_BITS)
    return _Dropout(weights, bits.args, drop, gain, (v, weights))


def _along(v: Value, end: Value) -> list[Value]:
    """The values from v down to `end` by first operands."""
    found = []
    while v is not end and v.args:
        found.append(v)
        v = v.args[0]
    return found


# ---- softmax -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Softmax:
    scores: Value
    safe: bool
    inner: tuple[Value, ...]


def _softmax(v: Value, axis: int) -> _Softmax | None:
    """The scores whose softmax over `axis` v is; safe if a row of -inf gives zeros."""
    if not is_op(v, "div"):
        return None
    e, total = v.args[0], _under(v.args[1], "expand")
    if not is_op(e, "exp") or not is_op(e.args[0], "sub"):
        return None
    difference = e.args[0]
    scores, top = difference.args[0], _under(difference.args[1], "expand")
    safe = is_op(top, "where") and is_op(total, "where")
    inner = [v, e, difference, scores, *(a for a in (v.args[1], difference.args[1], top, total))]
    if safe:
        test, zero, top = top.args
        again, one, total = total.args
        if test is not again or not _is_nothing(test, top):
            return None
        if _number(zero) != 0.0 or _number(one) != 1.0:
            return None
        inner += [test, top, total]
    largest, sums = _under(top, "reshape"), _under(total, "reshape")
    for reduced, op, of in ((largest, "max", scores), (sums, "sum", e)):
        if not is_op(reduced, op) or reduced.args[0] is not of or reduced.attrs["axes"] != (axis,):
            return None
    return _Softmax(scores, safe, (*inner, largest, sums))


def _is_nothing(test: Value, top: Value) -> bool:
    return is_op(test, "eq") and test.args[0] is top and _number(test.args[1]) == -inf


# ---- scores ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Filled:
    """Scores that are `fill` where `test` holds, or where it does not."""

    test: Value
    where: bool
    fill: float


@dataclass(frozen=True, slots=True)
class _Chain:
    """From the product on: its scale, then masks in order: filled in, or values that are added."""

    product: Value
    scale: float
    masks: tuple[_Filled | Value, ...]
    inner: tuple[Value, ...]


def _scores(v: Value, steps: int) -> _Chain | None:
    """How v comes from a product."""
    if is_op(v, "dot"):
        return _Chain(v, 1.0, (), (v,))
    if v.op is None or not steps:
        return None
    rule = STEPS.get(v.op.name)
    found = None if rule is None else rule(v, steps - 1)
    return None if found is None else replace(found, inner=(*found.inner, v))


def _scaled(v: Value, steps: int) -> _Chain | None:
    factor, below = _number(v.args[1]), _scores(v.args[0], steps)
    if factor is None or below is None or below.masks:
        return None
    by_division = is_op(v, "div")
    if by_division and not factor:
        return None
    return replace(below, scale=below.scale / factor if by_division else below.scale * factor)


def _widened(v: Value, steps: int) -> _Chain | None:
    return _scores(v.args[0], steps) if _is_f32(v) and v.args[0].spec.dtype.is_half else None


def _filled(v: Value, steps: int) -> _Chain | None:
    test, then, other = v.args
    for kept, filling, where in ((then, other, False), (other, then, True)):
        fill, below = _number(filling), _scores(kept, steps)
        if fill is not None and below is not None:
            return replace(below, masks=(*below.masks, _Filled(test, where, fill)))
    return None


def _added(v: Value, steps: int) -> _Chain | None:
    for scores, mask in (v.args, v.args[::-1]):
        below = _scores(scores, steps)
        if below is not None and mask.const is None:
            return replace(below, masks=(*below.masks, mask))
    return None


def _subtracted(v: Value, steps: int) -> _Chain | None:
    below = _scores(v.args[0], steps)
    if below is None or v.args[1].const is not None:
        return None
    small = _under(v.args[1], "expand")
    return replace(below, masks=(*below.masks, P.expand(P.apply("neg", small), v.shape)))


STEPS = {
    "mul": _scaled, "div": _scaled, "where": _filled, "add": _added, "sub": _subtracted,
    "cast": _widened,
}  # fmt: skip


# ---- operands and masks ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Operands:
    q: Value
    k: Value
    scale: float
    swapped: bool
    scaled: tuple[bool, bool]
    perms: tuple[Shape, Shape]


def _operands(chain: _Chain, turned: Shape) -> _Operands | None:
    """q and k of the product, and how to turn them to [*N, rows, depth]."""
    dot, rank = chain.product, len(turned)
    batch, contract = dot.attrs["batch"], dot.attrs["contract"]
    if (
        any(a.spec.dtype is not dot.spec.dtype for a in dot.args)
        or len(contract) != 1
        or len(batch) != rank - 2
    ):
        return None
    if any(len(a.shape) != rank for a in dot.args) or {*turned[:-2]} != {*range(rank - 2)}:
        return None
    scale, factors, bare = chain.scale, [], []
    for a in dot.args:
        factor = _number(a.args[1]) if is_op(a, "mul") else None
        scale *= 1.0 if factor is None else factor
        factors.append(factor is not None)
        bare.append(a if factor is None else a.args[0])
    sides = []
    for side in (0, 1):
        lead = tuple(batch[n][side] for n in turned[:-2])
        deep = contract[0][side]
        sides.append((*lead, _left(rank, (*lead, deep)), deep))
    swapped = turned[-2] == rank - 1
    order = (1, 0) if swapped else (0, 1)
    q, k = (bare[n] for n in order)
    return _Operands(
        q, k, scale, swapped, (factors[0], factors[1]), (sides[order[0]], sides[order[1]])
    )


@dataclass(frozen=True, slots=True)
class _Mask:
    value: Value
    causal: bool
    fill: float


def _mask(chain: _Chain, turned: Shape, safe: bool) -> _Mask | None:
    """All masks as one, as small as they are before they are expanded."""
    whole, causal = chain.product.shape, False
    plain = turned == tuple(range(len(turned)))
    mask: Value | None = None
    fill = -inf
    for m in chain.masks:
        if isinstance(m, Value):
            small = _under(m, "expand")
            mask = small if mask is None else _joined(mask, small, fill)
        elif plain and not m.where and m.fill == -inf and _is_causal(m.test, whole):
            causal = True
            continue
        else:
            keep = _under(m.test, "expand")
            keep = P.apply("not", keep) if m.where else keep
            if mask is not None and m.fill != fill:
                return None
            fill = m.fill
            mask = keep if mask is None else _joined(mask, keep, fill)
        if mask is None:
            return None
    if mask is not None and mask in depending({chain.product}, [mask]):
        return None  # its derivative goes through the scores, too
    if causal and fill != -inf:
        return None
    if mask is None:
        shape = tuple(whole[k] for k in turned)
        kept = chain.product.builder.constant(True, TensorSpec(bool_, shape))
        return _Mask(kept, causal, fill)
    return _Mask(P.transpose(P.expand(mask, whole), turned), causal, fill)


def _joined(one: Value, other: Value, fill: float) -> Value | None:
    """Two masks as one; what either fills with -inf stays so."""
    shape = tuple(b if is_one(a) else a for a, b in zip(one.shape, other.shape, strict=True))
    x, y = P.expand(one, shape), P.expand(other, shape)
    bools = [m.spec.dtype is bool_ for m in (x, y)]
    joined: Value
    if all(bools):
        joined = P.apply("and", x, y)
        return joined
    if not any(bools):
        return x + y
    if fill != -inf:
        return None
    keep, added = (x, y) if bools[0] else (y, x)
    return P.where(keep, added, -inf)


def _is_causal(test: Value, whole: Shape) -> bool:
    """Whether it is column <= row over the last two dimensions."""
    test = _under(test, "expand", "reshape")
    if not is_op(test, "le") or not all(is_op(a, "iota") for a in test.args):
        return False
    rank = len(test.shape)
    axes = tuple(a.attrs["axis"] for a in test.args)
    return axes == (rank - 1, rank - 2) and same_shape(test.shape[-2:], whole[-2:])
