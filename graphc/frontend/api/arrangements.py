"""Shape functions made of others: flips, turns and joins by name, differences, pieces, choices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DTypeMismatch, ShapeMismatch
from graphc.frontend.api import creation, indexing, logic, reductions, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.shapes import movedim, transpose
from graphc.frontend.dims import Dims, axis_of
from graphc.frontend.registry import public
from graphc.ir.types import DType, Scalar, TensorSpec, bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "argwhere",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "cartesian_prod",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "diff",
    "dsplit",
    "dstack",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "moveaxis",
    "nanmean",
    "nansum",
    "rot90",
    "row_stack",
    "split_with_sizes",
    "swapaxes",
    "swapdims",
    "tensor_split",
    "trapezoid",
    "trapz",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "vsplit",
    "vstack",
]

Pieces = tuple[Any, ...]

concat = concatenate = shapes.cat
moveaxis = movedim


@public(method=True, inplace="view")
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose` by NumPy's name: [A, B, C] -> [C, B, A] for (0, 2)."""
    return transpose(input, axis0, axis1)


swapdims = transpose


@public(out=True)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the second dimension, of vectors and numbers along the first.

    [N_i] -> [sum], [N, M_i, ...] -> [N, sum, ...].
    """
    wide = [atleast_1d(x) for x in tensors]
    return shapes.cat(wide, 0 if wide and len(wide[0].spec.shape) == 1 else 1)


@public(out=True)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the first dimension; vectors and numbers are rows. [N_i, M] -> [sum, M]."""
    return shapes.cat([atleast_2d(x) for x in tensors], 0)


row_stack = vstack


@public(out=True)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join as columns: 0-d and 1-d tensors stand upright.

    [N] and [N, C_i] -> [N, sum of columns].
    """
    upright = [shapes.reshape(x, -1, 1) if len(x.spec.shape) < 2 else x for x in tensors]
    return shapes.cat(upright, 1)


def _at_least(x: Tensor, rank: int, name: str) -> None:
    if len(x.spec.shape) < rank:
        raise ShapeMismatch(f"{name} needs at least {rank} dimensions, got {x.spec}")


@public(method=True)
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse. [N, M, ...], which stays."""
    _at_least(input, 2, "fliplr")
    return shapes.flip(input, 1)


@public(method=True)
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse. [N, ...], which stays."""
    _at_least(input, 1, "flipud")
    return shapes.flip(input, 0)


@public(method=True)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees, from the first of `dims` towards the second.

    [N, M, ...] -> [M, N, ...], or as before.
    """
    _at_least(input, 2, "rot90")
    if len(dims) != 2 or axis_of(input, dims[0]) == axis_of(input, dims[1]):
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


@public(method=True, out=True)
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along `dim`, n times; of bools, whether they differ.

    [..., N, ...] -> [..., N - n, ...].
    """
    _at_least(input, 1, "diff")
    axis = axis_of(input, dim)
    if n < 0:
        raise ShapeMismatch(f"diff: the order must not be negative, got {n}")
    if n == 0:
        return input.clone()
    if prepend is not None or append is not None:
        joined = [x for x in (prepend, input, append) if x is not None]
        input = shapes.cat(joined, axis)
    for _ in range(min(n, input.spec.shape[axis])):
        rest = input.spec.shape[axis] - 1
        low, high = (shapes.narrow(input, axis, a, rest) for a in (0, 1))
        input = logic.logical_xor(high, low) if input.dtype is bool_ else E.sub(high, low)
    return input


@public(method=True, out=True)
def nansum(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum of what is not NaN.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    numbers = E.where(logic.isnan(input), 0, input) if input.dtype.is_floating_point else input
    return reductions.sum(numbers, dim, keepdim, dtype=dtype)


@public(method=True, out=True)
def nanmean(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean of what is not NaN.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    if not input.dtype.is_floating_point:
        raise DTypeMismatch(f"nanmean needs a floating dtype, got {input.spec}")
    kept = reductions.sum(logic.logical_not(logic.isnan(input)), dim, keepdim)
    return E.div(nansum(input, dim, keepdim, dtype=dtype), kept)


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    """f(x) of one tensor, a tuple of several, given one by one or as a sequence."""
    if len(tensors) == 1:
        (x,) = tensors
        return tuple(map(function, x)) if isinstance(x, list | tuple) else function(x)
    return tuple(map(function, tensors))


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor as a view of at least one dimension."""
    return _each(lambda x: shapes.reshape(x, 1) if not x.spec.shape else x, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor as a view of at least two dimensions: vectors are rows."""
    return _each(lambda x: shapes.reshape(x, 1, -1) if len(x.spec.shape) < 2 else x, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor as a view of at least three dimensions: matrices get a last one."""

    def three(x: Tensor) -> Tensor:
        match len(x.spec.shape):
            case 0 | 1:
                return shapes.reshape(x, 1, x.numel(), 1)
            case 2:
                return shapes.unsqueeze(x, -1)
        return x

    return _each(three, tensors)


@public(out=True)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the third dimension; rows and columns get dimensions of size 1.

    [N, M] or [N, M, C_i] -> [N, M, sum].
    """
    deep = []
    for x in tensors:
        rank = len(x.spec.shape)
        if rank < 3:
            x = shapes.reshape(x, (1, x.numel(), 1) if rank < 2 else (*x.spec.shape, 1))
        deep.append(x)
    return shapes.cat(deep, 2)


@public(method=True)
def argwhere(input: Tensor) -> Tensor:
    """The indices of nonzero elements, one row each. [...] of rank R with n of them -> [n, R]."""
    rows: Tensor = indexing.nonzero(input)
    return rows


# ---- pieces ------------------------------------------------------------------------------------


@public(method=True)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Pieces:
    """Views [..., M, ...] of the sizes given, which add up to the dimension's."""
    return shapes.split(input, list(split_sizes), dim)


@public(method=True)
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> Pieces:
    """`chunk`: views [..., M, ...], of which a write to one is safe here."""
    return shapes.chunk(input, chunks, dim)


@public(method=True)
def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0) -> Pieces:
    """`split` by one size: views [..., M, ...], of which a write to one is safe here."""
    return shapes.split(tensor, split_size, dim)


