"""Kernels written by hand, as the emitter would: what the compiler is tried on without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.ir.cuda_abi import GridDim, Param, Source


@dataclass(frozen=True)
class Arch:
    """As little of a Target as the library needs."""

    arch: str


HEADER = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"


def pointer(name: str, dtype: str, index: int = 0) -> Param:
    return Param(name, "pointer", "buffer", index, dtype, 16)


POINTWISE = Source(
    "scale",
    HEADER
    + """\
def scale(x, y, n, factor, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0).to(tl.float32)
    tl.store(y + i, (value * factor).to(tl.bfloat16), mask=i < n)
""",
    (
        pointer("x", "bf16"),
        pointer("y", "bf16", 1),
        Param("n", "i32", "size", 0, align=16),
        Param("factor", "f32", "scalar"),
    ),
    (("BLOCK", 1024),),
    (GridDim(("n",), 1024),),
)

ROW_SUM = Source(
    "row_sum",
    HEADER
    + """\
def row_sum(x, out, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(x + row * columns + i, mask=i < columns, other=0.0)
    tl.store(out + row, tl.sum(total, 0))
""",
    (pointer("x", "f32"), pointer("out", "f32", 1), Param("columns", "i64", "size", 1)),
    (("BLOCK", 512),),
    (GridDim(("rows",)),),
)

GEMM = Source(
    "gemm",
    HEADER
    + """\
def gemm(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros([BM, BN], tl.float32)
    for start in range(0, k, BK):
        r = start + tl.arange(0, BK)
        left = tl.load(a + i[:, None] * k + r, mask=(i[:, None] < m) & (r < k), other=0.0)
        right = tl.load(b + r[:, None] * n + j, mask=(r[:, None] < k) & (j < n), other=0.0)
        total = tl.dot(left, right, total, input_precision="ieee")
    where = (i[:, None] < m) & (j < n)
    tl.store(c + i[:, None] * n + j, total.to(tl.bfloat16), mask=where)
""",
    (
        pointer("a", "bf16"),
        pointer("b", "bf16", 1),
        pointer("c", "bf16", 2),
        *(Param(name, "i32", "size", i, align=16) for i, name in enumerate("mnk")),
    ),
    (("BM", 128), ("BN", 128), ("BK", 64)),
    (GridDim(("m",), 128), GridDim(("n",), 128)),
    num_warps=8,
    num_stages=3,
)

SOURCES = (POINTWISE, ROW_SUM, GEMM)

# 128 x 64 sums in the registers of one warp: 256 for each thread, which has no more.
SPILLING = replace(GEMM, num_warps=1, constants=(("BM", 128), ("BN", 64), ("BK", 16)))
