"""What follows the Dot: bias, activation, residual, an optimizer's update, the stores.

Runs once for each row of a finished tile, a whole vector at a time, on the sums that the register
tile left in memory. Loads that no row changes are read once for the tile.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen_cpu import scalar
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Point, Statements, Values, Vector
from graphc.ir.kernel import Load, Store


class Epilogue:
    """Evaluates the epilogue's statements for vectors of outputs."""

    def __init__(self, frame: Frame, plan: Plan, statements: Statements) -> None:
        self.frame, self.plan, self.statements = frame, plan, statements
        rows = {r.axis.name for r in plan.rows}
        self.constant = [
            s for s in plan.contraction.epilogue
            if isinstance(s, Load) and s.buffer in frame.readonly
            and not rows & {a for g in (s.at, *(g.at for g in s.guards)) for a, _ in g.terms}
        ]  # fmt: skip

    def point(self, index: Mapping[str, Int], start: Int, lanes: int, mask: str) -> Point:
        """A vector of outputs from `start` on along the lane axis."""
        lane = self.plan.lane.name
        if lanes == 1:
            return Point((Vector({**index, lane: start}),), live=mask)
        aligned = self.plan.how == "lanes"  # columns of a tile that moved back begin anywhere
        point = Point((Vector(index),), aligned=aligned)
        return point.across(lane, lanes, [(start, mask)])

    def preload(self, point: Point) -> Values:
        """Arguments, and values of the loads that are the same for every row."""
        values = dict(self.frame.arguments)
        for s in self.constant:
            self.statements.run(s, point, values)
        return values

    def run(self, point: Point, known: Values, total: str) -> Values:
        """Everything after the Dot, whose sums are `total`; the values that it came to."""
        c, values = self.plan.contraction, dict(known)
        total = scalar.cast(self.frame.e, point.lanes, c.dtype, c.dot.dtype, total)
        values[c.dot.name] = Value(c.dot.dtype, [total], point.lanes > 1)
        for s in c.epilogue:
            if isinstance(s, Store) or s.name not in values:
                self.statements.run(s, point, values)
        return values