@public(method=True)
def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Pieces:
    """`split_with_sizes`: views [..., M, ...], of which a write to one is safe here."""
    return split_with_sizes(input, split_sizes, dim)


@public(method=True)
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> Pieces:
    """Views of nearly equal parts (the first are larger), or of the parts between indices.

    [..., N, ...] -> parts whose N sum to it; views.
    """
    _at_least(input, 1, "tensor_split")
    axis = axis_of(input, dim)
    n = input.spec.shape[axis]
    given: Any = indices_or_sections
    places = given if isinstance(given, int | list | tuple) else given.tolist()
    if isinstance(places, int):
        if not 0 < places < 2**63:
            raise ShapeMismatch(f"tensor_split: sections must be positive, got {places}")
        small, larger = divmod(n, places)
        edges = [k * small + min(k, larger) for k in range(places + 1)]
        pairs = list(pairwise(edges))
    else:
        bounds = [slice(k).indices(n)[1] for k in places]
        pairs = list(zip([0, *bounds], [*bounds, n]))
    return tuple(shapes.slice_along(input, axis, a, max(a, b)) for a, b in pairs)


def _split_evenly(input: Tensor, by: int | Sequence[int], axis: int, name: str) -> Pieces:
    if isinstance(by, int) and (by < 1 or input.spec.shape[axis] % by):
        raise ShapeMismatch(f"{name}: {by} equal parts of dimension {axis} of {input.spec}")
    return tensor_split(input, by, axis)


@public(method=True)
def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> Pieces:
    """Parts along the second dimension, of a vector along its only one.

    [..., N, ...] -> parts whose N sum to it; views.
    """
    _at_least(input, 1, "hsplit")
    axis = 0 if len(input.spec.shape) == 1 else 1
    return _split_evenly(input, indices_or_sections, axis, "hsplit")


@public(method=True)
def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> Pieces:
    """Parts along the first dimension. [..., N, ...] -> parts whose N sum to it; views."""
    _at_least(input, 2, "vsplit")
    return _split_evenly(input, indices_or_sections, 0, "vsplit")


@public(method=True)
def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> Pieces:
    """Parts along the third dimension. [..., N, ...] -> parts whose N sum to it; views."""
    _at_least(input, 3, "dsplit")
    return _split_evenly(input, indices_or_sections, 2, "dsplit")


# ---- choices -----------------------------------------------------------------------------------


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All tuples of one element of each vector, a row each.

    [N1], [N2], .. -> [N1 * N2 * .., number of tensors].
    """
    if any(len(x.spec.shape) != 1 for x in tensors):
        listed = ", ".join(str(x.spec) for x in tensors)
        raise ShapeMismatch(f"cartesian_prod needs vectors, got {listed}")
    if len(tensors) == 1:
        return shapes.alias_view(tensors[0])
    return shapes.stack([shapes.ravel(x) for x in creation.meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector in their order, a row each.

    [N] -> [number of choices, r].
    """
    if len(input.spec.shape) != 1:
        raise ShapeMismatch(f"combinations needs a vector, got {input.spec}")
    if r < 0:
        raise ShapeMismatch(f"combinations: r must not be negative, got {r}")
    if r == 0:
        return input.full(0, TensorSpec(input.dtype, (0,)))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return (
        input[creation.as_tensor(rows, device=input.device)]
        if len(rows)
        else input[:0].reshape(0, r)
    )


def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1
) -> Tensor:
    """The integral of `y` along `dim` by the trapezoidal rule, over points `x` or steps of `dx`.

    [..., N, ...] -> [...] without `dim`.
    """
    _at_least(y, 1, "trapezoid")
    if bool_ in (y.dtype, y.dtype if x is None else x.dtype):
        raise DTypeMismatch("trapezoid does not take bool tensors", fix="use y.long()")
    axis = axis_of(y, dim)
    n = y.spec.shape[axis]
    if n == 0:
        return reductions.sum(y, axis)
    pairs = E.add(shapes.narrow(y, axis, 0, n - 1), shapes.narrow(y, axis, 1, n - 1))
    if x is None:
        return E.mul(reductions.sum(pairs, axis), (1 if dx is None else dx) / 2)
    gaps = diff(x, dim=-1 if len(x.spec.shape) == 1 else axis)
    if len(x.spec.shape) == 1:
        gaps = shapes.reshape(gaps, *(-1 if k == axis else 1 for k in range(len(y.spec.shape))))
    return E.div(reductions.sum(E.mul(pairs, gaps), axis), 2)


trapz = trapezoid
