"""Contract kernel -> Winograd plan: what the geometry must be, and how much goes through a cache.

A pass decided that the kernel is to be computed so (`passes/winograd.py`). What it could not see,
the order of loops and addresses, is asked here; a kernel without a plan is a plain contraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from graphc.codegen_cpu.contract.choice import Rows
from graphc.codegen_cpu.contract.plan import Plan as Tile
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Affine, Axis, Dot, Kernel, Load
from graphc.ir.kernel_contraction import (
    Contraction,
    Dimension,
    Operand,
    dimensions,
    plain_contraction,
)
from graphc.ir.types import bf16, f32
from graphc.ir.winograd import POINTS, SIZE, TAPS

POINTWISE = POINTS * POINTS
VECTORS = 2  # of a register tile, so of a panel of the weights
ROWS, FEW = 12, 4  # tiles in it, where there are so many registers; of those that are left over
STAGE_BYTES = 3 << 20  # of transformed inputs, in the thread's room
MOST = 48  # tiles that share transformed weights, which costs as much as the products of about 4
CHUNK = 64  # input channels whose weights stay in the second-level cache when transformed
INPUTS, WEIGHTS = "%inputs", "%weights"  # buffers; no names of a kernel's


@dataclass(frozen=True, slots=True)
class Plan:
    """Loops by their roles, and how much goes together."""

    contraction: Contraction
    images: str  # the loop over images; "" if there is one
    rows: Axis
    columns: Axis
    channels: Axis  # of the output
    depth: int  # channels of the input
    chunk: int  # of those, together
    steps: tuple[int, int]  # in the input, down and to the right
    taps: tuple[int, int, int]  # steps in the weights: taps down and to the right, input channels
    lanes: int
    most: int  # tiles together
    tiles: tuple[Tile, ...]  # register tiles of products at one point, large ones first

    @property
    def width(self) -> int:
        """Output channels of a panel."""
        return VECTORS * self.lanes


@lru_cache(maxsize=4)
def plan(kernel: Kernel, target: Target) -> Plan | None:
    """How to compute the kernel, or None if it is not asked for, or not of this form."""
    c, lanes = plain_contraction(kernel), target.lanes(f32)
    if kernel.winograd != SIZE or c is None or kernel.partials or not is_dense(kernel, c):
        return None
    found = {d.role: d for d in dimensions(kernel)}
    loops = {a.name: a for a in c.axes}
    outs = [_alone(found.get(role), loops) for role in ("h", "w", "k")]
    depth = found["c"].extent if "c" in found else 1
    known = [a for a in outs if a is not None and isinstance(a.extent, int)]
    if len(known) < 3 or not isinstance(depth, int) or len(known) + ("n" in found) < len(loops):
        return None
    rows, columns, channels = known
    taps = {d.role: d.extent for d in dimensions(kernel) if d.role in ("r", "s", "g")}
    ragged = (
        taps != {"r": TAPS, "s": TAPS} or depth % lanes or int(channels.extent) % (VECTORS * lanes)
    )
    if ragged or min(int(rows.extent), int(columns.extent)) < SIZE:
        return None
    inputs = [found[role].stride(c.a.loads[0].at) for role in ("h", "w", "r", "s", "c")]
    steps = [found[role].stride(c.b.loads[0].at) for role in ("r", "s", "c")]
    match (*inputs, *steps):
        case (int(h), int(w), int(r), int(s), 1, int(a), int(b), int(d)) if (r, s) == (h, w):
            pass
        case _:
            return None
    chunk = max(n for n in range(lanes, CHUNK + 1, lanes) if depth % n == 0)
    most = min(MOST, STAGE_BYTES // (POINTWISE * depth * f32.itemsize)) // FEW * FEW
    if not most:
        return None
    images = found["n"].loop if "n" in found else ""
    tiles = _tiles(depth, chunk, target)
    return Plan(
        c, images, rows, columns, channels, depth, chunk, (h, w), (a, b, d), lanes, most, tiles
    )


def is_dense(kernel: Kernel, c: Contraction) -> bool:
    """Whether it slides a dense window along two axes, and reads what it does as it lies."""
    steps = {(w.out, w.tap): (w.stride, w.dilation, w.end) for w in kernel.window}
    dense = steps == {("h", "r"): (1, 1, 0), ("w", "s"): (1, 1, 0)}
    plain = all(len(x.statements) == 1 and x.loads[0].dtype in (f32, bf16) for x in (c.a, c.b))
    return dense and plain and not c.guards and c.dtype is f32


def _alone(d: Dimension | None, loops: Mapping[str, Axis]) -> Axis | None:
    """The loop that runs over this dimension and nothing else."""
    axis = loops.get(d.loop) if d else None
    return axis if axis and d and d.step == 1 and d.extent == axis.extent else None


def _tiles(depth: int, chunk: int, target: Target) -> tuple[Tile, ...]:
    """Register tiles of tiles by output channels, which sum over a chunk of input channels."""
    rows = ROWS if target.registers > 16 else ROWS // 2
    many = register_tile(rows, (depth, 1), target)
    if chunk != depth:
        many = replace(many, chunk=0, chunk_size=chunk)  # sums go on where they are
    few = FEW * rows // ROWS  # a part of many, so that the last tiles end where their room does
    return many, replace(many, rows=(Rows(Axis("row", few), few),))


def register_tile(rows: int, steps: tuple[int, int], target: Target) -> Tile:
    """`rows` rows of INPUTS, whose steps from row to row and along the sum are given, by a panel
    of WEIGHTS."""
    lanes = target.lanes(f32)
    width = VECTORS * lanes
    r, o, k = Axis("row", rows), Axis("channel", width), Axis("sum", 1)
    x = Load(INPUTS, f32, INPUTS, Affine(((r.name, steps[0]), (k.name, steps[1]))))
    w = Load(WEIGHTS, f32, WEIGHTS, Affine(((k.name, width), (o.name, 1))))
    scalar, vector = Operand(INPUTS, (x,)), Operand(WEIGHTS, (w,))
    product = Contraction(scalar, vector, Dot("%m", f32, INPUTS, WEIGHTS), (r, o), (k,), ())
    return Tile(
        product, "lanes", scalar, vector, o, lanes, target.registers, VECTORS, (Rows(r, rows),),
        (), (), False, False, None, 0, False, False,
    )  # fmt: skip
