"""Functions of whole matrices: exp, products, of reflections too, LU factors, real eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import return_types
from graphc.errors import (
    DTypeNotImplemented,
    LinAlgError,
    ShapeMismatch,
    Unsupported,
)
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import creation, diagonals, linear, shapes, ternary
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.operands import broadcast_to, data_sized
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import f32, f64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

# Taylor's series to degree 16 is exact to double rounding up to this norm (Al-Mohy, Higham 2011).
RADIUS = 0.75
SQUARINGS = 20  # beyond RADIUS * 2^20 the exponential of a matrix is NaN
DEGREE = 16


def check_matrix(name: str, x: Tensor, square: bool = False) -> Tensor:
    """x, if it is a batch of matrices of a dtype that LAPACK has."""
    if len(x.spec.shape) < 2:
        raise ShapeMismatch(f"linalg.{name}: needs at least 2 dimensions, got {x.spec}")
    if square and x.spec.shape[-1] != x.spec.shape[-2]:
        raise ShapeMismatch(f"linalg.{name}: needs batches of square matrices, got {x.spec}")
    if x.dtype not in (f32, f64):
        raise DTypeNotImplemented(f"linalg.{name}: needs float32 or float64, got {x.spec}")
    return x


@public(method=True)
def matrix_exp(A: Tensor) -> Tensor:
    """exp of square matrices, by Taylor's series of A / 2^s and s squarings.

    [..., N, N], which stays.
    """
    if A.dtype.is_half:
        return P.cast(matrix_exp(P.cast(A, f32)), A.dtype)
    check_matrix("matrix_exp", A, True)
    if 0 in A.spec.shape:
        return A.clone()
    norm = R.amax(R.sum(E.abs(A.detach()), -2), -1)[..., None, None]
    steps = ternary.clamp(E.ceil(E.log2(ternary.clamp(norm, min=RADIUS) / RADIUS)), 0, SQUARINGS)
    out = _taylor(A * E.exp2(-steps))
    for k in range(SQUARINGS):
        out = E.where(steps > k, linear.matmul(out, out), out)
    return E.where(norm > RADIUS * 2.0**SQUARINGS, math.nan, out)


def _taylor(A: Tensor) -> Tensor:
    """The series in powers of A^4, each with a polynomial of degree 3 (Paterson, Stockmeyer)."""
    one = broadcast_to(
        P.cast(creation.eye(A.spec.shape[-1], device=A.device), A.dtype), A.spec.shape
    )
    square = linear.matmul(A, A)
    powers = [one, A, square, linear.matmul(square, A)]
    fourth = linear.matmul(square, square)
    out = one * (1 / math.factorial(DEGREE))
    for block in range(DEGREE // 4 - 1, -1, -1):
        part = sum(x * (1 / math.factorial(4 * block + k)) for k, x in enumerate(powers))
        out = linear.matmul(out, fourth) + part
    return out


@public(out=True)
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of H_1 .. H_k, H_i = I - tau_i v_i v_i^T, v_i column i below its 1.

    By the compact form I - V T V^T (Schreiber, Van Loan 1989), T from one triangular system.

    [..., N, M], tau [..., K] -> [..., N, M].
    """
    check_matrix("householder_product", input)
    n, columns = input.spec.shape[-2:]
    k = tau.spec.shape[-1]
    if n < columns or k > columns:
        raise ShapeMismatch(f"householder_product: {input.spec} with tau {tau.spec}")
    one = P.cast(creation.eye(n, columns, device=input.device), input.dtype)
    v = (diagonals.tril(input, -1) + one)[..., :k]
    turned = shapes.matrix_transpose(v)
    tau = shapes.unsqueeze(tau, -1)
    inner = diagonals.triu(linear.matmul(turned, v), 1) * tau
    system = inner + P.cast(creation.eye(k, device=input.device), input.dtype)
    right = turned[..., :columns] * tau
    weights = P.apply("triangular_solve", system, right, upper=True, unit=False)
    return one - linear.matmul(v, weights)


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """A = P L U, by elimination with the largest pivot of each column; also inside a step.

    [..., N, M] -> [..., N, N], [..., N, K], [..., K, M] with K the smaller.
    """
    check_matrix("lu", A)
    if not pivot:
        raise Unsupported("linalg.lu: pivot=False", fix="use pivot=True, which is stable")
    packed, order, _ = eliminated(A)
    return return_types.linalg_lu(permutation(order, A), *triangles(packed))


def permutation(order: Tensor, like: Tensor) -> Tensor:
    """The matrix that puts row k of what it multiplies at `order[k]`."""
    rows = counted(like, -2)
    return P.cast(shapes.unsqueeze(order, -2) == shapes.unsqueeze(rows, -1), like.dtype)


