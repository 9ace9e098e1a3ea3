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

Literal strides become immediates of few base pointers; a stride that is a symbol costs a pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen_cpu import memory, scalar
from graphc.codegen_cpu.contract.plan import STRIP_STEPS, Plan
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Values, compute, spread
from graphc.ir.kernel import Apply, Const, Load
from graphc.ir.kernel_contraction import Operand

WIDE_TILE = 16  # sums; more than this need no unrolling to hide a loop's overhead
FLAT = 8  # a loop of up to this many steps is written out

Bases = dict[str, str]  # the pointer of each load, by name


@dataclass(frozen=True, slots=True)
class Span:
    """A reduction axis and its trip count in this chunk."""

    axis: str
    count: Int


# ---- operands ----------------------------------------------------------------------------------


def evaluate(
    frame: Frame,
    operand: Operand,
    pointers: Bases,
    strides: Mapping[str, Int],
    lanes: int,
    mask: str,
    plan: Plan,
) -> str:
    """The operand in `lanes` lanes, widened to what the sums are computed in."""
    values: Values = dict(frame.arguments)
    for s in operand.statements:
        if isinstance(s, Load):
            stride = strides[s.name]
            values[s.name] = _loaded(frame, s, pointers[s.name], stride, lanes, mask)
        else:
            assert isinstance(s, Apply | Const)
            values[s.name] = compute(frame, s, values, lanes, [mask])
    value, wide = values[operand.value], plan.contraction.dtype
    if value.varying or lanes == 1:
        x = spread(frame, value, 0, lanes)
        return scalar.cast(frame.e, lanes, value.dtype, wide, x)
    x = scalar.cast(frame.e, 1, value.dtype, wide, spread(frame, value, 0, 1))
    return frame.splat(x, scalar.register(wide, lanes))


def _loaded(f: Frame, s: Load, pointer: str, stride: Int, lanes: int, mask: str) -> Value:
    if stride == 0 or lanes == 1:
        return Value(s.dtype, [memory.load(f, pointer, s.dtype, 1)], False)
    offsets = "" if stride == 1 else f.steps(stride, lanes)
    return Value(s.dtype, [memory.load(f, pointer, s.dtype, lanes, offsets, mask)], True)


