"""The panel: a chunk of the vector operand, copied so that a tile reads it front to back.

Row k of the panel holds the tile's lanes at point k of the reduction, as the sums' own type: the
operand's conversions and elementwise stage are done once for all tiles that share the panel, and
lanes beyond the axis need no masks. Where the tile multiplies pairs (`pairs.py`), a row holds those
of two points. An operand that is contiguous along the reduction instead of the lanes is transposed
in registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphc.codegen_cpu.contract import pairs
from graphc.codegen_cpu.contract.microkernel import Span, sum_type
from graphc.codegen_cpu.contract.operands import Bases, evaluate, moved
from graphc.codegen_cpu.contract.plan import SIDE, Plan
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, value_of
from graphc.codegen_cpu.transpose import transposed
from graphc.ir.kernel import Affine, Load
from graphc.ir.kernel_contraction import Operand
from graphc.ir.types import bf16

PANEL = "%panel"  # the load and the buffer; no name of a kernel's buffer


class Panel:
    """Room for one panel, and the loops that fill it."""

    def __init__(self, frame: Frame, plan: Plan) -> None:
        self.frame, self.e, self.plan = frame, frame.e, plan
        self.t, self.dtype, fold = sum_type(plan), plan.contraction.dtype, plan.fold
        if fold > 1:
            self.t, self.dtype = pairs.word(plan.lanes), bf16
        self.side = SIDE * 8 // self.t.bits  # rows of a square
        counts = self._counts()
        counts[-1] += counts[-1] % fold
        # A transposing copy writes whole squares, which may end past the last row.
        room = (math.prod(counts) // fold + self.side) * plan.width
        frame.buffers[PANEL] = place = frame.scratch(1 << (room - 1).bit_length(), self.t)
        self.bases: Bases = {PANEL: place}  # of this panel: a kernel may have one for few samples
        names = [a.name for a in plan.contraction.reduced][-len(counts) :]
        strides = [math.prod(counts[k + 1 :]) * plan.width for k in range(len(counts))]
        load = Load(
            PANEL, self.dtype, PANEL, Affine((*zip(names, strides), (plan.lane.name, fold)))
        )
        self.operand = Operand(PANEL, (load,))

    def _counts(self) -> list[int]:
        """Literal extents of the reduction axes in a chunk, without those that it holds fixed."""
        reduced, cut = self.plan.contraction.reduced, self.plan.chunk
        if cut is None:
            return [int(a.extent) for a in reduced]
        return [self.plan.chunk_size, *(int(a.extent) for a in reduced[cut + 1 :])]

    def at(self, origin: Mapping[str, Int]) -> Bases:
        """The row of that point of the chunk."""
        bases = self.bases
        for axis, k in origin.items():
            bases = moved(self.frame, self.operand, bases, axis, k)
        return bases

    def pack(
        self,
        source: Bases,
        spans: list[Span],
        masks: list[str],
        left: Int,
        to: Bases | None = None,
    ) -> None:
        """Copy what `spans` have from `source` on; `left` lanes lie on the lane axis."""
        self._level(source, self.bases if to is None else to, spans, masks, left)

    def _level(
        self, source: Bases, to: Bases, spans: list[Span], masks: list[str], left: Int
    ) -> None:
        if not spans:
            self._copy(source, to[PANEL], masks)
            return
        f, span, fold = self.frame, spans[0], self.plan.fold if len(spans) == 1 else 1
        if len(spans) == 1 and self._transposed(span.axis):
            self._transpose(source, to[PANEL], span.count, left)
            return
        whole = f.mul(f.div(span.count, fold), fold)
        for low, high, step in ((0, whole, fold), (whole, span.count, 1)):
            if low == high:
                continue
            with self.e.loop(f.text(low), f.text(high), step, "pack") as i:
                inner = moved(f, self.plan.vector, source, span.axis, i)
                row = moved(f, self.operand, to, span.axis, i)
                if fold > 1:
                    self._copy(inner, row[PANEL], masks, span.axis if step > 1 else "")
                else:
                    self._level(inner, row, spans[1:], masks, left)

    def _copy(self, source: Bases, to: str, masks: list[str], axis: str = "") -> None:
        """One row of the panel; of pairs, if the axis is given along which the second ones lie."""
        plan, f = self.plan, self.frame
        strides = {s.name: f.size(s.at.stride(plan.lane.name)) for s in plan.vector.loads}
        for j, mask in enumerate(masks):
            first = moved(f, plan.vector, source, plan.lane.name, j * plan.lanes)
            value = evaluate(f, plan.vector, first, strides, plan.lanes, mask, plan)
            if plan.fold > 1:
                second = ""
                if axis:
                    after = moved(f, plan.vector, first, axis, 1)
                    second = evaluate(f, plan.vector, after, strides, plan.lanes, mask, plan)
                value = pairs.joined(self.e, value, second, plan.lanes)
            at = f.pointer(to, j * plan.lanes * plan.fold, self.dtype)
            self.e.do(f"store {self.t} {value}, ptr {at}")

    # ---- transposing -----------------------------------------------------------------------

    def _transposed(self, inner: str) -> bool:
        """Whether the operand is a plain load, contiguous along the innermost reduction axis."""
        lane, operand = self.plan.lane.name, self.plan.vector
        single = len(operand.statements) == 1
        return single and not operand.contiguous(lane) and operand.loads[0].at.stride(inner) == 1

    def _transpose(self, source: Bases, to: str, count: Int, left: Int) -> None:
        """All lanes by `SIDE` bytes of steps at a time; lanes beyond the axis repeat its last.

        Pieces of 16 bytes leave shuffles within 16 bytes (`transpose.py`): squares of whole vectors
        ran no faster and took LLVM 35 ms longer.
        """
        f, lanes, fold = self.frame, self.plan.lanes, self.plan.fold
        side, points_a_side = self.side, self.side * fold
        load = self.plan.vector.loads[0]
        stride = f.size(load.at.stride(self.plan.lane.name))
        with self.e.loop("0", str(self.plan.width), lanes, "lane") as j:
            points = [f.least(f.add(j, k), f.sub(left, 1)) for k in range(lanes)]
            starts = [f.pointer(source[load.name], f.mul(p, stride), load.dtype) for p in points]
            with self.e.loop("0", f.text(count), points_a_side, "square") as i:
                mask = ""
                if (n := value_of(count)) is None or n % points_a_side:
                    mask = f.below(f.sub(count, i), points_a_side)
                pieces = [self._piece(load, start, i, points_a_side, mask) for start in starts]
                corner = f.add(f.mul(i, self.plan.width), f.mul(j, fold))
                for k, row in enumerate(transposed(self.e, self.t, pieces, side)):
                    at_row = f.add(corner, k * fold * self.plan.width)
                    self.e.do(f"store {self.t} {row}, ptr {f.pointer(to, at_row, self.dtype)}")

    def _piece(self, load: Load, start: str, i: Int, points: int, mask: str) -> str:
        """One lane at so many points."""
        at, unit = {load.name: self.frame.pointer(start, i, load.dtype)}, {load.name: 1}
        x = evaluate(self.frame, self.plan.vector, at, unit, points, mask, self.plan)
        return x if self.plan.fold == 1 else pairs.neighbours(self.e, x, self.side)
