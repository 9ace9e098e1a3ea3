"""DeviceArray: type, shape and strides of memory on a GPU, in NumPy's terms and without its reach.

It stands where a tensor has a NumPy array. Nothing in it reads or writes elements: its views are
numbers computed from numbers, and whoever asks for the elements as an array gets an error, so that
no address of a device is ever followed on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np

from graphc.errors import InternalError, InvalidType
from graphc.ir.types import Shape


class Flags:
    """NumPy's names for how elements lie."""

    __slots__ = ("c_contiguous", "writeable")

    def __init__(self, c_contiguous: bool) -> None:
        self.c_contiguous = c_contiguous
        self.writeable = True


class DeviceArray:
    """Elements on the device `index` at `address`; `base` is what keeps the memory allocated."""

    __slots__ = ("__weakref__", "address", "base", "dtype", "flags", "index", "shape", "strides")

    def __init__(
        self,
        address: int,
        dtype: np.dtype[Any],
        shape: Shape,
        base: object,
        index: int = 0,
        strides: Shape | None = None,
    ) -> None:
        """`strides` in bytes; None for row-major ones."""
        self.address, self.dtype, self.shape, self.base = address, dtype, shape, base
        self.index = index
        dense = row_major(shape, dtype.itemsize)
        self.strides = dense if strides is None else strides
        same = (n == 1 or s == d for n, s, d in zip(shape, self.strides, dense))
        self.flags = Flags(0 in shape or all(same))

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

    def seen(self, shape: Shape, strides: Shape, offset: int = 0) -> DeviceArray:
        """The same memory from `offset` bytes on, with another shape and other strides."""
        return DeviceArray(self.address + offset, self.dtype, shape, self.base, self.index, strides)

    def transpose(self, order: Sequence[int]) -> DeviceArray:
        return self.seen(tuple(self.shape[k] for k in order), tuple(self.strides[k] for k in order))

    def reshape(self, *shape: Any) -> DeviceArray:
        """Of dense row-major elements only: nothing is copied."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if not self.flags.c_contiguous or prod(wanted) != self.size:
            raise InternalError(f"{self!r} seen as {list(wanted)}")
        return DeviceArray(self.address, self.dtype, tuple(wanted), self.base, self.index)

    def bytes_as(self, dtype: np.dtype[Any]) -> DeviceArray:
        """The elements of the same bytes; the last dimension, dense, fits itself."""
        if dtype.itemsize == self.itemsize:
            shape, strides = self.shape, self.strides
        else:
            last = self.shape[-1] * self.itemsize // dtype.itemsize
            shape, strides = (*self.shape[:-1], last), (*self.strides[:-1], dtype.itemsize)
        return DeviceArray(self.address, dtype, shape, self.base, self.index, strides)

    def span(self) -> tuple[int, int]:
        """The addresses of the first byte and of what follows the last; strides are never < 0."""
        if 0 in self.shape:
            return self.address, self.address
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        return self.address, self.address + last + self.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None if self.flags.c_contiguous else self.strides,
            "version": 3,
            "stream": None,  # nothing to wait for: whoever gives this to others has waited
        }

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InvalidType(
            f"can't convert cuda:{self.index} device type tensor to numpy. Use Tensor.cpu() to "
            "copy the tensor to host memory first.",
            why="NumPy arrays are memory of the host",
            fix="use tensor.cpu().numpy()",
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: object) -> NoReturn:
        self.__array__()

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} on cuda:{self.index}>"


def row_major(shape: Sequence[int], step: int) -> Shape:
    """Strides of dense elements of `step` bytes."""
    strides = []
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