def triangles(packed: Tensor) -> tuple[Tensor, Tensor]:
    """L and U, of L below the diagonal and U above."""
    m, n = packed.spec.shape[-2:]
    k = min(m, n)
    one = P.cast(creation.eye(m, k, device=packed.device), packed.dtype)
    return diagonals.tril(packed[..., :, :k], -1) + one, diagonals.triu(packed[..., :k, :])


def counted(A: Tensor, dim: int) -> Tensor:
    """The numbers of the rows or columns, for each matrix."""
    shape = A.spec.shape
    return broadcast_to(creation.arange(shape[dim], device=A.device), (*shape[:-2], shape[dim]))


def swapped(rows: Tensor, k: int, other: Tensor) -> Tensor:
    """The numbers `rows`, with k at `other` and that at k."""
    return E.where(rows == k, other, E.where(rows == other, k, rows))


def eliminated(A: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """L below the diagonal and U above, for each row of these the row of A, and which row came to
    row k in its turn."""
    *_, m, n = A.spec.shape
    rows, columns = counted(A, -2), counted(A, -1)
    order, pivots = rows, []
    for k in range(min(m, n)):
        column = A[..., k]
        best = R.argmax(E.where(rows >= k, E.abs(column.detach()), -1.0), -1, True)
        pivots.append(best)
        at = swapped(rows, k, best)
        order = order.gather(-1, at)
        A = A.gather(-2, broadcast_to(shapes.unsqueeze(at, -1), A.spec.shape))
        pivot = A[..., k : k + 1, k : k + 1]
        below = shapes.unsqueeze(rows > k, -1)
        factor = E.where(below & (pivot != 0), A[..., k : k + 1] / E.where(pivot == 0, 1.0, pivot),
                         0.0)  # fmt: skip
        behind = shapes.unsqueeze(columns > k, -2)
        row = E.where(behind, A[..., k : k + 1, :], 0.0)
        left = shapes.unsqueeze(columns == k, -2) & below
        A = E.where(left, broadcast_to(factor, A.spec.shape), A - factor * row)
    return A, order, pivots


def eig(A: Tensor) -> return_types.linalg_eig:
    """Eigenvalues and eigenvectors where all are real; graphc has no complex tensors.

    Eager and without gradient. Raises LinAlgError for a matrix with complex eigenvalues.

    [..., N, N] -> [..., N], [..., N, N].
    """
    values, vectors = _real_eig("eig", A)
    return return_types.linalg_eig(values, vectors)


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues where all are real, as `eig`. [..., N, N] -> [..., N]."""
    return _real_eig("eigvals", A)[0]


def _real_eig(name: str, A: Tensor) -> tuple[Tensor, ...]:
    check_matrix(name, A, True)
    if A.requires_grad:
        raise Unsupported(
            f"linalg.{name} of a tensor that requires grad",
            why="its gradient is complex in general",
            fix="use eigh for symmetric matrices, or detach()",
        )
    host = data_sized(A, f"linalg.{name}", "compute it outside the step, or use eigh")
    values, vectors = np.linalg.eig(host)
    if np.iscomplexobj(values):
        raise LinAlgError(
            f"linalg.{name}: {A.spec} has complex eigenvalues",
            why="graphc has no complex dtype to return them in",
            fix="use eigh for symmetric matrices; numpy.linalg.eig(A.numpy()) gives complex ones",
        )
    found = (tensors.wrapped(np.ascontiguousarray(a)) for a in (values, vectors))
    return tuple(device_ops.like(x, A) for x in found)


@public(out=True)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of a chain of matrices, multiplied in the order that takes fewest operations.

    The first and the last may be vectors. The order is by dynamic programming (Godbole, 1973).

    [N, A], [A, B], .., [Y, M] -> [N, M].
    """
    given = list(tensors)
    if len(given) < 2:
        raise ShapeMismatch("linalg.multi_dot: needs at least 2 tensors")
    first, last = len(given[0].spec.shape) == 1, len(given[-1].spec.shape) == 1
    given[0] = shapes.unsqueeze(given[0], 0) if first else given[0]
    given[-1] = shapes.unsqueeze(given[-1], 1) if last else given[-1]
    if any(len(x.spec.shape) != 2 for x in given):
        raise ShapeMismatch("linalg.multi_dot: all but the first and last must be matrices")
    out = _chain(given, _splits([*(x.spec.shape[0] for x in given), given[-1].spec.shape[1]]), 0,
                 len(given) - 1)  # fmt: skip
    out = shapes.squeeze(out, 0) if first else out
    return shapes.squeeze(out, -1) if last else out


def _splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Behind which matrix each stretch of the chain is cut."""
    count = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(k, k): 0 for k in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [
                cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            cost[i, j] = min(costs)
            split[i, j] = i + costs.index(cost[i, j])
    return split


def _chain(given: list[Tensor], split: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return given[i]
    k = split[i, j]
    return linear.mm(_chain(given, split, i, k), _chain(given, split, k + 1, j))
