"""A launch's parameters as CUDA takes them: a `void*[]` whose entries point at the values.

The values lie in one block in the order and alignment of the C struct with the kernel's parameters;
two pointers to scratch follow, which every Triton kernel takes. Reading is the inverse: FakeDriver
sees what the real one would.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from graphc.errors import InternalError
from graphc.ir.cuda_abi import Param, Source

FORMATS = {"pointer": "<Q", "i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}
SIZES = {name: struct.calcsize(form) for name, form in FORMATS.items()}
SCRATCH = tuple(Param(n, "pointer", "buffer") for n in ("global_scratch", "profile_scratch"))

Value = int | float


@dataclass(frozen=True, slots=True)
class Packed:
    """Parameters in memory that lives as long as this object; `address`: the `void*[]`."""

    block: ctypes.Array[ctypes.c_char]
    pointers: ctypes.Array[ctypes.c_void_p]

    @property
    def address(self) -> int:
        return ctypes.addressof(self.pointers)


def offsets(params: Sequence[Param]) -> list[int]:
    """Where each parameter lies in the struct, and behind the last its end."""
    found, end = [], 0
    for p in params:
        end = -(-end // SIZES[p.type]) * SIZES[p.type]
        found.append(end)
        end += SIZES[p.type]
    return [*found, end]


def pack(source: Source, values: Sequence[Value], scratch: tuple[int, int] = (0, 0)) -> Packed:
    """The parameters of one launch; `values` in order of `source.params`, addresses as ints."""
    if len(values) != len(source.params):
        raise InternalError(f"{source.name} takes {len(source.params)} values, not {len(values)}")
    params = (*source.params, *SCRATCH)
    places = offsets(params)
    block = ctypes.create_string_buffer(places[-1])
    for p, place, value in zip(params, places, (*values, *scratch)):
        check(source, p, value)
        struct.pack_into(FORMATS[p.type], block, place, value)
    start = ctypes.addressof(block)
    pointers = (ctypes.c_void_p * len(params))(*(start + place for place in places[:-1]))
    return Packed(block, pointers)


def check(source: Source, param: Param, value: Value) -> None:
    """Raise for what the kernel was not compiled for: it would be silently wrong."""
    where = f"{source.name}: parameter {param.name}"
    if param.align > 1 and int(value) % param.align:
        raise InternalError(f"{where}: {int(value):#x} is not a multiple of {param.align}")
    bits = {"i32": 31, "i64": 63}.get(param.type)
    if bits and not -(1 << bits) <= value < 1 << bits:
        raise InternalError(f"{where}: {value} does not fit in {param.type}")


def read(source: Source, address: int) -> tuple[list[Value], tuple[int, int]]:
    """The values and the scratch pointers behind a `void*[]`."""
    params = (*source.params, *SCRATCH)
    pointers = (ctypes.c_void_p * len(params)).from_address(address)
    values: list[Value] = []
    for p, pointer in zip(params, pointers):
        if not pointer:
            raise InternalError(f"{source.name}: no value for parameter {p.name}")
        data = ctypes.string_at(pointer, SIZES[p.type])
        values.append(struct.unpack(FORMATS[p.type], data)[0])
    return values[:-2], (int(values[-2]), int(values[-1]))


def bound(
    source: Source,
    buffers: Sequence[int],
    sizes: Sequence[int] = (),
    scalars: Sequence[float] = (),
    error: int = 0,
    scratch: int = 0,
    counters: int = 0,
) -> list[Value]:
    """A value for each parameter, from a launch's buffers, sizes and scalars by their indices."""
    tables: dict[str, Sequence[Value]] = {
        **{"buffer": buffers, "size": sizes, "scalar": scalars},
        **{"error": (error,), "scratch": (scratch,), "counters": (counters,)},
    }
    return [tables[p.bound][p.index] for p in source.params]


def grid(source: Source, sizes: Mapping[str, int]) -> tuple[int, int, int]:
    """Programs, for the values of the kernel's sizes by name: all along the first dimension, as
    along the others there may be no more than 65535."""
    return prod(d.count(dict(sizes)) for d in source.grid), 1, 1
