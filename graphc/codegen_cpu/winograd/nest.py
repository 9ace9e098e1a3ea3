"""The template of Winograd convolutions.

    share of the tiles                     # [tid*U/n, (tid+1)*U/n)
      some of them                         # as many as leave room in the cache
        tile, input channels               # stage: B' d B, point by point
        panel of output channels
          point                            # 36
            block of tiles                 # the register tile of `contract/microkernel.py`
          tile, output channels            # A' m A, and for each output the kernel's epilogue

Tiles are numbered over images, and each is computed by itself: how many go together changes no
bit. The last tile of a row or column is moved back to lie inside; outputs that the tile before it
has done are computed again, but not stored again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.codegen_cpu.contract.epilogue import Epilogue, Patch
from graphc.codegen_cpu.contract.frame import Frame, Int
from graphc.codegen_cpu.contract.microkernel import Site, Span, emit_tile, load_sum, store_sum
from graphc.codegen_cpu.contract.plan import DIRECT_STATEMENTS, Rows
from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd.plan import INPUTS, POINTWISE, WEIGHTS, Plan, plan
from graphc.codegen_cpu.winograd.transforms import Lanes, of_inputs, of_products
from graphc.ir.kernel import Apply, Kernel
from graphc.ir.ops import OPS
from graphc.ir.types import f32
from graphc.ir.winograd import POINTS, SIZE


def supports(kernel: Kernel, target: Target) -> bool:
    """Whether `emit` takes this kernel."""
    return plan(kernel, target) is not None


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function."""
    chosen = plan(kernel, target)
    assert chosen is not None
    e = Emitter()
    _Nest(Frame(e, kernel), chosen).emit()
    e.do("ret void")
    return e


@dataclass(frozen=True, slots=True)
class _Place:
    """A tile: its image, its first row and column, and how many of those another tile stores."""

    image: Int
    row: Int
    column: Int
    skip: tuple[Int, Int]