class Stream:
    """One operand at several *points* (rows or vectors) along the innermost reduction loop.

    A point's offset that is a literal shares the operand's base pointer; any other gets a pointer
    of its own before the loop.
    """

    def __init__(
        self,
        frame: Frame,
        operand: Operand,
        bases: Bases,
        offsets: Sequence[Mapping[str, Int]],
        inner: str,
    ) -> None:
        self.frame, self.operand, self.loads = frame, operand, operand.loads
        self.steps = {load.name: frame.size(load.at.stride(inner)) for load in self.loads}
        self.cells = [
            {load.name: self._cell(load, bases[load.name], at[load.name]) for load in self.loads}
            for at in offsets
        ]
        self.moved: dict[tuple[str, str], str] = {}

    def _cell(self, load: Load, base: str, offset: Int) -> tuple[str, int]:
        """A pointer and a literal number of elements to add to it."""
        if isinstance(offset, int):
            return base, offset
        return self.frame.pointer(base, offset, load.dtype), 0

    def distinct(self, steps: int) -> int:
        """How many different places the loads of `steps` steps read, for each load."""
        first = self.loads[0].name
        step = self.steps[first]
        ahead = [step * k for k in range(steps)] if isinstance(step, int) else [0]
        places = {(c[first][0], c[first][1] + k) for c in self.cells for k in ahead}
        return len(places) * (1 if isinstance(step, int) else steps)

    def advance(self, i: Int) -> None:
        """Move every distinct pointer to step `i`."""
        self.moved = {}
        for cells in self.cells:
            for load in self.loads:
                base = cells[load.name][0]
                if (load.name, base) not in self.moved:
                    by = self.frame.mul(self.steps[load.name], i)
                    self.moved[load.name, base] = self.frame.pointer(base, by, load.dtype)

    def pointers(self, point: int, ahead: int) -> Bases:
        """Where the loads of a point are, `ahead` steps after the last `advance`."""
        found: Bases = {}
        for load in self.loads:
            base, shift = self.cells[point][load.name]
            offset = self.frame.add(shift, self.frame.mul(self.steps[load.name], ahead))
            found[load.name] = self.frame.pointer(self.moved[load.name, base], offset, load.dtype)
        return found


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
        along = plan.how == "along" and level == len(extents) - 1
        lanes = plan.lanes if along else 1
        trips, most = -(-extents[level] // lanes), max(STRIP_STEPS // inside, 1)
        if trips > most:
            return level, -(-trips // -(-trips // most)) * lanes
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
            if not isinstance(span.count, int) or span.count % size:
                count = frame.least(size, frame.sub(span.count, i))
            sums = self.nest([Span(span.axis, count), *spans[level + 1 :]], x, y, nothing)
            for k, value in enumerate(sums):
                before = load_sum(frame, self.site.sums, k, self.t)
                total = frame.e.value(f"fadd {self.t} {before}, {value}")
                store_sum(frame, self.site.sums, k, self.t, total)

    def fetching(self, span: Span, fetch: Callable[[Int], None], sums: list[str]) -> list[str]:
        """In as many parts as the tile has rows: what is asked for arrives while they add up, and
        never so much at a time that the multiply-adds wait for it."""
        f, parts = self.frame, self.plan.row_count

        def part(row: Int, values: list[str]) -> list[str]:
            fetch(row)
            low, high = (f.div(f.mul(at, span.count), parts) for at in (row, f.add(row, 1)))
            x = moved(f, self.plan.scalar, self.site.scalar_bases, span.axis, low)
            y = moved(f, self.vector, self.site.vector_bases, span.axis, low)
            return self.innermost(Span(span.axis, f.sub(high, low)), x, y, values)

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

    def innermost(self, span: Span, scalars: Bases, vectors: Bases, sums: list[str]) -> list[str]:
        rows = Stream(self.frame, self.plan.scalar, scalars, self._row_offsets(), span.axis)
        columns = Stream(self.frame, self.vector, vectors, self.site.columns, span.axis)
        if self.plan.how == "along":
            return self.along(rows, columns, span, sums)
        return self.stepwise(rows, columns, span.count, sums)

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

    def stepwise(self, rows: Stream, columns: Stream, count: Int, sums: list[str]) -> list[str]:
        """One point of the innermost axis after the other, some written out in each trip."""

        def trip(i: Int, values: list[str], steps: int = 1) -> list[str]:
            rows.advance(i)
            columns.advance(i)
            for ahead in range(steps):
                values = self.step(rows, columns, ahead, values)
            return values

        unroll = self._unroll(rows, count, len(sums))
        if count == unroll:
            return trip(0, sums, unroll)
        whole = self.frame.mul(self.frame.div(count, unroll), unroll)
        text, loop, carried = (
            self.frame.text,
            self.frame.e.carried_loop,
            [(self.t, s) for s in sums],
        )
        sums = loop("0", text(whole), unroll, carried, lambda i, v: trip(i, v, unroll))
        if whole == count:
            return sums
        if isinstance(count, int) and isinstance(whole, int):
            return trip(whole, sums, count - whole)
        return loop(text(whole), text(count), 1, [(self.t, s) for s in sums], trip)

    def _unroll(self, rows: Stream, count: Int, sums: int) -> int:
        """Steps of the innermost loop to write out in one trip."""
        most = 2 if sums > WIDE_TILE else 4
        if isinstance(count, int):
            parts = [u for u in range(most, 1, -1) if count % u == 0]
            most = count if count <= FLAT else (parts or [most])[0]
        # LLVM keeps a value that two steps load (the pixels under neighbouring taps) in a
        # register between them; when there are not enough, that costs spills.
        shared = most * len(rows.cells) - rows.distinct(most)
        kept = sums + rows.distinct(most) + self.plan.vectors
        return 1 if (shared or self.plan.wide) and kept > self.plan.registers else most

    def step(self, rows: Stream, columns: Stream, ahead: int, sums: list[str]) -> list[str]:
        """One multiply-add for every sum of the tile."""
        frame, plan, lane = self.frame, self.plan, self.plan.lane.name
        strides = {load.name: frame.size(load.at.stride(lane)) for load in self.vector.loads}
        ys = [
            evaluate(
                frame, self.vector, columns.pointers(j, ahead), strides, plan.lanes,
                self.site.masks[j], plan,
            )
            for j in range(plan.vectors)
        ]  # fmt: skip
        following = []
        for k, total in enumerate(sums):
            row, j = divmod(k, plan.vectors)
            if self.plan.wide:
                x = self.across(rows.pointers(k, ahead), j)
            elif j == 0:
                x = self.broadcast(rows.pointers(row, ahead))
            following.append(fma(frame, self.t, x, ys[j], total))
        return following

    def broadcast(self, pointers: Bases) -> str:
        nothing = {load.name: 1 for load in self.plan.scalar.loads}
        one = evaluate(self.frame, self.plan.scalar, pointers, nothing, 1, "", self.plan)
        return self.frame.e.splat(one, self.t)

    def across(self, pointers: Bases, j: int) -> str:
        operand, lane = self.plan.scalar, self.plan.lane.name
        strides = {load.name: self.frame.size(load.at.stride(lane)) for load in operand.loads}
        mask = self.site.masks[j]
        return evaluate(self.frame, operand, pointers, strides, self.plan.lanes, mask, self.plan)

    def along(self, rows: Stream, columns: Stream, span: Span, sums: list[str]) -> list[str]:
        """A vector of points of the innermost axis in each trip; the last one masked."""
        lanes, frame = self.plan.lanes, self.frame

        def trip(i: Int, values: list[str], mask: str = "") -> list[str]:
            rows.advance(i)
            columns.advance(i)
            xs = [self.line(self.plan.scalar, rows, k, mask) for k in range(len(rows.cells))]
            ys = [self.line(self.vector, columns, k, mask) for k in range(len(columns.cells))]
            pairs = [(x, y) for x in xs for y in ys]
            return [fma(frame, self.t, x, y, v) for (x, y), v in zip(pairs, values)]

        whole = frame.mul(frame.div(span.count, lanes), lanes)
        if whole != 0:
            carried = [(self.t, s) for s in sums]
            sums = frame.e.carried_loop("0", frame.text(whole), lanes, carried, trip)
        if whole == span.count:
            return sums
        return trip(whole, sums, frame.below(frame.sub(span.count, whole), lanes))

    def line(self, operand: Operand, stream: Stream, point: int, mask: str) -> str:
        """A vector of the operand along the innermost axis; where masked off, zero."""
        pointers, lanes = stream.pointers(point, 0), self.plan.lanes
        value = evaluate(self.frame, operand, pointers, stream.steps, lanes, mask, self.plan)
        if not mask or len(operand.statements) == 1:
            return value
        zero = literal(0.0, self.t)  # the loads gave zero, but not what was computed from them
        picked = f"{self.t.of('i1')} {mask}, {self.t} {value}, {self.t} {zero}"
        return self.frame.e.value(f"select {picked}")


def moved(frame: Frame, operand: Operand, bases: Bases, axis: str, i: Int) -> Bases:
    """The base pointers at point `i` of a reduction axis."""
    return {
        load.name: frame.pointer(
            bases[load.name], frame.mul(frame.size(load.at.stride(axis)), i), load.dtype
        )
        for load in operand.loads
    }


def fma(frame: Frame, t: Vec, x: str, y: str, z: str) -> str:
    return frame.e.call(f"llvm.fma.{t.suffix}", t, (t, x), (t, y), (t, z))


# ---- summing lanes -----------------------------------------------------------------------------


def add_columns(frame: Frame, plan: Plan, sums: str) -> None:
    """Sum the lanes of each column's vector; a row's totals then lie side by side in the block.

    Lane k is added to lane k + half, then the halves of that, so every column has the same tree.
    Columns are added in pairs, which share a vector from then on: `plan.vectors` is a power of 2.
    A row's totals overwrite vectors of the block that have been read.
    """
    element, columns = sum_type(plan).element, plan.vectors
    for row in range(plan.row_count):
        lanes, width = plan.lanes, plan.lanes  # of a vector; of each column in it
        t = Vec(element, lanes)
        parts = [load_sum(frame, sums, row * columns + k, t) for k in range(columns)]
        while width > 1:
            width //= 2
            if len(parts) > 1:
                pairs = zip(parts[::2], parts[1::2])
                parts = [_add_pair(frame, t, x, y, width) for x, y in pairs]
            else:
                parts = [_add_pair(frame, t, parts[0], "", width)]
                t = Vec(element, t.lanes // 2)
        at = frame.e.value(f"getelementptr {element}, ptr {sums}, i64 {row * columns}")
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
