"""Attention kernel -> how much goes together.

A block of scores has queries in its lanes, so that softmax is arithmetic of whole vectors, and keys
in its rows. Both of its sides are whole register tiles whichever of the products reads it: a side
of queries is whole panels of lanes and whole tiles of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from graphc.codegen_cpu.contract.choice import Rows
from graphc.codegen_cpu.contract.plan import Plan as Tile
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Affine, Axis, Dot, Kernel, Load
from graphc.ir.kernel_attention import Attention, parts
from graphc.ir.kernel_contraction import Contraction, Operand
from graphc.ir.types import f32

QUERIES, KEYS = 96, 132  # of a block: 50 KB of scores, in the second-level cache beside operands
VECTORS = 2  # of a register tile
DEEPEST = 512  # a head: blocks of operands are in the thread's room, about 2 MB of them then
SCALARS, LANES = "%scalars", "%lanes"  # the operands of a tile; no names of a kernel's


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of the kernel, and sizes in elements."""

    parts: Attention
    depth: int
    width: int  # of values
    lanes: int
    rows: int  # of a register tile
    registers: int

    @property
    def panel(self) -> int:
        """Points of a register tile's lanes."""
        return VECTORS * self.lanes

    def padded(self, n: int) -> int:
        """In whole panels."""
        return -(-n // self.panel) * self.panel

    @property
    def skips(self) -> bool:
        """Whether keys that come after a query are left out, not only filled."""
        return bool(self.parts.number("causal")) and self.parts.number("fill") == -inf

    def tile(self, steps: tuple[int, int], step: int) -> Tile:
        """Rows of SCALARS, whose steps from row to row and along the sum are given, by a panel of
        LANES, with this step along the sum."""
        r, o, k = Axis("row", self.rows), Axis("lane", self.panel), Axis("sum", 1)
        x = Load(SCALARS, f32, SCALARS, Affine(((r.name, steps[0]), (k.name, steps[1]))))
        w = Load(LANES, f32, LANES, Affine(((k.name, step), (o.name, 1))))
        scalar, vector = Operand(SCALARS, (x,)), Operand(LANES, (w,))
        product = Contraction(scalar, vector, Dot("%m", f32, SCALARS, LANES), (r, o), (k,), ())
        return Tile(
            product, "lanes", scalar, vector, o, self.lanes, self.registers, VECTORS,
            (Rows(r, self.rows),), (), (), False, False, None, 0, False, False,
        )  # fmt: skip


def plan(kernel: Kernel, target: Target) -> Plan | None:
    """How to compute the kernel, or None if it is no attention of heads that are known."""
    found = parts(kernel)
    if found is None or not (isinstance(found.depth, int) and isinstance(found.width, int)):
        return None
    if not 0 < min(found.depth, found.width) <= max(found.depth, found.width) <= DEEPEST:
        return None
    rows = 12 if target.registers > 16 else 6
    return Plan(found, found.depth, found.width, target.lanes(f32), rows, target.registers)
