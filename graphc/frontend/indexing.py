"""Indexing: x[...] and its assignment, gather and scatter, by PyTorch's rules.

Integers, slices, None and Ellipsis make views. One bool mask or integer tensors copy: all of them
index together, as one flat index over the dimensions that they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.errors import (
    DataDependentBranch,
    DTypeMismatch,
    IndexOutOfRange,
    InvalidArgument,
    InvalidIndex,
    InvalidType,
    ShapeMismatch,
)
from graphc.frontend import creation, shapes
from graphc.frontend import tensor as tensors
from graphc.frontend.inplace import check_writable, converted, copy_, fill_, write
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_shapes, broadcast_to, is_tensor
from graphc.frontend.promotion import is_number, wrap
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, TensorType, bool_, i64, u8

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "gather",
    "index_add",
    "index_select",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "take_along_dim",
]


class Parsed(NamedTuple):
    """An index taken apart: the view of its basic part, and tensors by the view's dimension."""

    view: Tensor
    tensors: dict[int, Tensor]
    together: bool  # the indexing tensors stood side by side


def _items(x: Tensor, index: Any) -> list[Any]:
    """The index as one item for each dimension it touches, Ellipsis filled in."""
    items = list(index) if isinstance(index, tuple) else [index]
    items = [_tensor_item(x, i) for i in items]
    used = sum(_width(i) for i in items)
    rank = len(x.type.shape)
    if used > rank:
        raise InvalidIndex(f"too many indices for {x.type}: {used}")
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    if len(dots) > 1:
        raise InvalidIndex("an index can have only one ellipsis (...)")
    fill: list[Any] = [slice(None)] * (rank - used)
    at = dots[0] if dots else len(items)
    return items[:at] + fill + items[at + 1 :]


def _tensor_item(x: Tensor, item: Any) -> Any:
    """Lists and arrays as tensors; bools too, which index a new dimension of size 1."""
    if isinstance(item, list | range | np.ndarray):
        return creation.as_tensor(list(item) if isinstance(item, range) else item)
    if isinstance(item, bool):
        return x.full(item, TensorType(bool_, ()))
    return item


def _width(item: Any) -> int:
    """How many dimensions of the tensor an item stands for."""
    if item is None or item is Ellipsis:
        return 0
    if is_tensor(item) and item.dtype is bool_:
        return len(item.type.shape)
    return 1


def _parse(x: Tensor, index: Any) -> Parsed:
    """Apply the basic items one dimension at a time; collect the tensors."""
    tensors: dict[int, Tensor] = {}
    places: list[int] = []
    axis = 0
    for place, item in enumerate(_items(x, index)):
        if item is None:
            x = shapes.unsqueeze(x, axis)
            axis += 1
        elif is_tensor(item) and not (item.type.shape == () and _is_plain(item)):
            for t in _as_indices(x, item, axis):
                tensors[axis] = t
                axis += 1
            if item.dtype is bool_ and item.type.shape == ():
                x, tensors[axis] = shapes.unsqueeze(x, axis), _bool_index(item)
                axis += 1
            places.append(place)
        elif isinstance(item, slice):
            x = _slice(x, axis, item)
            axis += 1
        elif is_tensor(item) or hasattr(item, "__index__"):
            x = shapes.select(x, axis, item.__index__())
        else:
            kind = type(item).__name__
            raise InvalidType(
                f"an index must be an integer, slice, None, ... or tensor, not {kind}"
            )
    together = not places or places[-1] - places[0] == len(places) - 1
    return Parsed(x, tensors, together)


def _is_plain(item: Tensor) -> bool:
    """A concrete 0-d integer tensor indexes as its number; a traced one gathers."""
    return not item.dtype.is_floating_point and item.dtype is not bool_ and modes.trace is None


def _bool_index(item: Tensor) -> Tensor:
    return _from_numpy(np.nonzero(np.atleast_1d(item.host()))[0])


def _from_numpy(array: Any) -> Tensor:
    return tensors.wrapped(np.ascontiguousarray(array, np.int64))


def _slice(x: Tensor, axis: int, s: slice) -> Tensor:
    n = x.type.shape[axis]
    if s.step is not None and s.step.__index__() < 1:
        raise InvalidArgument(f"a slice step must be positive, got {s.step}", fix="use flip()")
    start, stop, step = s.indices(n)
    if (start, stop, step) == (0, n, 1):
        return x
    return shapes.slice_along(x, axis, start, max(start, stop), step)


