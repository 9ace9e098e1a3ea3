"""Triton modules from kernels: one function each, named after what it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import prod

from graphc.codegen_gpu import attention_kernel, contract, contract_taps, routine, scatter
from graphc.codegen_gpu import map as points
from graphc.codegen_gpu.body import Body
from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.text import Writer
from graphc.codegen_gpu.tiles import plan
from graphc.ir.cuda_abi import GridDim, Param, ParamType, Source
from graphc.ir.kernel import Affine, Kernel, Size
from graphc.ir.kernel_uses import accesses
from graphc.ir.types import DTYPES, DType

HEAD = """import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice


@triton.jit
def {name}({params}):
{body}
"""
ALIGN = 16  # bytes: where every buffer begins, so that accesses may be as wide
NARROW = (1 << 31) - (1 << 20)  # offsets below are i32, with room for what a block has beyond
SCALARS: dict[str, ParamType] = {"i64": "i64", "f32": "f32", "f64": "f64", "f16": "f32",
                                 "bf16": "f32"}  # fmt: skip


def emit(
    kernel: Kernel,
    sizes: Sequence[int],
    target: Target,
    *,
    wide: bool = False,
    guarded: bool = False,
    tf32: bool = False,
    anywhere: Collection[int] = (),
) -> Source:
    """The kernel as Triton text; `sizes`, typical ones, choose its blocks alone.

    `wide` offsets are i64 (`needs_wide` says when). A `guarded` kernel writes nothing once the
    error words are set. `tf32`: products of float32 may round their operands to TF32. Those of its
    buffers that are `anywhere`, by number, begin at any element, as no descriptor may name.
    """
    if anywhere:
        target = replace(target, descriptors=False)
        made = emit(kernel, sizes, target, wide=wide, guarded=guarded, tf32=tf32)
        return at_elements(made, anywhere)
    writer = Writer()
    body = Body(kernel, writer, wide, guarded)
    if kernel.kind == "contract":
        w = contract_taps.emit(body, target) or contract.emit(body, sizes, target, tf32)
        return finish(body, w.grid, w.warps, w.stages, w.params, w.scratch_bytes)
    if kernel.kind == "attention":
        dims, t = attention_kernel.emit(body, target, tf32)
        return finish(body, dims, t.warps, t.stages, flushes=True)
    if kernel.kind == "routine":
        grid, warps = routine.emit(kernel, sizes, writer, wide)
        return finish(body, grid, warps)
    chosen = plan(kernel, sizes, target)
    if chosen.form == "rows":
        grid, own = scatter.emit(body, chosen), (scatter.SCRATCH,)
        return finish(body, grid, chosen.warps, own=own, scratch_bytes=scatter.SCRATCH_BYTES)
    grid = points.emit(body, chosen)
    return finish(body, grid, chosen.warps)


def at_elements(source: Source, buffers: Collection[int]) -> Source:
    """The same kernel where these buffers, by number, begin at any element."""
    params = (
        replace(p, align=DTYPES[p.dtype].itemsize)
        if p.bound == "buffer" and p.index in buffers
        else p
        for p in source.params
    )
    return replace(source, params=tuple(params))


def finish(
    body: Body,
    grid: Sequence[GridDim],
    warps: int,
    stages: int = 2,
    own: tuple[Param, ...] = (),
    scratch_bytes: int = 0,
    flushes: bool = False,
) -> Source:
    """The source of a function whose body was written; `own` are its template's parameters."""
    fails = body.kernel.call is None and body.kernel.may_fail()
    params = parameters(body.kernel, body.wide, body.guarded or fails)
    params = (*params, *own)
    names = ", ".join(p.name for p in params)
    text = HEAD.format(name="kernel", params=names, body=body.writer.text())
    key = f"{text} {[(p.type, p.dtype, p.align) for p in params]} {warps} {stages} {flushes}"
    name = "k_" + hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    text = HEAD.format(name=name, params=names, body=body.writer.text())
    return Source(name, text, params, (), tuple(grid), warps, stages, scratch_bytes, flushes)


def parameters(kernel: Kernel, wide: bool, error: bool) -> tuple[Param, ...]:
    """The error words, buffers, sizes and scalars, in this order."""
    found = [Param("error", "pointer", "error", 0, "i64", 8)] if error else []
    for k, b in enumerate(kernel.buffers):
        found.append(Param(f"b{k}", "pointer", "buffer", k, in_memory(b.dtype), ALIGN))
    for k in range(len(kernel.sizes)):
        found.append(Param(f"n{k}", "i64" if wide else "i32", "size", k))
    for k, s in enumerate(kernel.scalars):
        found.append(Param(f"c{k}", SCALARS.get(s.dtype.name, "i32"), "scalar", k))
    return tuple(found)


def in_memory(dtype: DType) -> str:
    """A bool is a byte."""
    return "u8" if dtype.name == "bool" else dtype.name


def needs_wide(kernel: Kernel, sizes: Mapping[str, int], elements: int = 0) -> bool:
    """Whether an offset, index or count of the kernel does not fit i32 for these sizes.

    `elements` is the largest of its buffers, which bounds the addresses that are data.
    """

    def size(n: Size) -> int:
        return n if isinstance(n, int) else sizes[n]

    if max([elements, *(abs(n) for n in sizes.values())]) >= NARROW:
        return True
    points = prod(size(a.extent) for a in kernel.axes)
    for phase in kernel.phases:
        trips = prod(size(a.extent) for a in phase.axes)
        if kernel.kind == "attention":  # whose loops are over one axis each
            trips = max(size(a.extent) for a in phase.axes)
        extents = {a.name: size(a.extent) for a in (*kernel.axes, *phase.axes)}

        def reach(at: Affine, extents: dict[str, int] = extents) -> int:
            steps = (abs(size(s)) * max(extents[a], 1) for a, s in at.terms)
            return abs(size(at.const)) + sum(steps)

        forms = [at for s in phase.body for at in accesses(s)]
        if max([points, trips, *map(reach, forms)]) >= NARROW:
            return True
    return False
