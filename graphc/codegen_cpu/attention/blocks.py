"""What both directions of attention do with blocks: copy, turn, multiply, mask and drop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from graphc.codegen_cpu import memory, scalar
from graphc.codegen_cpu.attention.plan import LANES, QUERIES, SCALARS, VECTORS, Plan
from graphc.codegen_cpu.contract.microkernel import Site, Span, emit_tile
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, iota
from graphc.codegen_cpu.math.philox import random_bits
from graphc.ir.kernel import Axis, Const, Load, Store
from graphc.ir.meaning.attention import UNIT_BITS
from graphc.ir.types import bool_, f32, i64

Place = tuple[str, Mapping[str, Int]]  # where an operand's matrix begins, and its strides


class Blocks:
    """Of one kernel; `start` says which matrices are meant."""

    queries: str  # scratch: a block of them, panels turned
    keys: str  # a block of them, in rows
    weights: str  # a row of queries for each key

    def __init__(self, frame: Frame, chosen: Plan, axes: Sequence[Axis]) -> None:
        self.f, self.e, self.p, self.axes = frame, frame.e, chosen, axes
        self.t = Vec("float", chosen.lanes)
        self.one = Vec("float")
        parts = chosen.parts
        self.rows, self.columns = frame.size(parts.rows), frame.size(parts.columns)
        self.number: Int = 0  # of the matrices
        self.index: dict[str, Int] = {}

    def scratch(self, count: int) -> str:
        return self.f.scratch(count, self.t)

    def count(self) -> Int:
        """Of matrices."""
        return self.f.product(self.f.size(a.extent) for a in self.axes)

    def start(self, number: Int) -> None:
        """From here on, the matrices of this number."""
        f, rest = self.f, number
        self.number, self.index = number, {}
        for axis in reversed(self.axes):
            extent = f.size(axis.extent)
            self.index[axis.name] = f.rem(rest, extent)
            rest = f.div(rest, extent)

    def place(self, s: Load | Store) -> Place:
        """Where its matrix begins."""
        at = self.f.address(s.buffer, self.f.offset(s.at, self.index))
        return at, {name: self.f.size(s.at.stride(name)) for name in "lsef"}

    def at(self, base: str, offset: Int) -> str:
        return self.f.pointer(base, offset, f32)

    # ---- numbers -------------------------------------------------------------------------------

    def attr(self, name: str, t: Vec) -> str:
        """An attribute in every lane."""
        a = self.p.parts.attrs[name]
        if isinstance(a, Const):
            return literal(a.value, t)
        return self.f.splat(self.f.arguments[a].parts[0], t)

    def operand(self, name: str) -> str:
        """Of the seed and the draw."""
        s = self.p.parts.operands[name]
        if isinstance(s, Load):
            return memory.load(self.f, self.place(s)[0], i64, 1)
        if isinstance(s, Const):
            return literal(s.value, Vec("i64"))
        return self.f.arguments[s].parts[0]

    def exp(self, x: str) -> str:
        return scalar.apply(self.e, self.p.lanes, "exp", f32, [f32], [x])

    def arith(self, op: str, x: str, y: str) -> str:
        return self.e.value(f"{op} {self.t} {x}, {y}")

    def fma(self, x: str, y: str, z: str) -> str:
        return self.e.call(
            f"llvm.fma.{self.t.suffix}", self.t, (self.t, x), (self.t, y), (self.t, z)
        )

    def where(self, test: str, x: str, y: str) -> str:
        return self.e.value(f"select {self.t.of('i1')} {test}, {self.t} {x}, {self.t} {y}")

    def compare(self, how: str, x: str, y: str) -> str:
        return self.e.value(f"fcmp {how} {self.t} {x}, {y}")

    # ---- vectors of blocks ---------------------------------------------------------------------

    def load(self, base: str, offset: Int) -> str:
        at = self.at(base, offset)
        return self.e.value(f"load {self.t}, ptr {at}, align {self.t.bits // 8}")

    def store(self, base: str, offset: Int, x: str) -> None:
        at = self.at(base, offset)
        self.e.do(f"store {self.t} {x}, ptr {at}, align {self.t.bits // 8}")

    def fill(self, base: str, count: Int, value: float = 0.0) -> None:
        with self.e.loop("0", self.f.text(count), self.p.lanes, "fill") as k:
            self.store(base, k, literal(value, self.t))

    @contextmanager
    def panels(self, count: Int) -> Iterator[tuple[Int, Int]]:
        """Over panels of `count` queries: the first of them, and the panel's number."""
        panels = self.f.ceil_div(count, self.p.panel)
        with self.e.loop("0", self.f.text(panels), 1, "panel") as k:
            yield self.f.mul(k, self.p.panel), k

    @contextmanager
    def scored(self, first: Int, count: Int, key: Int, keys: Int) -> Iterator[tuple[Int, Int, Int]]:
        """Over panels of `count` queries from `first` on, whose scores with the block of keys from
        `key` on are then in `weights`: the first of them, the panel's number, and how many keys a
        query of it may see."""
        f, p = self.f, self.p
        with self.panels(count) as (start, k):
            limit = self.limit(keys, f.add(f.add(first, start), p.panel - 1), key)
            queries = self.at(self.queries, f.mul(k, p.depth * p.panel))
            self.scores(self.keys, p.depth, queries, self.at(self.weights, start), limit)
            yield start, k, limit

    # ---- in and out of blocks ------------------------------------------------------------------

    def copy(self, place: Place, axes: str, first: Int, count: Int, to: str, size: int) -> None:
        """Rows from `first` on, in whole panels with zeros behind their `size` elements."""
        f, (base, strides) = self.f, place
        padded, step = self.p.padded(size), strides[axes[1]]
        with self.e.loop("0", f.text(count), 1, "copy") as k:
            row = f.pointer(base, f.mul(f.add(first, k), strides[axes[0]]), f32)
            out = self.at(to, f.mul(k, padded))
            for n in range(0, padded, self.p.lanes):
                self.store(out, n, self._part(row, step, n, size))

    def _part(self, row: str, step: Int, n: int, size: int) -> str:
        """Elements n and following of a row."""
        f, lanes = self.f, self.p.lanes
        if n >= size:
            return literal(0.0, self.t)
        mask = f.below(size - n, lanes) if n + lanes > size else ""
        offsets = "" if step == 1 else f.steps(step, lanes)
        return memory.load(f, f.pointer(row, f.mul(step, n), f32), f32, lanes, offsets, mask)

    def put(self, row: str, step: Int, n: int, size: int, x: str, add: bool = False) -> None:
        """Store elements n and following of a row, or add to them."""
        f, lanes = self.f, self.p.lanes
        if n >= size:
            return
        mask = f.below(size - n, lanes) if n + lanes > size else ""
        offsets = "" if step == 1 else f.steps(step, lanes)
        memory.store(f, f.pointer(row, f.mul(step, n), f32), f32, lanes, x, offsets, mask, add)

    def turned(
        self, places: Sequence[Place], axes: str, first: Int, count: Int, size: int,
        use: Callable[[Int, Int, list[str]], None],
    ) -> None:  # fmt: skip
        """Rows from `first` on of several matrices as columns: `use` is given the first row of the
        lanes, the element, and that element of these rows of each; zeros beyond `count`."""
        f, lanes = self.f, self.p.lanes
        rows = f.mul(f.ceil_div(count, self.p.panel), self.p.panel)
        with self.e.loop("0", f.text(rows), lanes, "turn") as row:
            corners = [
                f.pointer(base, f.mul(f.add(first, row), strides[axes[0]]), f32)
                for base, strides in places
            ]
            if any(strides[axes[1]] != 1 for _, strides in places):
                self._gathered(places, axes, corners, row, count, size, use)
                return
            steps = [strides[axes[0]] for _, strides in places]
            whole = size // lanes * lanes
            if whole:
                with self.e.loop("0", str(whole), lanes, "chunk") as n:
                    self._chunk(corners, steps, row, count, n, lanes, use)
            if whole < size:
                self._chunk(corners, steps, row, count, whole, size - whole, use)

    def _gathered(
        self, places: Sequence[Place], axes: str, corners: Sequence[str], row: Int, count: Int,
        size: int, use: Callable[[Int, Int, list[str]], None],
    ) -> None:  # fmt: skip
        f, lanes = self.f, self.p.lanes
        mask = f.below(f.sub(count, row), lanes)
        with self.e.loop("0", str(size), 1, "element") as n:
            xs = []
            for corner, (_, strides) in zip(corners, places, strict=True):
                at = f.pointer(corner, f.mul(strides[axes[1]], n), f32)
                xs.append(memory.load(f, at, f32, lanes, f.steps(strides[axes[0]], lanes), mask))
            use(row, n, xs)

    def _chunk(
        self, corners: Sequence[str], steps: Sequence[Int], row: Int, count: Int, n: Int, some: int,
        use: Callable[[Int, Int, list[str]], None],
    ) -> None:  # fmt: skip
        """A square of rows side by side, turned in registers; `some` of its columns are there."""
        f, lanes = self.f, self.p.lanes
        mask = f.below(some, lanes) if some < lanes else ""
        squares = []
        for corner, step in zip(corners, steps, strict=True):
            square = []
            for k in range(lanes):
                at = f.pointer(corner, f.add(f.mul(step, k), n), f32)
                live = f.less(f.add(row, k), count)
                square.append(memory.load(f, at, f32, lanes, "", mask, live))
            squares.append(self._transposed(square))
        for k in range(some):
            use(row, f.add(n, k), [square[k] for square in squares])

    def _transposed(self, square: list[str]) -> list[str]:
        """By swapping blocks beside the diagonal, large ones first."""
        t, lanes = self.t, self.p.lanes
        block = lanes // 2
        while block:
            upper = [k if not k & block else lanes + k - block for k in range(lanes)]
            lower = [k + block if not k & block else lanes + k for k in range(lanes)]
            for i in (i for i in range(lanes) if not i & block):
                pair = f"{t} {square[i]}, {t} {square[i + block]}"
                for at, picks in ((i, upper), (i + block, lower)):
                    order = ", ".join(f"i32 {k}" for k in picks)
                    square[at] = self.e.value(f"shufflevector {pair}, <{lanes} x i32> <{order}>")
            block //= 2
        return square

    def keep(self, to: str, size: int, row: Int, n: Int, x: str) -> None:
        """Element n of the rows from `row` on, among panels of `size` elements."""
        f, panel = self.f, self.p.panel
        block = f.mul(f.sub(row, f.rem(row, panel)), size)
        self.store(to, f.add(block, f.add(f.mul(n, panel), f.rem(row, panel))), x)

    # ---- products ------------------------------------------------------------------------------

    def product(
        self, scalars: str, steps: tuple[int, int], lanes: str, step: int, count: Int,
        use: Callable[[int, int, str], None],
    ) -> None:  # fmt: skip
        """A register tile of sums over `count` steps; `use` takes each: row, vector, sum."""
        p = self.p
        tile = p.tile(steps, step)
        rows: list[dict[str, Int]] = [{SCALARS: i * steps[0]} for i in range(p.rows)]
        columns: list[dict[str, Int]] = [{LANES: j * p.lanes} for j in range(VECTORS)]
        site = Site({SCALARS: scalars}, {LANES: lanes}, rows, columns, [""] * VECTORS, "")
        values = emit_tile(self.f, tile, tile.vector, site, [Span("sum", count)])
        for k, value in enumerate(values):
            use(*divmod(k, VECTORS), value)

    def scores(self, keys: str, size: int, queries: str, to: str, limit: Int) -> None:
        """A panel's products with the first `limit` keys, of `size` elements each: rows of `to`."""
        f, p = self.f, self.p
        padded = p.padded(size)
        with self.e.loop("0", f.text(limit), p.rows, "keys") as s:
            below = self.at(to, f.mul(s, QUERIES))

            def use(i: int, j: int, value: str, below: str = below) -> None:
                self.store(below, i * QUERIES + j * p.lanes, value)

            key = self.at(keys, f.mul(s, padded))
            self.product(key, (padded, 1), queries, p.panel, size, use)

    # ---- what is not seen ----------------------------------------------------------------------

    def limit(self, count: Int, last: Int, first: Int) -> Int:
        """How many of `count` keys from `first` on the query `last` and those before it see."""
        if not self.p.skips:
            return count
        f = self.f
        return f.most(f.least(count, f.sub(f.add(last, 1), first)), 0)

    def whole(self, limit: Int) -> Int:
        """In whole register tiles."""
        return self.f.mul(self.f.ceil_div(limit, self.p.rows), self.p.rows)

    def masked(self, x: str, query: Int, key: Int, valid: str) -> tuple[str, str]:
        """Scores of the queries from `query` on with one key, masked, and the lanes that are not
        filled; empty: all. `valid` lanes are there."""
        mask, seen = self.p.parts.operands["mask"], ""
        if isinstance(mask, Load):
            value = self._mask(mask, query, key, valid)
            if mask.dtype is bool_:
                seen = value
            else:
                x = self.arith("fadd", x, value)
        if self.p.parts.number("causal"):
            t, i1 = Vec("i64", self.p.lanes), self.t.of("i1")
            ahead = self.f.spread(self.f.sub(key, query), self.p.lanes)
            here = self.e.value(f"icmp sge {t} {iota(t)}, {ahead}")
            seen = self.e.value(f"and {i1} {seen}, {here}") if seen else here
        return (self.where(seen, x, self.attr("fill", self.t)) if seen else x), seen

    def _mask(self, mask: Load, query: Int, key: Int, valid: str) -> str:
        f, lanes = self.f, self.p.lanes
        base, strides = self.place(mask)
        offset = f.add(f.mul(query, strides["l"]), f.mul(key, strides["s"]))
        at = f.pointer(base, offset, mask.dtype)
        if strides["l"] == 0:
            one = memory.load(f, at, mask.dtype, 1)
            return self.e.splat(one, scalar.register(mask.dtype, lanes))
        return memory.load(f, at, mask.dtype, lanes, f.steps(strides["l"], lanes), valid)

    @property
    def drops(self) -> bool:
        return self.p.parts.number("drop") != 0

    def kept(self, query: Int, key: Int) -> str:
        """What dropout multiplies the weights of the queries from `query` on for one key by."""
        f, e, lanes = self.f, self.e, self.p.lanes
        wide, t = Vec("i64", lanes), Vec("i32", lanes)
        row = f.add(f.mul(self.number, self.rows), query)
        first = f.spread(f.add(f.mul(row, self.columns), key), lanes)
        places = e.value(f"add {wide} {first}, {f.steps(self.columns, lanes)}")
        seed, draw = (e.splat(self.operand(name), wide) for name in ("seed", "draw"))
        bits = random_bits(e, lanes, seed, draw, places)
        bits = e.value(f"lshr {t} {bits}, {literal(32 - UNIT_BITS, t)}")
        drop = e.value(f"trunc {wide} {self.attr('drop', wide)} to {t}")
        keeps = e.value(f"icmp uge {t} {bits}, {drop}")
        return self.where(keeps, self.attr("gain", self.t), literal(0.0, self.t))
