"""Indexing: x[...] and its assignment, gather and scatter, by PyTorch's rules.

Integers, slices, None and Ellipsis make views. Bool masks and integer tensors copy: all of them
index together, as one flat index over the dimensions that they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from graphc.errors import DTypeMismatch, InvalidIndex, InvalidType, ShapeMismatch
from graphc.frontend import device_ops, layouts
from graphc.frontend.api import creation, formats, scatter, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.subscripts import Parsed, fitting, from_numpy, is_mask, parse
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.geometry import shown_strides
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.inplace import check_writable, converted, copy_, fill_, write
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to, data_sized, is_tensor
from graphc.frontend.promotion import held, is_number
from graphc.frontend.registry import public
from graphc.frontend.views import row_major
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, TensorSpec, bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "index_put",
    "index_put_",
    "masked_select",
    "nonzero",
    "where",
]


# ---- x[index] ----------------------------------------------------------------------------------


@public(operators=("__getitem__",))
def getitem(x: Tensor, index: Any) -> Tensor:
    """A view for integers, slices, None and ...; a copy for masks and integer tensors."""
    parsed = parse(x, index)
    if not parsed.choosers:
        return shapes.alias_view(x) if parsed.view is x else parsed.view
    place = parsed.place()
    flat, number = _flat(parsed, place)
    out = _arranged(flat.emit(OPS["gather"], flat, number, axis=place), parsed, place)
    if modes.trace is not None and parsed.shows():
        modes.trace.pick(out, x, index, lambda new: _put(parsed, number, new))
    return out


def _arranged(out: Tensor, parsed: Parsed, place: int) -> Tensor:
    """What was chosen, so that it lies as an elementwise result of view and indices would."""
    strides = shown_strides(parsed.view)
    if not strides:
        return out
    shape, rest = out.spec.shape, [strides[k] for k in parsed.rest()]
    end = place + len(shape) - len(rest)
    source = (*rest[:place], *(0,) * (end - place), *rest[place:])
    index = (*(0,) * place, *row_major(shape[place:end]), *(0,) * (len(shape) - end))
    return formats.arrange(out, layouts.of_elementwise(shape, (source, index), False))


def _flat(parsed: Parsed, place: int) -> tuple[Tensor, Tensor]:
    """The view with the indexed dimensions as one, behind `place` others, and the flat index."""
    x, axes, rest = parsed.view, parsed.touched(), parsed.rest()
    indices = parsed.indices()
    try:
        common = broadcast_shapes(*(t.spec.shape for t in indices))
    except ShapeMismatch as e:
        raise InvalidIndex(f"indexing tensors: {e.what}") from None
    shape = x.spec.shape
    number = None
    for axis, index in zip(axes, indices, strict=True):
        i = scatter.checked(index, shape[axis], f"index of dimension {axis}")
        i = broadcast_to(i, common)
        number = i if number is None else number * shape[axis] + i
    assert number is not None, "the caller has seen choosers"
    size = math.prod(shape[k] for k in axes)
    moved = P.transpose(x, (*rest[:place], *axes, *rest[place:]))
    sizes = [shape[k] for k in rest]
    return P.reshape(moved, (*sizes[:place], size, *sizes[place:])), number


# ---- x[index] = value --------------------------------------------------------------------------


@public(operators=("__setitem__",))
def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Write through a view, or to the elements a mask or integer tensors choose."""
    parsed = parse(x, index)
    if isinstance(value, HostValue):
        value = value.as_tensor()
    if isinstance(value, list | tuple | np.ndarray):
        value = creation.as_tensor(value, device=x.device)
    elif not is_tensor(value) and not is_number(value):
        raise InvalidType(f"a {type(value).__name__} cannot be assigned to elements of {x.spec}")
    if not parsed.choosers:
        target = parsed.view
        fill_(target, value) if is_number(value) else _copy_into(target, value)
        return
    if is_tensor(value) and _has_written(x, index, value):
        return
    if ACCELERATORS and is_tensor(value):
        _, value = device_ops.together((x, value))
    check_writable(parsed.view)
    if _set_masked(parsed, value):
        return
    if is_tensor(value):
        value = _without_ones(value, parsed.rank())
    _put(parsed, None, value)


def _has_written(x: Tensor, index: Any, value: Tensor) -> bool:
    """Whether `value` is x[index] by an unknown number, whose writes have gone through to x."""
    pick = modes.trace.picked.get(value.storage) if modes.trace is not None else None
    return pick is not None and pick.source is x and pick.index is index and not value.views


def _without_ones(value: Tensor, rank: int) -> Tensor:
    """`value` without leading dimensions of size 1 that a target of `rank` does not have."""
    shape = value.spec.shape
    extra = len(shape) - rank
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        return P.reshape(value, shape[extra:])
    return value


def _copy_into(target: Tensor, value: Tensor) -> None:
    value = _without_ones(value, len(target.spec.shape))
    if target.storage is value.storage and target.views == value.views:
        check_writable(target)
        return  # x[i] += 1 has already written through the view
    copy_(target, value)


