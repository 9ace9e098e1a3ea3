"""The template of contract kernels: matrix products and convolutions in all three directions.

    share of the tiles                     # [tid*U/n, (tid+1)*U/n): a tile belongs to one thread
      panel of the vector operand          # if packed: tiles that share it are neighbours
        group of tiles                     # if chunked: their sums wait in scratch
          chunk of the reduction           # what a chunk reads stays in the second-level cache
            pack                           # copy the panel's part of this chunk
            tile: reduce                   # microkernel.py
          tile: epilogue                   # epilogue.py

Levels that the plan (`plan.py`) does not want are absent; `sharing.py` says when threads share the
rows of all panels instead. A tile at the end of an axis is moved back to lie inside it; rows
already done are computed again but not stored again, so there is one code path, in-place epilogues
work, and nothing outside the operands is touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from graphc.codegen_cpu.contract.choice import Rows
from graphc.codegen_cpu.contract.chunks import each_chunk
from graphc.codegen_cpu.contract.epilogue import Epilogue
from graphc.codegen_cpu.contract.family import numbers
from graphc.codegen_cpu.contract.grid import Dim, Place, known_count
from graphc.codegen_cpu.contract.microkernel import (
    Site,
    Span,
    add_columns,
    emit_tile,
    load_sum,
    narrow_totals,
    sum_type,
)
from graphc.codegen_cpu.contract.operands import Bases
from graphc.codegen_cpu.contract.panel import Panel
from graphc.codegen_cpu.contract.partials import Partials, Run
from graphc.codegen_cpu.contract.parts import Runs
from graphc.codegen_cpu.contract.plan import Plan, group_of, plan
from graphc.codegen_cpu.contract.prefetch import ask_below, next_rows
from graphc.codegen_cpu.contract.sharing import own_rows, share, threads_for
from graphc.codegen_cpu.contract.zeros import inside
from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, first_lanes, iota, value_of
from graphc.codegen_cpu.statements import Statements
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import PART, Axis, Kernel
from graphc.ir.kernel_contraction import Operand
from graphc.ir.kernel_uses import uses


def supports(kernel: Kernel, target: Target) -> bool:
    """Whether `emit` takes this kernel; the generic loops take every kernel."""
    return plan(kernel, target) is not None


def emit(kernel: Kernel, target: Target, shared: bool = False) -> Emitter:
    """The body of the kernel's function; `shared` with kernels of other sizes, if it may be."""
    chosen = plan(kernel, target)
    assert chosen is not None
    frame = Frame(Emitter(), kernel, numbers=numbers(chosen) if shared else ())
    _for_samples(frame, chosen, Statements(frame, kernel, uses(kernel)))()
    frame.e.leave()
    return frame.e


def _for_samples(f: Frame, p: Plan, statements: Statements) -> Callable[[], None]:
    """What emits the nest of the plan for as many samples as there are; scratch is reserved now."""
    nest = _Nest(f, p, statements)
    if p.few is None:
        return nest.emit
    few = _for_samples(f, p.few, statements)
    return lambda: f.e.either(f.less(p.most, f.size(p.samples)), many=nest.emit, few=few)


