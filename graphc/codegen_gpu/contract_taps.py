"""Weight gradients of depthwise convolutions: all taps of some channels in one program.

Both operands lie channels innermost, and one of them is read at another place for each tap. A
program goes along pixels, with channels beside each other: it loads the gradient once, and what
the taps multiply it with from places that its neighbours have just read.
"""

from __future__ import annotations

from itertools import product

from graphc.codegen_gpu.body import Body, Group, Point, Value
from graphc.codegen_gpu.contract import NUMBER, ContractTemplate, Masks, Written
from graphc.codegen_gpu.contract_parts import Product, as_product, count, extents
from graphc.codegen_gpu.contract_tiles import Tile, _inner, _splits, usual_sizes
from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.tiles import extent, power
from graphc.ir.cuda_abi import GridDim
from graphc.ir.types import bool_, f32

CHANNELS = 32  # of a program
PIXELS = 32  # beside each other
MOST_TAPS = 16  # each has a sum in registers
WARPS = 4


def emit(body: Body, target: Target) -> Written | None:
    """Write the function's body, if its kernel is such a gradient."""
    c = as_product(body.kernel)
    if not fits(c):
        return None
    template = TapsTemplate(body, c, tile(c, target), False)
    template.run()
    return template.written()


def fits(c: Product) -> bool:
    """Whether one operand alone is read at each tap, and both lie along one axis of channels."""
    taps, summed = (*c.rows, *c.cols), {a.name for a in c.reduced}
    if c.kernel.partials or c.dtype is not f32 or len(c.batch) != 1 or not taps:
        return False
    (channel,) = c.batch
    points, channels = extent(taps), extent(c.batch)
    one = not (c.rows and c.cols) and points is not None and 1 < points <= MOST_TAPS
    long = any(isinstance(a.extent, str) for a in c.reduced)
    beside = all(o.unit(channel.name) and not any(map(o.unit, summed)) for o in (c.a, c.b))
    return one and long and beside and channels is not None and channels >= CHANNELS // 2


def tile(c: Product, target: Target) -> Tile:
    """By literal extents alone: it decides how sums are added up."""
    usual = usual_sizes(c)
    inner = _inner(c.reduced, usual, PIXELS)
    width = min(CHANNELS, power(count(c.batch, usual)))
    steps = -(-count(c.reduced, usual) // PIXELS)
    splits = _splits(-(-count(c.batch, usual) // width), steps, target)
    rows = power(count((*c.rows, *c.cols), usual)) * width
    return Tile("sums", rows, width, PIXELS, inner, splits, WARPS, 2)


class TapsTemplate(ContractTemplate):
    """One kernel being emitted. Its rows are taps, and channels within each."""

    def __init__(self, body: Body, c: Product, t: Tile, tf32: bool) -> None:
        super().__init__(body, c, t, tf32)
        self.taps = (*c.rows, *c.cols)
        self.rows = (*self.taps, *c.batch)
        self.moving, self.still = (c.a, c.b) if c.rows else (c.b, c.a)
        self.places = [
            tuple(Value(str(k), body.index_dtype) for k in at)
            for at in product(*(range(int(a.extent)) for a in self.taps))
        ]

    def run(self) -> None:
        self.place()
        for k in range(len(self.places)):
            self.writer.do(f"acc{k} = tl.zeros([{self.t.cols}, {self.t.depth}], tl.float32)")
        first, last = self.span()
        with self.writer.block(f"for t in range({first}, {last}):") as level:
            self.body.floor = level
            self.add_taps(level)
        self.body.floor = 0
        self.joined()
        if self.t.splits > 1:
            self.add_parts()
        else:
            self.finish(0)

    def place(self) -> None:
        """Which channels are this program's, and which part of the sum."""
        at, width, channels = self.let(NUMBER), self.t.cols, count(self.c.batch, {})
        self.part = "0"
        if self.t.splits > 1:
            splits = self.t.splits
            at, self.part = self.let(f"{at} // {splits}"), self.let(f"{at} % {splits}")
        self.tile, self.row_tile, self.col_tile, self.col = at, at, "0", "0"
        self.number = Value("0", self.body.index_dtype)
        lane = self.let(f"tl.arange(0, {self.t.rows})")
        channel = self.let(f"{at} * {width} + {lane} % {width}")
        self.valid = self.let(f"({lane} < {len(self.places) * width}) & ({channel} < {channels})")
        self.row = self.let(self.cast(f"({lane} // {width} * {channels} + {channel})"))
        self.channels = self.let(self.cast(f"({at} * {width} + tl.arange(0, {width}))"))

    def mask(self, group: Group, block: int) -> Masks:
        if group.axes != self.rows:
            return super().mask(group, block)
        (dim,) = group.flat.dims
        return ((dim, Value(self.valid, bool_, group.flat.dims)),)

    def add_taps(self, level: int) -> None:
        """The products of some pixels, for each tap."""
        free, depth = self.group(self.c.batch, self.channels, 0, 2), self.depth(1, level)
        within = self.mask(depth, self.t.depth)
        masks = (*self.mask(free, self.t.cols), *within)
        shape = str(self.t.cols), str(self.t.depth)
        groups = (free, self.counted(level), depth)
        lanes = ((0, free.flat), (1, depth.flat))
        still = self.value(Point(shape, groups, masks, lanes=lanes), False)
        for k, at in enumerate(self.places):
            tap = (Group((a,), v) for a, v in zip(self.taps, at, strict=True))
            moving = self.value(Point(shape, (*groups, *tap), masks, lanes=lanes), True)
            text = f"tl.fma({moving}, {still}, acc{k})"
            if self.moving.bare is None or self.still.bare is None:  # else both are zero
                for _, mask in within:
                    text = f"tl.where({mask.text}, {text}, acc{k})"
            self.writer.do(f"acc{k} = {text}")

    def value(self, point: Point, moves: bool) -> str:
        operand = self.moving if moves else self.still
        return self.converted(self.evaluate(operand, point), self.c.dtype)

    def joined(self) -> None:
        """The sums of all taps in one line, as `acc`."""
        taps = self.t.rows // self.t.cols
        self.writer.do(f"acc = tl.zeros([{taps}, {self.t.cols}], tl.float32)")
        for k in range(len(self.places)):
            chosen = f"tl.arange(0, {taps})[:, None] == {k}"
            self.writer.do(f"acc = tl.where({chosen}, tl.sum(acc{k}, axis=1)[None, :], acc)")
        self.writer.do(f"acc = tl.reshape(acc, [{self.t.rows}])")

    def grid(self) -> tuple[GridDim, ...]:
        return GridDim((self.t.splits,)), GridDim(extents(self.c.batch), self.t.cols)
