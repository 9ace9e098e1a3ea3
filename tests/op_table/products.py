"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

from tests.op_table.rows import ErrorRow, In, OpRow, conv_row

EINSUMS: list[Any] = [
    ("ii", (3, 3)),
    ("bii->bi", (2, 3, 3)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...a,...a->...", (2, 1, 3), (5, 3)),
    ("b...,b...->b", (2, 3, 4), (2, 3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("ba,cb", (2, 3), (4, 2)),
    ("ji", (2, 3)),
    ("i,j", (2,), (3,)),
    ("ij,ij->ij", (2, 1), (2, 3)),
    ("iji->ji", (2, 3, 2)),
    ("...,...", (2, 3), (3,)),
    ("a...b->b...a", (2, 3, 4)),
    (",", (), ()),
]

PRODUCTS = [
    OpRow("matmul", lambda T, x, y: x @ y, (In((3, 4)), In((4, 2)))),
    OpRow("matmul_vector", lambda T, x, y: x @ y, (In((3, 4)), In((4,)))),
    OpRow("vector_matmul", lambda T, x, y: x @ y, (In((3,)), In((3, 4)))),
    OpRow("mm", lambda T, x, y: T.mm(x, mat2=y), (In((3, 4)), In((4, 2)))),
    OpRow("ger", lambda T, x, y: T.ger(x, y), (In((3,)), In((4,)))),
    OpRow("pinverse", lambda T, x: T.pinverse(x), (In((4, 2)),), rtol=1e-9),
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
    *(
        OpRow(f"einsum_{k}", lambda T, *xs, e=e: T.einsum(e, *xs), tuple(map(In, shapes)))
        for k, (e, *shapes) in enumerate(EINSUMS)
    ),
    OpRow(
        "einsum_lists",
        lambda T, x, y: T.einsum(x, [0, ..., 1], y, [1], [..., 0]),
        (In((2, 5, 3)), In((3,))),
    ),
    OpRow("inner", lambda T, x, y: T.inner(x, y), (In((2, 3)), In((4, 3)))),
    OpRow("inner_0d", lambda T, x, y: T.inner(x, y), (In(()), In((4, 3)))),
    OpRow("vdot", lambda T, x, y: T.vdot(x, y), (In((4,)), In((4,)))),
    OpRow("vecdot", lambda T, x, y: T.linalg.vecdot(x, y, dim=0), (In((3, 2)), In((3, 1)))),
    OpRow("trace", lambda T, x: x.trace()),
    OpRow("tensordot", lambda T, x, y: T.tensordot(x, y), (In((2, 3, 4)), In((3, 4, 5)))),
    OpRow(
        "tensordot_lists",
        lambda T, x, y: T.tensordot(x, y, ([1, 0], [0, -1])),
        (In((2, 3)), In((3, 2))),
    ),
    OpRow("tensordot_0", lambda T, x, y: T.tensordot(x, y, 0), (In((2,)), In((3,)))),
    OpRow("kron", lambda T, x, y: T.kron(x, y), (In((2, 3)), In((2, 1, 4)))),
    OpRow("cross", lambda T, x, y: T.linalg.cross(x, y), (In((2, 3)), In((1, 3)))),
    OpRow("cross_dim", lambda T, x, y: T.cross(x, y, dim=0), (In((3, 2)), In((3, 2)))),
    OpRow("cdist", lambda T, x, y: T.cdist(x, y), (In((2, 4, 3)), In((5, 3)))),
    OpRow("cdist_1", lambda T, x, y: T.cdist(x, y, 1.0), (In((4, 3)), In((5, 3)))),
    OpRow(
        "cdist_inf",
        lambda T, x, y: T.cdist(x, y, float("inf")),
        (In((4, 3)), In((5, 3))),
        second=False,
    ),
    OpRow("addmv", lambda T, x, a, b: T.addmv(x, a, b, beta=2), (In((3,)), In((3, 4)), In((4,)))),
    OpRow("addr", lambda T, x, a, b: x.addr(a, b, alpha=0.5), (In((4,)), In((3,)), In((4,)))),
    OpRow(
        "baddbmm",
        lambda T, x, a, b: T.baddbmm(x, a, b, beta=2, alpha=0.5),
        (In((3, 2)), In((5, 3, 4)), In((5, 4, 2))),
    ),
    OpRow(
        "addbmm",
        lambda T, x, a, b: T.addbmm(x, a, b, alpha=0.5),
        (In((3, 2)), In((5, 3, 4)), In((5, 4, 2))),
    ),
    OpRow(
        "addmm_",
        lambda T, x, a, b: (x * 2).addmm_(a, b, beta=0.5),
        (In((3, 2)), In((3, 4)), In((4, 2))),
    ),
    OpRow(
        "baddbmm_",
        lambda T, x, a, b: x.clone().baddbmm_(a, b),
        (In((2, 3, 2)), In((2, 3, 4)), In((2, 4, 2))),
    ),
    OpRow(
        "chain_matmul",
        lambda T, x, y, z: T.linalg.multi_dot((x, y, z)),
        (In((2, 3)), In((3, 4)), In((4, 2))),
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
    ErrorRow("einsum_terms", lambda T, x: T.einsum("ij,jk", x), RuntimeError, says="1 operands"),
    ErrorRow("einsum_rank", lambda T, x: T.einsum("ijk", x), RuntimeError, says="f32[3,4]"),
    ErrorRow("einsum_size", lambda T, x: T.einsum("ij,ij", x, x.t()), RuntimeError, says="'i'"),
    ErrorRow("einsum_result", lambda T, x: T.einsum("ij->ijj", x), RuntimeError, says="ijj"),
    ErrorRow("einsum_letter", lambda T, x: T.einsum("i1", x), RuntimeError, says="'i1'"),
    ErrorRow("tensordot", lambda T, x: T.tensordot(x, x, 1), RuntimeError, says="f32[3,4]"),
    ErrorRow("cross", lambda T, x: T.linalg.cross(x, x), RuntimeError, says="not 3"),
    ErrorRow("cdist", lambda T, x: T.cdist(x, x.t()), RuntimeError, says="f32[4,3]"),
    ErrorRow("cdist_p", lambda T, x: T.cdist(x, x, -1.0), RuntimeError, says="-1.0"),
    ErrorRow("trace_vector", lambda T, x: x[0].trace(), RuntimeError, says="f32[4]"),
    ErrorRow("addmm_shape", lambda T, x: T.addmm(x, x, x.t()), RuntimeError, says="f32[3,4]"),
    ErrorRow("inner_shape", lambda T, x: T.inner(x, x.t()), RuntimeError, says="f32[4,3]"),
    ErrorRow("bmm_rank", lambda T, x: T.bmm(x, x), RuntimeError, says="3-d"),
]
