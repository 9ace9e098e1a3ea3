"""Size: the shape of a tensor, a tuple that prints as PyTorch's and stays one in arithmetic."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, SupportsIndex, overload

import numpy as np

from graphc.frontend import dims
from graphc.ir.spelling import spelled
from graphc.ir.types import Array, DType

__all__ = ["Size", "broadcast_shapes"]


class Size(tuple[int, ...]):
    """A shape that prints as PyTorch's."""

    def numel(self) -> builtins.int:
        return int(np.prod(self, dtype=np.int64))

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Size:
        return Size(tuple.__add__(other, self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, count: Any) -> Size:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    @overload
    def __getitem__(self, at: SupportsIndex) -> builtins.int: ...
    @overload
    def __getitem__(self, at: slice) -> Size: ...
    def __getitem__(self, at: Any) -> Any:
        found = tuple.__getitem__(self, at)
        return Size(found) if isinstance(at, slice) else found

    def __repr__(self) -> str:
        return f"{spelled('Size')}([{', '.join(map(str, self))}])"


def legacy_array(data: Sequence[Any], dtype: DType) -> Array:
    """What Tensor(2, 3), Tensor(size), Tensor(sequence) and Tensor(array) hold."""
    if len(data) == 1 and not isinstance(data[0], int | Size):
        return np.array(data[0], dtype.numpy)
    size = data[0] if data and isinstance(data[0], Size) else data
    return np.zeros(dims.sizes((tuple(size) or (0,),)), dtype.numpy)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to; a number is a shape of one dimension."""
    given = (s if isinstance(s, list | tuple) else (s,) for s in shapes)
    return Size(dims.broadcast_shapes(*given))
