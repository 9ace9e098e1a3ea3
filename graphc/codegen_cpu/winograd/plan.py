"""Contract kernel -> Winograd plan: what the geometry must be, and how much goes through a cache.

The weights are there in transformed form because a pass decided so (`passes/winograd.py`); what
it could not see, the order of loops and addresses, is asked here. A kernel without a plan is a
plain contraction, with the same meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from graphc.codegen_cpu.contract.plan import Plan as Tile
from graphc.codegen_cpu.contract.plan import Rows
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Affine, Axis, Dot, Kernel, Load, Size
from graphc.ir.kernel_contraction import Contraction, Dimension, Operand, dimensions, dissect
from graphc.ir.types import f32
from graphc.ir.winograd import POINTS, SIZE, TAPS

POINTWISE = POINTS * POINTS
VECTORS = 2  # of a register tile, so of a panel of the weights
ROWS = 12  # tiles in it, where there are so many registers
STAGE_BYTES = 2 << 20  # of transformed inputs; they live on the stack, Python gives threads 8 MB
MOST = 48  # tiles that go through the weights together: more would leave the second-level cache
INPUTS, WEIGHTS = "%stage", "%panel"  # buffers; no names of a kernel's


@dataclass(frozen=True, slots=True)
class Plan:
    """Loops by their roles, and the tiles that go through the weights together."""

    contraction: Contraction
    load: Load  # of the input
    weights: str  # the buffer
    images: str  # the loop over images; "" if there is one
    rows: Axis
    columns: Axis
    channels: Axis  # of the output
    depth: int  # channels of the input
    strides: tuple[Size, Size]  # of the input, along a column and along a row
    lanes: int
    tile: Tile  # the product of inputs and weights at one point
    most: int

    @property
    def width(self) -> int:
        """Output channels of a panel."""
        return VECTORS * self.lanes


@lru_cache(maxsize=4)
def plan(kernel: Kernel, target: Target) -> Plan | None:
    """How to compute the kernel from its transformed weights, or None if it has none that fit."""
    c, lanes = dissect(kernel), target.lanes(f32)
    told = kernel.winograd
    if c is None or told is None or kernel.partials or c.guarded or c.dtype is not f32:
        return None
    if (told.size, told.panel) != (SIZE, VECTORS * lanes) or not _is_plain(kernel, c):
        return None
    found = {d.role: d for d in dimensions(kernel)}
    loops = {a.name: a for a in c.axes}
    outs = [_alone(found.get(role), loops) for role in ("h", "w", "k")]
    depth = found["c"].extent if "c" in found else 1
    known = [a for a in outs if a is not None and isinstance(a.extent, int)]
    if len(known) < 3 or not isinstance(depth, int) or len(known) + ("n" in found) < len(loops):
        return None
    rows, columns, channels = known
    load = c.a.loads[0]
    strides = _strides(load, found)
    ragged = depth % lanes or int(channels.extent) % told.panel
    if strides is None or ragged or min(int(rows.extent), int(columns.extent)) < SIZE:
        return None
    tile = _tile(depth, target)
    block = tile.row_count
    most = min(MOST, STAGE_BYTES // (POINTWISE * depth * f32.itemsize)) // block * block
    if most == 0:
        return None
    images = found["n"].loop if "n" in found else ""
    return Plan(
        c, load, told.buffer, images, rows, columns, channels, depth, strides, lanes, tile, most
    )


def _is_plain(kernel: Kernel, c: Contraction) -> bool:
    """Whether it slides a dense 3x3 window, and reads float32 as it lies."""
    steps = {(w.out, w.tap): (w.stride, w.dilation, w.end) for w in kernel.window}
    dense = steps == {("h", "r"): (1, 1, 0), ("w", "s"): (1, 1, 0)}
    plain = all(len(x.statements) == 1 and x.loads[0].dtype is f32 for x in (c.a, c.b))
    taps = {d.role: d.extent for d in dimensions(kernel) if d.role in ("r", "s", "g")}
    return dense and plain and taps == {"r": TAPS, "s": TAPS}


def _alone(d: Dimension | None, loops: Mapping[str, Axis]) -> Axis | None:
    """The loop that runs over this dimension and nothing else."""
    axis = loops.get(d.loop) if d else None
    return axis if axis and d and d.step == 1 and d.extent == axis.extent else None


def _strides(load: Load, found: Mapping[str, Dimension]) -> tuple[Size, Size] | None:
    """The input's steps along a column and along a row; its channels lie side by side."""
    if found["c"].stride(load.at) != 1:
        return None
    down, right = found["h"].stride(load.at), found["w"].stride(load.at)
    taps = [found[role].stride(load.at) for role in ("r", "s")]
    if down is None or right is None or taps != [down, right]:
        return None
    return down, right


def _tile(depth: int, target: Target) -> Tile:
    """A register tile of tiles by output channels, which sums over input channels."""
    lanes = target.lanes(f32)
    width = VECTORS * lanes
    rows = ROWS if target.registers > 16 else ROWS // 2
    t, o, c = Axis("tile", rows), Axis("channel", width), Axis("depth", depth)
    x = Load(INPUTS, f32, INPUTS, Affine(((t.name, depth), (c.name, 1))))
    w = Load(WEIGHTS, f32, WEIGHTS, Affine(((c.name, width), (o.name, 1))))
    scalar, vector = Operand(INPUTS, (x,)), Operand(WEIGHTS, (w,))
    product = Contraction(scalar, vector, Dot("%m", f32, INPUTS, WEIGHTS), (t, o), (c,), ())
    return Tile(
        product, "lanes", scalar, vector, o, lanes, target.registers, VECTORS, (Rows(t, rows),),
        (), (), False, False, None, 0, False, False,
    )  # fmt: skip
