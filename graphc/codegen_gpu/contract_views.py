"""A load of a contraction as boxes of a tensor in memory, as the tensor memory accelerator moves.

A load's address is a form of the axes, and each guard of it says how far a part of that form may
run: a convolution reads row h + r - 1 where it is one of the image's. So a guard is a dimension of
the tensor, every axis that no guard speaks of is another, and the index along each is a form of its
own axes. What is outside is zero, as a guarded load is: the padding needs no mask.

Of the axes that share a dimension only one may run inside of a box, the others say where it begins.
If that one goes by steps of two (a stride), the dimension is taken for pairs: the index of the pair
and the place in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphc.codegen_gpu.target import ACCESS_BYTES
from graphc.ir.kernel import Affine, Guard, Load, Size

MOST_DIMS = 5  # of a descriptor
MOST_PLACES = 256  # of a box along a dimension

Extents = Mapping[str, Size]
Blocks = Mapping[str, int]  # places of a box along each axis, outermost first


class Form(NamedTuple):
    """const + sum of factor * axis, all literal."""

    terms: tuple[tuple[str, int], ...] = ()
    const: int = 0

    @property
    def affine(self) -> Affine:
        return Affine(self.terms, self.const)


class Part(NamedTuple):
    """`of // by` or, by its `sign`, `of % by`, so many `times`."""

    of: Form
    sign: str
    by: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension: elements from a place to the next, places, and the index, `at` and `part`."""

    step: int
    size: Size
    at: Form
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """What a descriptor says and one load of it asks for. `turned`: the summed axes come first."""

    start: int  # elements from the buffer's
    dims: tuple[Dim, ...]
    blocks: tuple[int, ...]
    turned: bool


# ---- the tensor ---------------------------------------------------------------------------------


def view(load: Load, extents: Extents) -> tuple[int, list[Dim]] | None:
    """Where the tensor of a load begins, and its dimensions; nothing where it is no tensor."""
    at = _form(load.at)
    if load.indirect or at is None:
        return None
    strides, start, dims = dict(at.terms), at.const, []
    for g in load.guards:
        dim = _guarded(g, strides, extents)
        if dim is None:
            return None
        start -= dim.at.const * dim.step
        dims.append(dim)
        for axis, _ in dim.at.terms:
            del strides[axis]
    for axis, stride in strides.items():
        extent = extents[axis]
        if stride > 0:
            dims.append(Dim(stride, extent, Form(((axis, 1),))))
        elif isinstance(extent, int):  # from the last place on
            start += stride * (extent - 1)
            dims.append(Dim(-stride, extent, Form(((axis, -1),), extent - 1)))
        else:
            return None
    return start, dims


def _form(at: Affine) -> Form | None:
    terms = tuple((a, n) for a, n in at.terms if isinstance(n, int))
    whole = len(terms) == len(at.terms) and isinstance(at.const, int)
    return Form(terms, at.const) if whole and isinstance(at.const, int) else None


def _guarded(g: Guard, strides: Mapping[str, int], extents: Extents) -> Dim | None:
    """The dimension that a guard speaks of, as far as the axes run along it."""
    at = _form(g.at)
    known = {a: n for a, n in extents.items() if isinstance(n, int)}
    if at is None or not isinstance(g.lo, int) or not isinstance(g.hi, int):
        return None
    if not at.terms or not all(a in known and a in strides and n > 0 for a, n in at.terms):
        return None
    steps = {strides[a] / n for a, n in at.terms}
    step = int(min(steps))
    if len(steps) > 1 or step <= 0 or step not in steps:
        return None
    reach = at.const + sum(n * (known[a] - 1) for a, n in at.terms)
    low, end = max(g.lo, at.const), min(g.hi, reach + 1)
    return Dim(step, end - low, Form(at.terms, at.const - low)) if low < end else None


