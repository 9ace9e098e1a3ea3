"""Kernels of kind scatter that add rows: what a trip adds to is one row, the same for all points.

Rows are shared out by their numbers, so that each is one program's alone and is added to in order,
whatever the number of programs. A program looks at all indices, many at once, and puts those that
are its own in a line; then it loads what several of them add, and adds it one by one. The row that
was last added to stays in registers until another's turn comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.codegen_gpu.body import NONE, Body, Group, Point, Value, added
from graphc.codegen_gpu.map import MapTemplate
from graphc.codegen_gpu.scalar import REGISTER, held, loaded, rounded, stored
from graphc.codegen_gpu.tiles import Plan, RowScatter, row_scatter
from graphc.ir.cuda_abi import GridDim, Param
from graphc.ir.kernel import Phase, Store
from graphc.ir.types import DType, bool_, i64

INDICES = 2048  # that a program looks at in one step
TOGETHER = 8  # rows that are loaded before the first of them is added
SCRATCH_BYTES = 4 * INDICES  # of a program: where its own indices stand
SCRATCH = Param("scratch", "pointer", "scratch", dtype="i32", align=16)


def emit(body: Body, plan: Plan) -> tuple[GridDim, ...]:
    """Write the function's body; the grid. It has `SCRATCH` behind its kernel's parameters."""
    found = row_scatter(body.kernel)
    assert found is not None, "planned for others"
    return RowTemplate(body, plan, found).run()


@dataclass(frozen=True, slots=True)
class Row:
    """What one trip adds, and where: values that were loaded."""

    live: Value
    index: Value
    value: Value


class RowTemplate(MapTemplate):
    """One kernel being emitted."""

    def __init__(self, body: Body, plan: Plan, found: RowScatter) -> None:
        super().__init__(body, plan)
        self.found = found
        self.store: Store = found.store
        self.dtype: DType = body.dtypes[found.store.buffer]

    def run(self) -> tuple[GridDim, ...]:
        body, w = self.body, self.writer
        body.point = point = self.points()
        own = f"tl.program_id(0) % {self.plan.shares}"
        self.own = body.index(self._cast(f"({own})"), ())
        w.do(f"line = scratch + tl.program_id(0).to(tl.int64) * {INDICES}")
        for phase in self.kernel.phases:
            if phase is self.found.adding:
                self.add_rows(phase)
            elif phase.axes:
                self.fill(phase)
            else:
                self.statements(phase)
            body.point, body.floor = point, 0
        grid = GridDim(tuple(a.extent for a in self.kernel.axes), self.plan.points)
        return grid, GridDim((self.plan.shares,))

    def program(self) -> Value:
        """Those that share a block of points are neighbours."""
        return self.body.index(self._cast(f"(tl.program_id(0) // {self.plan.shares})"), ())

    def fill(self, phase: Phase) -> None:
        """What the program's own rows begin with."""
        body, w = self.body, self.writer
        values = dict(body.values)
        count, name = body.product(a.extent for a in phase.axes), w.fresh("k")
        head = f"for {name} in range({self.own.text}, {count}, {self.plan.shares}):"
        with w.block(head) as level:
            body.floor = level
            self.at_trip(phase, w.assign(f"tl.cast({name}, {self._index})", level), level)
            self.statements(phase)
        body.values = values

    def at_trip(self, phase: Phase, flat: str, level: int, live: tuple[Value, ...] = ()) -> None:
        """Set the body's point to one trip of a phase."""
        step = Value(flat, self.body.index_dtype, NONE, level)
        groups = (*self.body.point.groups[:1], Group(phase.axes, step))
        self.body.point = replace(self.body.point, groups=groups, live=live)

    # ---- adding --------------------------------------------------------------------------------

    def add_rows(self, phase: Phase) -> None:
        body, w, point = self.body, self.writer, self.body.point
        count = body.product(a.extent for a in phase.axes)
        shape, register = point.block(self.point_dims), REGISTER[self.dtype.name]
        zero = "tl.full([], 0, tl.int32) != 0" if self.dtype is bool_ else "0"
        w.do("row = tl.full([], -1, tl.int64)")  # whose sum is in registers
        w.do(f"total = tl.full({shape}, {zero}, {register})")
        with w.block(f"for start in range(0, {count}, {INDICES}):") as level:
            body.floor = level
            values = dict(body.values)
            self.find(phase, str(count), level)
            body.point, body.values = point, values
            w.do("tl.debug_barrier()")
            with w.block(f"for first in range(0, found, {TOGETHER}):") as inner:
                body.floor = inner
                rows = [self.loaded_row(phase, k, inner) for k in range(TOGETHER)]
                for row in rows:
                    self.add(row, inner)
                body.point, body.values = point, values
        self.put_back(0)

    def find(self, phase: Phase, count: str, level: int) -> None:
        """The program's own among the indices of this step: how many, and in a line, in order."""
        body, w = self.body, self.writer
        w.do(f"lanes = tl.arange(0, {INDICES})")
        text = w.assign(f"tl.cast(start, {self._index}) + {self._cast('lanes')}", level)
        flat = Value(text, body.index_dtype, frozenset({0}), level)
        mask = body.let(f"({text} < {count})", bool_, flat)
        body.point = Point((str(INDICES),), (Group(phase.axes, flat),), ((0, mask),),
                           lanes=((0, flat),))  # fmt: skip
        for s in self.found.finding:
            body.run(s)
        index = body.values[self.found.index]
        w.do(f"mine = {mask.text} & (({index.text} & {self.plan.shares - 1}) == {self.own.text})")
        w.do("order = tl.cumsum(mine.to(tl.int32), 0)")
        w.do("found = tl.max(order, 0)")
        w.do("tl.debug_barrier()")  # for who reads what the step before this one found
        w.do("tl.store(line + order - 1, lanes, mask=mine)")

    def loaded_row(self, phase: Phase, k: int, level: int) -> Row:
        """What the program's own index `first + k` adds, if there is one."""
        body, w = self.body, self.writer
        live = Value(w.assign(f"(first + {k} < found)", level), bool_, NONE, level)
        w.do(f"at{k} = tl.load(line + first + {k}, mask={live.text}, other=0)")
        flat = w.assign(f"tl.cast(start, {self._index}) + {self._cast(f'at{k}')}", level)
        self.at_trip(phase, flat, level, (live,))
        for s in phase.body:
            if s is not self.store:
                body.run(s)
        return Row(live, body.values[self.found.index], body.values[self.store.value])

    def add(self, row: Row, level: int) -> None:
        """Add to the row in registers, which first becomes this one."""
        body, w = self.body, self.writer
        index = w.assign(f"{row.index.text}.to(tl.int64)", level)
        with w.block(f"if {row.live.text} & ({index} != row):") as inner:
            body.floor = inner
            self.put_back(inner)
            w.do("tl.debug_barrier()")
            w.do(f"row = {index}")
            at, mask = self.at_row(inner)
            masked = f", mask={mask.text}, other=0" if mask else ""
            old = w.assign(f"tl.load({at}{masked})", inner)
            w.do(f"total = {loaded(self.dtype, old)}")
        body.floor = level
        text = added(self.dtype, "total", row.value.text)
        if self.dtype.is_half:
            text = rounded(self.dtype, text)
        elif self.dtype is not bool_ and held(self.dtype) is self.dtype:
            text = f"{text}.to({REGISTER[self.dtype.name]})"
        w.do(f"total = tl.where({row.live.text}, {text}, total)")

    def put_back(self, level: int) -> None:
        """What is in registers, to memory."""
        at, mask = self.at_row(level)
        some = Value(self.writer.assign("(row >= 0)", level), bool_, NONE, level)
        mask = self.body.both(mask, some)
        assert mask is not None
        self.writer.do(f"tl.store({at}, {stored(self.dtype, 'total')}, mask={mask.text})")

    def at_row(self, level: int) -> tuple[str, Value | None]:
        """Where the row's points are, and which of them may be stored."""
        body = self.body
        body.point = replace(body.point, groups=body.point.groups[:1], live=())
        body.values[self.found.index] = Value(
            self.writer.assign("row + 0", level), i64, NONE, level
        )
        place = body.address(self.store.at, self.store.indirect)
        mask = body.both(body.mask(self.point_dims), body.permit)
        place = body.spread(place, self.point_dims)
        return body.pointer(self.store.buffer, place), mask
