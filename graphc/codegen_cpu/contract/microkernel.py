"""The register tile: R rows by N vectors of sums, in registers for the whole reduction.

`lanes`: each step loads N vectors of the vector operand and, row by row, broadcasts one value of
the scalar operand: R*N multiply-adds for R + N loads. `along`: lanes run along the innermost
reduction axis, R + N vector loads give R*N multiply-adds, and the lanes are summed at the end by a
fixed tree.

Either way the sums end up in a small block of memory, row after row, from which the epilogue
reads (`epilogue.py`). A sum that is cut in chunks starts from that block instead of from zero, so
cutting does not change a bit: each output is one chain of multiply-adds in reduction order. Only a
long sum is several: a chain for each strip, strips added to the block, and the block, at the end of
a chunk, to totals in float64. So the error does not grow with the length.

Where the processor multiplies pairs of bfloat16 (`pairs.py`) a step is two points of the innermost
reduction axis, side by side in each lane.

Literal strides become immediates of few base pointers; a stride that is a symbol costs a pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from graphc.codegen_cpu.contract import pairs, prefetch
from graphc.codegen_cpu.contract.operands import Bases, Stream, evaluate, moved
from graphc.codegen_cpu.contract.plan import STRIP_STEPS, Plan
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, value_of
from graphc.ir.kernel_contraction import Operand

WIDE_TILE = 16  # sums; more than this need no unrolling to hide a loop's overhead
FLAT = 8  # a loop of up to this many steps is written out


@dataclass(frozen=True, slots=True)
class Span:
    """A reduction axis and its trip count in this chunk."""

    axis: str
    count: Int


# ---- the tile ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """Where one tile works: base pointers, offsets of its points, lane masks, its block of sums."""

    scalar_bases: Bases
    vector_bases: Bases
    rows: list[dict[str, Int]]  # offsets of each row in the scalar operand's loads
    columns: list[dict[str, Int]]  # of each vector or column in the vector operand's loads
    masks: list[str]  # of each vector
    sums: str
    totals: str = ""  # of a long sum: where chunks add up
    fetch: Callable[[Int], None] | None = None  # asks for what the epilogue reads of a row
    following: str = ""  # where the rows of the next tile are, if they are worth asking for


def emit_tile(
    frame: Frame, plan: Plan, vector: Operand, site: Site, spans: list[Span]
) -> list[str]:
    """Reduce over `spans`; the sums stay in registers if the plan is `direct`, else go to memory.

    `vector` is the plan's vector operand or the panel that stands for it.
    """
    t = sum_type(plan)
    count = len(site.rows) * plan.vectors
    nothing = [literal(0.0, t)] * count
    reduction = _Reduction(frame, plan, vector, site, t)
    if plan.long:
        reduction.long(spans, nothing)
        return []
    cut = plan.chunk is not None
    sums = [load_sum(frame, site.sums, k, t) for k in range(count)] if cut else nothing
    if site.fetch is not None:
        sums = reduction.fetching(spans[0], site.fetch, nothing)
    else:
        sums = reduction.nest(spans, site.scalar_bases, site.vector_bases, sums)
    if plan.direct:
        return sums
    for k, value in enumerate(sums):
        store_sum(frame, site.sums, k, t, value)
    return []


def sum_type(plan: Plan) -> Vec:
    """A vector of sums."""
    return Vec("double" if plan.contraction.dtype.itemsize == 8 else "float", plan.lanes)


def load_sum(frame: Frame, sums: str, at: Int, t: Vec) -> str:
    where = frame.e.once(f"getelementptr {t}, ptr {sums}, i64 {frame.text(at)}")
    return frame.e.value(f"load {t}, ptr {where}, align {t.bits // 8}")


def store_sum(frame: Frame, sums: str, at: Int, t: Vec, value: str) -> None:
    """One of the aligned vectors of a block."""
    where = frame.e.once(f"getelementptr {t}, ptr {sums}, i64 {frame.text(at)}")
    frame.e.do(f"store {t} {value}, ptr {where}, align {t.lanes * t.bits // 8}")


def narrow_totals(frame: Frame, plan: Plan, totals: str, sums: str) -> None:
    """A tile's totals as float32, where the epilogue looks for its sums."""
    t = sum_type(plan)
    for k in range(plan.row_count * plan.vectors):
        value = load_sum(frame, totals, k, t.of("double"))
        value = frame.e.value(f"fptrunc {t.of('double')} {value} to {t}")
        store_sum(frame, sums, k, t, value)


