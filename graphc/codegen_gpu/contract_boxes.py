"""Tiles of a convolution that are boxes: so many places along each axis, powers of two.

A tile of a matrix product is a run of rows, whatever axes they come from; one that the tensor
memory accelerator moves out of an image is a box of images, rows and columns
(`contract_views.py`). Its sides follow by formula from the extents: of all boxes of so many places,
the one that sticks out over the edges least, then that of fewest images, then the squarest. 56 by
56 places are covered by boxes of 2 x 8 x 8, 28 by 28 of 8 x 4 x 4, 7 by 7 of 128 images and one
place, without a rest.

What sticks out of the rows of a result is not stored. Summed places that do must be zero in both
operands, so an axis of a window is cut without a rest or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from graphc.codegen_gpu.contract_parts import Product, count, number
from graphc.codegen_gpu.contract_views import MOST_PLACES, Box, Dim, bounded, box, still, view
from graphc.codegen_gpu.tiles import power
from graphc.ir.kernel import Axis, Load

Side = tuple[int, ...]  # places of a box along each axis

SPARE = 1.15  # times the places of a side, that as large a box as is wanted may cover
LARGE = ((128, 256), (256, 128))  # rows and cols: operands are read less often
SMALLER = ((128, 128), (128, 64), (64, 128), (64, 64))
FULL = 0.85  # of all waves of programs, for large tiles
LEAST_SIDE = 64  # places of a tile: less is moved as well by threads
FEWEST_STEPS = 8  # of the sum: making a descriptor costs about one
LEAST = 16  # places of a side


@dataclass(frozen=True, slots=True)
class Boxes:
    """The tile of a program and a step: places along the rows, the cols and the summed axes."""

    rows: Side
    cols: Side
    summed: Side

    @property
    def area(self) -> tuple[int, int]:
        return prod(self.rows), prod(self.cols)


class Boxer:
    """Finds boxes for a contraction; `depth` summed points a step are wanted."""

    def __init__(self, c: Product, usual: dict[str, int], depth: int) -> None:
        self.c = c
        axes = (*c.batch, *c.rows, *c.cols, *c.reduced)
        self.extents = {a.name: a.extent for a in axes}
        self.dims = [found[1] for o in (c.a, c.b) if (found := self.seen(o.bare))]
        self.still = {a for dims in self.dims for a in still(dims, self.extents)}
        possible = len(self.dims) == 2 and 0 not in self.extents.values() and not self.lines()
        cut = self.cut(c.reduced, depth, usual, summed=True) if possible else None
        self.summed: Side = cut or ()
        self.steps = prod(counts(c.reduced, self.summed, usual)) if cut else 0
        if self.steps < FEWEST_STEPS or 2 * prod(self.summed) < depth:
            self.summed = ()

    def boxes(self, sizes: dict[str, int], enough: int, sms: int) -> Boxes | None:
        """The largest of which there are enough: large ones for whole waves of programs."""
        found, summing = None, bool(self.c.kernel.partials)  # which needs registers as well
        for area in LARGE if self.summed and not summing and not self.reads() else ():
            b = self.fitting(*area, sizes)
            if b and b.area == area and full(self.tiles(b, sizes), sms):
                return b
        for area in SMALLER[summing:] if self.summed else ():
            found = self.fitting(*area, sizes) or found
            if found and self.tiles(found, sizes) >= enough:
                break
        return found

    def tiles(self, b: Boxes, sizes: dict[str, int]) -> int:
        c = self.c
        rows, cols = counts(c.rows, b.rows, sizes), counts(c.cols, b.cols, sizes)
        return count(c.batch, sizes) * prod(rows) * prod(cols)

    def reads(self) -> bool:
        """Whether the epilogue loads a value for each sum."""
        sides = [set(names(axes)) for axes in (self.c.rows, self.c.cols)]
        loads = [{a for a, _ in s.at.terms} for s in self.c.epilogue if isinstance(s, Load)]
        return any(x & sides[0] and x & sides[1] for x in loads)

    def seen(self, load: Load | None) -> tuple[int, list[Dim]] | None:
        if load is None or load.dtype is not self.c.operand_dtype:
            return None
        return view(load, self.extents)

    def lines(self) -> bool:
        """Whether the operands are matrices, whose tiles need no boxes."""
        sides = (self.c.rows, self.c.cols, self.c.reduced)
        loads = [o.bare for o in (self.c.a, self.c.b) if o.bare is not None]
        return all(not x.guards and in_line(x, axes) for x in loads for axes in sides)

    def fitting(self, rows: int, cols: int, sizes: dict[str, int]) -> Boxes | None:
        """Boxes by which both operands can be moved."""
        sides = [self.cut(a, n, sizes) for a, n in ((self.c.rows, rows), (self.c.cols, cols))]
        if sides[0] is None or sides[1] is None:
            return None
        found = Boxes(sides[0], sides[1], self.summed)
        left, right = operand_boxes(self.c, found)
        if left is None or right is None:
            return None
        return None if folded(right) and (folded(left) or self.c.kernel.partials) else found

    def cut(
        self, axes: Sequence[Axis], most: int, sizes: dict[str, int], summed: bool = False
    ) -> Side | None:
        """Places along each axis: `most`, or fewer where that leaves less of them outside."""
        limits = [self.limit(a, sizes, summed) for a in axes]
        found: list[tuple[float, Side]] = []
        while most >= LEAST:
            ways = [
                (outside(axes, w, sizes, summed), *order(axes, w)) for w in ways_of(most, limits)
            ]
            if ways:
                spare, *_, way = min(ways)
                found.append((spare, way))
                if spare <= SPARE or most <= LEAST_SIDE:
                    break
            most //= 2
        return min(found, key=lambda f: f[0] > SPARE and f[0])[1] if found else None

    def limit(self, a: Axis, sizes: dict[str, int], summed: bool) -> int:
        if a.name in self.still:
            return 1
        if summed and not all(bounded(dims, a.name, a.extent) for dims in self.dims):
            return a.extent & -a.extent if isinstance(a.extent, int) else 1
        if summed and isinstance(a.extent, str):
            return MOST_PLACES
        return power(number(a.extent, sizes))


def folded(b: Box) -> bool:
    """Whether a tile of two dimensions is made of more.

    As the left operand of a product it goes through registers, which Triton (3.6) fills for
    the next step while the product of this one may still read them: on an H200 some sums came out
    wrong. As the right one it is read where it lies. So of two operands one may be folded, and its
    side is the right one.
    """
    return sum(n > 1 for n in b.blocks) > 2


def rows_folded(c: Product, b: Boxes | None) -> bool:
    """Whether the tile of the rows' operand is."""
    rows = operand_boxes(c, b)[0] if b else None
    return rows is not None and folded(rows)


