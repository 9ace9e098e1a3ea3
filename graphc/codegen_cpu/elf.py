"""Object code -> an image: the bytes of its code and constants, laid out and linked once.

An object of ours refers to its own functions and constants by their distance and to nothing else
but the few functions of LIBRARY, so what is laid out in one piece runs wherever it is copied to.
Such an image is what the disk keeps: to load it is a copy, without LLVM.

    MAGIC | bytes of the code | functions, calls: counts | each: offset, length, name | code

An offset of a function is where it begins; of a call, the cell for the address of a function of the
library, through which a jump behind the code goes. Objects of other formats or machines, and what
holds another relocation, have no image: LLVM loads them (`jit.py`).

Source: System V ABI, AMD64 supplement 1.0, 4.4 (relocations); `man elf` for the tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"graphc image 1\0\0"
HEADER = struct.Struct("<16sQII")
NAMED = struct.Struct("<QI")
ALIGN = 64  # bytes: of vectors, the most that constants ask for

# Code generation may turn a copy loop or an intrinsic into these, which any process has.
LIBRARY = frozenset({"memset", "memcpy", "memmove"})

X86_64, RELOCATABLE = 62, 1
PROGBITS, SYMTAB, RELA, REL = 1, 2, 4, 9  # types of sections
WRITE, ALLOC = 1, 2  # flags of sections
PC32, PLT32 = 2, 4  # relocations: 32 bits of distance
JUMP = b"\xff\x25\x02\x00\x00\x00\x00\x00"  # to the address in the next 8 bytes
CELL = len(JUMP)
GLOBAL, FUNCTION, SECTION = 1, 2, 3  # bindings and types of symbols


class Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Symbol(NamedTuple):
    name: str
    binding: int
    type: int
    section: int
    value: int


class Image(NamedTuple):
    """Code that runs from any address that is a multiple of ALIGN."""

    code: bytes
    functions: dict[str, int]
    calls: dict[str, int]

    def packed(self) -> bytes:
        names = [*self.functions.items(), *self.calls.items()]
        table = b"".join(NAMED.pack(at, len(name)) + name.encode() for name, at in names)
        counts = len(self.code), len(self.functions), len(self.calls)
        return HEADER.pack(MAGIC, *counts) + table + self.code


def unpacked(data: bytes) -> Image | None:
    """The image that `packed` gave; None of an object."""
    if data[: len(MAGIC)] != MAGIC:
        return None
    _, size, functions, calls = HEADER.unpack_from(data)
    at, named = HEADER.size, []
    for _ in range(functions + calls):
        offset, length = NAMED.unpack_from(data, at)
        at += NAMED.size + length
        named.append((data[at - length : at].decode(), offset))
    return Image(data[at : at + size], dict(named[:functions]), dict(named[functions:]))


def sections_of(code: bytes) -> list[Section]:
    """The sections of a 64-bit little-endian ELF object; none of other formats."""
    if code[:6] != b"\x7fELF\x02\x01":
        return []
    (at,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    rows = (struct.unpack_from("<IIQQQQIIQQ", code, at + size * k) for k in range(count))
    return [Section(*row) for row in rows]


def symbols_of(code: bytes, sections: list[Section]) -> list[Symbol]:
    symbols = []
    for table in sections:
        if table.type != SYMTAB:
            continue
        names = sections[table.link].offset
        for at in range(table.offset, table.offset + table.size, 24):
            name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", code, at)
            start = names + name
            text = code[start : code.index(b"\0", start)].decode()
            symbols.append(Symbol(text, info >> 4, info & 15, section, value))
    return symbols


def undefined_symbols(code: bytes) -> Iterator[str]:
    """The names that an object needs from outside."""
    for s in symbols_of(code, sections_of(code))[1:]:  # the first stands for none
        if s.section == 0:
            yield s.name


def image_of(code: bytes) -> Image | None:
    """Lay an object out and link it; None where that takes a linker that knows more."""
    sections = sections_of(code)
    if not sections or struct.unpack_from("<HH", code, 0x10) != (RELOCATABLE, X86_64):
        return None
    held = {k: s for k, s in enumerate(sections) if s.flags & ALLOC and s.size}
    if any(s.type != PROGBITS or s.flags & WRITE or s.align > ALIGN for s in held.values()):
        return None
    laid, starts = bytearray(), {}
    for k, s in held.items():
        laid += bytes(-len(laid) % max(1, s.align))
        starts[k] = len(laid)
        laid += code[s.offset : s.offset + s.size]
    laid += bytes(-len(laid) % CELL)
    symbols, calls = symbols_of(code, sections), dict[str, int]()
    for table in sections:
        if table.type not in (RELA, REL) or table.info not in held:
            continue
        if table.type == REL or not _linked(code, table, starts, symbols, laid, calls):
            return None
    functions = {
        s.name: starts[s.section] + s.value
        for s in symbols
        if s.binding == GLOBAL and s.type == FUNCTION and s.section in starts
    }
    return Image(bytes(laid), functions, calls)


def _linked(
    code: bytes,
    table: Section,
    starts: dict[int, int],
    symbols: list[Symbol],
    laid: bytearray,
    calls: dict[str, int],
) -> bool:
    """Write the distances that a table of relocations asks for; False where one is not known."""
    for at in range(table.offset, table.offset + table.size, 24):
        offset, info, addend = struct.unpack_from("<QQq", code, at)
        symbol, kind = symbols[info >> 32], info & 0xFFFFFFFF
        if kind not in (PC32, PLT32):
            return False
        if symbol.section in starts:
            to = starts[symbol.section] + symbol.value
        elif symbol.section == 0 and symbol.name in LIBRARY and kind == PLT32:
            if symbol.name not in calls:
                calls[symbol.name] = len(laid) + CELL
                laid += JUMP + bytes(8)
            to = calls[symbol.name] - CELL
        else:
            return False
        place = starts[table.info] + offset
        struct.pack_into("<i", laid, place, to + addend - place)
    return True
