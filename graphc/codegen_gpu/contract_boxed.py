"""Tiles that are boxes (`contract_boxes.py`) as Triton text: where one begins, its points, its
loads by tensor descriptors, and the grid.

A number of a tile, or of a step of the sum, has a digit for each axis, which box of it, and the
lanes of a tile have the places of a box in their bits. So the rows of a result are in the order in
which the boxes of its operands lie, and an epilogue finds its points by a shift and a mask.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from graphc.codegen_gpu.body import NONE, Group, Value
from graphc.codegen_gpu.contract_boxes import Boxes, Side, operand_boxes
from graphc.codegen_gpu.contract_descriptors import DESCRIBES
from graphc.codegen_gpu.contract_parts import Product, extents
from graphc.codegen_gpu.contract_views import Box, Dim
from graphc.ir.cuda_abi import GridDim
from graphc.ir.kernel import Axis, Load
from graphc.ir.types import bool_

if TYPE_CHECKING:
    from graphc.codegen_gpu.contract import ContractTemplate, Masks


class Boxed:
    """The boxes of one contraction whose text is being written."""

    def __init__(self, template: ContractTemplate, boxes: Boxes) -> None:
        self.template, self.body, self.boxes = template, template.body, boxes
        self.moved = operand_boxes(template.c, boxes)

    def axes(self, side: int) -> tuple[Axis, ...]:
        return (self.template.rows, self.template.cols, self.template.c.reduced)[side]

    def places(self, side: int) -> Side:
        """Of a box along the rows (side 0), cols or summed axes."""
        return (self.boxes.rows, self.boxes.cols, self.boxes.summed)[side]

    def tiles(self, side: int) -> str:
        """How many boxes there are."""
        text = "1"
        for a, n in zip(self.axes(side), self.places(side), strict=True):
            text = self.template.multiplied(text, self.template.tiles((a,), n))
        return text

    # ---- points ----------------------------------------------------------------------------------

    def origins(self, side: int, number: str, level: int = 0) -> list[Value]:
        """The first place along each axis of box number `number`."""
        t, behind, found = self.template, "1", list[Value]()
        pairs = list(zip(self.axes(side), self.places(side), strict=True))
        for k, (axis, places) in reversed(list(enumerate(pairs))):
            count, text = t.tiles((axis,), places), number
            if behind != "1":
                text = t.let(f"{text} // {behind}", level)
            if k > 0 and count != "1":
                text = t.let(f"{text} % {count}", level)
            text = "0" if count == "1" else text
            if places > 1 and text != "0":
                text = t.let(f"{text} * {places}", level)
            found.append(Value(text, self.body.index_dtype, NONE, level))
            behind = t.multiplied(count, behind)
        return found[::-1]

    def side(self, side: int, dim: int, rank: int) -> tuple[tuple[Group, ...], Masks]:
        """The points of rows or cols along a dimension of a block, and which of them there are."""
        t, area = self.template, prod(self.places(side))
        lane = t.lane(t.let(t.cast(f"tl.arange(0, {area})")), dim, rank)
        groups, masks, inner = [], [], area
        first = self.origins(side, (t.row_tile, t.col_tile)[side])
        for axis, places, origin in zip(self.axes(side), self.places(side), first, strict=True):
            inner //= places
            at = origin
            if places > 1:
                text = f"{lane.text} // {inner}" if inner > 1 else lane.text
                text = f"{text} % {places}" if places * inner < area else text
                text = text if origin.text == "0" else f"{origin.text} + {text}"
                at = Value(t.let(text), lane.dtype, lane.dims)
                if not isinstance(axis.extent, int) or axis.extent % places:
                    text = f"({at.text} < {t.points((axis,))})"
                    masks.append((dim, self.body.let(text, bool_, at)))
            groups.append(Group((axis,), at))
        return tuple(groups), tuple(masks)

    def count(self, side: int) -> str:
        """How many points a tile of rows or cols has."""
        t, text = self.template, "1"
        first = self.origins(side, (t.row_tile, t.col_tile)[side])
        for axis, places, origin in zip(self.axes(side), self.places(side), first, strict=True):
            if isinstance(axis.extent, int) and axis.extent % places == 0:
                text = t.multiplied(text, str(places))
            elif places > 1:
                left = f"min({t.points((axis,))} - {origin.text}, {places})"
                text = t.multiplied(text, t.let(left))
        return text

    # ---- loads -----------------------------------------------------------------------------------

    def load(self, side: int, level: int) -> str:
        """The tile of an operand at step t of the sum."""
        t, box = self.template, self.moved[side]
        operand = (t.c.a, t.c.b)[side]
        assert box is not None and operand.bare is not None
        name = self.descriptor(operand.bare, box)
        saved, number = self.body.point, (t.row_tile, t.col_tile)[side]
        groups = [Group(t.batch, t.number)]
        step = t.let(t.cast("t"), level) if self.body.wide else "t"
        for axes, first in (
            (self.axes(side), self.origins(side, number)),
            (t.c.reduced, self.origins(2, step, level)),
        ):
            groups += [Group((a,), at) for a, at in zip(axes, first, strict=True)]
        self.body.point = type(saved)(groups=tuple(groups))
        at = ", ".join(f"tl.cast({self.index(d)}, tl.int32)" for d in box.dims)
        self.body.point = saved
        area = [prod(self.places(side)), prod(self.places(2))]
        shape = area[::-1] if box.turned else area
        text = f"tl.reshape({name}.load([{at}]), {shape})"
        return text if box.turned == (side == 1) else f"{text}.T"

    def index(self, d: Dim) -> str:
        """Where a box begins along a dimension."""
        text = self.body.affine(d.at.affine).text
        if d.part is None:
            return text
        of, sign, by, times = d.part
        text = f"{text} + " if text != "0" else ""
        return f"{text}({self.body.affine(of.affine).text}) {sign} {by} * {times}"

    def descriptor(self, load: Load, b: Box) -> str:
        t = self.template
        shape = [self.body.size(d.size) for d in b.dims]
        shape = [n if n.isdecimal() else f"tl.cast({n}, tl.int32)" for n in shape]
        start = self.body.buffers[load.buffer] + (f" + {b.start}" if b.start else "")
        return t.let(
            f"{DESCRIBES}{start}, shape=[{', '.join(shape)}], "
            f"strides={[d.step for d in b.dims]}, block_shape={list(b.blocks)})"
        )


def grid(c: Product, b: Boxes, splits: int) -> list[GridDim]:
    """Boxes along each axis, and the batch with the parts of a sum."""
    pairs = zip((*c.rows, *c.cols), (*b.rows, *b.cols), strict=True)
    return [*(GridDim((a.extent,), n) for a, n in pairs), GridDim((*extents(c.batch), splits))]
