"""Matrix products and convolutions."""

from __future__ import annotations

from tests.op_table.rows import ErrorRow, In, OpRow, conv_row

PRODUCTS = [
    OpRow("matmul", lambda T, x, y: x @ y, (In((3, 4)), In((4, 2)))),
    OpRow("matmul_vector", lambda T, x, y: x @ y, (In((3, 4)), In((4,)))),
    OpRow("vector_matmul", lambda T, x, y: x @ y, (In((3,)), In((3, 4)))),
    OpRow("dot", lambda T, x, y: x.dot(y), (In((4,)), In((4,)))),
    OpRow("matmul_batch", lambda T, x, y: x @ y, (In((2, 3, 4)), In((2, 4, 2)))),
    OpRow("matmul_wide", lambda T, x, y: x @ y, (In((5, 1, 3, 4)), In((2, 4, 2)))),
    OpRow("matmul_shared", lambda T, x, y: x @ y, (In((2, 3, 4)), In((4, 2)))),
    OpRow("vector_batch", lambda T, x, y: x @ y, (In((4,)), In((2, 4, 3)))),
    OpRow("bmm", lambda T, x, y: T.bmm(x, y), (In((2, 3, 4)), In((2, 4, 2)))),
    OpRow("mv", lambda T, x, y: x.mv(y), (In((3, 4)), In((4,)))),
    OpRow("outer", lambda T, x, y: T.outer(x, y), (In((3,)), In((4,)))),
    OpRow(
        "addmm",
        lambda T, x, a, b: T.addmm(x, a, b, beta=2, alpha=0.5),
        (In((2,)), In((3, 4)), In((4, 2))),
    ),
    OpRow("einsum", lambda T, x, y: T.einsum("bij,bkj->bik", x, y), (In((2, 3, 4)), In((2, 5, 4)))),
    OpRow("einsum_sum", lambda T, x, y: T.einsum("ij,jk->k", x, y), (In((3, 4)), In((4, 2)))),
    OpRow(
        "linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), (In(), In((2, 4)), In((2,)))
    ),
    conv_row("conv", In((2, 3, 6, 5)), In((4, 3, 3, 2))),
    conv_row("conv_stride", In((2, 3, 7, 6)), In((4, 3, 3, 3)), stride=2, padding=1),
    conv_row("conv_gap", In((1, 2, 8, 8)), In((2, 2, 3, 3)), stride=3, dilation=2, padding=(0, 2)),
    conv_row("conv_groups", In((2, 4, 5, 5)), In((6, 2, 3, 3)), groups=2, padding=1),
    conv_row("conv_depthwise", In((2, 3, 5, 5)), In((6, 1, 3, 3)), groups=3, stride=2),
    conv_row("conv_wide_pad", In((1, 2, 3, 3)), In((2, 2, 2, 2)), padding=3),
    conv_row("conv_1x1", In((2, 3, 4, 4)), In((5, 3, 1, 1)), stride=2),
]

ERRORS = [
    ErrorRow("matmul_shapes", lambda T, x, y: x @ y, RuntimeError, (In(), In()), "3, 4"),
]
