"""The plan of a kernel as text: which template makes it, and how its loops lie on the machine."""

from __future__ import annotations

from collections.abc import Iterator

from graphc.codegen_cpu.attention import plan as attention
from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.contract import plan as contract
from graphc.codegen_cpu.map import lanes
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd import gradient as winograd_gradient
from graphc.codegen_cpu.winograd import plan as winograd
from graphc.ir.kernel import Axis, Kernel
from graphc.ir.kernel_contraction import Contraction


def describe(kernel: Kernel, target: Target) -> str:
    """One `name: value` a line."""
    return "".join(f"{name}: {value}\n" for name, value in _facts(kernel, target))


def _facts(kernel: Kernel, target: Target) -> Iterator[tuple[str, object]]:
    if kernel.kind == "routine":
        yield "template", "none: NumPy runs it on the host"
    elif (heads := attention.plan(kernel, target)) is not None:
        yield "template", "attention: softmax between two products, by blocks"
        yield "blocks", f"{attention.QUERIES} queries by {attention.KEYS} keys"
        yield "tile", f"{heads.rows} rows by {attention.VECTORS} vectors of {heads.lanes} lanes"
    elif (tiles := winograd.plan(kernel, target)) is not None:
        yield "template", "winograd: outputs in tiles of 4 by 4, products at 36 points"
        yield from _products(tiles.contraction)
        yield "together", f"up to {tiles.most} tiles by {tiles.width} output channels"
        yield "chunks", f"{tiles.chunk} of {tiles.depth} input channels"
    elif (gradient := winograd_gradient.plan(kernel, target)) is not None:
        inner, outer = gradient.blocks
        yield "template", "winograd: a weight gradient, products at 36 points"
        yield from _products(gradient.contraction)
        yield "blocks", f"{inner} input by {outer} output channels"
    elif contraction.supports(kernel, target) and (p := contract.plan(kernel, target)):
        yield "template", "contraction"
        yield from _products(p.contraction, p.fold)
        yield from _contraction(p)
    else:
        yield "template", "loops"
        yield from _loops(kernel, lanes.plan(kernel, target))


def _products(c: Contraction, fold: int = 1) -> Iterator[tuple[str, object]]:
    """What those of half types are computed in."""
    dtypes = [o.statements[-1].dtype for o in (c.a, c.b)]
    if fold > 1:
        yield "products", "of bfloat16 in pairs, by avx512bf16, sums in float32"
    elif all(d.is_half for d in dtypes):
        names = dict.fromkeys(d.long_name for d in dtypes)
        yield "products", f"of {' and '.join(names)} in float32, as its sums"


def _contraction(p: contract.Plan) -> Iterator[tuple[str, object]]:
    yield "vectors", f"{p.lanes} lanes over {_axis(p.lane)}, {p.how}"
    rows = " x ".join(f"{r.count} of {_axis(r.axis)}" for r in p.rows) or "1"
    yield "tile", f"{rows} by {p.vectors} vectors, of {p.registers} registers"
    yield "around the tile", ", ".join(map(_axis, p.outer)) or "nothing"
    yield "panel", f"{p.width} lanes copied" if p.packed else "none: read where it lies"
    if p.chunk is not None:
        axis = p.contraction.reduced[p.chunk]
        yield "chunks", f"{p.chunk_size} of {_axis(axis)}"
    yield "sums", "in strips that add up in float64" if p.long else "one chain"
    yield "epilogue", "on registers" if p.direct else "on the tile in memory"
    if p.few is not None:
        yield "for few", "; ".join(f"{name} {value}" for name, value in _contraction(p.few))


def _loops(kernel: Kernel, p: lanes.Plan) -> Iterator[tuple[str, object]]:
    yield "loops", ", ".join(map(_axis, kernel.axes)) or "none"
    yield "vectors", _lane(p.lane, p.lanes)
    if p.copies > 1:
        yield "vectors a block", p.copies
    if p.within:
        yield (
            "written out within them",
            ", ".join(_axis(a) for a in kernel.axes if a.name in p.within),
        )
    for k, phase in enumerate(kernel.phases):
        if phase.axes:
            axes = ", ".join(map(_axis, phase.axes))
            lane = _lane(p.phase_lanes[k], p.lanes) if not p.lane else "as above"
            yield f"phase {k}", f"over {axes}; vectors {lane}; unrolled {p.unroll[k]} times"


def _lane(axis: str, count: int) -> str:
    return f"{count} lanes over {axis}" if axis else "none"


def _axis(axis: Axis) -> str:
    return f"{axis.name} in {axis.extent}"