class _Nest:
    """Emits the loops around the register tile."""

    def __init__(self, frame: Frame, chosen: Plan, statements: Statements) -> None:
        self.frame, self.e, self.plan = frame, frame.e, chosen
        c = chosen.contraction
        self.extent = {a.name: frame.size(a.extent) for a in (*c.axes, *c.reduced)}
        self.t = sum_type(chosen)
        self.tile_sums = chosen.row_count * chosen.vectors * chosen.lanes
        self.group = 1
        if chosen.chunk is not None and not chosen.apart:
            self.group = group_of(self.tile_sums, c.dtype.itemsize)
        self.waiting = self.t.of("double") if chosen.long else self.t
        self.totals = frame.scratch(self.group * self.tile_sums, self.waiting)
        self.sums = frame.scratch(self.tile_sums, self.t) if chosen.long else self.totals
        self.panel = Panel(frame, chosen) if chosen.packed else None
        self.epilogue = Epilogue(frame, chosen, statements)
        patches = chosen.vectors if chosen.how == "lanes" else 1
        self.partials = Partials(self.epilogue, patches)
        self.run_dims: list[Dim] = []  # of the tiles of one run
        self.panel_dims, self.dims = self._grid()

    # ---- the grid of tiles -----------------------------------------------------------------

    def _grid(self) -> tuple[list[Dim], list[Dim]]:
        """Dimensions that pick a panel, and those of the tiles within it; outermost first."""
        p = self.plan
        dims = [self._dim(axis, self.extent[axis.name]) for axis in p.contraction.axes]
        if p.runs is not None:
            return self._run_grid(p.runs, dims)
        picks = {a.name for a in p.shared} | {p.lane.name}
        first = [d for d in dims if d.axis.name in picks]
        rest = [d for d in dims if d.axis.name not in picks]
        if p.lane_first:
            return first, rest
        rest = [d for d in dims if d.axis.name != p.lane.name]
        return [], self._strips([d for d in dims if d.axis.name == p.lane.name], rest)

    def _dim(self, axis: Axis, extent: Int) -> Dim:
        p = self.plan
        blocks = {r.axis.name: r.count for r in p.rows} | {p.lane.name: p.width}
        block = blocks.get(axis.name, 1)
        return Dim(axis, block, self.frame.ceil_div(extent, block), extent)

    def _run_grid(self, runs: Runs, dims: list[Dim]) -> tuple[list[Dim], list[Dim]]:
        """As `_grid`; the tiles of a run are neighbours, of other lanes between them if need be."""
        p, first = self.plan, runs.axes[0]
        lane = [d for d in dims if d.axis == p.lane]
        kept = [d for d in dims if not runs.has(d.axis.name) and d not in lane]
        parts = self.frame.div(self.extent[first.name], runs.cut)
        cut = Dim(first, runs.cut, parts, self.extent[first.name])
        run = [self._dim(first, runs.cut)]
        run += [d for d in dims if runs.has(d.axis.name) and d.axis != first]
        self.run_dims, self.run_cut = run, cut
        if p.lane_last:
            return [], [*kept, cut, *run, *lane]
        if not p.packed:
            return [], [*lane, *kept, cut, *run] if p.lane_first else [*kept, cut, *lane, *run]
        picks = {a.name for a in p.shared}
        shared = [d for d in kept if d.axis.name in picks]
        return [*lane, *shared], [*(d for d in kept if d not in shared), cut, *run]

    def _strips(self, lane: list[Dim], rest: list[Dim]) -> list[Dim]:
        """The tiles of a strip of the lane axis are neighbours, then its other tiles."""
        if not self.plan.strip:
            return rest + lane
        (dim,), strip = lane, self.plan.strip
        strips = replace(dim, block=dim.block * strip, count=self.frame.div(dim.count, strip))
        return [strips, *rest, replace(dim, count=strip)]

    def emit(self) -> None:
        f, p = self.frame, self.plan
        inside = f.product(d.count for d in self.dims)
        panels = f.product(d.count for d in self.panel_dims)
        tiles = f.mul(inside, panels)
        reduced = (self.extent[a.name] for a in p.contraction.reduced)
        threads = threads_for(f, f.product([tiles, p.row_count * p.width, *reduced]))
        low, high = share(f, tiles, threads, self._run_tiles())
        if not p.packed:
            self._tiles(low, high, Place({}, {}), self.panel_dims + self.dims)
            return
        own = own_rows(f, p, inside, panels, threads) if p.own_rows else None
        inside = f.most(inside, 1)
        after = f.div(f.add(high, f.sub(inside, 1)), inside)
        first = f.div(low, inside)
        if own:
            first, after = own.instead(0, first), own.instead(panels, after)
        with self.e.loop(f.text(first), f.text(after), 1, "panel") as panel:
            start = f.mul(inside, panel)
            place = self._place(panel, self.panel_dims)
            begin = f.sub(f.most(low, start), start)
            end = f.least(f.sub(high, start), inside)
            if own:
                begin, end = own.instead(own.low, begin), own.instead(own.high, end)
            self._tiles(begin, end, place, self.dims)

    def _run_tiles(self) -> int:
        """Neighbouring tiles that belong to one thread."""
        last = [d for d in self.dims if self.plan.lane_last and d.axis == self.plan.lane]
        return math.prod(known_count(d) for d in (*self.run_dims, *last))

    def _place(self, tile: Int, dims: list[Dim]) -> Place:
        """The tile's first point on each axis of `dims`; the last tile of an axis moves back."""
        f, index, skip = self.frame, dict[str, Int](), dict[str, Int]()
        numbers: dict[Dim, Int] = {}
        for dim in reversed(dims):
            numbers[dim] = f.rem(tile, dim.count)
            start = f.mul(numbers[dim], dim.block)
            tile = f.div(tile, dim.count)
            name, extent = dim.axis.name, dim.extent
            index[name] = self.frame.add(index.get(name, 0), start)
            if self._moves(dim):
                index[name] = f.most(0, f.least(start, f.sub(extent, dim.block)))
                skip[name] = f.sub(start, index[name])
        return Place(index, skip, numbers)

    def _moves(self, dim: Dim) -> bool:
        """Whether a tile may reach beyond its axis; vectors of lanes are masked instead."""
        if dim.block == 1 or (self.plan.how == "lanes" and dim.axis == self.plan.lane):
            return False
        extent = value_of(dim.extent)
        return extent is None or extent % dim.block != 0

    # ---- groups and chunks -----------------------------------------------------------------

    def _tiles(self, low: Int, high: Int, panel: Place, dims: list[Dim]) -> None:
        """Tiles [low, high) of the grid `dims`, all in the given panel."""
        f, e = self.frame, self.e
        if self.plan.chunk is None:
            c = self.plan.contraction
            whole = {a.name: self.extent[a.name] for a in c.reduced}
            if self.panel:  # what guards keep out may lie outside the buffer
                read = inside(f, c, self.plan.vector.guards, panel.index, whole)
                self._pack(panel, read[0], [Span(*item) for item in read[1].items()])
            with e.loop(f.text(low), f.text(high), 1, "tile") as tile:
                place = self._join(panel, self._place(tile, dims))
                origin, counts = inside(f, c, c.guards, place.index, whole)
                spans = [Span(*item) for item in counts.items()]
                sums = self._reduce(place, origin, spans, self.sums)
                self._finish(place, sums if self.plan.direct else self.sums)
            return
        with e.loop(f.text(low), f.text(high), self.group, "group") as first:
            stop = f.least(f.add(first, self.group), high)
            self._clear(f.mul(f.sub(stop, first), self.tile_sums))

            def chunk(origin: dict[str, Int], spans: list[Span]) -> None:
                self._pack(panel, origin, spans)
                with e.loop(f.text(first), f.text(stop), 1, "tile") as tile:
                    place = self._join(panel, self._place(tile, dims))
                    self._reduce(place, origin, spans, self._block(tile, first))

            each_chunk(f, self.plan, self.extent, chunk)
            with e.loop(f.text(first), f.text(stop), 1, "tile") as tile:
                place, block = self._join(panel, self._place(tile, dims)), self._block(tile, first)
                if self.plan.long:
                    narrow_totals(f, self.plan, block, self.sums)
                    block = self.sums
                self._finish(place, block)

    def _join(self, panel: Place, place: Place) -> Place:
        return Place(
            panel.index | place.index, panel.skip | place.skip, panel.number | place.number
        )

    def _block(self, tile: Int, first: Int) -> str:
        """Where the sums of a tile of the group wait."""
        return self._total(self.frame.mul(self.frame.sub(tile, first), self.tile_sums))

    def _total(self, at: Int) -> str:
        at = self.frame.text(at)
        return self.e.once(f"getelementptr {self.waiting.element}, ptr {self.totals}, i64 {at}")

    def _clear(self, count: Int) -> None:
        t = self.waiting
        with self.e.loop("0", self.frame.text(count), t.lanes, "clear") as k:
            self.e.do(f"store {t} {literal(0.0, t)}, ptr {self._total(k)}")

    def _pack(self, place: Place, origin: dict[str, Int], spans: list[Span]) -> None:
        """Fill the panel, if there is one."""
        if self.panel is None:
            return
        lane = self.plan.lane.name
        extent = self.extent[lane]
        left = self.frame.sub(extent, place.index[lane])
        if (n := value_of(extent)) is not None and n % self.plan.width == 0:
            left = self.plan.width
        source = self._bases(self.plan.vector, place.index | origin)
        to = self.panel.at(origin if self.plan.chunk is None else {})
        self.panel.pack(source, spans, self._masks(place), left, to)

    # ---- one tile --------------------------------------------------------------------------

    def _bases(self, operand: Operand, index: dict[str, Int]) -> Bases:
        return {
            s.name: self.frame.pointer(
                self.frame.buffers[s.buffer], self.frame.offset(s.at, index), s.dtype
            )
            for s in operand.loads
        }

    def _masks(self, place: Place) -> list[str]:
        """For each vector of the tile, which lanes lie on the lane axis; "": all, always."""
        p, f = self.plan, self.frame
        if p.how == "along":
            return [self._column_mask(place)]
        masks: list[str] = []
        for j in range(p.vectors):
            extent = p.lane.extent
            rest = extent % p.width if isinstance(extent, int) else 1
            if rest == 0 or (j + 1) * p.lanes <= rest:
                masks.append("")
                continue
            left = f.sub(self.extent[p.lane.name], f.add(place.index[p.lane.name], j * p.lanes))
            masks.append(f.below(left, p.lanes))
        return masks

    def _column_mask(self, place: Place) -> str:
        """Columns of the tile that exist and that no other tile stores."""
        name, f, lanes = self.plan.lane.name, self.frame, self.plan.out_lanes
        if name not in place.skip:
            return first_lanes(self.plan.vectors, lanes)
        t, left = Vec("i64", lanes), f.sub(self.extent[name], place.index[name])
        below = f.below(f.least(left, self.plan.vectors), lanes)
        fresh = self.e.once(f"icmp sge {t} {iota(t)}, {f.spread(place.skip[name], lanes)}")
        return f.both(below, fresh, t.of("i1"))

    def _reduce(
        self, place: Place, origin: dict[str, Int], spans: list[Span], block: str
    ) -> list[str]:
        """The tile's sums over `spans`, into its block; in registers if `direct`."""
        p, f = self.plan, self.frame
        index = place.index | origin
        scalars = self._bases(p.scalar, index)
        vector = self.panel.operand if self.panel else p.vector
        vectors = self.panel.bases if self.panel else self._bases(p.vector, index)
        if self.panel and p.chunk is None:
            vectors = self.panel.at(origin)
        masks: list[str] = [""] * p.vectors
        if p.how == "lanes" and (p.wide or not p.packed):
            masks = self._masks(place)

        def tile(clamp: bool) -> list[str]:
            rows, columns = self._row_offsets(place, clamp), self._columns(vector, place, clamp)
            sums, totals = (self.sums, block) if p.long else (block, "")
            fetch = None if clamp else self.epilogue.fetching(place.index)
            following = "" if clamp else next_rows(f, p, scalars)
            site = Site(scalars, vectors, rows, columns, masks, sums, totals, fetch, following)
            return emit_tile(f, p, vector, site, spans)

        unsure = self._unsure()
        if not unsure:
            return tile(clamp=False)
        fits = "true"
        for name, count in unsure:
            fits = f.both(fits, f.less(count - 1, self.extent[name]))
        self.e.either(fits, whole=lambda: tile(clamp=False), part=lambda: tile(clamp=True))
        return []

    def _tiled(self) -> list[tuple[Axis, int]]:
        """Axes of which the tile holds several points that are not lanes."""
        tiled = [(r.axis, r.count) for r in self.plan.rows]
        if self.plan.how == "along":
            tiled.append((self.plan.lane, self.plan.vectors))
        return tiled

    def _unsure(self) -> list[tuple[str, int]]:
        """Tiled axes whose extent, a symbol, may be less than the tile."""
        return [(a.name, n) for a, n in self._tiled() if isinstance(a.extent, str) and n > 1]

    def _point(self, name: str, i: int, place: Place, clamp: bool) -> Int:
        """Point i of the tile along an axis; clamped, the last one that exists."""
        extent = self.extent[name]
        if not clamp or isinstance(extent, int):
            return i
        last = self.frame.sub(self.frame.sub(extent, place.index[name]), 1)
        return self.frame.least(i, last)

    def _row_offsets(self, place: Place, clamp: bool) -> list[dict[str, Int]]:
        f = self.frame
        offsets: list[dict[str, Int]] = [{s.name: 0 for s in self.plan.scalar.loads}]
        for r in self.plan.rows:
            at = [self._point(r.axis.name, i, place, clamp) for i in range(r.count)]
            offsets = [
                {
                    s.name: f.add(before[s.name], f.mul(f.size(s.at.stride(r.axis.name)), i))
                    for s in self.plan.scalar.loads
                }
                for before in offsets
                for i in at
            ]
        return offsets

    def _columns(self, vector: Operand, place: Place, clamp: bool) -> list[dict[str, Int]]:
        """Offsets of the tile's vectors, or of its columns, in the vector operand."""
        f, name, along = self.frame, self.plan.lane.name, self.plan.how == "along"
        points = [
            self._point(name, j, place, clamp) if along else j * self.plan.lanes
            for j in range(self.plan.vectors)
        ]
        return [
            {s.name: f.mul(f.size(s.at.stride(name)), at) for s in vector.loads} for at in points
        ]

    def _finish(self, place: Place, sums: str | list[str]) -> None:
        """The epilogue for every row of the tile that no other tile stores.

        `sums` is their block, or the values themselves if the plan is `direct`.
        """
        p, f = self.plan, self.frame
        masks = self._masks(place)
        if p.how == "along":
            add_columns(f, p, str(sums))
        if not self._ragged(masks):
            self._store(place, sums, masks)
            return
        left = f.sub(self.extent[p.lane.name], place.index[p.lane.name])
        self.e.either(
            f.less(p.width - 1, left),
            whole=lambda: self._store(place, sums, [""] * len(masks)),
            last=lambda: self._store(place, sums, masks),
        )

    def _ragged(self, masks: list[str]) -> bool:
        """Whether masks are for the last tile of a row alone, which costs a second epilogue.

        An update stores and loads by turns, and processors have a load wait for a masked store that
        lies as far into its page.
        """
        p = self.plan
        fits = not isinstance(p.lane.extent, int) or p.lane.extent > p.width
        return any(masks) and fits and self.epilogue.updates and p.how == "lanes" and not p.runs

    def _store(self, place: Place, sums: str | list[str], masks: list[str]) -> None:
        """The epilogue where the lanes of `masks` are."""
        p, f = self.plan, self.frame
        t = Vec(self.t.element, p.out_lanes)
        first = place.index[p.lane.name]
        points = [
            self.epilogue.point(place.index, f.add(first, j * t.lanes), t.lanes, mask)
            for j, mask in enumerate(masks)
        ]
        known = [self.epilogue.preload(point) for point in points]
        self.partials.start()

        def row(index: dict[str, Int], number: Int) -> None:
            for j, point in enumerate(points):
                at = f.add(f.mul(number, len(points)), j)
                if isinstance(sums, str):
                    total = load_sum(f, sums, at, t)
                else:
                    assert isinstance(at, int)
                    total = sums[at]
                for axis, i in index.items():
                    point = point.at(axis, i)
                ask_below(f, p, self.epilogue.read, point.index)
                self.partials.add(j, self.epilogue.run(point, known[j], total))

        self._rows(place, p.rows, {}, 0, row)
        if self.run_dims:
            part = place.number[self.run_cut]
            self.partials.finish([point.at(PART, part) for point in points], self._run(place))

    def _run(self, place: Place) -> Run:
        """Where the tile stands in its run."""
        lane = next(d for d in (*self.panel_dims, *self.dims) if d.axis == self.plan.lane)
        at = self.frame.mul(place.number[lane], lane.block) if self.plan.lane_last else 0
        first, last = "true", "true"
        for dim in self.run_dims:
            number = place.number[dim]
            first = self.frame.both(first, self.frame.equal(number, 0))
            last = self.frame.both(last, self.frame.equal(number, known_count(dim) - 1))
        return Run(first, last, at)

    def _rows(
        self,
        place: Place,
        rows: tuple[Rows, ...],
        index: dict[str, Int],
        number: Int,
        body: Callable[[dict[str, Int], Int], None],
    ) -> None:
        """`body` at every row: its index on the row axes, and its number in the tile."""
        if not rows:
            body(index, number)
            return
        f, name, count = self.frame, rows[0].axis.name, rows[0].count

        def at(i: Int) -> None:
            inside = index | {name: f.add(place.index[name], i)}
            self._rows(place, rows[1:], inside, f.add(f.mul(number, count), i), body)

        if self.plan.direct:
            for known in range(count):
                at(known)
            return
        stop: Int = count
        if name in place.skip:
            stop = f.least(count, f.sub(self.extent[name], place.index[name]))
        with self.e.loop(f.text(place.skip.get(name, 0)), f.text(stop), 1, "row") as i:
            at(i)
