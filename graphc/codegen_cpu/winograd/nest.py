"""The template of Winograd convolutions.

    share of (some tiles, panel)           # [tid*U/n, (tid+1)*U/n)
      tile, input channels                 # stage: B' d B, point by point
        chunk of the input channels
          input channel                    # G g G' of a panel, into the second-level cache
          point                            # 36
            block of tiles                 # the register tile of `contract/microkernel.py`
        tile, output channels              # A' m A, and for each output the kernel's epilogue

Transformed weights are four times the weights, so each thread makes what it needs of them where it
needs it: from the cache they cost about a tenth of the products, from memory they would cost more.

Tiles are numbered over images, and each is computed by itself: how many go together changes no
bit. The last tile of a row or column is moved back to lie inside; outputs that the tile before it
has done are computed again, but not stored again.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.codegen_cpu.contract.choice import Rows
from graphc.codegen_cpu.contract.epilogue import Epilogue
from graphc.codegen_cpu.contract.microkernel import (
    Site,
    Span,
    emit_tile,
    store_sum,
)
from graphc.codegen_cpu.contract.panel import PANEL, Panel
from graphc.codegen_cpu.contract.plan import DIRECT_STATEMENTS
from graphc.codegen_cpu.contract.plan import Plan as Tile
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Point, Statements
from graphc.codegen_cpu.winograd.plan import INPUTS, POINTWISE, VECTORS, WEIGHTS, Plan
from graphc.codegen_cpu.winograd.tiles import Grid, Place, Points
from graphc.codegen_cpu.winograd.transforms import of_inputs, of_products, of_weights
from graphc.ir.kernel import Affine, Apply, Axis, Load
from graphc.ir.kernel_contraction import Operand
from graphc.ir.ops import OPS
from graphc.ir.types import f32
from graphc.ir.winograd import POINTS, SIZE, TAPS


class Nest:
    """Emits the loops of a convolution."""

    def __init__(self, frame: Frame, chosen: Plan, statements: Statements) -> None:
        self.frame, self.e, self.plan = frame, frame.e, chosen
        self.t = Vec("float", chosen.lanes)
        # A vector more, so that the points of a tile do not meet in the same set of the cache.
        self.input_step = chosen.most * chosen.depth + chosen.lanes
        self.output_step = chosen.most * chosen.width + chosen.lanes
        self.weight_step = chosen.chunk * chosen.width + chosen.lanes
        self.inputs = frame.scratch(POINTWISE * self.input_step, self.t)
        self.weights = frame.scratch(POINTWISE * self.weight_step, self.t)
        self.products = frame.scratch(POINTWISE * self.output_step, self.t)
        self.outputs = frame.scratch(SIZE * chosen.lanes, self.t)
        self.points = Points(frame, self.t)
        self.panel = Panel(frame, _packing(chosen))
        tile = replace(
            chosen.tiles[0],
            contraction=chosen.contraction,
            lane=chosen.channels,
            rows=(Rows(chosen.rows, SIZE), Rows(chosen.columns, SIZE)),
        )
        self.epilogue = Epilogue(frame, tile, statements)
        self.grid = Grid(frame, int(chosen.rows.extent), int(chosen.columns.extent))

    def emit(self) -> None:
        f, p = self.frame, self.plan
        extents = {a.name: f.size(a.extent) for a in p.contraction.axes}
        tiles = self.grid.tiles(extents.get(p.images, 1))
        panels = int(p.channels.extent) // p.width
        groups = f.ceil_div(tiles, p.most)
        each = f.div(f.add(tiles, f.sub(groups, 1)), f.most(groups, 1))
        units = f.mul(groups, panels)
        low = f.div(f.mul("%tid", units), "%nthreads")
        high = f.div(f.mul(f.add("%tid", 1), units), "%nthreads")
        begin, end = f.div(low, panels), f.ceil_div(high, panels)
        end = f.select(f.less(low, high), end, begin)
        with self.e.loop(f.text(begin), f.text(end), 1, "group") as group:
            first, start = f.mul(group, each), f.mul(group, panels)
            count = f.least(each, f.sub(tiles, first))
            self._stage(first, count)
            since, until = f.most(f.sub(low, start), 0), f.least(f.sub(high, start), panels)
            with self.e.loop(f.text(since), f.text(until), 1, "panel") as panel:
                self._panel(panel, count)
                self._finish(panel, first, count)

    def _index(self, place: Place) -> dict[str, Int]:
        p = self.plan
        images = {p.images: place.image} if p.images else {}
        return images | {p.rows.name: place.row, p.columns.name: place.column}

    # ---- into the points -------------------------------------------------------------------

    def _stage(self, first: Int, count: Int) -> None:
        """The inputs of `count` tiles at the points: a matrix of tiles by channels for each."""
        f, p, points = self.frame, self.plan, self.points
        (load,), (down, right) = p.contraction.a.loads, p.steps
        with self.e.loop("0", self.frame.text(count), 1, "stage") as k:
            place = self.grid.place(f.add(first, k))
            offset = f.offset(load.at, self._index(place))
            base = f.pointer(f.buffers[load.buffer], offset, load.dtype)
            row = f.mul(k, p.depth)
            with self.e.loop("0", str(p.depth), p.lanes, "in") as c:
                at = f.pointer(base, c, load.dtype)
                to = f.pointer(self.inputs, f.add(row, c), f32)

                def read(i: Int, at: str = at) -> list[str]:
                    line = f.pointer(at, f.mul(down, i), load.dtype)
                    return [points.load(line, right * j, load.dtype) for j in range(POINTS)]

                def write(j: Int, values: list[str], to: str = to) -> None:
                    column = f.pointer(to, f.mul(j, self.input_step), f32)
                    points.store_apart(column, POINTS * self.input_step, values)

                points.through(of_inputs, POINTS, POINTS, read, write)

    # ---- at the points ---------------------------------------------------------------------

    def _panel(self, panel: Int, count: Int) -> None:
        """The products of `count` tiles with a panel of the weights, at every point."""
        f, p = self.frame, self.plan
        if p.chunk == p.depth:
            self._transform(panel, 0)
            self._multiply(0, count)
            return
        used = f.mul(count, VECTORS)
        with self.e.loop("0", str(POINTWISE), 1, "point") as n:
            to = f.pointer(self.products, f.mul(n, self.output_step), f32)
            with self.e.loop("0", self.frame.text(used), 1, "clear") as k:
                at = f.pointer(to, f.mul(k, p.lanes), f32)
                store_sum(f, at, 0, self.t, literal(0.0, self.t))
        with self.e.loop("0", str(p.depth), p.chunk, "chunk") as c:
            self._transform(panel, c)
            self._multiply(c, count)

    def _transform(self, panel: Int, first: Int) -> None:
        """The weights of a panel, for input channels from `first` on, at the points."""
        f, p, points = self.frame, self.plan, self.points
        (load,) = p.contraction.b.loads
        index = {p.channels.name: f.mul(panel, p.width)}
        offset = f.add(f.offset(load.at, index), f.mul(first, p.taps[2]))
        source = f.pointer(f.buffers[load.buffer], offset, load.dtype)
        spans = [Span("r", TAPS), Span("s", TAPS), Span("c", p.chunk)]
        self.panel.pack({load.name: source}, spans, [""] * VECTORS, p.width)
        step = p.chunk * p.width
        with self.e.loop("0", str(step), p.lanes, "weights") as k:
            taps = f.pointer(self.panel.bases[PANEL], k, f32)
            to = f.pointer(self.weights, k, f32)

            def read(i: Int, taps: str = taps) -> list[str]:
                line = f.pointer(taps, f.mul(i, TAPS * step), f32)
                return [points.load(line, j * step) for j in range(TAPS)]

            def write(j: Int, values: list[str], to: str = to) -> None:
                column = f.pointer(to, f.mul(j, self.weight_step), f32)
                points.store_apart(column, POINTS * self.weight_step, values)

            points.through(of_weights, TAPS, POINTS, read, write)

    def _multiply(self, first: Int, count: Int) -> None:
        """Input channels from `first` on of `count` tiles times the transformed weights."""
        f = self.frame
        many, few = self.plan.tiles
        whole = f.mul(f.div(count, many.row_count), many.row_count)
        with self.e.loop("0", str(POINTWISE), 1, "point") as n:
            x = f.pointer(self.inputs, f.add(f.mul(n, self.input_step), first), f32)
            w = f.pointer(self.weights, f.mul(n, self.weight_step), f32)
            y = f.pointer(self.products, f.mul(n, self.output_step), f32)
            for tile, start, stop in ((many, 0, whole), (few, whole, count)):
                with self.e.loop(
                    self.frame.text(start), self.frame.text(stop), tile.row_count, "block"
                ) as k:
                    inputs = f.pointer(x, f.mul(k, self.plan.depth), f32)
                    self._block(tile, inputs, w, f.pointer(y, f.mul(k, self.plan.width), f32))

    def _block(self, tile: Tile, inputs: str, weights: str, to: str) -> None:
        f, p = self.frame, self.plan
        rows: list[dict[str, Int]] = [{INPUTS: i * p.depth} for i in range(tile.row_count)]
        columns: list[dict[str, Int]] = [{WEIGHTS: j * p.lanes} for j in range(VECTORS)]
        none = [""] * VECTORS
        site = Site({INPUTS: inputs}, {WEIGHTS: weights}, rows, columns, none, to)
        sums = emit_tile(f, tile, tile.vector, site, [Span("sum", p.chunk)])
        for at, value in enumerate(sums):
            store_sum(f, to, at, self.t, value)

    # ---- out of the points -----------------------------------------------------------------

    def _finish(self, panel: Int, first: Int, count: Int) -> None:
        """The outputs of `count` tiles in a panel's channels, each through the epilogue."""
        f, p = self.frame, self.plan
        with self.e.loop("0", self.frame.text(count), 1, "finish") as k:
            place = self.grid.place(f.add(first, k))
            with self.e.loop("0", str(p.width), p.lanes, "out") as c:
                base = f.pointer(self.products, f.add(f.mul(k, p.width), c), f32)
                channel = f.add(f.mul(panel, p.width), c)
                point = self.epilogue.point(self._index(place), channel, p.lanes, "")
                self._outputs(base, place, point)

    def _outputs(self, base: str, place: Place, point: Point) -> None:
        """The outputs of a tile whose products begin at `base`, but those of another tile."""
        f, points, known = self.frame, self.points, self.epilogue.preload(point)

        def read(i: Int) -> list[str]:
            line = f.pointer(base, f.mul(i, POINTS * self.output_step), f32)
            return [points.load(line, j * self.output_step) for j in range(POINTS)]

        def write(j: Int, values: list[str]) -> None:
            if place.skip[0] == 0 and self._is_short():
                for i, value in enumerate(values):
                    self.epilogue.run(self._moved(point, place, i, j), known, value)
                return
            points.store_apart(self.outputs, self.plan.lanes, values)
            with self.e.loop(self.frame.text(place.skip[0]), str(SIZE), 1, "output") as k:
                value = points.load(self.outputs, f.mul(k, self.plan.lanes))
                self.epilogue.run(self._moved(point, place, k, j), known, value)

        points.through(of_products, POINTS, SIZE, read, write, place.skip[1])

    def _is_short(self) -> bool:
        """Whether the epilogue may be written out for each output of a tile."""
        statements = self.plan.contraction.epilogue
        return len(statements) <= DIRECT_STATEMENTS and all(
            OPS[s.op].cost == 1 for s in statements if isinstance(s, Apply)
        )

    def _moved(self, point: Point, place: Place, i: Int, j: Int) -> Point:
        p, add = self.plan, self.frame.add
        point = point.at(p.rows.name, add(place.row, i))
        return point.at(p.columns.name, add(place.column, j))


def _packing(p: Plan) -> Tile:
    """A plan by which `Panel` copies a panel of the weights, output channels side by side."""
    (load,) = p.contraction.b.loads
    axes = Axis("r", TAPS), Axis("s", TAPS), Axis("c", p.chunk)
    lane = p.channels.name, load.at.stride(p.channels.name)
    steps = tuple((a.name, step) for a, step in zip(axes, p.taps, strict=True))
    packed = Load(load.name, load.dtype, load.buffer, Affine((*steps, lane)))
    vector = Operand(load.name, (packed,))
    product = replace(p.contraction, b=vector, reduced=axes)
    return replace(
        p.tiles[0], contraction=product, vector=vector, lane=p.channels, packed=True, chunk=None
    )