def full(tiles: int, sms: int) -> bool:
    """Whether so many programs, one to a multiprocessor, keep all of them busy."""
    return tiles >= 2 * sms and tiles >= FULL * -(-tiles // sms) * sms


def operand_boxes(c: Product, b: Boxes) -> tuple[Box | None, Box | None]:
    """How each operand's tile lies in memory."""
    extents = {a.name: a.extent for a in (*c.batch, *c.rows, *c.cols, *c.reduced)}
    deep = dict(zip(names(c.reduced), b.summed, strict=True))
    found = []
    for o, axes, side in ((c.a, c.rows, b.rows), (c.b, c.cols, b.cols)):
        free = dict(zip(names(axes), side, strict=True))
        found.append(box(o.bare, extents, free, deep) if o.bare else None)
    return found[0], found[1]


def counts(axes: Sequence[Axis], side: Sequence[int], sizes: dict[str, int]) -> Side:
    """Boxes along each axis."""
    return tuple(-(-number(a.extent, sizes) // n) for a, n in zip(axes, side, strict=True))


def names(axes: Sequence[Axis]) -> list[str]:
    return [a.name for a in axes]


def in_line(load: Load, axes: Sequence[Axis]) -> bool:
    """Whether the places of these axes, in their order, are equally far from each other."""
    many = [a for a in axes if a.extent != 1]
    steps = [(load.at.stride(x.name), load.at.stride(y.name), y.extent) for x, y in pairwise(many)]
    return all(
        x == y == 0 or (isinstance(y, int) and isinstance(e, int) and x == y * e)
        for x, y, e in steps
    )


def ways_of(places: int, limits: Sequence[int]) -> Iterator[Side]:
    """All boxes of so many places, a power of two, with no more than the limit along any axis."""
    if not limits:
        if places == 1:
            yield ()
        return
    first = 1
    while first <= min(places, limits[0]):
        for rest in ways_of(places // first, limits[1:]):
            yield (first, *rest)
        first *= 2


def outside(axes: Sequence[Axis], side: Side, sizes: Mapping[str, int], summed: bool) -> float:
    """Places that boxes cover, to those that there are. Of an axis that is summed and of unknown
    extent any number is thought to fit: what a sum's order follows from must be literal."""
    known = [
        (number(a.extent, dict(sizes)), n)
        for a, n in zip(axes, side, strict=True)
        if not summed or isinstance(a.extent, int)
    ]
    return prod(-(-e // n) * n for e, n in known) / max(prod(e for e, _ in known), 1)


def order(axes: Sequence[Axis], side: Side) -> tuple[int, int, Side]:
    """Among equals, fewest images (whose number is unknown), then the squarest."""
    images = prod(n for a, n in zip(axes, side, strict=True) if isinstance(a.extent, str))
    return images, max(side), side
