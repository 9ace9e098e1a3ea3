"""RemoteArray: type, shape and strides of elements out of reach, in NumPy's terms.

It stands where a tensor has a NumPy array. Nothing in it reads or writes elements: its views are
numbers computed from numbers. What has them on a GPU, or nowhere, says by its class where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Self

import numpy as np

from graphc.errors import InternalError
from graphc.ir.types import Shape


class Flags:
    """NumPy's names for how elements lie."""

    __slots__ = ("c_contiguous", "writeable")

    def __init__(self, c_contiguous: bool) -> None:
        self.c_contiguous = c_contiguous
        self.writeable = True


class RemoteArray:
    """Elements from `address` on; `base` is what keeps them."""

    __slots__ = ("__weakref__", "address", "base", "dtype", "flags", "shape", "strides")

    def __init__(
        self,
        address: int,
        dtype: np.dtype[Any],
        shape: Shape,
        base: object,
        strides: Shape | None = None,
    ) -> None:
        """`strides` in bytes; None for row-major ones."""
        self.address, self.dtype, self.shape, self.base = address, dtype, shape, base
        dense = row_major(shape, dtype.itemsize)
        self.strides = dense if strides is None else strides
        same = (n == 1 or s == d for n, s, d in zip(shape, self.strides, dense))
        self.flags = Flags(0 in shape or all(same))

    def beside(
        self, address: int, dtype: np.dtype[Any], shape: Shape, strides: Shape | None = None
    ) -> Self:
        """Another array over the same memory."""
        return type(self)(address, dtype, shape, self.base, strides)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def seen(self, shape: Shape, strides: Shape, offset: int = 0) -> Self:
        """The same memory from `offset` bytes on, with another shape and other strides."""
        return self.beside(self.address + offset, self.dtype, shape, strides)

    def transpose(self, order: Sequence[int]) -> Self:
        return self.seen(tuple(self.shape[k] for k in order), tuple(self.strides[k] for k in order))

    def reshape(self, *shape: Any) -> Self:
        """Of dense row-major elements only: nothing is copied."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if not self.flags.c_contiguous or prod(wanted) != self.size:
            raise InternalError(f"{self!r} seen as {list(wanted)}")
        return self.beside(self.address, self.dtype, tuple(wanted))

    def bytes_as(self, dtype: np.dtype[Any]) -> Self:
        """The elements of the same bytes; the last dimension, dense, fits itself."""
        if dtype.itemsize == self.itemsize:
            shape, strides = self.shape, self.strides
        else:
            last = self.shape[-1] * self.itemsize // dtype.itemsize
            shape, strides = (*self.shape[:-1], last), (*self.strides[:-1], dtype.itemsize)
        return self.beside(self.address, dtype, shape, strides)

    def span(self) -> tuple[int, int]:
        """The addresses of the first byte and of what follows the last; strides are never < 0."""
        if 0 in self.shape:
            return self.address, self.address
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        return self.address, self.address + last + self.itemsize

    def __len__(self) -> int:
        return self.shape[0]


def row_major(shape: Sequence[int], step: int) -> Shape:
    """Strides of dense elements of `step` bytes."""
    strides = []
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
