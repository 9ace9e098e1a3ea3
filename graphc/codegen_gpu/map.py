"""Kernels of kind map and scatter: blocks of points, their phases one after the other.

A phase's loop is one flat index over its axes, in their order. It runs along lanes, at once where
it is known to fit (what one phase has read, the next has in registers), else in trips; or, where
it is short or adds to memory, one step after the other for every point of the block. A long float32
sum is cut: `CHUNK` trips add up in float32, what they give in float64.

Where nothing is known about the number of points, full blocks run without a mask, which lets every
thread move 16 bytes at once, and the last block in a branch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

from graphc.codegen_gpu.body import Body, Group, Point, Value
from graphc.codegen_gpu.reductions import Reduction, States
from graphc.codegen_gpu.scalar import literal, rounded
from graphc.codegen_gpu.tiles import UNROLLED, PhasePlan, Plan, extent, factor
from graphc.ir.cuda_abi import GridDim
from graphc.ir.kernel import Axis, Kernel, Phase, Reduce, Store
from graphc.ir.types import bool_, i64

CHUNK = 32  # trips whose sums are float32
ALIGNED = 16  # places: a mask that changes at a multiple of it leaves wide accesses whole


def emit(body: Body, plan: Plan) -> tuple[GridDim, ...]:
    """Write the function's body; the grid."""
    return MapTemplate(body, plan).run()