def _as_indices(x: Tensor, item: Tensor, axis: int) -> list[Tensor]:
    """One i64 tensor for each dimension the item stands for."""
    if item.dtype is bool_:
        shape = item.type.shape
        if shape != x.type.shape[axis : axis + len(shape)]:
            raise InvalidIndex(f"the mask {item.type} does not fit {x.type} at dimension {axis}")
        if not shape:
            return []
        if modes.trace is not None:
            raise DataDependentBranch(
                "indexing with a bool mask gives a shape known only at run time",
                fix="use graphc.where(mask, x, 0), or masked_fill",
            )
        return [_from_numpy(a) for a in np.nonzero(item.host())]
    if item.dtype.is_floating_point:
        raise InvalidIndex(f"tensors used as indices must be integers or bools, not {item.type}")
    return [P.cast(item, i64)]


def checked(index: Tensor, bound: int, what: str, negative: bool = True) -> Tensor:
    """`index` with negatives wrapped (if allowed) after a run-time check against `bound`."""
    if negative:
        below = index.emit(OPS["lt"], index, 0)
        index = index.emit(OPS["where"], below, index.emit(OPS["add"], index, bound), index)
    return index.emit(OPS["check_index"], index, bound=bound, what=what)


# ---- x[index] ----------------------------------------------------------------------------------


def getitem(x: Tensor, index: Any) -> Tensor:
    """A view for integers, slices, None and ...; a copy for masks and integer tensors."""
    parsed = _parse(x, index)
    if parsed.tensors:
        flat, number, order = _flat(parsed)
        out = flat.emit(OPS["gather"], flat, number, axis=0)
        return P.transpose(out, order)
    return shapes.alias_view(x) if parsed.view is x else parsed.view


def _flat(parsed: Parsed) -> tuple[Tensor, Tensor, Shape]:
    """x as [indexed dimensions in one, *rest], the flat index, and the order of the result.

    The result of the gather is [*index shape, *rest]; `order` moves the index dimensions to where
    the first of them stood, unless the tensors were apart, when PyTorch leaves them in front."""
    x, tensors = parsed.view, parsed.tensors
    axes = sorted(tensors)
    common = broadcast_shapes(*(t.type.shape for t in tensors.values()))
    shape = x.type.shape
    number = None
    for axis in axes:
        i = checked(tensors[axis], shape[axis], f"index of dimension {axis}")
        i = broadcast_to(i, common)
        number = i if number is None else number * shape[axis] + i
    assert number is not None, "the caller has seen tensors"
    rest = [k for k in range(len(shape)) if k not in tensors]
    size = 1
    for axis in axes:
        size *= shape[axis]
    flat = P.reshape(P.transpose(x, (*axes, *rest)), (size, *(shape[k] for k in rest)))
    n, before = len(common), axes[0] if parsed.together else 0
    order = (*range(n, n + before), *range(n), *range(n + before, n + len(rest)))
    return flat, number, order


# ---- x[index] = value --------------------------------------------------------------------------


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Write through a view, or to the elements a mask or integer tensors choose."""
    if is_tensor(index) and index.dtype is bool_ and (is_number(value) or not value.type.shape):
        _set_masked(x, index, value)
        return
    parsed = _parse(x, index)
    if not parsed.tensors:
        target = parsed.view
        fill_(target, value) if is_number(value) else _copy_into(target, value)
        return
    _put(x, parsed, value)


def _copy_into(target: Tensor, value: Any) -> None:
    """x[...] = value drops leading size-1 dimensions that the target does not have."""
    if not is_tensor(value):
        value = creation.as_tensor(value)
    shape = value.type.shape
    extra = len(shape) - len(target.type.shape)
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        value = P.reshape(value, shape[extra:])
    if target.type == value.type and target.storage is value.storage and _one_place(target, value):
        return  # x[i] += 1 has already written through the view
    copy_(target, value)


def _one_place(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors of one storage and shape are the same view of it."""
    if x.array is None or y.array is None:  # of a trace
        return x.views == y.views
    if not x.type.numel:
        return False  # x[n:] = x[:-n] may be refused, and both are nowhere
    return x.strides() == y.strides() and x.array.ctypes.data == y.array.ctypes.data


def _set_masked(x: Tensor, mask: Tensor, value: Any) -> None:
    shape = mask.type.shape
    if shape != x.type.shape[: len(shape)]:
        raise InvalidIndex(f"the mask {mask.type} does not fit {x.type}")
    mask = P.reshape(mask, shape + (1,) * (len(x.type.shape) - len(shape)))
    mask = broadcast_to(mask, x.type.shape)
    filler = converted(value, x.dtype, x.type.shape) if is_tensor(value) else wrap(value, x.dtype)
    write(x, x.emit(OPS["where"], mask, filler, x))


