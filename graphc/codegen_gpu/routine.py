"""Routines that have code for a GPU as Triton text: argsort of rows that fit in registers.

Each element becomes one i64, its key above its place, so one bitonic sort of numbers is stable and
gives the places. A key is the element's bits as an integer of the same order: -0.0 counts as 0.0,
and every NaN as the largest, as in `ir/decompositions.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphc.codegen_gpu.scalar import REGISTER
from graphc.codegen_gpu.text import Writer
from graphc.codegen_gpu.tiles import power
from graphc.ir.cuda_abi import GridDim
from graphc.ir.kernel import Call, Kernel, Size
from graphc.ir.types import DType

LONGEST = 2048  # elements of a row: 8 numbers of 64 bits for each of 256 threads
BLOCK = 1024  # elements of a program, of as many rows
PER_WARP = 128
KEYS = ("f32", "f16", "bf16", "i32", "i16", "i8", "u8", "bool")  # no more than 32 bits
LARGEST = (1 << 31) - 1
SHIFT = 16  # bits for a place below its key, of 33 with what stands behind the end


def has_code(op: str, dtype: DType, length: int) -> bool:
    """Whether rows of this length are sorted on the device; else the host does it."""
    return op == "argsort" and dtype.name in KEYS and 0 < length <= LONGEST


def takes(kernel: Kernel, sizes: Sequence[int]) -> bool:
    """Whether a routine's launch at these sizes, which are the kernel's, has code."""
    call = kernel.call
    if call is None or call.op != "argsort":
        return False
    source = kernel.buffers[_number(kernel, call.args[0].buffer)]
    return has_code(call.op, source.dtype, length(kernel, sizes))


def length(kernel: Kernel, sizes: Sequence[int]) -> int:
    """Elements of a row that is sorted."""
    assert kernel.call is not None, "asked of routines"
    n = kernel.call.args[0].shape[_axis(kernel.call)]
    return n if isinstance(n, int) else dict(zip(kernel.sizes, sizes, strict=True))[n]


def emit(
    kernel: Kernel, sizes: Sequence[int], writer: Writer, wide: bool
) -> tuple[tuple[GridDim, ...], int]:
    """Write the body of the function; its grid and warps. Rows are of the length in `sizes`."""
    assert kernel.call is not None, "asked of routines"
    call, named = kernel.call, dict(zip(kernel.sizes, sizes, strict=True))
    shape = call.args[0].shape
    axis = _axis(call)
    n = length(kernel, sizes)
    outer, inner = shape[:axis], shape[axis + 1 :]
    columns = max(2, power(n))
    rows = max(1, min(BLOCK // columns, power(prod(named.get(str(d), 1) for d in outer + inner))))
    source, target = (_number(kernel, o.buffer) for o in (call.args[0], call.out))
    index = "tl.int64" if wide else "tl.int32"
    _text(writer, f"b{source}", f"b{target}", n, columns, rows, _product(kernel, outer),
          _product(kernel, inner), index, _key(kernel.buffers[source].dtype),
          bool(dict(call.attrs)["descending"]))  # fmt: skip
    return (GridDim((*outer, *inner), rows),), max(1, min(8, rows * columns // PER_WARP))


def _text(
    w: Writer, source: str, target: str, n: int, columns: int, rows: int, outer: str, inner: str,
    index: str, key: str, descending: bool,
) -> None:  # fmt: skip
    w.do(f"row = tl.program_id(0).to({index}) * {rows} + tl.arange(0, {rows})[:, None]")
    w.do(f"place = tl.arange(0, {columns})[None, :]")
    w.do(f"start = row // ({inner}) * ({n} * ({inner})) + row % ({inner})")
    w.do(f"at = start + place * ({inner})")
    w.do(f"mask = (row < ({outer}) * ({inner})) & (place < {n})")
    w.do(f"x = tl.load({source} + at, mask=mask, other=0)")
    for line in key.splitlines():
        w.do(line)
    if descending:
        w.do("key = ~key")
    w.do(f"key = tl.where(place < {n}, key.to(tl.int64), {LARGEST + 1})")
    w.do(f"both = tl.sort((key << {SHIFT}) | tl.broadcast_to(place, [{rows}, {columns}]), 1)")
    w.do(f"tl.store({target} + at, both & {(1 << SHIFT) - 1}, mask=mask)")


def _key(dtype: DType) -> str:
    """Lines that make `key`, an i32 of x's order, of `x`."""
    if not dtype.is_floating_point:
        return "key = x.to(tl.int32)"
    return f"""x = x.to({REGISTER[dtype.name]}) + 0.0
bits = x.to(tl.int32, bitcast=True)
key = tl.where(x != x, {LARGEST}, tl.where(bits < 0, bits ^ {LARGEST}, bits))"""


def _axis(call: Call) -> int:
    return int(dict(call.attrs)["axis"]) % len(call.args[0].shape)


def _number(kernel: Kernel, buffer: str) -> int:
    return next(k for k, b in enumerate(kernel.buffers) if b.name == buffer)


def _product(kernel: Kernel, dims: Sequence[Size]) -> str:
    names = {name: f"n{k}" for k, name in enumerate(kernel.sizes)}
    return " * ".join(str(d) if isinstance(d, int) else names[d] for d in dims) or "1"