class _Nest:
    """Emits the loops."""

    def __init__(self, frame: Frame, chosen: Plan) -> None:
        self.frame, self.e, self.plan = frame, frame.e, chosen
        self.t = Vec("float", chosen.lanes)
        self.lanes = Lanes(frame, self.t)
        # A vector more, so that the points of a tile do not meet in the same set of the cache.
        self.input_step = chosen.most * chosen.depth + chosen.lanes
        self.output_step = chosen.most * chosen.width + chosen.lanes
        self.inputs = frame.scratch(POINTWISE * self.input_step, self.t)
        self.products = frame.scratch(POINTWISE * self.output_step, self.t)
        self.between = frame.scratch(POINTS * POINTS * chosen.lanes, self.t)
        self.outputs = frame.scratch(SIZE * chosen.lanes, self.t)
        rows = (Rows(chosen.rows, SIZE), Rows(chosen.columns, SIZE))
        tile = replace(
            chosen.tile, contraction=chosen.contraction, lane=chosen.channels, rows=rows
        )
        self.epilogue = Epilogue(frame, tile)
        self.down = -(-int(chosen.rows.extent) // SIZE)
        self.across = -(-int(chosen.columns.extent) // SIZE)

    def emit(self) -> None:
        f, p = self.frame, self.plan
        extents = {a.name: f.size(a.extent) for a in p.contraction.axes}
        tiles = f.mul(extents.get(p.images, 1), self.down * self.across)
        low = f.div(f.mul("%tid", tiles), "%nthreads")
        high = f.div(f.mul(f.add("%tid", 1), tiles), "%nthreads")
        count, most = self._equal(f.sub(high, low))
        with self.e.loop("0", str(count), 1, "some") as k:
            first = f.add(low, f.mul(k, most))
            some = f.least(most, f.sub(high, first))
            self._stage(first, some)
            panels = int(p.channels.extent) // p.width
            with self.e.loop("0", str(panels), 1, "panel") as panel:
                self._multiply(panel, some)
                self._finish(panel, first, some)

    def _equal(self, tiles: Int) -> tuple[Int, Int]:
        """How often some tiles go through the weights together, and how many: about equal parts,
        whole blocks but for the last."""
        f, block = self.frame, self.plan.tile.row_count
        times = f.most(f.ceil_div(tiles, self.plan.most), 1)
        each = f.div(f.add(tiles, f.sub(times, 1)), times)
        each = f.most(f.mul(f.ceil_div(each, block), block), block)
        return f.div(f.add(tiles, f.sub(each, 1)), each), each

    def _place(self, tile: Int) -> _Place:
        f = self.frame
        column, rest = f.rem(tile, self.across), f.div(tile, self.across)
        row, image = f.rem(rest, self.down), f.div(rest, self.down)
        across, skip_across = self._inside(column, int(self.plan.columns.extent))
        down, skip_down = self._inside(row, int(self.plan.rows.extent))
        return _Place(image, down, across, (skip_down, skip_across))

    def _inside(self, tile: Int, extent: int) -> tuple[Int, Int]:
        """Where a tile begins, moved back to lie inside, and by how much it was moved."""
        start = self.frame.mul(tile, SIZE)
        if extent % SIZE == 0:
            return start, 0
        inside = self.frame.least(start, extent - SIZE)
        return inside, self.frame.sub(start, inside)

    def _index(self, place: _Place) -> dict[str, Int]:
        p = self.plan
        images = {p.images: place.image} if p.images else {}
        return images | {p.rows.name: place.row, p.columns.name: place.column}

    # ---- into the points -------------------------------------------------------------------

    def _stage(self, first: Int, count: Int) -> None:
        """The inputs of `count` tiles at the points: a matrix of tiles by channels for each."""
        f, p = self.frame, self.plan
        down, right = map(f.size, p.strides)
        with self.e.loop("0", str(count), 1, "stage") as k:
            place = self._place(f.add(first, k))
            offset = f.offset(p.load.at, self._index(place))
            base = f.pointer(f.buffers[p.load.buffer], offset, f32)
            row = f.mul(k, p.depth)
            with self.e.loop("0", str(p.depth), p.lanes, "in") as c:
                at = f.pointer(base, c, f32)
                to = f.pointer(self.inputs, f.add(row, c), f32)
                with self.e.loop("0", str(POINTS), 1, "row") as i:
                    line = f.pointer(at, f.mul(down, i), f32)
                    values = [self._vector(line, f.mul(right, j)) for j in range(POINTS)]
                    self._keep(i, of_inputs(self.lanes, values))
                with self.e.loop("0", str(POINTS), 1, "column") as j:
                    column = f.pointer(to, f.mul(j, self.input_step), f32)
                    for i, value in enumerate(of_inputs(self.lanes, self._kept(j))):
                        where = f.pointer(column, i * POINTS * self.input_step, f32)
                        self.e.do(f"store {self.t} {value}, ptr {where}, align 4")

    def _keep(self, row: Int, values: list[str]) -> None:
        """A row that is through the first axis."""
        f, lanes = self.frame, self.plan.lanes
        to = f.pointer(self.between, f.mul(row, POINTS * lanes), f32)
        for j, value in enumerate(values):
            store_sum(f, to, j, self.t, value)

    def _kept(self, column: Int) -> list[str]:
        """A column of what was kept, for the second axis."""
        f, lanes = self.frame, self.plan.lanes
        at = f.pointer(self.between, f.mul(column, lanes), f32)
        return [load_sum(f, at, i * POINTS, self.t) for i in range(POINTS)]

    def _vector(self, base: str, offset: Int) -> str:
        return self.frame.lanes_at(self.frame.pointer(base, offset, f32), 1, f32, self.plan.lanes)

    # ---- at the points ---------------------------------------------------------------------

    def _multiply(self, panel: Int, count: Int) -> None:
        """The products of `count` tiles with a panel of the weights, at every point."""
        f, p = self.frame, self.plan
        rows, depth = p.tile.row_count, p.depth
        offsets: list[dict[str, Int]] = [{INPUTS: i * depth} for i in range(rows)]
        columns: list[dict[str, Int]] = [{WEIGHTS: j * p.lanes} for j in range(p.tile.vectors)]
        whole = POINTWISE * depth * p.width
        weights = f.pointer(f.buffers[p.weights], f.mul(panel, whole), f32)
        with self.e.loop("0", str(POINTWISE), 1, "point") as n:
            x = f.pointer(self.inputs, f.mul(n, self.input_step), f32)
            w = f.pointer(weights, f.mul(n, depth * p.width), f32)
            y = f.pointer(self.products, f.mul(n, self.output_step), f32)
            with self.e.loop("0", str(count), rows, "block") as k:
                bases = {INPUTS: f.pointer(x, f.mul(k, depth), f32)}
                to = f.pointer(y, f.mul(k, p.width), f32)
                site = Site(
                    bases, {WEIGHTS: w}, offsets, columns, [None] * p.tile.vectors, to
                )
                sums = emit_tile(f, p.tile, p.tile.vector, site, [Span("depth", depth)])
                for at, value in enumerate(sums):
                    store_sum(f, to, at, self.t, value)

    # ---- out of the points -----------------------------------------------------------------

    def _finish(self, panel: Int, first: Int, count: Int) -> None:
        """The outputs of `count` tiles in a panel's channels, each through the epilogue."""
        f, p = self.frame, self.plan
        with self.e.loop("0", str(count), 1, "finish") as k:
            place = self._place(f.add(first, k))
            with self.e.loop("0", str(p.width), p.lanes, "out") as c:
                base = f.pointer(self.products, f.add(f.mul(k, p.width), c), f32)
                with self.e.loop("0", str(POINTS), 1, "row") as i:
                    line = f.pointer(base, f.mul(i, POINTS * self.output_step), f32)
                    values = [self._vector(line, j * self.output_step) for j in range(POINTS)]
                    self._keep(i, of_products(self.lanes, values))
                channel = f.add(f.mul(panel, p.width), c)
                index = self._index(place) | {p.channels.name: channel}
                self._store(place, Patch(index, p.lanes, None))

    def _store(self, place: _Place, patch: Patch) -> None:
        """The epilogue at every output that no other tile stores."""
        f, known = self.frame, self.epilogue.preload(patch)
        with self.e.loop(str(place.skip[1]), str(SIZE), 1, "column") as j:
            outputs = of_products(self.lanes, self._kept(j))
            if place.skip[0] == 0 and self._is_short():
                for i, value in enumerate(outputs):
                    self.epilogue.run(self._moved(patch, place, i, j), known, value)
            else:
                for i, value in enumerate(outputs):
                    store_sum(f, self.outputs, i, self.t, value)
                with self.e.loop(str(place.skip[0]), str(SIZE), 1, "row") as i:
                    at = f.pointer(self.outputs, f.mul(i, self.plan.lanes), f32)
                    value = load_sum(f, at, 0, self.t)
                    self.epilogue.run(self._moved(patch, place, i, j), known, value)

    def _is_short(self) -> bool:
        """Whether the epilogue may be written out for each output of a tile."""
        statements = self.plan.contraction.epilogue
        return len(statements) <= DIRECT_STATEMENTS and all(
            OPS[s.op].cost == 1 for s in statements if isinstance(s, Apply)
        )

    def _moved(self, patch: Patch, place: _Place, i: Int, j: Int) -> Patch:
        p, add = self.plan, self.frame.add
        place_of = {p.rows.name: add(place.row, i), p.columns.name: add(place.column, j)}
        return replace(patch, index={**patch.index, **place_of})