def _set_masked(parsed: Parsed, value: Any) -> bool:
    """By a select where one mask chooses and all that it chooses gets the same; else False."""
    (axis, mask), *others = parsed.choosers.items()
    x = parsed.view
    if others or not is_mask(mask):
        return False
    shape = tuple(fitting(x, mask, axis).shape)
    behind = x.spec.shape[axis + len(shape) :]
    if is_tensor(value):
        value = P.reshape(value, ()) if value.numel() == 1 else value
        if len(value.spec.shape) > len(behind):
            return False
        filler: Any = converted(value, x, behind)
        filler = broadcast_to(filler, x.spec.shape)
    else:
        filler = held(value, x.dtype)
    where = x.device
    chosen: Tensor = mask.to(where) if is_tensor(mask) else creation.tensor(mask, device=where)  # type: ignore[union-attr]
    chosen = P.reshape(P.cast(chosen, bool_), shape + (1,) * len(behind))
    write(x, x.emit(OPS["where"], broadcast_to(chosen, x.spec.shape), filler, x))
    return True


def _put(parsed: Parsed, number: Tensor | None, value: Any) -> None:
    """Replace the chosen elements; of a repeated index one value stays, the last."""
    x, place, axes, rest = parsed.view, parsed.place(), parsed.touched(), parsed.rest()
    flat, found = _flat(parsed, 0)
    number = found if number is None else number
    new = scatter.replace_rows(flat, number, _rows(x, flat, number, place, value))
    back = P.reshape(new, tuple(x.spec.shape[k] for k in (*axes, *rest)))
    write(x, P.transpose(back, _inverse((*axes, *rest))))


def _rows(x: Tensor, flat: Tensor, number: Tensor, place: int, value: Any) -> Tensor:
    """What is assigned, with the index dimensions in front, as in `flat`."""
    rest, n = flat.spec.shape[1:], len(number.spec.shape)
    placed = (*rest[:place], *number.spec.shape, *rest[place:])
    if is_number(value):
        value = x.full(held(value, x.dtype), TensorSpec(x.dtype, placed))
    rows = converted(value, x, placed)
    order = (*range(place, place + n), *range(place), *range(place + n, len(placed)))
    return P.transpose(rows, order)


def _inverse(perm: Sequence[int]) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


@public(method=True, out=True)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, in row-major order, as a vector; the two broadcast.

    Untraceable inside a step, whose shapes do not depend on values.
    """
    if mask.dtype is not bool_:
        raise DTypeMismatch(f"masked_select needs a bool mask, got {mask.spec}")
    a, b = shapes.broadcast_tensors(input, mask)
    return getitem(a, b)


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
@public(method=True, out=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of nonzero elements: one row each, or (`as_tuple`) one tensor a dimension.

    [...] of rank R with n of them -> [n, R].
    """
    array = data_sized(
        input,
        "nonzero()",
        "nonzero_static(size=n) gives n rows, or use graphc.where(condition, x, 0)",
    )
    if as_tuple:
        return tuple(from_numpy(places, input) for places in np.nonzero(np.atleast_1d(array)))
    rows = np.argwhere(array) if array.ndim else np.zeros((int(bool(array)), 0))
    return from_numpy(rows, input)


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Any, other: Any) -> Tensor: ...
@public(out=True)
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, else other; the two promote and all three broadcast.

    where(condition) alone is nonzero(condition, as_tuple=True).

    Shapes that broadcast -> theirs.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise InvalidType("where() takes the condition alone, or with both input and other")
    return E.where(condition, input, other)


# ---- writes by index ---------------------------------------------------------------------------


def _added(x: Tensor, index: tuple[Any, ...], values: Tensor) -> Tensor:
    """x plus `values` at x[index], each time an element is chosen."""
    parsed = parse(x, index)
    axes, rest = parsed.touched(), parsed.rest()
    flat, number = _flat(parsed, 0)
    rows = _rows(x, flat, number, parsed.place(), values)
    rows = P.reshape(rows, (number.numel(), *flat.spec.shape[1:]))
    number, length = P.reshape(number, (number.numel(),)), flat.spec.shape[0]
    summed = rows.emit(OPS["scatter_add"], rows, number, axis=0, length=length)
    back = P.reshape(summed, tuple(x.spec.shape[k] for k in (*axes, *rest)))
    return x + P.transpose(back, _inverse((*axes, *rest)))


@public(method=True)
def index_put_(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """input[indices] = values, or += with repeated elements adding up, in place."""
    if values.dtype is not input.dtype:
        raise DTypeMismatch(f"index_put: {input.spec} and values {values.spec} differ in dtype")
    index = tuple(slice(None) if i is None else i for i in indices)
    if accumulate:
        return write(input, _added(input, index, values))
    parsed = parse(input, index)
    check_writable(input)
    _put(parsed, None, values)
    return input


@public(method=True)
def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of `input` with out[indices] = values, or += where `accumulate`."""
    return index_put_(input.clone(), indices, values, accumulate)
