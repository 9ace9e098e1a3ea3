"""The template of weight gradients: G' [sum over tiles of (B' x B) . (A dy A')] G.

    share of the units                     # [tid*U/n, (tid+1)*U/n): blocks of both channels
      span of tiles
        some tiles                         # whose points stay in the second-level cache
          tile, channels                   # stage: B' x B, A dy A'
          point                            # 36
            block of input channels        # the register tile of `contract/microkernel.py`
        pair of channels                   # G' m G, added up in float64
      tap, pair of channels                # the kernel's epilogue

So many tiles go together by their number alone: sums are cut by position, whatever the threads.
A tile that was moved back to lie inside brings no cotangent of what the tile before it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.codegen_cpu.contract.choice import Rows
from graphc.codegen_cpu.contract.epilogue import Epilogue
from graphc.codegen_cpu.contract.microkernel import Site, Span, emit_tile, load_sum, store_sum
from graphc.codegen_cpu.contract.plan import Plan as Tile
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Statements
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd.plan import (
    INPUTS,
    POINTWISE,
    VECTORS,
    WEIGHTS,
    is_dense,
    register_tile,
)
from graphc.codegen_cpu.winograd.tiles import Grid, Place, Points
from graphc.codegen_cpu.winograd.transforms import of_cotangents, of_inputs, of_sums
from graphc.ir.kernel import Axis, Kernel, Load, Size
from graphc.ir.kernel_contraction import Contraction, Dimension, dimensions, plain_contraction
from graphc.ir.types import f32, f64
from graphc.ir.winograd import POINTS, SIZE, TAPS

BLOCK = 64  # input channels of a unit, and output channels where that leaves units for all threads
UNITS = 4
TOGETHER = 16  # tiles, whose points and the sums stay in the second-level cache
SPAN = 64 * TOGETHER  # tiles that add up in float32
ROWS = 8  # input channels of a register tile, where there are so many registers


@dataclass(frozen=True, slots=True)
class GradientPlan:
    """The dimensions by their roles, and the block of channels that is a unit of work."""

    contraction: Contraction
    found: dict[str, Dimension]
    lane: Axis
    places: tuple[int, int]  # of the output: rows and columns
    images: Size
    inputs: tuple[int, int, Size]  # steps in the input: down, to the right, to the next image
    cotangents: tuple[int, int, Size]
    blocks: tuple[int, int]  # input and output channels
    channels: tuple[int, int]
    lanes: int
    tile: Tile


def plan(kernel: Kernel, target: Target) -> GradientPlan | None:
    """How to compute the kernel, or None if it is no weight gradient that asks for it."""
    c, lanes = plain_contraction(kernel), target.lanes(f32)
    if kernel.winograd != SIZE or c is None or kernel.partials or not is_dense(kernel, c):
        return None
    found = {d.role: d for d in dimensions(kernel)}
    if {"h", "w", "n", "k", "r", "s"} - found.keys() or "g" in found:
        return None
    lane = next((a for a in c.axes if a.name == found["k"].loop), None)
    if lane is None or found["k"].extent != lane.extent:
        return None
    x, y = c.a.loads[0].at, c.b.loads[0].at
    steps = [found[role].stride(x) for role in ("n", "h", "w", "r", "s")]
    others = [found[role].stride(y) for role in ("k", "r", "s")]
    extents = [found[role].extent for role in ("h", "w", "r", "s", "n", "k")]
    match (*steps, *others, *extents):
        case (1, int(a), int(b), int(r), int(s), 1, int(down), int(right), *sizes) if (a, b) == (
            r,
            s,
        ):
            pass
        case _:
            return None
    numbers = [n for n in sizes if isinstance(n, int)]
    if len(numbers) < len(sizes) or numbers[:2] != [TAPS, TAPS] or min(numbers[2:4]) < SIZE:
        return None
    height, width, ins, outs = numbers[2:]
    if ins % lanes or outs % (VECTORS * lanes):
        return None
    image = found.get("c")
    far = (image.stride(x), image.stride(y)) if image else (0, 0)
    images = image.extent if image else 1
    if images is None or far[0] is None or far[1] is None:
        return None
    rows = ROWS if target.registers > 16 else ROWS // 2
    inner = _block(ins, lanes)
    outer = _block(outs, VECTORS * lanes)
    if (ins // inner) * (outs // outer) < UNITS:
        outer = VECTORS * lanes
    return GradientPlan(
        c, found, lane, (height, width), images, (r, s, far[0]), (down, right, far[1]),
        (inner, outer), (ins, outs), lanes, register_tile(rows, (1, inner), target),
    )  # fmt: skip


def _block(channels: int, run: int) -> int:
    """The largest equal part of them that is small enough."""
    return max(n for n in range(run, max(BLOCK, run) + 1, run) if channels % n == 0)


class Gradient:
    """Emits the loops of a weight gradient."""

    def __init__(self, frame: Frame, chosen: GradientPlan, statements: Statements) -> None:
        self.frame, self.e, self.plan = frame, frame.e, chosen
        self.t = Vec("float", chosen.lanes)
        self.wide = self.t.of("double")
        self.inner, self.outer = chosen.blocks
        self.width = VECTORS * chosen.lanes
        # A vector more, so that the points of a tile do not meet in the same set of the cache.
        self.input_step = TOGETHER * self.inner + chosen.lanes
        self.cotangent_step = TOGETHER * self.outer + chosen.lanes
        self.sum_step = self.inner * self.outer + chosen.lanes
        self.inputs = frame.scratch(POINTWISE * self.input_step, self.t)
        self.cotangents = frame.scratch(POINTWISE * self.cotangent_step, self.t)
        self.sums = frame.scratch(POINTWISE * self.sum_step, self.t)
        self.totals = frame.scratch(TAPS * TAPS * self.inner * self.outer, self.wide)
        self.points = Points(frame, self.t)
        self.grid = Grid(frame, *chosen.places)
        rows = tuple(Rows(a, 1) for a in chosen.contraction.axes if a != chosen.lane)
        tile = replace(chosen.tile, contraction=chosen.contraction, lane=chosen.lane, rows=rows)
        self.epilogue = Epilogue(frame, tile, statements)

    def emit(self) -> None:
        f, p = self.frame, self.plan
        tiles = self.grid.tiles(f.size(p.images))
        across = p.channels[1] // self.outer
        units = p.channels[0] // self.inner * across
        low = f.div(f.mul("%tid", units), "%nthreads")
        high = f.div(f.mul(f.add("%tid", 1), units), "%nthreads")
        with self.e.loop(self.frame.text(low), self.frame.text(high), 1, "unit") as unit:
            first = f.mul(f.div(unit, across), self.inner), f.mul(f.rem(unit, across), self.outer)
            self._clear(self.totals, TAPS * TAPS * self.inner * self.outer, self.wide)
            with self.e.loop("0", self.frame.text(tiles), SPAN, "span") as start:
                self._clear(self.sums, POINTWISE * self.sum_step, self.t)
                end = f.least(f.add(start, SPAN), tiles)
                with self.e.loop(
                    self.frame.text(start), self.frame.text(end), TOGETHER, "some"
                ) as tile:
                    count = f.least(TOGETHER, f.sub(end, tile))
                    self._stage(tile, count, first)
                    self._multiply(count)
                self._add_up()
            self._finish(first)

    def _clear(self, at: str, count: int, t: Vec) -> None:
        with self.e.loop("0", self.frame.text(count), t.lanes, "clear") as k:
            place = self.e.value(f"getelementptr {t.element}, ptr {at}, i64 {k}")
            store_sum(self.frame, place, 0, t, literal(0.0, t))

    # ---- into the points -------------------------------------------------------------------

    def _stage(self, tile: Int, count: Int, first: tuple[Int, Int]) -> None:
        """Inputs and cotangents of `count` tiles at the points, in channels from `first` on."""
        f, p = self.frame, self.plan
        x, y = p.contraction.a.loads[0], p.contraction.b.loads[0]
        with self.e.loop("0", self.frame.text(count), 1, "stage") as k:
            place = self.grid.place(f.add(tile, k))
            with self.e.loop("0", str(self.inner), p.lanes, "in") as c:
                at = self._source(x, p.inputs, place, f.add(first[0], c))
                to = f.pointer(self.inputs, f.add(f.mul(k, self.inner), c), f32)
                self._transform_inputs(at, to)
            with self.e.loop("0", str(self.outer), p.lanes, "out") as c:
                at = self._source(y, p.cotangents, place, f.add(first[1], c))
                # Panel after panel, each of so many tiles.
                panel, lane = f.div(c, self.width), f.rem(c, self.width)
                row = f.add(f.mul(panel, TOGETHER), k)
                to = f.pointer(self.cotangents, f.add(f.mul(row, self.width), lane), f32)
                self._transform_cotangents(at, to, place)

    def _source(self, load: Load, steps: tuple[int, int, Size], place: Place, channel: Int) -> str:
        f = self.frame
        offset = f.add(f.size(load.at.const), channel)
        for step, index in zip(steps, (place.row, place.column, place.image), strict=True):
            offset = f.add(offset, f.mul(f.size(step), index))
        return f.pointer(f.buffers[load.buffer], offset, load.dtype)

    def _transform_inputs(self, at: str, to: str) -> None:
        f, points, dtype = self.frame, self.points, self.plan.contraction.a.loads[0].dtype
        down, right, _ = self.plan.inputs

        def read(i: Int) -> list[str]:
            line = f.pointer(at, f.mul(down, i), dtype)
            return [points.load(line, right * j, dtype) for j in range(POINTS)]

        def write(j: Int, values: list[str]) -> None:
            column = f.pointer(to, f.mul(j, self.input_step), f32)
            points.store_apart(column, POINTS * self.input_step, values)

        points.through(of_inputs, POINTS, POINTS, read, write)

    def _transform_cotangents(self, at: str, to: str, place: Place) -> None:
        f, points, dtype = self.frame, self.points, self.plan.contraction.b.loads[0].dtype
        down, right, _ = self.plan.cotangents

        def read(i: Int) -> list[str]:
            line = f.pointer(at, f.mul(down, i), dtype)
            values = [points.load(line, right * j, dtype) for j in range(SIZE)]
            fresh = self._from(i, place.skip[0])
            return [
                self._where(f.both(fresh, self._from(j, place.skip[1])), value)
                for j, value in enumerate(values)
            ]

        def write(j: Int, values: list[str]) -> None:
            column = f.pointer(to, f.mul(j, self.cotangent_step), f32)
            points.store_apart(column, POINTS * self.cotangent_step, values)

        points.through(of_cotangents, SIZE, POINTS, read, write)

    def _from(self, i: Int, skip: Int) -> str:
        """i1: whether a row or column of the tile is no other tile's."""
        return "true" if skip == 0 else self.frame.less(self.frame.sub(skip, 1), i)

    def _where(self, holds: str, value: str) -> str:
        if holds == "true":
            return value
        zero = literal(0.0, self.t)
        return self.e.value(f"select i1 {holds}, {self.t} {value}, {self.t} {zero}")

    # ---- at the points ---------------------------------------------------------------------

    def _multiply(self, count: Int) -> None:
        """Add the products of `count` tiles to the sums, for each pair of channels."""
        f, tile = self.frame, self.plan.tile
        rows: list[dict[str, Int]] = [{INPUTS: i} for i in range(tile.row_count)]
        columns: list[dict[str, Int]] = [{WEIGHTS: j * tile.lanes} for j in range(VECTORS)]
        none = [""] * VECTORS
        with self.e.loop("0", str(POINTWISE), 1, "point") as n:
            x = f.pointer(self.inputs, f.mul(n, self.input_step), f32)
            y = f.pointer(self.cotangents, f.mul(n, self.cotangent_step), f32)
            sums = f.pointer(self.sums, f.mul(n, self.sum_step), f32)
            with self.e.loop("0", str(self.outer // self.width), 1, "panel") as panel:
                vectors = f.pointer(y, f.mul(panel, TOGETHER * self.width), f32)
                block = f.pointer(sums, f.mul(panel, self.inner * self.width), f32)
                with self.e.loop("0", str(self.inner), tile.row_count, "block") as c:
                    to = f.pointer(block, f.mul(c, self.width), f32)
                    site = Site(
                        {INPUTS: f.pointer(x, c, f32)}, {WEIGHTS: vectors}, rows, columns, none, to
                    )
                    values = emit_tile(f, tile, tile.vector, site, [Span("sum", count)])
                    for at, value in enumerate(values):
                        before = load_sum(f, to, at, self.t)
                        total = self.e.value(f"fadd {self.t} {before}, {value}")
                        store_sum(f, to, at, self.t, total)

    # ---- out of the points -----------------------------------------------------------------

    def _add_up(self) -> None:
        """The sums of a span of tiles, as cotangents of the taps, to the totals."""
        f, points = self.frame, self.points
        pairs = self.inner * self.outer
        with self.e.loop("0", str(pairs), self.plan.lanes, "pair") as k:
            at = f.pointer(self.sums, k, f32)
            to = f.pointer(self.totals, k, f64)

            def read(i: Int, at: str = at) -> list[str]:
                line = f.pointer(at, f.mul(i, POINTS * self.sum_step), f32)
                return [points.load(line, j * self.sum_step) for j in range(POINTS)]

            def write(j: Int, values: list[str], to: str = to) -> None:
                for i, value in enumerate(values):
                    place = f.pointer(to, f.mul(f.add(j, i * TAPS), pairs), f64)
                    before = load_sum(f, place, 0, self.wide)
                    value = self.e.value(f"fpext {self.t} {value} to {self.wide}")
                    total = self.e.value(f"fadd {self.wide} {before}, {value}")
                    store_sum(f, place, 0, self.wide, total)

            points.through(of_sums, POINTS, TAPS, read, write)

    def _finish(self, first: tuple[Int, Int]) -> None:
        """The epilogue for each tap and pair of channels of the unit."""
        f, e = self.frame, self.e
        taps = ("0", str(TAPS), 1)
        with e.loop(*taps, "row") as i, e.loop(*taps, "tap") as j:
            tap = f.mul(f.add(f.mul(i, TAPS), j), self.inner * self.outer)
            with e.loop("0", str(self.inner), 1, "in") as c:
                inner = f.add(first[0], c)
                with e.loop("0", str(self.outer), self.plan.lanes, "out") as o:
                    panel, lane = f.div(o, self.width), f.rem(o, self.width)
                    row = f.mul(f.add(f.mul(panel, self.inner), c), self.width)
                    total = self._total(f.add(f.add(tap, row), lane))
                    outer = f.add(first[1], o)
                    index = self._index({"h": i, "w": j, "n": inner, "k": outer})
                    point = self.epilogue.point(index, outer, self.plan.lanes, "")
                    self.epilogue.run(point, self.epilogue.preload(point), total)

    def _total(self, at: Int) -> str:
        """A vector of them, as float32."""
        total = load_sum(self.frame, self.frame.pointer(self.totals, at, f64), 0, self.wide)
        return self.e.value(f"fptrunc {self.wide} {total} to {self.t}")

    def _index(self, roles: dict[str, Int]) -> dict[str, Int]:
        """Of the kernel's loops, each of which may run over several dimensions."""
        index: dict[str, Int] = {}
        for role, i in roles.items():
            d = self.plan.found[role]
            assert d.step is not None
            index[d.loop] = self.frame.add(index.get(d.loop, 0), self.frame.mul(d.step, i))
        return index
