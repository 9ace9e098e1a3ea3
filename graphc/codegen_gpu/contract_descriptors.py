"""Operands of products whose tiles the tensor memory accelerator moves, by descriptors (sm_90 on).

It takes an operand that lies in memory as it is multiplied: a matrix of rows at a literal step, a
multiple of 16 bytes, along whose rows elements lie side by side. What is outside is zero without a
mask, and no thread computes an address. Where a convolution has several taps, padding or a stride,
its operand is no such matrix but a tensor, of which tiles are boxes (`contract_boxes.py`); what is
neither comes by pointers, as all does on older targets.

A program makes its descriptors itself, in scratch memory that Triton asks for: that costs about as
much as one step of the sum, so that sums of few steps do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from graphc.codegen_gpu.body import Group
from graphc.codegen_gpu.contract_boxes import FEWEST_STEPS, LEAST_SIDE, in_line
from graphc.codegen_gpu.target import ACCESS_BYTES, Target
from graphc.codegen_gpu.tiles import extent
from graphc.ir.kernel import Axis, Load, Size
from graphc.ir.kernel_contraction import Operand

if TYPE_CHECKING:
    from graphc.codegen_gpu.contract import ContractTemplate

DESCRIBES = "tl.make_tensor_descriptor("


class Descriptors:
    """The operands of one contraction that have one: their texts, by the loads."""

    def __init__(self, template: ContractTemplate, target: Target, steps: int) -> None:
        self.template, self.body = template, template.body
        t, c = template.t, template.c
        worth = steps >= FEWEST_STEPS and min(t.rows, t.cols) >= LEAST_SIDE
        exact = "ieee" in template.precision and not c.operand_dtype.is_half
        self.possible = (
            target.has_descriptors and t.how == "product" and worth and not exact
        ) and not template.outer

    def tile(self, o: Operand, axes: Sequence[Axis], dim: int, level: int) -> str:
        """The tile of an operand at a step of the sum, or nothing where pointers are needed.

        `axes` are those of its rows, along dimension `dim` of the result.
        """
        load = o.bare
        if not self.possible or load is None or load.guards or load.indirect:
            return ""
        free, deep = step(load, axes), step(load, self.template.inner)
        base = self.base(load)
        if not base or not self.aligned(load, {free: self.template.inner, deep: axes}):
            return ""
        t, side = self.template.t, (self.template.t.rows, self.template.t.cols)[dim]
        tile = (self.template.row_tile, self.template.col_tile)[dim]
        points = [self.number(axes), self.number(self.template.inner)]
        blocks, steps = [side, t.depth], [free, deep]
        at = [f"{tile} * {side}", self.template.place_of_step(level)]
        turned = dim == 1
        if free == 1 and deep != 1:  # side by side along the rows of the result
            points, blocks, steps, at = points[::-1], blocks[::-1], steps[::-1], at[::-1]
            turned = not turned
        name = self.template.let(
            f"{DESCRIBES}{base}, shape=[{', '.join(points)}], "
            f"strides=[{steps[0]}, 1], block_shape={blocks})"
        )
        at = [f"tl.cast({x}, tl.int32)" for x in at]
        text = f"{name}.load([{', '.join(at)}])"
        return f"{text}.T" if turned else text

    def number(self, axes: Iterable[Axis]) -> str:
        text = self.template.points(axes)
        return text if text.isdecimal() else f"tl.cast({text}, tl.int32)"

    def base(self, load: Load) -> str:
        """Where the matrix of this batch begins; nothing if that is no whole line of 16 bytes."""
        t = self.template
        named = [load.at.stride(a.name) for a in t.batch]
        if not all(self.lies(load, s) for s in (*named, load.at.const)):
            return ""
        text = self.body.buffers[load.buffer]
        saved = self.body.point
        self.body.point = type(saved)(groups=(Group(t.batch, t.number),))
        for index, stride in self.body.terms(load.at):
            text += f" + {index.text}.to(tl.int64) * {stride}" if index.text != "0" else ""
        self.body.point = saved
        return t.let(f"{text} + {load.at.const}" if load.at.const else text)

    def aligned(self, load: Load, across: Mapping[Size, Sequence[Axis]]) -> bool:
        """Whether one of both steps is to the next element, and the other, across the axes that
        lie side by side, over all of them by whole lines of 16 bytes."""
        (step,) = set(across) - {1} if len(across) == 2 and 1 in across else (0,)
        if not isinstance(step, int) or step <= 0 or not self.lies(load, step):
            return False
        points = extent(across[step])
        return points is not None and step >= points

    @staticmethod
    def lies(load: Load, step: Size) -> bool:
        return isinstance(step, int) and step * load.dtype.itemsize % ACCESS_BYTES == 0


def step(load: Load, axes: Sequence[Axis]) -> Size:
    """Elements from one point of these axes, in a line, to the next; 0 if they differ."""
    many = [a.name for a in axes if a.extent != 1]
    return load.at.stride(many[-1]) if many and in_line(load, axes) else 0