class MapTemplate:
    """One kernel being emitted."""

    def __init__(self, body: Body, plan: Plan) -> None:
        self.body, self.plan, self.writer = body, plan, body.writer
        self.kernel: Kernel = body.kernel
        loops = any(p.mode in ("whole", "looped") for p in plan.phases)
        spread = plan.points > 1 and bool(self.kernel.axes)
        # The dimensions of points and of loops.
        self.across = (1 if loops and plan.form == "column" else 0) if spread else None
        self.along = (int(spread) if plan.form == "row" else 0) if loops else None
        self.rank = int(spread) + int(loops)
        # Axes of few points, all of which each place of the block computes.
        self.each = tuple(a for a in self.kernel.axes if a.name in plan.each)
        self.axes = tuple(a for a in self.kernel.axes if a not in self.each)

    def run(self) -> tuple[GridDim, ...]:
        if self.plan.form == "tile":
            return self.tiled()
        self.body.point = self.points()
        masks = self.body.point.masks
        if masks and self.rank == 1 and factor(self.axes) % ALIGNED:
            self.in_branches(masks[0][1])
        else:
            self.phases()
        return (GridDim(tuple(a.extent for a in self.axes), self.plan.points),)

    def in_branches(self, mask: Value) -> None:
        """Full blocks without a mask, the last one with it."""
        body, whole = self.body, self.body.point
        count = body.product(a.extent for a in self.axes)
        program = self.program()
        body.writer.let(mask.text, 0)
        full = body.let(f"({program.text} + 1) * {self.plan.points} <= {count}", bool_, program)
        values = dict(body.values)
        for test, masks in ((full.text, ()), (f"not {full.text}", whole.masks)):
            with self.writer.block(f"if {test}:") as level:
                body.floor, body.values = level, dict(values)
                body.point = replace(whole, masks=masks)
                self.phases()

    # ---- points --------------------------------------------------------------------------------

    def program(self) -> Value:
        """Which block of points is this program's."""
        return self.body.index(self._cast("tl.program_id(0)"), ())

    def _cast(self, text: str) -> str:
        return f"{text}.to(tl.int64)" if self.body.wide else text

    def lane(self, block: int, dimension: int, rank: int) -> Value:
        """0, 1, .. along a dimension of the block."""
        at = ["None"] * rank
        at[dimension] = ":"
        text = f"tl.arange(0, {block})" + (f"[{', '.join(at)}]" if rank > 1 else "")
        text = self.writer.let(self._cast(text), 0)
        return Value(text, self.body.index_dtype, frozenset({dimension}))

    def points(self) -> Point:
        """The block's points, all parallel axes flat."""
        axes, block = self.axes, self.plan.points
        shape = [str(block)] * self.rank
        if self.across is None:
            flat = self.program() if axes else Value("0", self.body.index_dtype)
            return Point(tuple(shape), (Group(axes, flat),))
        lane, program = self.lane(block, self.across, self.rank), self.program()
        flat = self.body.index(f"{program.text} * {block} + {lane.text}", [program, lane])
        masks = self.bounds(flat, axes, block, self.across)
        groups, lanes = (Group(axes, flat),), ((self.across, lane),)
        return Point(tuple(shape), groups, masks, lanes=lanes, fours=self.fours(program))

    def fours(self, program: Value) -> Value | None:
        """The number of each four of neighbours in the block."""
        block = self.plan.points
        if self.rank != 1 or block % 4:
            return None
        lanes = self._cast(f"tl.arange(0, {block // 4})")
        return Value(f"({program.text} * {block // 4} + {lanes})", self.body.index_dtype)

    def bounds(
        self, flat: Value, axes: Sequence[Axis], block: int, dimension: int
    ) -> tuple[tuple[int, Value], ...]:
        """The mask of a flat index, unless all of every block are points."""
        known = extent(axes)
        if known is not None and known % block == 0:
            return ()
        count = self.body.product(a.extent for a in axes)
        return ((dimension, self.body.let(f"({flat.text} < {count})", bool_, flat)),)

    def tiled(self) -> tuple[GridDim, ...]:
        """Two axes along the dimensions of the block, a program for each point of the others."""
        rows, columns = self.plan.tile
        axes = {a.name: a for a in self.kernel.axes}
        rest = tuple(a for a in self.kernel.axes if a.name not in self.plan.tile)
        side = self.plan.points
        first, *programs = self.digits(rest, [axes[rows]], side)
        groups = [Group(rest, first)]
        masks: list[tuple[int, Value]] = []
        lanes: list[tuple[int, Value]] = []
        for d, name in enumerate((rows, columns)):
            lane, program = self.lane(side, d, 2), programs[d]
            flat = self.body.index(f"{program.text} * {side} + {lane.text}", [program, lane])
            groups.append(Group((axes[name],), flat))
            masks += self.bounds(flat, (axes[name],), side, d)
            lanes.append((d, lane))
        self.body.point = Point((str(side),) * 2, tuple(groups), tuple(masks), lanes=tuple(lanes))
        self.phases()
        sides = [GridDim((axes[name].extent,), side) for name in (rows, columns)]
        return GridDim(tuple(a.extent for a in rest)), *sides

    def digits(self, points: Sequence[Axis], blocks: Sequence[Axis], side: int) -> list[Value]:
        """The program's number among points, among blocks of so many of each of the axes that
        follow, and what is left of it: programs of all dimensions lie in one."""
        body, number, found = self.body, self.program(), list[Value]()
        counts = [body.product(a.extent for a in points)]
        for a in blocks:
            n = body.product((a.extent,))
            known = -(-n // side) if isinstance(n, int) else f"tl.cdiv({n}, {side})"
            counts.append(known if isinstance(known, int) else body.index(known, ()).text)
        for count in counts:
            found.append(Value("0", body.index_dtype))
            if count not in (0, 1):
                found[-1] = body.index(f"{number.text} % {count}", [number])
                number = body.index(f"{number.text} // {count}", [number])
        return [*found, number]

    # ---- phases --------------------------------------------------------------------------------

    def phases(self) -> None:
        """At each point of the axes of few points, whose guards are then known."""
        body, whole, values = self.body, self.body.point, dict(self.body.values)
        for at in product(*(range(int(a.extent)) for a in self.each)):
            known = (Group((a,), Value(str(k), body.index_dtype)) for a, k in zip(self.each, at))
            body.point, body.values = replace(whole, groups=(*whole.groups, *known)), dict(values)
            self.run_phases()
        body.point = whole

    def run_phases(self) -> None:
        runs = {
            "once": self.once, "whole": self.whole, "looped": self.looped, "serial": self.serial,
        }  # fmt: skip
        for phase, plan in zip(self.kernel.phases, self.plan.phases, strict=True):
            point, floor = self.body.point, self.body.floor
            runs[plan.mode](phase, plan)
            self.body.point, self.body.floor = point, floor

    def once(self, phase: Phase, plan: PhasePlan) -> None:
        """A reduction over no axis is one over one element."""
        self.statements(phase)
        body = self.body
        for s, reduction in self.reductions(phase):
            zero = body.let(literal(0, i64), i64)
            body.values[s.name] = zero if reduction.is_position else body.values[s.arg]

    def statements(self, phase: Phase) -> None:
        """All but the reductions."""
        for s in phase.body:
            if isinstance(s, Reduce):
                continue
            self.body.run(s)

    def whole(self, phase: Phase, plan: PhasePlan) -> None:
        """The loop along lanes, without a loop; its point holds for equal loops of all phases."""
        assert self.along is not None
        lane = self.lane(plan.block, self.along, self.rank)
        trips = extent(phase.axes)
        self.body.point = self.extended(phase, plan, lane, trips == plan.block)
        if trips == 0:
            self.body.point = replace(self.body.point, live=(self._some(0),))
        self.statements(phase)
        for s, reduction in self.reductions(phase):
            states = self.element(s, reduction, lane, trips == plan.block)
            self.result(s, reduction, self.lanes_reduced(reduction, states, plan))

    def extended(self, phase: Phase, plan: PhasePlan, flat: Value, full: bool) -> Point:
        """The point with the phase's axes in it, along their dimension of the block."""
        point, along = self.body.point, self.along
        assert along is not None
        shape = tuple(str(plan.block) if d == along else n for d, n in enumerate(point.shape))
        masks = point.masks
        if not full:
            count = self.body.product(a.extent for a in phase.axes)
            mask = self.body.let(f"({flat.text} < {count})", bool_, flat)
            masks = (*masks, (along, mask))
        lane = self.lane(plan.block, along, self.rank)
        return replace(
            point,
            shape=shape,
            groups=(*point.groups, Group(phase.axes, flat)),
            masks=masks,
            lanes=(*point.lanes, (along, lane)),
        )

    def looped(self, phase: Phase, plan: PhasePlan) -> None:
        """Trips along lanes, with a state for each place of the block."""
        body, writer = self.body, self.writer
        count = body.product(a.extent for a in phase.axes)
        some = () if isinstance(count, int) and count > 0 else (self._some(count),)
        full = isinstance(count, int) and count % plan.block == 0
        point = body.point
        shape = self.shape(plan)
        reductions = self.reductions(phase)
        cut = any(f.is_float_sum for _, f in reductions) and (
            not isinstance(count, int) or count > CHUNK * plan.block
        )
        outer = [replace(f, double=cut and f.is_float_sum) for _, f in reductions]
        states = [self.started(f, shape) for f in outer]

        def trip(states: list[States], first: str) -> None:
            flat = writer.assign(f"tl.cast({first}, {self._index}) + {lane.text}", writer.level)
            dims = frozenset({self.along or 0})
            index = Value(flat, body.index_dtype, dims, writer.level)
            body.point = replace(self.extended(phase, plan, index, full), live=some)
            self.statements(phase)
            for (s, reduction), state in zip(reductions, states, strict=True):
                self.step(reduction, state, self.element(s, reduction, index, full))
            body.point = point

        lane = self.lane(plan.block, self.along or 0, self.rank)
        if not cut:
            with self.loop("0", str(count), plan.block) as first:
                trip(states, first)
        else:
            with self.loop("0", str(count), plan.block * CHUNK) as start:
                parts = [
                    self.started(f, shape) if f.is_float_sum else state
                    for (_, f), state in zip(reductions, states, strict=True)
                ]
                stop = f"tl.minimum({start} + {plan.block * CHUNK}, {count})"
                with self.loop(start, stop, plan.block) as first:
                    trip(parts, first)
                for reduction, state, part in zip(outer, states, parts, strict=True):
                    if reduction.double:
                        self.step(reduction, state, [f"{part[0]}.to(tl.float64)"])
        for (s, _), reduction, state in zip(reductions, outer, states, strict=True):
            self.result(s, reduction, self.lanes_reduced(reduction, state, plan))

    def _some(self, count: int | str) -> Value:
        """Whether a loop has a trip."""
        return self.body.let(f"(tl.cast({count}, {self._index}) > 0)", bool_)

    @property
    def _index(self) -> str:
        return "tl.int64" if self.body.wide else "tl.int32"

    @contextmanager
    def loop(self, start: str, stop: str, step: int) -> Iterator[str]:
        name = self.writer.fresh("k")
        with self.writer.block(f"for {name} in range({start}, {stop}, {step}):"):
            yield name

    def serial(self, phase: Phase, plan: PhasePlan) -> None:
        """One step after the other, for all points of the block."""
        body, writer = self.body, self.writer
        trips = extent(phase.axes)
        written_out = trips is not None and trips <= UNROLLED and self.kernel.kind != "scatter"
        count = body.product(a.extent for a in phase.axes)
        reductions = self.reductions(phase)
        states = [self.started(f, self.shape(plan)) for _, f in reductions]
        name, point = writer.fresh("k"), body.point
        head = f"tl.static_range({count})" if written_out else f"range(0, {count})"
        with writer.block(f"for {name} in {head}:") as level:
            body.floor = level
            step = Value(
                writer.assign(f"tl.cast({name}, {self._index})", level), body.index_dtype,
                level=level,
            )  # fmt: skip
            body.point = replace(point, groups=(*point.groups, Group(phase.axes, step)))
            self.statements(phase)
            for (s, reduction), state in zip(reductions, states, strict=True):
                self.step(reduction, state, self.element(s, reduction, step, True))
        for (s, reduction), state in zip(reductions, states, strict=True):
            self.result(s, reduction, state)

    # ---- reductions ----------------------------------------------------------------------------

    def reductions(self, phase: Phase) -> list[tuple[Reduce, Reduction]]:
        dtypes = {s.name: s.dtype for s in phase.body if not isinstance(s, Store)}
        found = []
        for s in phase.body:
            if isinstance(s, Reduce):
                dtype = dtypes.get(s.arg) or self.body.values[s.arg].dtype
                found.append((s, Reduction(s.op, dtype, s.dtype, self.body.wide)))
        return found

    def shape(self, plan: PhasePlan) -> list[int]:
        """The extents of a state's block."""
        shape = [self.plan.points] * self.rank
        if plan.mode in ("whole", "looped"):
            shape[self.along or 0] = plan.block
        elif self.along is not None:
            shape[self.along] = 1
        return shape

    def started(self, reduction: Reduction, shape: list[int]) -> States:
        return [self.writer.assign(x, self.writer.level) for x in reduction.start(str(shape))]

    def element(self, s: Reduce, reduction: Reduction, position: Value, full: bool) -> States:
        """The states of the elements at the point; lanes that are none have the identity."""
        body = self.body
        x = body.values[s.arg]
        phase_only = frozenset() if self.along is None else frozenset({self.along})
        own = [m for d, m in body.point.masks if d in phase_only] if not full else []
        valid = own[0].text if own else ""
        texts = reduction.first(
            x.text, valid, position.text, body.point.block(self.all_dims(position))
        )
        return [self.writer.let(t, self.writer.level) for t in texts]

    def all_dims(self, position: Value) -> frozenset[int]:
        return frozenset(range(self.rank)) if position.dims else self.point_dims

    @property
    def point_dims(self) -> frozenset[int]:
        return frozenset() if self.across is None else frozenset({self.across})

    def step(self, reduction: Reduction, states: States, more: States) -> None:
        """Reduce `more` into the variables `states`."""
        merged = reduction.merge(lambda t: self.writer.let(t, self.writer.level), states, more)
        names = [self.writer.assign(t, self.writer.level) for t in merged]
        for state, name in zip(states, names, strict=True):
            self.writer.do(f"{state} = {name}")

    def lanes_reduced(self, reduction: Reduction, states: States, plan: PhasePlan) -> States:
        assert self.along is not None
        let = lambda t: self.writer.let(t, self.writer.level)  # noqa: E731
        return reduction.across(let, states, self.along, self.shape(plan))

    def result(self, s: Reduce, reduction: Reduction, states: States) -> None:
        """The reduction's value, as later phases see it."""
        text = self.writer.let(reduction.finish(states), self.writer.level)
        if s.dtype.is_half and s.name in self.body.told:
            text = self.writer.let(rounded(s.dtype, text), self.writer.level)
        self.body.values[s.name] = Value(text, s.dtype, self.point_dims, self.writer.level)
