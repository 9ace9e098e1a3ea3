"""Named tuples of the functions that return several tensors, as torch.return_types has them.

Each prints one result a line, as PyTorch's do. Shapes are those that the function documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from graphc.ir.spelling import spelled

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


R = TypeVar("R")


def _lines(result: Any) -> str:
    parts = (f"{name}={value!r}" for name, value in zip(result._fields, result))
    return f"{spelled('return_types')}.{type(result).__name__}(\n" + ",\n".join(parts) + ")"


def _printed(kind: type[R]) -> type[R]:
    kind.__repr__ = _lines  # type: ignore[method-assign]  # of any of these tuples
    return kind


@_printed
class ValuesIndices(NamedTuple):
    """Elements, and where they stand along the dimension (int64)."""

    values: Tensor
    indices: Tensor


@_printed
class SignLogabsdet(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


@_printed
class QR(NamedTuple):
    """An orthogonal and an upper triangular factor."""

    Q: Tensor
    R: Tensor


@_printed
class aminmax(NamedTuple):
    min: Tensor
    max: Tensor


@_printed
class svd(NamedTuple):
    """input = U diag(S) V^T."""

    U: Tensor
    S: Tensor
    V: Tensor


@_printed
class linalg_svd(NamedTuple):
    """A = U diag(S) Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@_printed
class linalg_eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


@_printed
class linalg_lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


# One class a function: its name is what prints.
class max(ValuesIndices): ...


class min(ValuesIndices): ...


class cummax(ValuesIndices): ...


class cummin(ValuesIndices): ...


class sort(ValuesIndices): ...


class topk(ValuesIndices): ...


class kthvalue(ValuesIndices): ...


class median(ValuesIndices): ...


class nanmedian(ValuesIndices): ...


class mode(ValuesIndices): ...


class slogdet(SignLogabsdet): ...


class linalg_slogdet(SignLogabsdet): ...


class qr(QR): ...


class linalg_qr(QR): ...


@_printed
class linalg_lu(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


@_printed
class frexp(NamedTuple):
    mantissa: Tensor
    exponent: Tensor


@_printed
class triangular_solve(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


@_printed
class lu_unpack(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


@_printed
class linalg_lu_factor(NamedTuple):
    """L below the diagonal and U above it; for each column the row, from 1, that came there."""

    LU: Tensor
    pivots: Tensor


@_printed
class linalg_lu_factor_ex(NamedTuple):
    """As `linalg_lu_factor`, and which pivot was the first to be 0, or 0."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


@_printed
class linalg_inv_ex(NamedTuple):
    inverse: Tensor
    info: Tensor


@_printed
class linalg_solve_ex(NamedTuple):
    result: Tensor
    info: Tensor


@_printed
class linalg_cholesky_ex(NamedTuple):
    """The factor, and which leading minor was the first that is not positive-definite, or 0."""

    L: Tensor
    info: Tensor


@_printed
class linalg_eig(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


@_printed
class histogram(NamedTuple):
    hist: Tensor
    bin_edges: Tensor
