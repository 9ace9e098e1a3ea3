"""Kernels of kind "contract" as Triton text: tiles of sums of products, then their epilogue.

A program finds its tile from its number, goes along the summed points and adds up products in
float32 (float64, or the integer type). All summed axes are one loop, so that the loads of one step
are under way while another computes: outer axes (a convolution's taps) are digits of the step's
number, inner ones run along the tile's depth. Guards (padding) are masks of the loads.

A sum in parts is added up by the program that comes last, in the order of the parts: their number
is fixed at compile time, so every run gives the same bits. Each part lies in scratch memory, and a
counter for each tile, zero before and after a launch, says how many have come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from graphc.codegen_gpu.body import NONE, Body, Group, Point, Value
from graphc.codegen_gpu.contract_boxed import Boxed, grid
from graphc.codegen_gpu.contract_boxes import rows_folded
from graphc.codegen_gpu.contract_descriptors import Descriptors
from graphc.codegen_gpu.contract_parts import (
    Product,
    as_product,
    count,
    extents,
)
from graphc.codegen_gpu.contract_statistics import Statistics
from graphc.codegen_gpu.contract_tiles import (
    FFMA_DEPTH,
    GROUP,
    MIN_STEPS,
    Tile,
    tile,
    usual_sizes,
)
from graphc.codegen_gpu.scalar import MEMORY, REGISTER, held, rounded
from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.tiles import extent
from graphc.ir.cuda_abi import GridDim, Param
from graphc.ir.kernel import Axis
from graphc.ir.kernel_contraction import Operand
from graphc.ir.types import DType, bool_, f32, f64

Masks = tuple[tuple[int, Value], ...]

ALIGN = 16  # bytes, of scratch memory
AHEAD = 64 * 32  # elements of parts of a sum that a warp has under way: registers of its threads
NUMBER = "tl.program_id(0)"


class Written(NamedTuple):
    """What a launch needs to know of a function whose body was written."""

    grid: tuple[GridDim, ...]
    warps: int
    stages: int
    params: tuple[Param, ...]  # behind those of every kernel
    scratch_bytes: int


def emit(body: Body, sizes: Sequence[int], target: Target, tf32: bool) -> Written:
    """Write the function's body; `tf32`: float32 products may round their operands to TF32."""
    c = as_product(body.kernel)
    t = tile(c, dict(zip(body.kernel.sizes, sizes, strict=True)), target, tf32)
    template = ContractTemplate(body, c, t, tf32)
    steps = -(-count(c.reduced, usual_sizes(c)) // t.depth)
    template.described = Descriptors(template, target, steps)
    template.run()
    return template.written()


class ContractTemplate:
    """One kernel being emitted.

    Dimension 0 of what a program computes runs along rows, dimension 1 along cols; of `sums`, whose
    points are all rows, there is one. A product that finds statistics of its rows is turned: a sum
    along dimension 1 of a tile lies in one thread, up to a quarter of a warp. So is one by boxes
    whose rows' operand had better be the right one (`contract_boxes.py`).
    """

    def __init__(self, body: Body, c: Product, t: Tile, tf32: bool) -> None:
        self.body, self.writer, self.c, self.t, self.tf32 = body, body.writer, c, t, tf32
        self.line = t.how == "sums"
        self.batch = () if self.line else c.batch
        self.rows = lines_of(c, t) if self.line else c.rows
        self.cols = () if self.line else c.cols
        cut = len(c.reduced) - t.inner
        self.outer, self.inner = c.reduced[:cut], c.reduced[cut:]
        self.turned = t.how == "product" and (bool(c.kernel.partials) or rows_folded(c, t.boxes))
        self.dims = (1, 0) if self.turned else (0, 1)  # along rows, along cols
        self.area = (t.rows,) if self.line else (t.rows, t.cols)
        self.shape = tuple(map(str, self.area[::-1] if self.turned else self.area))
        self.boxed = Boxed(self, t.boxes) if t.boxes else None
        self.described: Descriptors
        self.statistics = Statistics(self) if c.kernel.partials else None

    def run(self) -> None:
        self.place()
        self.writer.do(f"acc = tl.zeros({self.block}, {REGISTER[self.c.dtype.name]})")
        first, last = self.span()
        with self.writer.block(f"for t in range({first}, {last}):") as level:
            self.body.floor = level
            ways = {"product": self.add_product, "sums": self.add_sums, "block": self.add_block}
            ways[self.t.how](level)
        self.body.floor = 0
        if self.deep:
            self.writer.do(f"acc = tl.sum(acc, axis=1).to({REGISTER[self.c.dtype.name]})")
        if self.t.splits > 1:
            self.add_parts()
        else:
            self.finish(0)

    def span(self) -> tuple[str, str]:
        """The steps of this program's part of the sum, from and to; how many `parts` have some."""
        last = self.steps()
        if self.t.splits == 1:
            return "0", last
        least = MIN_STEPS if self.t.depth > FFMA_DEPTH else MIN_STEPS // 2
        steps = self.let(f"max(tl.cdiv({last}, {self.t.splits}), {least})")
        self.parts = self.let(f"max(tl.cdiv({last}, {steps}), 1)")
        first = self.let(f"{self.part} * {steps}")
        return first, self.let(f"min({first} + {steps}, {last})")

    # ---- where a program is --------------------------------------------------------------------

    def place(self) -> None:
        """Which batch, rows and cols are this program's."""
        at = self.let(NUMBER)
        self.part = "0"
        if self.t.splits > 1:
            number, splits = at, self.t.splits
            at, self.part = self.let(f"{number} // {splits}"), self.let(f"{number} % {splits}")
        self.tile, batch = at, "0"
        rows, cols = self.tiles_of(0), self.tiles_of(1)
        if self.batch:
            each = self.multiplied(rows, cols)
            batch, at = self.let(f"{at} // {each}"), self.let(f"{at} % {each}")
        row, col = (at, "0") if cols == "1" else self.banded(at, rows, cols)
        self.row_tile, self.col_tile = row, col
        self.number = Value(self.let(self.cast(batch)), self.body.index_dtype)
        self.row, self.col = self.lanes(row, self.t.rows), self.lanes(col, self.t.cols)

    def banded(self, at: str, rows: str, cols: str) -> tuple[str, str]:
        """Tiles in bands of `GROUP` rows, col by col: neighbours in time share both operands."""
        band = self.multiplied(cols, str(GROUP))
        first = self.let(f"{at} // {band} * {GROUP}")
        height = self.let(f"min({rows} - {first}, {GROUP})")
        within = self.let(f"{at} % {band}")
        return self.let(f"{first} + {within} % {height}"), self.let(f"{within} // {height}")

    def tiles(self, axes: tuple[Axis, ...], block: int) -> str:
        """Blocks along the axes."""
        points = extent(axes)
        if points is not None:
            return str(-(-points // block))
        return self.let(f"tl.cdiv({self.points(axes)}, {block})")

    def tiles_of(self, side: int) -> str:
        """Tiles along rows (side 0) or cols."""
        axes, block = ((self.rows, self.t.rows), (self.cols, self.t.cols))[side]
        return self.boxed.tiles(side) if self.boxed else self.tiles(axes, block)

    def multiplied(self, a: str, b: str) -> str:
        if a.isdecimal() and b.isdecimal():
            return str(int(a) * int(b))
        if "1" in (a, b):
            return b if a == "1" else a
        return self.let(f"({a} * {b})")

    def points(self, axes: Iterable[Axis]) -> str:
        return str(self.body.product(a.extent for a in axes))

    def lanes(self, at: str, block: int, level: int = 0) -> str:
        """The flat indices of block number `at`."""
        lanes = self.cast(f"tl.arange(0, {block})")
        return self.let(lanes if at == "0" else f"{self.cast(at)} * {block} + {lanes}", level)

    def group(self, axes: tuple[Axis, ...], run: str, dim: int, rank: int, level: int = 0) -> Group:
        """Axes along a dimension of a block of this rank."""
        return Group(axes, self.lane(run, dim, rank, level))

    def lane(self, run: str, dim: int, rank: int, level: int = 0) -> Value:
        if rank > 1:
            run = self.let(f"{run}[:, None]" if dim == 0 else f"{run}[None, :]", level)
        return Value(run, self.body.index_dtype, frozenset({dim}), level)

    def mask(self, group: Group, block: int) -> Masks:
        """Which places of a block along the group's dimension are points, where not all are."""
        points = extent(group.axes)
        if points is not None and points > 0 and points % block == 0:
            return ()
        (dim,) = group.flat.dims
        text = f"({group.flat.text} < {self.points(group.axes)})"
        return ((dim, self.body.let(text, bool_, group.flat)),)

    def side(self, side: int, dim: int, rank: int) -> tuple[tuple[Group, ...], Masks]:
        """The points of the tile's rows (side 0) or cols along a dimension, and which there are."""
        if self.boxed:
            return self.boxed.side(side, dim, rank)
        axes, run, block = (
            (self.rows, self.row, self.t.rows),
            (self.cols, self.col, self.t.cols),
        )[side]
        group = self.group(axes, run, dim, rank)
        return (group,), self.mask(group, block)

    def cast(self, text: str) -> str:
        """In the type of indices."""
        return f"tl.cast({text}, tl.int64)" if self.body.wide and not text.isdecimal() else text

    def let(self, text: str, level: int = 0) -> str:
        return self.writer.let(text, level)

    # ---- the loop over summed points -----------------------------------------------------------

    @property
    def deep(self) -> bool:
        """Whether the points of `sums` have a dimension of summed points beside them."""
        return self.line and self.t.depth > 1

    @property
    def block(self) -> str:
        names = (*self.shape, str(self.t.depth)) if self.deep else self.shape
        return "[" + ", ".join(names) + "]"

    def steps(self) -> str:
        """Trips of the loop."""
        if self.boxed:
            return self.boxed.tiles(2)
        self.chunks = self.tiles(self.inner, self.t.depth)
        return self.multiplied(self.points(self.outer), self.chunks)

    def counted(self, level: int) -> Group:
        """The outer summed axes at trip t."""
        t = self.let(self.cast("t"), level) if self.body.wide else "t"
        if self.chunks not in ("0", "1"):
            t = self.let(f"{t} // {self.chunks}", level)
        return Group(self.outer, Value(t, self.body.index_dtype, NONE, level))

    def depth(self, dim: int, level: int) -> Group:
        """The inner ones, along a dimension."""
        if self.chunks in ("0", "1"):
            return self.group(self.inner, self.lanes("0", self.t.depth), dim, 2)
        t = self.let(f"t % {self.chunks}", level) if self.outer else "t"
        return self.group(self.inner, self.lanes(t, self.t.depth, level), dim, 2, level)

    def place_of_step(self, level: int) -> str:
        """The first of the inner points at trip t, where there are no outer ones."""
        return "0" if self.chunks in ("0", "1") else f"t * {self.t.depth}"

    def add_product(self, level: int) -> None:
        c = self.c
        if self.boxed:
            self.multiply(*(self.boxed.load(side, level) for side in (0, 1)))
            return
        count = self.counted(level)
        batch = Group(self.batch, self.number)
        texts = []
        for o, axes, run, dim, block in (
            (c.a, self.rows, self.row, 0, self.t.rows),
            (c.b, self.cols, self.col, 1, self.t.cols),
        ):
            if moved := self.described.tile(o, axes, dim, level):
                texts.append(moved)
                continue
            free, depth = self.group(axes, run, dim, 2), self.depth(1 - dim, level)
            within = self.mask(depth, self.t.depth)
            shape = tuple(map(str, (block, self.t.depth) if dim == 0 else (self.t.depth, block)))
            masks = (*self.mask(free, block), *within)
            groups = (batch, free, count, depth)
            point = Point(shape, groups, masks, lanes=((dim, free.flat), (1 - dim, depth.flat)))
            texts.append(self.operand(o, point, within))
        self.multiply(*texts)

    def multiply(self, a: str, b: str) -> None:
        """Add the product of the operands' tiles."""
        if self.turned:
            a, b = (x.removesuffix(".T") if x.endswith(".T") else f"{x}.T" for x in (b, a))
        self.writer.do(f"acc = tl.dot({a}, {b}, acc, {self.precision})")

    @property
    def precision(self) -> str:
        exact = self.c.dtype is not f32 or not self.tf32
        text = f'input_precision="{"ieee" if exact else "tf32"}"'
        return text if self.c.dtype is f32 else f"{text}, out_dtype=tl.float64"

    def operand(self, o: Operand, point: Point, within: Masks) -> str:
        """A tile of an operand, zero where the depth has no points."""
        value, whole = self.evaluate(o, point), frozenset({0, 1})
        for dim, mask in within:
            if o.bare is None or dim not in value.dims:
                text = f"tl.where({mask.text}, {value.text}, 0.0)"
                value = self.body.let(text, value.dtype, value, mask)
        text = self.converted(value, self.c.operand_dtype)
        return text if value.dims == whole else f"tl.broadcast_to({text}, {point.block(whole)})"

    def evaluate(self, o: Operand, point: Point) -> Value:
        self.body.point = point
        for s in o.statements:
            self.body.run(s)
        return self.body.values[o.value]

    def converted(self, value: Value, dtype: DType) -> str:
        """A register's text as a product's operand: half types as they are in memory."""
        if REGISTER[value.dtype.name] == MEMORY[dtype.name]:
            return value.text
        return f"{value.text}.to({MEMORY[dtype.name]})"

    def add_sums(self, level: int) -> None:
        rank = 2 if self.deep else 1
        free = self.group(self.rows, self.row, 0, rank)
        groups: tuple[Group, ...] = (free, self.counted(level))
        masks, shape = self.mask(free, self.t.rows), self.shape
        lanes: Masks = ((0, free.flat),)
        within: Masks = ()
        if self.deep:
            depth = self.depth(1, level)
            within = self.mask(depth, self.t.depth)
            groups, masks, shape = (*groups, depth), (*masks, *within), (*shape, str(self.t.depth))
            lanes = (*lanes, (1, depth.flat))
        point = Point(shape, groups, masks, lanes=lanes)
        a, b = (self.converted(self.evaluate(o, point), self.c.dtype) for o in (self.c.a, self.c.b))
        text = f"tl.fma({a}, {b}, acc)" if self.c.dtype.is_floating_point else f"acc + {a} * {b}"
        for _, mask in within:
            text = f"tl.where({mask.text}, {text}, acc)"
        self.writer.do(f"acc = {text}")

    def add_block(self, level: int) -> None:
        """The products of one summed point, at every place of the tile."""
        row, col = (
            self.group(axes, run, dim, 2)
            for dim, (axes, run) in enumerate([(self.rows, self.row), (self.cols, self.col)])
        )
        masks = (*self.mask(row, self.t.rows), *self.mask(col, self.t.cols))
        groups = (Group(self.batch, self.number), row, col, self.counted(level))
        point = Point(self.shape, groups, masks, lanes=((0, row.flat), (1, col.flat)))
        a, b = (self.converted(self.evaluate(o, point), self.c.dtype) for o in (self.c.a, self.c.b))
        self.writer.do(f"acc = tl.fma({a}, {b}, acc)")

    # ---- what becomes of the sums --------------------------------------------------------------

    def add_parts(self) -> None:
        """The program that comes last adds up the parts in order, and goes on."""
        w, area = self.writer, prod(self.area)
        lanes = f"tl.arange(0, {self.shape[0]})"
        if not self.line:
            along = self.shape[1]
            lanes += f"[:, None] * {along} + tl.arange(0, {along})[None, :]"
        with w.block(f"if {self.part} < {self.parts}:"):  # of a short sum there are fewer
            self.add_part(area, lanes)

    def add_part(self, area: int, lanes: str) -> None:
        w = self.writer
        w.do(f"parts = scratch + {self.tile}.to(tl.int64) * {self.t.splits * area} + ({lanes})")
        w.do(f"tl.store(parts + {self.part} * {area}, acc)")
        w.do("tl.debug_barrier()")
        w.do(f'arrived = tl.atomic_add(counters + {self.tile}, 1, sem="acq_rel")')
        with w.block(f"if arrived >= {self.parts} - 1:") as level:
            w.do("tl.debug_barrier()")
            w.do(f"acc = tl.zeros([{', '.join(self.shape)}], {REGISTER[self.c.dtype.name]})")
            ahead = 2 if 2 * area <= AHEAD * self.t.warps else 1
            with w.block(f"for s in range(0, arrived + 1, {ahead}):"):  # not unrolled: registers
                there = ["", ", mask=s < arrived, other=0.0"]
                loads = [
                    f'tl.load(parts + (s + {k}) * {area}{there[k]}, cache_modifier=".cg")'
                    for k in range(ahead)
                ]
                for name in [w.assign(load, w.level) for load in loads]:
                    w.do(f"acc = acc + {name}")
            w.do(f"tl.store(counters + {self.tile}, 0)")
            self.body.floor = level
            self.finish(level)

    def finish(self, level: int) -> None:
        """The epilogue, over the program's tile."""
        rank, dot, (down, across) = len(self.shape), self.c.dot, self.dims
        groups, masks = self.side(0, down, rank)
        lanes = [(down, self.lane(self.row, down, rank))]
        if not self.line:
            cols, more = self.side(1, across, rank)
            groups, masks = (*groups, *cols), (*masks, *more)
            lanes.append((across, self.lane(self.col, across, rank)))
        groups = (Group(self.batch, self.number), *groups)
        self.body.point = Point(self.shape, groups, masks, lanes=tuple(lanes))
        text = "acc"
        if self.c.dtype is not held(dot.dtype):
            text = f"acc.to({REGISTER[dot.dtype.name]})"
        if dot.name in self.body.told:
            text = rounded(dot.dtype, text)
        name = self.writer.assign(text, level)
        self.body.values[dot.name] = Value(name, dot.dtype, frozenset(range(rank)), level)
        for s in self.c.epilogue:
            self.body.run(s)
        if self.statistics is not None:
            self.statistics.run(level, self.points(self.rows))

    # ---- the launch ----------------------------------------------------------------------------

    def written(self) -> Written:
        t, dtype = self.t, self.c.dtype
        scratch_bytes = 0 if t.splits == 1 else prod(self.area) * dtype.itemsize
        if self.statistics is not None:
            dtype, scratch_bytes = f64, self.statistics.scratch_bytes
        if not scratch_bytes:
            return Written(self.grid(), t.warps, t.stages, (), 0)
        params = (
            Param("scratch", "pointer", "scratch", dtype=dtype.name, align=ALIGN),
            Param("counters", "pointer", "counters", dtype="i32", align=4),
        )
        return Written(self.grid(), t.warps, t.stages, params, scratch_bytes)

    def grid(self) -> tuple[GridDim, ...]:
        """Tiles of rows and of cols, and the batch with the parts of a sum."""
        dims = [GridDim(extents(self.rows), self.t.rows), GridDim(extents(self.cols), self.t.cols)]
        dims.append(GridDim((*extents(self.batch), self.t.splits)))
        if self.t.boxes:
            dims = grid(self.c, self.t.boxes, self.t.splits)
        return tuple(dims)


def lines_of(c: Product, t: Tile) -> tuple[Axis, ...]:
    """Parallel axes in the order that `sums` goes along: what it reads most lies side by side.

    Where sums are long, that is the operands; else the output.
    """
    axes = c.kernel.axes
    if t.depth == 1 or any(o.unit(x.name) for o in (c.a, c.b) for x in c.reduced):
        return axes
    unit = [x for x in axes if any(o.unit(x.name) for o in (c.a, c.b))]
    return (*(x for x in axes if x not in unit[:1]), *unit[:1])
