"""What a kernel of attention on a GPU is made from: operands, what is computed, and its tile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.tiles import power
from graphc.codegen_gpu.tuned import tuned
from graphc.ir.types import DType, f32

Part = Literal["forward", "queries", "keys"]

LEAST = 16  # of each side of a product
HIDDEN = 'float("-inf")'


class Tensor(NamedTuple):
    """An operand: its parameter's name, and its strides along the batch, rows and a row; `lines`:
    whether each of its rows begins at a line of 16 bytes, its elements side by side."""

    name: str
    batch: tuple[str, ...]
    row: str
    lane: str = "1"
    lines: bool = False


class Dropout(NamedTuple):
    """Texts of the seed and draw (i64), the least 24 bits that keep a weight, and what it is then
    multiplied by (f32)."""

    seed: str
    draw: str
    least: str
    factor: str


@dataclass(frozen=True, slots=True)
class Attention:
    """What is computed. Sizes are texts: literals or names of parameters."""

    dtype: DType  # of q, k, v and the result
    batch: tuple[str, ...]
    queries: str
    keys: str
    head: int  # elements of a row of q and k
    width: int  # of v
    scale: str  # f32
    causal: bool = False
    mask: DType | None = None  # bool: who may be seen; a float is added
    fill: str = HIDDEN
    safe: bool = True
    dropout: Dropout | None = None
    tf32: bool = False
    wide: bool = False  # offsets within one of the batch are i64
    permit: str = ""  # of stores, where an earlier launch may have failed

    @property
    def exact(self) -> bool:
        return self.dtype is f32 and not self.tf32

    @property
    def skips(self) -> bool:
        """Whether keys behind a query weigh nothing."""
        return self.causal and self.fill == HIDDEN


class Operands(NamedTuple):
    """Of the gradients: `lse` and, if it was stored, `delta` have one element a row."""

    q: Tensor
    k: Tensor
    v: Tensor
    lse: Tensor
    mask: Tensor | None = None
    out: Tensor | None = None  # of the gradients: what forward gave, unless `delta` is there
    delta: Tensor | None = None
    grad: Tensor | None = None  # of the result


@dataclass(frozen=True, slots=True)
class Tile:
    """What a program has: rows that are its own, columns that it goes along."""

    rows: int
    columns: int
    warps: int
    stages: int
    described: bool = False  # whether blocks along the columns come by tensor descriptors


def tile(a: Attention, part: Part, points: int | None, target: Target) -> Tile:
    """As measured, of halves without mask and dropout, by the depth of their heads; else by
    formula. No more rows than there are `points`; where those are an extent (None), what the first
    call had decides nothing, since other blocks may be other instructions, and so other bits.

    Sums, operands and what belongs to each weight, a mask or random bits, share the registers.
    """
    depth = max(LEAST, power(a.head), power(a.width))
    asked = (a.dropout is not None) + (a.mask is not None)
    busy, wide = asked > 0, depth > 64 or asked > 1
    moves = target.has_descriptors and not a.exact and not a.wide
    measured = tuned(target.arch).get("attention", {}).get(f"{part} {max(depth, 64)}")
    if moves and a.dtype.is_half and not busy and measured:
        fastest = Tile(**measured)
        return replace(fastest, rows=_rows(fastest.rows, points))
    if a.exact:
        rows = 32 if depth <= 128 and part != "keys" else 16
        warps = rows * depth // (256 if part == "keys" else 512)
        chosen = Tile(rows, 16, min(8, max(2, warps)), 1)
    elif part == "forward":
        rows = 64 if busy or depth > 128 else 128
        columns = (64 if depth <= 128 else 32) // (2 if busy else 1)
        chosen = Tile(rows, columns, 8 if wide else 4, 3 if depth <= 128 else 2)
    else:
        rows = 64 >> asked if depth > 128 else 64
        columns = max(LEAST, (64 if depth <= 64 else 32) >> asked)
        chosen = Tile(rows, columns, 8 if wide else 4, 2)
    if a.dtype is f32 and not a.exact:
        chosen = Tile(max(16, chosen.rows // 2), max(16, chosen.columns // 2), chosen.warps, 2)
    return Tile(_rows(chosen.rows, points), chosen.columns, chosen.warps, chosen.stages, moves)


def _rows(most: int, points: int | None) -> int:
    return most if points is None else min(most, max(LEAST, power(points)))
