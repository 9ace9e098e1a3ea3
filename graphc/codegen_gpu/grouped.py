"""Launches of one elementwise kernel on many buffers as one: what each program works on is looked
up in a table in the device's memory, by its number.

A table has a row for each member: addresses of its buffers, its sizes, the bits of its numbers, and
its first program; `owners` says of each program whose it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

from graphc.codegen_gpu.scalar import MEMORY
from graphc.ir.cuda_abi import GridDim, Param, Source
from graphc.ir.kernel import Kernel

PROGRAM = "tl.program_id(0)"
TYPICAL = 1 << 16  # of each size, for which the blocks are chosen: members differ in theirs
GROUPED = """import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice


@triton.jit
def member({params}):
{body}


@triton.jit
def {name}({own}table, owners):
    program = tl.program_id(0)
    row = table + tl.load(owners + program).to(tl.int64) * {width}
{loads}
    member({given})
"""
BITS = {"f32": "tl.int32", "f64": "tl.int64"}
TYPES = {"i32": "tl.int32", "i64": "tl.int64", "f32": "tl.float32", "f64": "tl.float64"}


def may_group(kernel: Kernel) -> bool:
    """Whether it is elementwise, fails never, and so runs anywhere in a group."""
    plain = kernel.kind == "map" and not any(p.axes for p in kernel.phases)
    return plain and bool(kernel.sizes) and not kernel.may_fail()


@lru_cache(maxsize=1024)
def grouped(source: Source) -> Source | None:
    """The function over a table; None where it has tiles, whose axes are chosen by its sizes."""
    if source.scratch_bytes or len(source.grid) != 1:
        return None
    _, _, body = source.text.partition(":\n")
    own = [p for p in source.params if p.bound == "error"]
    rest = [p for p in source.params if p.bound != "error"]
    names = ", ".join(["program", *(p.name for p in source.params)])
    loads = [f"    {p.name} = {_loaded(p, k)}" for k, p in enumerate(rest)]
    first = f"program - tl.load(row + {len(rest)}).to(tl.int32)"
    text = GROUPED.format(
        params=names,
        body=body.rstrip().replace(PROGRAM, "program"),
        name="{name}",
        own="".join(f"{p.name}, " for p in own),
        width=len(rest) + 1,
        loads="\n".join(loads),
        given=", ".join([first, *(p.name for p in source.params)]),
    )
    name = "g_" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    params = (
        *own,
        Param("table", "pointer", "buffer", 0, "i64", 16),
        Param("owners", "pointer", "buffer", 1, "i32", 16),
    )
    grid = (GridDim(("programs",)),)
    return replace(source, name=name, text=text.replace("{name}", name), params=params, grid=grid)


def _loaded(p: Param, k: int) -> str:
    """A parameter out of a row."""
    word = f"tl.load(row + {k})"
    if p.type == "pointer":
        return f"tl.multiple_of({word}.to(tl.pointer_type({MEMORY[p.dtype]})), {p.align})"
    if p.type in BITS:
        return f"{word}.to({BITS[p.type]}).to({TYPES[p.type]}, bitcast=True)"
    return f"{word}.to({TYPES[p.type]})"
