"""Shape functions made of others: flips and turns by name, joins by name, scans of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.errors import ShapeMismatch
from graphc.frontend import elementwise as E
from graphc.frontend import indexing, logic, reductions, shapes
from graphc.frontend.inplace import InPlace, inplace
from graphc.frontend.shapes import Dims, movedim, transpose
from graphc.ir.types import Scalar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "argwhere",
    "column_stack",
    "concat",
    "concatenate",
    "diff",
    "dstack",
    "fliplr",
    "flipud",
    "moveaxis",
    "nanmean",
    "nansum",
    "rot90",
    "row_stack",
    "std_mean",
    "swapaxes",
    "swapdims",
]

concat = concatenate = shapes.cat
row_stack = shapes.vstack
moveaxis = movedim
swapaxes = swapdims = transpose


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join as columns: 0-d and 1-d tensors stand upright."""
    upright = [shapes.reshape(x, -1, 1) if len(x.type.shape) < 2 else x for x in tensors]
    return shapes.cat(upright, 1)


def _at_least(x: Tensor, rank: int, name: str) -> None:
    if len(x.type.shape) < rank:
        raise ShapeMismatch(f"{name} needs at least {rank} dimensions, got {x.type}")


def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse."""
    _at_least(input, 2, "fliplr")
    return shapes.flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows in reverse."""
    _at_least(input, 1, "flipud")
    return shapes.flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees, from the first of `dims` towards the second."""
    _at_least(input, 2, "rot90")
    if len(dims) != 2 or shapes.axis_of(input, dims[0]) == shapes.axis_of(input, dims[1]):
        raise ShapeMismatch(f"rot90 needs two different dimensions, got {tuple(dims)}")
    a, b = dims
    match k % 4:
        case 0:
            return input.clone()
        case 1:
            return transpose(shapes.flip(input, b), a, b)
        case 2:
            return shapes.flip(input, a, b)
    return transpose(shapes.flip(input, a), a, b)


def diff(input: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    """Differences of neighbours along `dim`, n times; of bools, whether they differ."""
    _at_least(input, 1, "diff")
    axis = shapes.axis_of(input, dim)
    for _ in range(n):
        length = input.type.shape[axis]
        if length == 0:
            break
        low, high = (
            shapes.narrow(input, axis, 0, length - 1),
            shapes.narrow(input, axis, 1, length - 1),
        )
        input = logic.logical_xor(high, low) if input.dtype.name == "bool" else E.sub(high, low)
    return input


def nansum(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """The sum of what is not NaN."""
    numbers = E.where(logic.isnan(input), 0, input) if input.dtype.is_floating_point else input
    return reductions.sum(numbers, dim, keepdim)


def nanmean(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """The mean of what is not NaN."""
    kept = reductions.sum(logic.logical_not(logic.isnan(input)), dim, keepdim)
    return nansum(input, dim, keepdim) / kept


def std_mean(
    input: Tensor, dim: Dims | None = None, *, correction: Scalar = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`, of one pass over the mean."""
    v, m = reductions.var_mean(input, dim, correction=correction, keepdim=keepdim)
    return reductions.safe_sqrt(v), m


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the third dimension; rows and columns get dimensions of size 1."""
    deep = []
    for x in tensors:
        rank = len(x.type.shape)
        if rank < 3:
            x = shapes.reshape(x, (1, x.numel(), 1) if rank < 2 else (*x.type.shape, 1))
        deep.append(x)
    return shapes.cat(deep, 2)


def argwhere(input: Tensor) -> Tensor:
    """The indices of nonzero elements, one row each."""
    return indexing.nonzero(input)


# ---- in place ----------------------------------------------------------------------------------

tril_: InPlace = inplace(shapes.tril)
triu_: InPlace = inplace(shapes.triu)
cumsum_: InPlace = inplace(reductions.cumsum)
