"""What follows the Dot: bias, activation, residual, an optimizer's update, the stores.

Runs once for each row of a finished tile, a whole vector at a time, on the sums that the register
tile left in memory. Loads that no row changes are read once for the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

from graphc.codegen_cpu import memory, scalar
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Point, Statements, Values, Vector
from graphc.ir.kernel import Load, Store

SHORT = 64  # steps of a sum, for each vector of a row that then comes from memory, or less


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

        known, lane = statements.uses.memory, plan.lane.name
        own = [
            s for s in plan.contraction.epilogue
            if isinstance(s, Load | Store) and s.at.stride(lane) == 1 and not s.indirect
            and s not in self.constant
        ]  # fmt: skip
        self.read = [s for s in own if isinstance(s, Load)]  # of each output
        self.updates = len({type(s) for s in own}) == 2  # state, as an optimizer does
        # What an update reads and writes of an output alone, each place once; not what it writes
        # past the caches.
        near = (s for s in own if s.buffer not in frame.past)
        self.updated = list({(known[s.buffer], s.at): s for s in near}.values())

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

    def _is_short(self) -> bool:
        """Whether the sum is one loop of few steps beside what the epilogue reads and writes."""
        plan, (axis, *others) = self.plan, self.plan.contraction.reduced
        if others or plan.how != "lanes" or plan.wide or plan.chunk is not None:
            return False
        steps = axis.extent
        if not isinstance(steps, int):
            return False
        return plan.row_count <= steps <= SHORT * len(self.updated)

    def fetching(self, index: Mapping[str, Int]) -> Callable[[Int], None] | None:
        """What asks for all that the epilogue reads and writes of a row of the tile at `index`.

        A short sum takes no longer than that takes to come from memory, and a processor foresees
        little of it: rows of a tile are short, and lie apart.
        """
        f, rows, lane = self.frame, self.plan.rows, self.plan.lane.name
        if not (self.plan.strip or self._is_short()) or len(rows) != 1:
            return None
        (axis,) = (r.axis.name for r in rows)

        def row(number: Int) -> None:
            at = {**index, axis: f.add(index[axis], number)}
            for s, j in product(self.updated, range(self.plan.vectors)):
                at[lane] = f.add(index[lane], j * self.plan.lanes)
                memory.fetch(f, f.address(s.buffer, f.offset(s.at, at)), near=True, writes=True)

        return row