def _put(x: Tensor, parsed: Parsed, value: Any) -> None:
    """Replace the chosen elements; of a repeated index one value stays, the last."""
    target = parsed.view
    check_writable(target)
    flat, number, order = _flat(parsed)
    shape = tuple(number.type.shape) + flat.type.shape[1:]
    placed = tuple(shape[k] for k in order)
    if is_number(value):
        value = x.full(wrap(value, x.dtype), TensorType(x.dtype, placed))
    value = P.transpose(converted(value, x.dtype, placed), _inverse(order))
    new = replace_rows(flat, number, value)
    axes = sorted(parsed.tensors)
    rest = [k for k in range(len(target.type.shape)) if k not in parsed.tensors]
    perm = (*axes, *rest)
    back = P.reshape(new, tuple(target.type.shape[k] for k in perm))
    write(target, P.transpose(back, _inverse(perm)))


def _inverse(perm: Sequence[int]) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def replace_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """x with x[index[i]] = rows[i]; the last of equal indices wins."""
    n = index.numel()
    if n == 0:
        return x
    index = P.reshape(index, (n,))
    rows = P.reshape(rows, (n, *x.type.shape[1:]))
    size = x.type.shape[0]
    winner = _last_writer(index, n, size)
    chosen = winner.emit(OPS["maximum"], winner, 0)
    new = rows.emit(OPS["gather"], rows, chosen, axis=0)
    hit = winner.emit(OPS["le"], 0, winner)
    hit = P.reshape(hit, (size, *(1 for _ in x.type.shape[1:])))
    hit = broadcast_to(hit, x.type.shape)
    return x.emit(OPS["where"], hit, new, x)


def _last_writer(index: Tensor, n: int, size: int) -> Tensor:
    """For each row, the place of the last i with index[i] == row, else -1."""
    if modes.trace is None:
        order = np.full(size, -1, np.int64)
        order[index.host()] = np.arange(n)
        return _from_numpy(order)
    shape = (size, n)
    row = index.emit(OPS["iota"], shape=shape, axis=0, dtype=i64.name)
    place = index.emit(OPS["iota"], shape=shape, axis=1, dtype=i64.name)
    match = row.emit(OPS["eq"], row, broadcast_to(index, shape))
    return shapes.squeeze(place.emit(OPS["where"], match, place, -1).amax(1))


# ---- gather and scatter ------------------------------------------------------------------------


def _along(x: Tensor, dim: int, index: Tensor, name: str) -> tuple[int, Tensor]:
    if index.dtype is not i64 and index.dtype is not u8 and index.dtype.category != 1:
        raise DTypeMismatch(f"{name}: index must be an integer tensor, got {index.type}")
    if len(index.type.shape) != len(x.type.shape):
        raise ShapeMismatch(f"{name}: index {index.type} and {x.type} differ in dimensions")
    axis = shapes.axis_of(x, dim)
    return axis, _within(index, x.type.shape[axis], name)


def _within(index: Tensor, bound: int, name: str) -> Tensor:
    """gather and scatter do not wrap negatives, and PyTorch raises RuntimeError for them."""
    try:
        return checked(index, bound, name, negative=False)
    except IndexOutOfRange as e:
        raise OutOfBounds(e.what) from None


class OutOfBounds(IndexOutOfRange, RuntimeError):
    """gather, scatter: index out of bounds."""


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim 0, and so on."""
    if not input.type.shape:
        return P.reshape(gather(P.reshape(input, (1,)), 0, P.reshape(index, (1,))), ())
    axis, index = _along(input, dim, index, "gather")
    return input.emit(OPS["take_along"], input, index, axis=axis)


def take_along_dim(input: Tensor, indices: Tensor, dim: int) -> Tensor:
    axis = shapes.axis_of(input, dim)
    a, b = list(input.type.shape), list(indices.type.shape)
    a[axis] = b[axis] = 1
    common = broadcast_shapes(a, b)
    xs = tuple(input.type.shape[k] if k == axis else n for k, n in enumerate(common))
    ys = tuple(indices.type.shape[k] if k == axis else n for k, n in enumerate(common))
    return gather(broadcast_to(input, xs), axis, broadcast_to(indices, ys))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x plus src[i][j] at [index[i][j]][j] for dim 0, each time an index appears."""
    if src.dtype is not input.dtype:
        raise DTypeMismatch(f"scatter_add: {input.type} and source {src.type} differ in dtype")
    axis, index = _along(input, dim, index, "scatter_add")
    src = _cut(src, index, "scatter_add")
    return input + src.emit(OPS["put_along"], src, index, axis=axis, shape=input.type.shape)


