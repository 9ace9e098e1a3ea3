"""How many of its numbered slots a program has, and how the host's numbers are passed."""

from __future__ import annotations

import struct

from graphc.errors import InternalError
from graphc.ir.program import Program

# struct formats that fill a cell; bfloat16 has none, and no hyper-parameter is one.
FORMATS = {
    "bool": "?7x", "u8": "B7x", "i8": "b7x", "i16": "h6x", "i32": "i4x", "i64": "q",
    "f16": "e6x", "f32": "f4x", "f64": "d",
}  # fmt: skip


def count_of(program: Program, space: str) -> int:
    """How many numbered slots a space has at least."""
    return max((s.index + 1 for s in program.slots if s.space == space), default=0)


def scalar_format(program: Program, count: int, cell: int = 8) -> struct.Struct:
    """Packs the host's numbers, each in a cell of so many bytes."""
    formats = ["d"] * count  # a scalar that no launch reads is stored anyhow
    for slot in program.slots:
        if slot.space == "scalar":
            if slot.spec.dtype.name not in FORMATS:
                raise InternalError(f"scalar slot {slot.name} is {slot.spec}")
            formats[slot.index] = FORMATS[slot.spec.dtype.name]
    return struct.Struct("<" + "".join(f"{f}{cell - 8}x" for f in formats))
