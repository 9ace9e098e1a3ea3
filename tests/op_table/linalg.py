"""Linear algebra. Signs of vectors and the half of a symmetric matrix that is read are left open by
the definition, so rows take what does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.op_table.rows import SMOOTH, ErrorRow, In, OpRow

SQUARE = In((3, 3))
BATCH = In((2, 3, 3))
TALL = In((2, 4, 3))
WIDE = In((2, 3))


def row(
    name: str, fn: Callable[..., Any], *inputs: In, rtol: float = 1e-8, **options: Any
) -> OpRow:
    return OpRow(name, fn, inputs or (BATCH,), rtol=rtol, **options)


def sure(T: Any, x: Any) -> Any:
    """A matrix well inside the positive-definite ones."""
    return x @ x.mT + 3 * T.eye(x.shape[-1], dtype=x.dtype)


LINALG = [
    row("inv", lambda T, x: T.linalg.inv(sure(T, x) + x)),
    row("inverse", lambda T, x: (x.mT @ x + 2 * T.eye(3, dtype=x.dtype)).inverse(), SQUARE),
    row("solve", lambda T, x, y: T.linalg.solve(sure(T, x), y), BATCH, In((3, 2))),
    row("solve_vector", lambda T, x, y: T.linalg.solve(sure(T, x), y), BATCH, In((2, 3))),
    row(
        "solve_right",
        lambda T, x, y: T.linalg.solve(sure(T, x), y, left=False),
        SQUARE,
        In((2, 3)),
    ),
    row(
        "solve_triangular",
        lambda T, x, y: T.linalg.solve_triangular(sure(T, x), y, upper=True),
        BATCH,
        In((3, 2)),
    ),
    row(
        "solve_triangular_unit",
        lambda T, x, y: T.linalg.solve_triangular(
            x * 0.3, y, upper=False, left=False, unitriangular=True
        ),
        SQUARE,
        In((2, 3)),
    ),
    row("det", lambda T, x: T.det(x)),
    row("slogdet", lambda T, x: T.linalg.slogdet(sure(T, x) + x).logabsdet),
    row("slogdet_sign", lambda T, x: x.slogdet()[0], grad=False),
    row("logdet", lambda T, x: sure(T, x).logdet(), SQUARE),
    row("cholesky", lambda T, x: T.linalg.cholesky(sure(T, x))),
    row("cholesky_upper", lambda T, x: T.linalg.cholesky(sure(T, x), upper=True), SQUARE),
    row("qr_q", lambda T, x: T.linalg.qr(x).Q.square(), TALL, rtol=1e-6),
    row("qr_r", lambda T, x: T.linalg.qr(x)[1].square(), TALL, rtol=1e-6),
    row("qr_wide", lambda T, x: T.linalg.qr(x).R.square(), WIDE, rtol=1e-6),
    row("qr_complete", lambda T, x: T.linalg.qr(x, "complete").Q.square(), TALL, grad=False),
    row("eigvalsh", lambda T, x: T.linalg.eigvalsh(x + x.mT)),
    row("eigh", lambda T, x: T.linalg.eigh(x + x.mT)[1].square(), rtol=1e-6),
    row("svdvals", lambda T, x: T.linalg.svdvals(x), TALL),
    row("svd_u", lambda T, x: T.linalg.svd(x, False).U.square(), TALL, rtol=1e-6),
    row("svd_vh", lambda T, x: T.linalg.svd(x, full_matrices=False).Vh.square(), WIDE, rtol=1e-6),
    row("svd_old", lambda T, x: x.svd()[2].square(), TALL, rtol=1e-6),
    row("pinv", lambda T, x: T.linalg.pinv(x), TALL, rtol=1e-6),
    row("pinv_hermitian", lambda T, x: T.linalg.pinv(x + x.mT, hermitian=True), rtol=1e-6),
    row("matrix_rank", lambda T, x: T.linalg.matrix_rank(x @ x.mT), TALL, grad=False),
    row("lstsq", lambda T, x, y: T.linalg.lstsq(x, y).solution, TALL, In((2, 4, 2)), rtol=1e-6),
    row("matrix_power", lambda T, x: x.matrix_power(5)),
    row("matrix_power_minus", lambda T, x: T.linalg.matrix_power(sure(T, x), -2)),
    row("matrix_power_0", lambda T, x: T.matrix_power(x, 0), grad=False),
    row(
        "multi_dot",
        lambda T, x, y, z: T.linalg.multi_dot([x, y, z]),
        In((2, 5)),
        In((5, 4)),
        In((4,)),
    ),
    row("vector_norm", lambda T, x: T.linalg.vector_norm(x, 3, dim=1), SMOOTH),
    row("vector_norm_all", lambda T, x: T.linalg.vector_norm(x), SMOOTH),
    row("matrix_norm", lambda T, x: T.linalg.matrix_norm(x, keepdim=True), TALL),
    row("matrix_norm_1", lambda T, x: T.linalg.matrix_norm(x, 1, dim=(2, 0)), TALL, second=False),
    row("matrix_norm_2", lambda T, x: T.linalg.matrix_norm(x, 2), TALL),
    row("matrix_norm_nuc", lambda T, x: T.linalg.matrix_norm(x, "nuc"), TALL),
    row("linalg_norm", lambda T, x: T.linalg.norm(x), TALL),
    row("linalg_norm_inf", lambda T, x: T.linalg.norm(x, float("inf")), SQUARE, second=False),
    row("cond", lambda T, x: T.linalg.cond(sure(T, x)), SQUARE),
    row("cond_1", lambda T, x: T.linalg.cond(x.detach(), 1), grad=False),
    row("linalg_diagonal", lambda T, x: T.linalg.diagonal(x, offset=1)),
    row("inv_of_view", lambda T, x: T.linalg.inv(sure(T, x)[:, ::2, ::2].mT)),
]

ERRORS = [
    ErrorRow("inv_singular", lambda T, x: T.linalg.inv(T.ones(2, 2)), RuntimeError, says="(2, 2)"),
    ErrorRow("inv_wide", lambda T, x: T.linalg.inv(x), RuntimeError, says="f32[3,4]"),
    ErrorRow("inv_half", lambda T, x: T.linalg.inv(x[:3, :3].half()), RuntimeError, says="f16"),
    ErrorRow("inv_ints", lambda T, x: T.linalg.inv(x[:3, :3].long()), RuntimeError, says="i64"),
    ErrorRow("det_vector", lambda T, x: T.linalg.det(x[0]), RuntimeError, says="f32[4]"),
    ErrorRow("cholesky", lambda T, x: T.linalg.cholesky(-T.eye(2)), RuntimeError, says="positive"),
    ErrorRow(
        "cholesky_nan", lambda T, x: T.linalg.cholesky(x[:1, :1] * float("nan")), RuntimeError
    ),
    ErrorRow("solve_shape", lambda T, x: T.linalg.solve(T.eye(2), x), RuntimeError, says="3,4"),
    ErrorRow("solve_singular", lambda T, x: T.linalg.solve(x[:3, :3] * 0, x), RuntimeError),
    ErrorRow("qr_mode", lambda T, x: T.linalg.qr(x, "full"), RuntimeError, says="'full'"),
    ErrorRow("svd_nan", lambda T, x: T.linalg.svd(x.log() * 0), RuntimeError),
    ErrorRow("eigh_uplo", lambda T, x: T.linalg.eigh(T.eye(2), "X"), RuntimeError, says="'X'"),
    ErrorRow("matrix_power", lambda T, x: T.matrix_power(x, 2), RuntimeError, says="3,4"),
    ErrorRow("matrix_norm", lambda T, x: T.linalg.matrix_norm(x, 3), RuntimeError, says="3"),
    ErrorRow("multi_dot", lambda T, x: T.linalg.multi_dot([x]), RuntimeError, says="2 tensors"),
    ErrorRow(
        "qr_complete_gradient",
        lambda T, x: T.linalg.qr(x.mT.requires_grad_(), "complete")[0].sum().backward(),
        RuntimeError,
        says="complete",
    ),
]