def still(dims: Iterable[Dim], extents: Extents) -> set[str]:
    """Axes that may not run inside of a box: of those that share a dimension, all but the longest,
    the first of them."""
    found = set()
    for d in dims:
        names = [a for a, _ in d.at.terms]
        known = {a: n for a in names if isinstance(n := extents[a], int)}
        if len(names) > 1:
            found |= set(names) - {max(known, key=lambda a: known[a])}
    return found


def bounded(dims: Iterable[Dim], axis: str, extent: Size) -> bool:
    """Whether what lies behind the last place of an axis is outside of the tensor."""
    return any(d.at == Form(((axis, 1),)) and d.size == extent for d in dims)


# ---- a box --------------------------------------------------------------------------------------


def box(load: Load, extents: Extents, free: Blocks, deep: Blocks) -> Box | None:
    """The box of a load, whose rows run over the axes of `free` and whose depth over `deep`."""
    found, blocks = view(load, extents), {**free, **deep}
    if found is None:
        return None
    start, whole = found
    paired = [_paired(d, blocks) for d in whole]
    if not all(paired):
        return None
    dims = _joined([d for parts in paired for d in parts], blocks)
    rows, depth = (_along(dims, side) for side in (free, deep))
    turned = not depth or depth[-1].step != 1
    inside = [*depth, *rows] if turned else [*rows, *depth]
    order = [*(d for d in dims if d not in inside), *inside]
    places = tuple(_places(d, blocks) for d in order)
    whole_box = [n for n in blocks.values() if n > 1]
    if sorted(n for n in places if n > 1) != sorted(whole_box):
        return None
    made = Box(start, tuple(order), places, turned)
    return made if _movable(made, load) else None


def _places(d: Dim, blocks: Blocks) -> int:
    """Of a box along a dimension."""
    return max((blocks.get(a, 1) for a, _ in d.at.terms), default=1)


def _along(dims: Sequence[Dim], side: Blocks) -> list[Dim]:
    """The dimensions that a box runs along on one of its sides, in the order of its axes."""
    return [
        d
        for axis, block in side.items()
        for d in dims
        if block > 1 and any(a == axis for a, _ in d.at.terms)
    ]


def _paired(d: Dim, blocks: Blocks) -> tuple[Dim, ...]:
    """A dimension, in two where the axis of a box goes along it by larger steps."""
    inside = [(a, n) for a, n in d.at.terms if blocks.get(a, 1) > 1]
    if not inside or inside[0][1] == 1:
        return (d,) if len(inside) < 2 else ()
    axis, by = inside[0]
    if len(inside) > 1 or by < 1 or not isinstance(d.size, int) or d.size % by:
        return ()
    pairs = max(0, -(d.at.const // by))  # so that no quotient is of a negative number
    rest = Form(tuple(t for t in d.at.terms if t[0] != axis), d.at.const + pairs * by)
    return (
        Dim(d.step * by, d.size // by, Form(((axis, 1),), -pairs), Part(rest, "//", by)),
        Dim(d.step, by, Form(), Part(rest, "%", by)),
    )


def _joined(dims: list[Dim], blocks: Blocks) -> list[Dim]:
    """The place in a pair and the line behind it are one dimension, where boxes end with lines."""
    for d in dims:
        for line in dims:
            p, size = d.part, line.size
            if p is None or p.sign != "%" or line.part is not None or not isinstance(size, int):
                continue
            ends = bounded([line], line.at.terms[0][0], size) and size % _places(line, blocks) == 0
            if ends and d.step == size * line.step:
                both = Dim(line.step, p.by * size, line.at, p._replace(times=size))
                return [both if x is line else x for x in dims if x is not d]
    return dims


def _movable(b: Box, load: Load) -> bool:
    """Whether the accelerator takes it: lines of 16 bytes whose elements lie side by side."""
    lines = [b.start, *(d.step for d in b.dims[:-1]), b.blocks[-1]]
    return (
        len(b.dims) <= MOST_DIMS
        and [d.step for d in b.dims].count(1) == 1
        and b.dims[-1].step == 1
        and max(b.blocks) <= MOST_PLACES
        and all(n * load.dtype.itemsize % ACCESS_BYTES == 0 for n in lines)
    )
