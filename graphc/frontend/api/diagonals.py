"""Triangles and diagonals of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.errors import ShapeMismatch
from graphc.frontend.api import arrangements, creation, shapes
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.api.shapes import movedim, narrow
from graphc.frontend.dims import axis_at, axis_of
from graphc.frontend.inplace import fill_
from graphc.frontend.operands import broadcast_to as expand_to
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import pointwise, public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Scalar, Shape, bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "block_diag",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "tril",
    "triu",
]


def _places(like: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Row and column numbers of matrices of `shape`."""
    row, column = (like.emit(OPS["iota"], shape=shape, axis=k, dtype=i64.name) for k in (0, 1))
    return row, column


def _band(x: Tensor, diagonal: int, lower: bool) -> Tensor:
    """Where column - row is at most (lower) or at least (upper) `diagonal`."""
    shape = x.spec.shape
    if len(shape) < 2:
        raise ShapeMismatch(f"a triangle needs at least 2 dimensions, got {x.spec}")
    row, column = _places(x, shape[-2:])
    edge = row.emit(OPS["add"], row, diagonal)
    pair = (column, edge) if lower else (edge, column)
    keep = expand_to(row.emit(OPS["le"], *pair), shape)
    return row_by_row(x.emit(OPS["where"], keep, x, False if x.dtype is bool_ else 0))


@pointwise
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle, up to `diagonal` above the main one; the rest is zero.

    [..., N, M], which stays.
    """
    return _band(input, diagonal, True)


@pointwise
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle, from `diagonal` above the main one; the rest is zero.

    [..., N, M], which stays.
    """
    return _band(input, diagonal, False)


@public(method=True)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, last in the result; a view. [..., N, M] -> [..., D]."""
    a, b = axis_of(input, dim1), axis_of(input, dim2)
    if a == b:
        raise ShapeMismatch(f"diagonal: dimensions {dim1} and {dim2} of {input.spec} are one")
    x = movedim(input, (a, b), (-2, -1))
    rows, columns = x.spec.shape[-2:]
    down, right = max(-offset, 0), max(offset, 0)
    n = max(min(rows - down, columns - right), 0)
    if n == 0:
        down = right = 0
    x = narrow(narrow(x, -2, down, n), -1, right, n)
    return x.emit(OPS["diagonal"], x)


@public(method=True)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last dimension of `input` on a diagonal, zero elsewhere.

    [..., N] -> [..., N + |offset|, N + |offset|].
    """
    rank = len(input.spec.shape) + 1
    a, b = axis_at(dim1, rank), axis_at(dim2, rank)
    if a == b:
        raise ShapeMismatch(f"diag_embed: dimensions {dim1} and {dim2} are one, {input.spec}")
    n = input.spec.shape[-1]
    row, column = _places(input, (n, n))
    square = (*input.spec.shape[:-1], n, n)
    on = expand_to(row.emit(OPS["eq"], row, column), square)
    zero = False if input.dtype is bool_ else 0
    matrix = input.emit(OPS["where"], on, expand_to(shapes.unsqueeze(input, -2), square), zero)
    down, right = max(-offset, 0), max(offset, 0)
    lead = (0,) * (rank - 2)
    padded = P.pad(matrix, (*lead, down, right), (*lead, right, down))
    return movedim(padded, (-2, -1), (a, b)).contiguous()


@public(method=True, out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A copy of a matrix's diagonal, or the square matrix with `input` on its diagonal.

    [N, M] -> [D], or [N] -> [N, N].
    """
    match len(input.spec.shape):
        case 1:
            return diag_embed(input, diagonal)
        case 2:
            return _diagonal(input, diagonal).clone()
    raise ShapeMismatch(f"diag needs 1 or 2 dimensions, got {input.spec}")


_diagonal = diagonal  # `diag` has an argument of that name


@public(method=True)
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The square matrix with the elements of `input` on a diagonal.

    [...] of N elements -> [N + |offset|, N + |offset|].
    """
    return diag_embed(shapes.ravel(input), offset)


def block_diag(*tensors: Tensor) -> Tensor:
    """[N_i, M_i] along a diagonal, zero elsewhere; vectors are rows, numbers 1 x 1."""
    if any(len(x.spec.shape) > 2 for x in tensors):
        listed = ", ".join(str(x.spec) for x in tensors)
        raise ShapeMismatch(f"block_diag: at most 2 dimensions each, got {listed}")
    if not tensors:
        return creation.zeros(1, 0)
    dtype = result_type(*tensors)
    blocks = [P.cast(arrangements.atleast_2d(x), dtype) for x in tensors]
    width, before, rows = sum(x.spec.shape[1] for x in blocks), 0, []
    for x in blocks:
        n = x.spec.shape[1]
        rows.append(P.pad(x, (0, before), (0, width - before - n)))
        before += n
    return shapes.cat(rows, 0)


@public(method=True)
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of `input` with `src` on the diagonal.

    The shape of `input`; src has that of its diagonal.
    """
    out = input.clone()
    target = diagonal(out, offset, dim1, dim2)
    if src.spec.shape != target.spec.shape:
        raise ShapeMismatch(f"diagonal_scatter: {src.spec} is no diagonal of {input.spec}")
    target.copy_(src)
    return out


@public(method=True)
def fill_diagonal_(x: Tensor, fill_value: Scalar, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal; `wrap` starts again below a tall matrix's end."""
    shape = x.spec.shape
    if len(shape) < 2:
        raise ShapeMismatch(f"fill_diagonal_ needs at least 2 dimensions, got {x.spec}")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise ShapeMismatch(f"fill_diagonal_: all dimensions of {x.spec} must be equal")
    if wrap and len(shape) == 2 and shape[0] > shape[1]:
        row, column = _places(x, shape)
        chosen = (row * shape[1] + column) % (shape[1] + 1) == 0
        return x.masked_fill_(chosen, fill_value)
    part = narrow(x, 0, 0, min(shape[:2])) if len(shape) == 2 else x
    while len(part.spec.shape) > 1:
        part = diagonal(part, 0, 0, -1)
    fill_(part, fill_value)
    return x