def strip_of(plan: Plan, extents: Sequence[int]) -> tuple[int, int]:
    """The loop of a chunk that is cut in strips, and a strip's trips; the inner loops are whole."""
    inside = 1
    for level in reversed(range(len(extents))):
        step = plan.step if level == len(extents) - 1 else 1
        trips, most = -(-extents[level] // step), max(STRIP_STEPS // inside, 1)
        if trips > most:
            return level, -(-trips // -(-trips // most)) * step
        inside *= trips
    return 0, extents[0]


@dataclass(frozen=True, slots=True)
class _Reduction:
    """The loops over the reduction axes, sums carried in registers."""

    frame: Frame
    plan: Plan
    vector: Operand
    site: Site
    t: Vec

    def long(self, spans: list[Span], nothing: list[str]) -> None:
        """A chunk in strips, added up in the block of sums and then to the totals."""
        frame, site, wide = self.frame, self.site, self.t.of("double")
        extents = [s.count if isinstance(s.count, int) else self.plan.chunk_size for s in spans]
        cut = strip_of(self.plan, extents)
        for k, zero in enumerate(nothing):
            store_sum(frame, site.sums, k, self.t, zero)
        self._strips(spans, 0, cut, site.scalar_bases, site.vector_bases, nothing)
        for k in range(len(nothing)):
            value = load_sum(frame, site.sums, k, self.t)
            value = frame.e.value(f"fpext {self.t} {value} to {wide}")
            total = load_sum(frame, site.totals, k, wide)
            total = frame.e.value(f"fadd {wide} {total}, {value}")
            store_sum(frame, site.totals, k, wide, total)

    def _strips(
        self,
        spans: list[Span],
        level: int,
        cut: tuple[int, int],
        scalars: Bases,
        vectors: Bases,
        nothing: list[str],
    ) -> None:
        """The loops from `level` in, up to the one that is cut; each strip starts from nothing."""
        frame, span = self.frame, spans[level]
        size = cut[1] if level == cut[0] else 1
        with frame.e.loop("0", frame.text(span.count), size, "strip") as i:
            x = moved(frame, self.plan.scalar, scalars, span.axis, i)
            y = moved(frame, self.vector, vectors, span.axis, i)
            if level < cut[0]:
                self._strips(spans, level + 1, cut, x, y, nothing)
                return
            count: Int = size
            if (n := value_of(span.count)) is None or n % size:
                count = frame.least(size, frame.sub(span.count, i))
            sums = self.nest([Span(span.axis, count), *spans[level + 1 :]], x, y, nothing)
            for k, value in enumerate(sums):
                before = load_sum(frame, self.site.sums, k, self.t)
                total = frame.e.value(f"fadd {self.t} {before}, {value}")
                store_sum(frame, self.site.sums, k, self.t, total)

    def fetching(self, span: Span, fetch: Callable[[Int], None], sums: list[str]) -> list[str]:
        """In as many parts as the tile has rows: what is asked for arrives while they add up, and
        never so much at a time that the multiply-adds wait for it."""
        f, parts, fold = self.frame, self.plan.row_count, self.plan.fold
        steps = f.ceil_div(span.count, fold)

        def part(row: Int, values: list[str]) -> list[str]:
            fetch(row)
            low, high = (f.div(f.mul(at, steps), parts) for at in (row, f.add(row, 1)))
            if fold > 1:
                low, high = f.mul(low, fold), f.least(f.mul(high, fold), span.count)
            x = moved(f, self.plan.scalar, self.site.scalar_bases, span.axis, low)
            y = moved(f, self.vector, self.site.vector_bases, span.axis, low)
            return self.innermost(Span(span.axis, f.sub(high, low)), x, y, values, low)

        return f.e.carried_loop("0", str(parts), 1, [(self.t, s) for s in sums], part)

    def nest(self, spans: list[Span], scalars: Bases, vectors: Bases, sums: list[str]) -> list[str]:
        if len(spans) == 1:
            return self.innermost(spans[0], scalars, vectors, sums)
        span = spans[0]

        def trip(i: Int, values: list[str]) -> list[str]:
            x = moved(self.frame, self.plan.scalar, scalars, span.axis, i)
            y = moved(self.frame, self.vector, vectors, span.axis, i)
            return self.nest(spans[1:], x, y, values)

        if span.count == 1:
            return trip(0, sums)
        carried = [(self.t, s) for s in sums]
        return self.frame.e.carried_loop("0", self.frame.text(span.count), 1, carried, trip)

    def innermost(
        self, span: Span, scalars: Bases, vectors: Bases, sums: list[str], since: Int = 0
    ) -> list[str]:
        """The steps of a span, the first of which is the reduction's step `since`."""
        rows = Stream(self.frame, self.plan.scalar, scalars, self._row_offsets(), span.axis)
        columns = Stream(self.frame, self.vector, vectors, self.site.columns, span.axis)
        if self.plan.how == "along":
            return self.along(rows, columns, span, sums)
        return self.stepwise(rows, columns, span.count, sums, since)

    def _row_offsets(self) -> list[dict[str, Int]]:
        """Offsets of the scalar operand's points: rows, or rows by vectors."""
        if not self.plan.wide:
            return self.site.rows
        lane, lanes, add = self.plan.lane.name, self.plan.lanes, self.frame.add
        return [
            {
                load.name: add(row[load.name], lanes * j * int(load.at.stride(lane) == 1))
                for load in self.plan.scalar.loads
            }
            for row in self.site.rows
            for j in range(self.plan.vectors)
        ]

    def stepwise(
        self, rows: Stream, columns: Stream, count: Int, sums: list[str], since: Int
    ) -> list[str]:
        """One step along the innermost axis after the other, some written out in each trip."""
        f, fold = self.frame, self.plan.fold

        def trip(i: Int, values: list[str], points: int) -> list[str]:
            rows.advance(i)
            columns.advance(i)
            at = f.add(since, i)
            prefetch.ask(f, self.plan, self.site.following, rows, columns, at, points)
            for ahead in range(0, points, fold):
                values = self.step(rows, columns, ahead, values, halved=points - ahead < fold)
            return values

        def loop(low: Int, high: Int, size: int) -> list[str]:
            carried = [(self.t, s) for s in sums]
            text, go = (f.text(low), f.text(high)), partial(trip, points=size)
            return f.e.carried_loop(*text, size, carried, go)

        unroll = fold * self._unroll(rows, count, len(sums))
        known = value_of(count)
        if known is not None and known <= unroll:
            return trip(0, sums, known)
        done: Int = 0
        for size in sorted({unroll, fold, 1}, reverse=True):
            whole = f.mul(f.div(count, size), size)
            at = value_of(done)
            if known is not None and at is not None and 0 < at < known:
                return trip(done, sums, known - at)
            if known is not None and known % size == 0:
                whole = count
            if whole != done:
                sums, done = loop(done, whole, size), whole
        return sums

    def _unroll(self, rows: Stream, count: Int, sums: int) -> int:
        """Steps of the innermost loop to write out in one trip."""
        most = 2 if sums > WIDE_TILE else 4
        known = value_of(count)
        if known is not None:
            steps = -(-known // self.plan.fold)
            parts = [u for u in range(most, 1, -1) if steps % u == 0]
            most = steps if steps <= FLAT else (parts or [most])[0]
        # LLVM keeps a value that two steps load (the pixels under neighbouring taps) in a
        # register between them; when there are not enough, that costs spills.
        shared = most * len(rows.cells) - rows.distinct(most, self.plan.fold)
        kept = sums + rows.distinct(most, self.plan.fold) + self.plan.vectors
        return 1 if (shared or self.plan.wide) and kept > self.plan.registers else most

    def step(
        self, rows: Stream, columns: Stream, ahead: int, sums: list[str], halved: bool = False
    ) -> list[str]:
        """One multiply-add for every sum of the tile; `halved`: half a pair is left."""
        plan = self.plan
        ys = [self.column(columns, j, ahead, halved) for j in range(plan.vectors)]
        following = []
        for k, total in enumerate(sums):
            row, j = divmod(k, plan.vectors)
            if self.plan.wide:
                x = self.across(rows.pointers(k, ahead), j)
            elif j == 0:
                x = self.broadcast(rows, row, ahead, halved)
            following.append(self.multiply_add(x, ys[j], total))
        return following

    def multiply_add(self, x: str, y: str, total: str) -> str:
        add = fma if self.plan.fold == 1 else pairs.multiply_add
        return add(self.frame, self.t, x, y, total)

    def column(self, columns: Stream, j: int, ahead: int, halved: bool) -> str:
        """A vector of the tile."""
        f, lanes, mask = self.frame, self.plan.lanes, self.site.masks[j]
        if self.plan.fold > 1 and self.plan.packed:  # the panel holds pairs
            (at,) = columns.pointers(j, ahead).values()
            return f.e.value(f"load {pairs.word(lanes)}, ptr {at}, align 4")
        lane = self.plan.lane.name
        strides = {load.name: f.size(load.at.stride(lane)) for load in self.vector.loads}

        def value(point: int) -> str:
            at = columns.pointers(j, point)
            return evaluate(f, self.vector, at, strides, lanes, mask, self.plan)

        return self._of_points(value, ahead, lanes, halved)

    def broadcast(self, rows: Stream, row: int, ahead: int, halved: bool) -> str:
        """What a row of the tile multiplies its vectors by, in all lanes."""
        f, operand = self.frame, self.plan.scalar
        nothing = {load.name: 1 for load in operand.loads}
        if self.plan.fold > 1 and rows.side_by_side and not halved:
            (at,) = rows.pointers(row, ahead).values()
            word = f.e.value(f"load i32, ptr {at}, align 2")
            return f.e.splat(word, pairs.word(self.plan.lanes))

        def value(point: int) -> str:
            return evaluate(f, operand, rows.pointers(row, point), nothing, 1, "", self.plan)

        one = self._of_points(value, ahead, 1, halved)
        return f.e.splat(one, self.t if self.plan.fold == 1 else pairs.word(self.plan.lanes))

    def _of_points(self, value: Callable[[int], str], ahead: int, lanes: int, halved: bool) -> str:
        """An operand at the points of a step."""
        if self.plan.fold == 1:
            return value(ahead)
        second = "" if halved else value(ahead + 1)
        return pairs.joined(self.frame.e, value(ahead), second, lanes)

    def across(self, pointers: Bases, j: int) -> str:
        operand, lane = self.plan.scalar, self.plan.lane.name
        strides = {load.name: self.frame.size(load.at.stride(lane)) for load in operand.loads}
        mask = self.site.masks[j]
        return evaluate(self.frame, operand, pointers, strides, self.plan.lanes, mask, self.plan)

    def along(self, rows: Stream, columns: Stream, span: Span, sums: list[str]) -> list[str]:
        """A vector of points of the innermost axis in each trip; the last one masked."""
        lanes, frame = self.plan.step, self.frame

        def trip(i: Int, values: list[str], mask: str = "") -> list[str]:
            rows.advance(i)
            columns.advance(i)
            xs = [self.line(self.plan.scalar, rows, k, mask) for k in range(len(rows.cells))]
            ys = [self.line(self.vector, columns, k, mask) for k in range(len(columns.cells))]
            both = [(x, y) for x in xs for y in ys]
            return [self.multiply_add(x, y, v) for (x, y), v in zip(both, values)]

        whole = frame.mul(frame.div(span.count, lanes), lanes)
        if whole != 0:
            carried = [(self.t, s) for s in sums]
            sums = frame.e.carried_loop("0", frame.text(whole), lanes, carried, trip)
        if whole == span.count:
            return sums
        return trip(whole, sums, frame.below(frame.sub(span.count, whole), lanes))

    def line(self, operand: Operand, stream: Stream, point: int, mask: str) -> str:
        """A vector of the operand along the innermost axis; where masked off, zero."""
        pointers, lanes = stream.pointers(point, 0), self.plan.step
        value = evaluate(self.frame, operand, pointers, stream.steps, lanes, mask, self.plan)
        if mask and len(operand.statements) > 1:
            t = Vec(self.t.element, lanes)
            zero = literal(0.0, t)  # the loads gave zero, but not what was computed from them
            value = self.frame.e.value(f"select {t.of('i1')} {mask}, {t} {value}, {t} {zero}")
        return value if self.plan.fold == 1 else pairs.neighbours(self.frame.e, value, self.t.lanes)


def fma(frame: Frame, t: Vec, x: str, y: str, z: str) -> str:
    return frame.e.call(f"llvm.fma.{t.suffix}", t, (t, x), (t, y), (t, z))


# ---- summing lanes -----------------------------------------------------------------------------


def add_columns(frame: Frame, plan: Plan, sums: str) -> None:
    """Sum the lanes of each column's vector; a row's totals then lie side by side in the block.

    Lane k is added to lane k + half, then the halves of that, so every column has the same tree.
    Columns are added in pairs, which share a vector from then on; of three, the last one is twice.
    A row's totals overwrite vectors of the block that have been read.
    """
    element, columns, places = sum_type(plan).element, plan.vectors, plan.out_lanes
    for row in range(plan.row_count):
        lanes, width = plan.lanes, plan.lanes  # of a vector; of each column in it
        t = Vec(element, lanes)
        parts = [load_sum(frame, sums, row * columns + k, t) for k in range(columns)]
        parts += parts[-1:] * (places - columns)
        while width > 1:
            width //= 2
            if len(parts) > 1:
                pairs = zip(parts[::2], parts[1::2])
                parts = [_add_pair(frame, t, x, y, width) for x, y in pairs]
            else:
                parts = [_add_pair(frame, t, parts[0], "", width)]
                t = Vec(element, t.lanes // 2)
        at = frame.e.value(f"getelementptr {element}, ptr {sums}, i64 {row * places}")
        frame.e.do(f"store {t} {parts[0]}, ptr {at}, align {t.bits // 8}")


def _add_pair(frame: Frame, t: Vec, x: str, y: str, width: int) -> str:
    """Lower plus upper half of each column of x, then of y; columns are 2*width lanes wide."""
    total = t.lanes * (2 if y else 1)
    lower = [k for k in range(total) if k % (2 * width) < width]
    half, picks = Vec(t.element, len(lower)), []
    for shift in (0, width):
        chosen = ", ".join(f"i32 {k + shift}" for k in lower)
        mask = f"<{len(lower)} x i32> <{chosen}>"
        picks.append(frame.e.value(f"shufflevector {t} {x}, {t} {y or 'poison'}, {mask}"))
    if half.lanes == 1:
        picks = [frame.e.value(f"extractelement <1 x {t.element}> {p}, i64 0") for p in picks]
    return frame.e.value(f"fadd {half} {picks[0]}, {picks[1]}")
