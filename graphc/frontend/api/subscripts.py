"""Subscripts: the index of x[...] taken apart into a view and the tensors that choose from it.

Integers, slices, None and Ellipsis make the view. Bool masks and integer tensors (lists, arrays)
are left, by the view's dimension: all of them index together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.errors import InvalidArgument, InvalidIndex, warn
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import creation, shapes
from graphc.frontend.api.runs import run as run_of
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.modes import modes
from graphc.frontend.operands import data_sized, is_tensor
from graphc.ir import sugar as P
from graphc.ir.sizes import index as index_of
from graphc.ir.sizes import same
from graphc.ir.types import Array, bool_, i32, i64, u8

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

SEQUENCES = (list, tuple, range)
MASKS = (bool_, u8)
LONG = 32  # a list of so many items is data, whatever they are


class Parsed(NamedTuple):
    """An index taken apart: the view of its basic part, and what chooses from it by the dimension
    of the view at which it starts: bool masks, and integers as tensors or arrays.

    Eager code selects by the value of a 0-d integer tensor. A trace does not know it and gathers;
    `unknown` are the dimensions of these; `runs` those of slices that begin at such a value.
    """

    view: Tensor
    choosers: dict[int, Tensor | Array]
    unknown: frozenset[int]
    runs: frozenset[int] = frozenset()

    def shows(self) -> bool:
        """Whether eager code gives a view."""
        return len(self.unknown | self.runs) == len(self.choosers)

    def touched(self) -> list[int]:
        """The dimensions that are indexed by choosers."""
        return [k for axis, c in self.choosers.items() for k in range(axis, axis + _width(c))]

    def rest(self) -> list[int]:
        touched = self.touched()
        return [k for k in range(len(self.view.spec.shape)) if k not in touched]

    def place(self) -> int:
        """How many of `rest` come before the index dimensions in the result: they stand where the
        choosers stood, if those are side by side, else in front."""
        touched = self.touched()
        kept = [k for k in range(len(self.view.spec.shape)) if k not in self.unknown]
        at = [p for p, k in enumerate(kept) if k in touched]
        return at[0] if at and at[-1] - at[0] == len(at) - 1 else 0

    def rank(self) -> int:
        """Of the result."""
        return len(self.rest()) + max(
            1 if is_mask(c) else len(c.shape) for c in self.choosers.values()
        )

    def indices(self) -> list[Tensor]:
        """One i64 tensor for each touched dimension."""
        return [t for axis, c in self.choosers.items() for t in _as_indices(self.view, c, axis)]


def _as_tuple(index: Any) -> tuple[Any, ...]:
    """The items of an index: PyTorch still takes a list of indices for a tuple of them."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < LONG and any(map(_is_index, index)):
        warn("a list of indices is taken for a tuple; write x[tuple(seq)] in place of x[seq]")
        return tuple(index)
    return (index,)


def _is_index(item: Any) -> bool:
    """Whether a list that contains `item` is no list of numbers."""
    kinds = (*SEQUENCES, slice, np.ndarray)
    return item is None or item is Ellipsis or isinstance(item, kinds) or is_tensor(item)


def _items(x: Tensor, index: Any) -> list[Any]:
    """The index as one item for each dimension it touches, Ellipsis filled in."""
    items = [_as_data(i) for i in _as_tuple(index)]
    used = sum(_width(i) for i in items)
    rank = len(x.spec.shape)
    if used > rank:
        raise InvalidIndex(f"too many indices for {x.spec}: {used}")
    fill: list[Any] = [slice(None)] * (rank - used)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
    return items[:at] + fill + [i for i in items[at:] if i is not Ellipsis]


def _as_data(item: Any) -> Any:
    """Sequences and arrays as arrays of bools, numbers or u8 (a mask, too); numbers as ints."""
    if isinstance(item, SEQUENCES):
        items = list(item)
        item = creation.tensor(items) if _holds_tensors(items) else np.array(items or [0][:0])
    if isinstance(item, HostValue) and item.varies():
        return item.as_tensor()
    if is_tensor(item) and item.dtype is u8:
        _warn_of_bytes()
    if not isinstance(item, np.ndarray):
        return item
    if item.dtype.kind not in "biuf":
        raise InvalidIndex(f"an index array must be of integers or bools, not {item.dtype}")
    if item.dtype == np.uint8:
        _warn_of_bytes()
        return item != 0
    return item if item.dtype == np.bool_ else item.astype(np.int64)


def _holds_tensors(items: Sequence[Any]) -> bool:
    return any(_holds_tensors(i) if isinstance(i, list | tuple) else is_tensor(i) for i in items)


def _warn_of_bytes() -> None:
    warn("a uint8 index is a mask; use a bool tensor")


