"""DeviceArray: type, shape and strides of memory on a GPU, in NumPy's terms and without its reach.

It stands where a tensor has a NumPy array, and whoever asks for the elements as an array gets an
error, so that no address of a device is ever followed on the host.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np

from graphc.errors import InvalidType
from graphc.ir.remote import RemoteArray
from graphc.ir.remote import row_major as row_major
from graphc.ir.types import Shape


class DeviceArray(RemoteArray):
    """Elements on the device `index` at `address`; `base` is what keeps the memory allocated."""

    __slots__ = ("index",)

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
        super().__init__(address, dtype, shape, base, strides)
        self.index = index

    def beside(
        self, address: int, dtype: np.dtype[Any], shape: Shape, strides: Shape | None = None
    ) -> Self:
        return type(self)(address, dtype, shape, self.base, self.index, strides)

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

    def __getitem__(self, at: object) -> NoReturn:
        self.__array__()

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} on cuda:{self.index}>"
