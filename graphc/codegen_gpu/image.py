"""Images as bytes: a JSON header, the kernel's text, its PTX and its cubin, in one entry.

The same form goes to a worker (without code) and comes back, lies in the disk cache, and travels
to machines that have no compiler. Everything is checked while reading: what does not fit raises
ValueError, and the caller compiles anew.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from graphc.ir.cuda_abi import Bound, GridDim, Image, Param, ParamType, Source
from graphc.ir.kernel import Size

MAGIC = b"graphc.image"
FORMAT_VERSION = 2
HEAD = struct.Struct("<12sII")  # magic, version, bytes of the JSON header
SECTIONS = ("text", "ptx", "cubin")
MOST_BYTES = 1 << 26  # of a section, unpacked

PARAM_FIELDS = tuple(f.name for f in fields(Param))


def encode(image: Image) -> bytes:
    source = image.source
    parts = [zlib.compress(p) for p in (source.text.encode(), image.ptx.encode(), image.cubin)]
    header = {
        "name": source.name,
        "params": [[getattr(param, name) for name in PARAM_FIELDS] for param in source.params],
        "constants": source.constants,
        "grid": [[dim.extents, dim.block] for dim in source.grid],
        "num_warps": source.num_warps,
        "num_stages": source.num_stages,
        "scratch_bytes": source.scratch_bytes,
        "flushes": source.flushes,
        "arch": image.arch,
        "entry": image.entry,
        "shared_bytes": image.shared_bytes,
        "global_scratch": image.global_scratch,
        "profile_scratch": image.profile_scratch,
        "sections": [len(part) for part in parts],
    }
    packed = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([HEAD.pack(MAGIC, FORMAT_VERSION, len(packed)), packed, *parts])


def decode(data: bytes) -> Image:
    """The image; ValueError unless every field is what it must be."""
    if len(data) < HEAD.size:
        raise ValueError("an image is cut off")
    magic, version, length = HEAD.unpack_from(data)
    if (magic, version) != (MAGIC, FORMAT_VERSION):
        raise ValueError("no image of this version")
    header = json.loads(data[HEAD.size : HEAD.size + length])
    if not isinstance(header, dict):
        raise ValueError("an image's header is no object")
    text, ptx, cubin = sections(header, data[HEAD.size + length :])
    name = typed(header, "name", str)
    if not name.isidentifier():
        raise ValueError("an image's name is damaged")
    source = Source(
        name,
        text=unpacked(text).decode(),
        params=tuple(param(row) for row in typed(header, "params", list)),
        constants=tuple(constant(row) for row in typed(header, "constants", list)),
        grid=tuple(grid_dim(row) for row in typed(header, "grid", list)),
        num_warps=typed(header, "num_warps", int),
        num_stages=typed(header, "num_stages", int),
        scratch_bytes=typed(header, "scratch_bytes", int),
        flushes=typed(header, "flushes", bool),
    )
    return Image(
        source,
        arch=typed(header, "arch", str),
        cubin=unpacked(cubin),
        entry=typed(header, "entry", str),
        shared_bytes=typed(header, "shared_bytes", int),
        global_scratch=pair(header, "global_scratch"),
        profile_scratch=pair(header, "profile_scratch"),
        ptx=unpacked(ptx).decode(),
    )


def sections(header: Mapping[str, Any], data: bytes) -> list[bytes]:
    lengths = typed(header, "sections", list)
    whole = all(type(n) is int and n >= 0 for n in lengths)
    if not whole or len(lengths) != len(SECTIONS) or sum(lengths) != len(data):
        raise ValueError("an image's sections are damaged")
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return [data[start : start + n] for start, n in zip(starts, lengths)]


def unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(data, MOST_BYTES)
    except zlib.error as e:
        raise ValueError("a section of an image is damaged") from e
    if not unpacker.eof:
        raise ValueError("a section of an image is cut off or too long")
    return whole


def typed(header: Mapping[str, Any], name: str, kind: type) -> Any:
    value = header.get(name)
    negative = isinstance(value, int) and value < 0
    if type(value) is not kind or negative:
        raise ValueError(f"an image's {name} is damaged")
    return value


def pair(header: Mapping[str, Any], name: str) -> tuple[int, int]:
    value = typed(header, name, list)
    if [type(n) for n in value] != [int, int]:
        raise ValueError(f"an image's {name} is damaged")
    return value[0], value[1]


def param(row: Any) -> Param:
    if not isinstance(row, list) or len(row) != len(PARAM_FIELDS):
        raise ValueError("a parameter is damaged")
    made = Param(*row)
    texts = (made.name, made.type, made.bound, made.dtype)
    known = made.type in get_args(ParamType) and made.bound in get_args(Bound)
    if not known or {type(t) for t in texts} != {str}:
        raise ValueError("a parameter is damaged")
    if type(made.index) is not int or type(made.align) is not int or made.align < 1:
        raise ValueError("a parameter is damaged")
    return made


def constant(row: Any) -> tuple[str, int]:
    if not isinstance(row, list) or [type(v) for v in row] not in ([str, int], [str, bool]):
        raise ValueError("a constant is damaged")
    return row[0], row[1]


def grid_dim(row: Any) -> GridDim:
    if not isinstance(row, list) or [type(v) for v in row] != [list, int]:
        raise ValueError("a grid is damaged")
    extents: list[Size] = row[0]
    block: int = row[1]
    if block < 1 or any(type(n) not in (int, str) for n in extents):
        raise ValueError("a grid is damaged")
    return GridDim(tuple(extents), block)


def of_source(image: Image, source: Source) -> Image:
    """The code of an equal source: names of what is bound, and the grid, may differ."""
    return replace(image, source=source)