def _width(item: Any) -> int:
    """How many dimensions of the tensor an item stands for."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, np.ndarray):
        return item.ndim if item.dtype == np.bool_ else 1
    if is_tensor(item):
        return len(item.spec.shape) if item.dtype in MASKS else 1
    return 1


def parse(x: Tensor, index: Any) -> Parsed:
    """Apply the basic items one dimension at a time; keep the others."""
    choosers: dict[int, Tensor | Array] = {}
    unknown, runs = set(), set()
    axis = 0
    for item in _items(x, index):
        if item is None:
            x = shapes.unsqueeze(x, axis)
        elif isinstance(item, slice):
            if (run := run_of(x, axis, item)) is None:
                x = _slice(x, axis, item)
            else:
                choosers[axis] = run
                runs.add(axis)
        elif _is_known(item):
            x = shapes.select(x, axis, index_of(item))
            continue
        elif _width(item) == 0:  # a single bool chooses from a new dimension of size 1
            x, choosers[axis] = shapes.unsqueeze(x, axis), _lifted(item)
        else:
            if is_tensor(item) and not item.spec.shape:
                unknown.add(axis)
            choosers[axis] = item
            axis += _width(item) - 1
        axis += 1
    if runs and len(choosers) > 1:  # which would choose together
        raise InvalidIndex(
            "a slice from a number that only the call knows, beside another index by tensors",
            fix="index once more: x[:, ptr:ptr + n][rows]",
        )
    return Parsed(x, choosers, frozenset(unknown), frozenset(runs))


def _is_known(item: Any) -> bool:
    """Whether an item selects by a number known now; a traced 0-d tensor does not."""
    if is_tensor(item):
        whole = item.dtype.category == 1 and item.dtype is not u8
        return item.spec.shape == () and whole and modes.trace is None
    if isinstance(item, np.ndarray):
        return item.ndim == 0 and item.dtype != np.bool_
    if isinstance(item, bool):
        return False
    if not hasattr(item, "__index__"):
        kind = type(item).__name__
        raise InvalidIndex(f"an index must be an integer, slice, None, ... or tensor, not {kind}")
    return True


def is_mask(item: Any) -> bool:
    return bool(item.dtype == np.bool_) if isinstance(item, np.ndarray) else item.dtype in MASKS


def _lifted(item: Any) -> Any:
    """A single bool as a mask of one element."""
    return shapes.reshape(item, 1) if is_tensor(item) else np.atleast_1d(np.asarray(item))


def _slice(x: Tensor, axis: int, s: slice) -> Tensor:
    n = x.spec.shape[axis]
    if s.step is not None and s.step.__index__() < 1:
        raise InvalidArgument(f"a slice step must be positive, got {s.step}", fix="use flip()")
    start, stop = _clamped(s.start, n, 0), _clamped(s.stop, n, n)
    step = 1 if s.step is None else s.step.__index__()
    if same(start, 0) and same(stop, n) and step == 1:
        return x
    return shapes.slice_along(x, axis, start, max(start, stop), step)


def _clamped(at: Any, n: int, default: int) -> int:
    """One end of a slice of n elements, as `slice.indices` gives it; n may be an extent."""
    if at is None:
        return default
    at = index_of(at)
    clamped: int = min(max(at + n if at < 0 else at, 0), n)
    return clamped


def _as_indices(x: Tensor, item: Tensor | Array, axis: int) -> list[Tensor]:
    """One i64 tensor for each dimension the item stands for."""
    if is_mask(item):
        return _places(x, item, axis)
    if isinstance(item, np.ndarray):
        return [creation.tensor(item, device=x.device)]
    if item.dtype not in (i64, i32) and (item.spec.shape or item.dtype.category != 1):
        raise InvalidIndex(
            f"tensors used as indices must be int64, int32, uint8 or bool, not {item.spec}"
        )
    return [P.cast(_beside(item, x), i64)]


def fitting(x: Tensor, mask: Tensor | Array, axis: int) -> Tensor | Array:
    """`mask` itself, after a look at its shape."""
    shape = tuple(mask.shape)
    if shape != x.spec.shape[axis : axis + len(shape)]:
        raise InvalidIndex(f"a mask of shape {shape} does not fit {x.spec} at dimension {axis}")
    return mask


def _places(x: Tensor, mask: Tensor | Array, axis: int) -> list[Tensor]:
    """Where a mask holds: one tensor for each of its dimensions."""
    fitting(x, mask, axis)
    if isinstance(mask, np.ndarray):
        return [creation.tensor(a, device=x.device) for a in np.nonzero(mask)]
    fix = (
        "use graphc.where(mask, x, 0), masked_fill, or x[mask.nonzero_static(size=n)[:, 0]]; "
        "to write values one after the other, masked_scatter"
    )
    return [from_numpy(a, x) for a in np.nonzero(data_sized(mask, "indexing by a mask", fix))]


def _beside(index: Tensor, x: Tensor) -> Tensor:
    """An index where x is: those of the CPU choose from any device."""
    return index.to(x.device) if index.is_cpu else index


def from_numpy(array: Any, like: Tensor) -> Tensor:
    """Numbers where `like` is; a constant inside a trace."""
    out = device_ops.like(tensors.wrapped(np.ascontiguousarray(array, np.int64)), like)
    return out if modes.trace is None else modes.trace.frozen(out)
