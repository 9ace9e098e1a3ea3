"""Small kernels for tests of the runtime, written as text."""

from __future__ import annotations

from graphc.ir.cuda_abi import GridDim, Image, Param, Source

TEXT = """
import triton
import triton.language as tl


@triton.jit
def axpy(x, y, n, a, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    tl.store(y + i, a * tl.load(x + i, mask=m) + tl.load(y + i, mask=m), mask=m)
"""

AXPY = Source(
    "axpy",
    TEXT,
    (
        Param("x", "pointer", "buffer", 0, "f32", 16),
        Param("y", "pointer", "buffer", 1, "f32", 16),
        Param("n", "i32", "size", 0),
        Param("a", "f32", "scalar", 0),
    ),
    (("BLOCK", 64),),
    (GridDim(("n",), 64),),
)
IMAGE = Image(AXPY)