def _cut(src: Tensor, index: Tensor, name: str) -> Tensor:
    if any(n > m for n, m in zip(index.type.shape, src.type.shape, strict=True)):
        raise ShapeMismatch(f"{name}: index {index.type} exceeds the source {src.type}")
    return P.slice(src, (0,) * len(index.type.shape), index.type.shape)


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """x with src (a tensor or number) at the places gather reads; the last of equal ones wins."""
    axis, index = _along(input, dim, index, "scatter")
    winner = _last_along(index, axis, input.type.shape)
    hit = winner.emit(OPS["le"], 0, winner)
    if is_number(src):
        return input.emit(OPS["where"], hit, wrap(src, input.dtype), input)
    if src.dtype is not input.dtype:
        raise DTypeMismatch(f"scatter: {input.type} and source {src.type} differ in dtype")
    if 0 in index.type.shape:
        return input.clone()
    src = _grown(_cut(src, index, "scatter"), axis, input.type.shape)
    new = src.emit(OPS["take_along"], src, winner.emit(OPS["maximum"], winner, 0), axis=axis)
    return input.emit(OPS["where"], hit, new, input)


def _grown(src: Tensor, axis: int, shape: Shape) -> Tensor:
    """Pad the dimensions other than `axis` to `shape`, for an index smaller than its target."""
    high = tuple(0 if k == axis else n - src.type.shape[k] for k, n in enumerate(shape))
    return P.pad(src, (0,) * len(shape), high)


def _last_along(index: Tensor, axis: int, shape: Shape) -> Tensor:
    """i64 of `shape`: where along `axis` the last index to this place stands, else -1."""
    if modes.trace is None:
        array = index.host()
        grid = list(np.ogrid[tuple(slice(n) for n in array.shape)])
        along, grid[axis] = np.broadcast_to(grid[axis], array.shape), array
        winner = np.full(shape, -1, np.int64)
        winner[tuple(grid)] = along
        return _from_numpy(winner)
    m, rank = index.type.shape[axis], len(shape)
    wide = (*(n if k == axis else index.type.shape[k] for k, n in enumerate(shape)), m)
    row = index.emit(OPS["iota"], shape=wide, axis=axis, dtype=i64.name)
    place = index.emit(OPS["iota"], shape=wide, axis=rank, dtype=i64.name)
    moved = P.cast(shapes.unsqueeze(index, rank).transpose(axis, rank), i64)
    match = row.emit(OPS["eq"], row, broadcast_to(moved, wide))
    last: Tensor = place.emit(OPS["where"], match, place, -1).amax(rank)
    high = tuple(n - last.type.shape[k] for k, n in enumerate(shape))
    return last.emit(OPS["pad"], last, low=(0,) * rank, high=high, value=-1)


def scatter_(x: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    return write(x, scatter(x, dim, index, src))


def scatter_add_(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return write(x, scatter_add(x, dim, index, src))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows of x along `dim` by number."""
    axis = shapes.axis_of(input, dim)
    if len(index.type.shape) > 1:
        raise InvalidIndex(f"index_select: index must be 1-d, got {index.type}")
    number = P.reshape(
        checked(index, input.type.shape[axis], "index_select", False), (index.numel(),)
    )
    return input.emit(OPS["gather"], input, number, axis=axis)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """x plus alpha * source[k] at row index[k], each time an index appears."""
    axis = shapes.axis_of(input, dim)
    number = checked(index, input.type.shape[axis], "index_add", False)
    rows = source if alpha == 1 else source * alpha
    length = input.type.shape[axis]
    return input + rows.emit(OPS["scatter_add"], rows, number, axis=axis, length=length)


def index_add_(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    return write(x, index_add(x, dim, index, source, alpha=alpha))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    a, b = shapes.broadcast_tensors(input, mask)
    return getitem(a, b)


def nonzero(input: Tensor) -> Tensor:
    """The indices of nonzero elements, one row each."""
    array = input.host()
    rows = np.argwhere(array) if array.ndim else np.zeros((int(bool(array)), 0))
    return _from_numpy(rows)
