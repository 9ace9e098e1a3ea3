"""Indexing: x[...] and its assignment, gather and scatter, by PyTorch's rules.

Integers, slices, None and Ellipsis make views. One bool mask or integer tensors copy: all of them
index together, as one flat index over the dimensions that they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.errors import (
    DTypeMismatch,
    InvalidArgument,
    InvalidIndex,
    InvalidType,
)
from graphc.frontend import tensor as tensors
from graphc.frontend.api import creation, scatter, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.inplace import check_writable, converted, copy_, fill_, write
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_shapes, broadcast_to, data_sized, is_tensor
from graphc.frontend.promotion import is_number, wrap
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, TensorSpec, bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "index_put",
    "masked_select",
    "nonzero",
    "where",
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
    rank = len(x.spec.shape)
    if used > rank:
        raise InvalidIndex(f"too many indices for {x.spec}: {used}")
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
        return x.full(item, TensorSpec(bool_, ()))
    return item


def _width(item: Any) -> int:
    """How many dimensions of the tensor an item stands for."""
    if item is None or item is Ellipsis:
        return 0
    if is_tensor(item) and item.dtype is bool_:
        return len(item.spec.shape)
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
        elif is_tensor(item) and not (item.spec.shape == () and _is_plain(item)):
            for t in _as_indices(x, item, axis):
                tensors[axis] = t
                axis += 1
            if item.dtype is bool_ and item.spec.shape == ():
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
    n = x.spec.shape[axis]
    if s.step is not None and s.step.__index__() < 1:
        raise InvalidArgument(f"a slice step must be positive, got {s.step}", fix="use flip()")
    start, stop, step = s.indices(n)
    if (start, stop, step) == (0, n, 1):
        return x
    return shapes.slice_along(x, axis, start, max(start, stop), step)


def _as_indices(x: Tensor, item: Tensor, axis: int) -> list[Tensor]:
    """One i64 tensor for each dimension the item stands for."""
    if item.dtype is bool_:
        shape = item.spec.shape
        if shape != x.spec.shape[axis : axis + len(shape)]:
            raise InvalidIndex(f"the mask {item.spec} does not fit {x.spec} at dimension {axis}")
        if not shape:
            return []
        fix = "use graphc.where(mask, x, 0), or masked_fill"
        return [_from_numpy(a) for a in np.nonzero(data_sized(item, "indexing by a mask", fix))]
    if item.dtype.is_floating_point:
        raise InvalidIndex(f"tensors used as indices must be integers or bools, not {item.spec}")
    return [P.cast(item, i64)]


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
    common = broadcast_shapes(*(t.spec.shape for t in tensors.values()))
    shape = x.spec.shape
    number = None
    for axis in axes:
        i = scatter.checked(tensors[axis], shape[axis], f"index of dimension {axis}")
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
    if is_tensor(index) and index.dtype is bool_ and (is_number(value) or not value.spec.shape):
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
    shape = value.spec.shape
    extra = len(shape) - len(target.spec.shape)
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        value = P.reshape(value, shape[extra:])
    if target.storage is value.storage and target.views == value.views:
        check_writable(target)
        return  # x[i] += 1 has already written through the view
    copy_(target, value)


def _set_masked(x: Tensor, mask: Tensor, value: Any) -> None:
    shape = mask.spec.shape
    if shape != x.spec.shape[: len(shape)]:
        raise InvalidIndex(f"the mask {mask.spec} does not fit {x.spec}")
    mask = P.reshape(mask, shape + (1,) * (len(x.spec.shape) - len(shape)))
    mask = broadcast_to(mask, x.spec.shape)
    filler = converted(value, x.dtype, x.spec.shape) if is_tensor(value) else wrap(value, x.dtype)
    write(x, x.emit(OPS["where"], mask, filler, x))


def _put(x: Tensor, parsed: Parsed, value: Any) -> None:
    """Replace the chosen elements; of a repeated index one value stays, the last."""
    target = parsed.view
    check_writable(target)
    flat, number, order = _flat(parsed)
    shape = tuple(number.spec.shape) + flat.spec.shape[1:]
    placed = tuple(shape[k] for k in order)
    if is_number(value):
        value = x.full(wrap(value, x.dtype), TensorSpec(x.dtype, placed))
    value = P.transpose(converted(value, x.dtype, placed), _inverse(order))
    new = scatter.replace_rows(flat, number, value)
    axes = sorted(parsed.tensors)
    rest = [k for k in range(len(target.spec.shape)) if k not in parsed.tensors]
    perm = (*axes, *rest)
    back = P.reshape(new, tuple(target.spec.shape[k] for k in perm))
    write(target, P.transpose(back, _inverse(perm)))


def _inverse(perm: Sequence[int]) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    a, b = shapes.broadcast_tensors(input, mask)
    return getitem(a, b)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of nonzero elements: one row each, or (`as_tuple`) one tensor a dimension."""
    array = data_sized(input, "nonzero()", "use graphc.where(condition, x, 0)")
    if as_tuple:
        return tuple(_from_numpy(places) for places in np.nonzero(np.atleast_1d(array)))
    rows = np.argwhere(array) if array.ndim else np.zeros((int(bool(array)), 0))
    return _from_numpy(rows)


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, else other; the two promote and all three broadcast.

    where(condition) alone is nonzero(condition, as_tuple=True).
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise InvalidType("where() takes the condition alone, or with both input and other")
    return E.where(condition, input, other)


# ---- writes by index ---------------------------------------------------------------------------


def _added(x: Tensor, index: tuple[Any, ...], values: Tensor) -> Tensor:
    """x plus `values` at x[index], each time an element is chosen."""
    parsed = _parse(x, index)
    flat, number, order = _flat(parsed)
    shape = tuple(number.spec.shape) + flat.spec.shape[1:]
    values = P.transpose(
        converted(values, x.dtype, tuple(shape[k] for k in order)), _inverse(order)
    )
    rows = P.reshape(values, (number.numel(), *flat.spec.shape[1:]))
    number, length = P.reshape(number, (number.numel(),)), flat.spec.shape[0]
    summed = rows.emit(OPS["scatter_add"], rows, number, axis=0, length=length)
    axes = sorted(parsed.tensors)
    perm = (*axes, *(k for k in range(len(x.spec.shape)) if k not in parsed.tensors))
    back = P.reshape(summed, tuple(x.spec.shape[k] for k in perm))
    return x + P.transpose(back, _inverse(perm))


def index_put_(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """x[indices] = values, or += with repeated elements adding up, in place."""
    if values.dtype is not x.dtype:
        raise DTypeMismatch(f"index_put: {x.spec} and values {values.spec} differ in dtype")
    index = tuple(slice(None) if i is None else i for i in indices)
    if accumulate:
        return write(x, _added(x, index, values))
    setitem(x, index, values)
    return x


def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of `input` with out[indices] = values, or += where `accumulate`."""
    return index_put_(input.clone(), indices, values, accumulate)
