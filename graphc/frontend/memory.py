"""memory: a tensor's elements in the order that a compiled program reads them.

A program may keep state, such as the weights of a convolution, in an order of its own: dimension
`order[0]` outermost. To everyone else that is a strided NumPy array of the usual shape, so nothing
ever has to be put back.
"""

from __future__ import annotations

import sys

import numpy as np

from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Array, Shape, TensorType


def lies(array: Array | None, order: Shape) -> bool:
    """Whether the elements are dense in memory, in this order."""
    return array is not None and bool(array.transpose(order).flags.c_contiguous)


def arranged(array: Array, order: Shape) -> Array:
    """A copy of `array` that lies in `order`; same shape."""
    packed = np.ascontiguousarray(array.transpose(order))
    return packed.transpose(np.argsort(order))


def empty(type: TensorType, order: Shape) -> Array:
    """Memory for a tensor that lies in `order`."""
    packed = np.empty([type.shape[k] for k in order], type.dtype.numpy)
    return packed.transpose(np.argsort(order))


def settle(tensor: Tensor, order: Shape) -> bool:
    """Move a tensor's elements into `order`, if nobody else holds its memory.

    A storage whose address is known is bound to a program, which would go on to use the old place.
    """
    storage = tensor.storage
    if lies(storage.array, order):
        return True
    if storage.address or tensor.array is not storage.array or not _alone(storage):
        return False
    assert storage.array is not None
    storage.array = tensor.array = arranged(storage.array, order)
    return True


def _alone(storage: Storage) -> bool:
    """Whether only one tensor holds the storage, and only these two its array.

    `sys.getrefcount` counts, of the storage: the tensor, the frames here and the call; of the
    array: the tensor, the storage and the call.
    """
    array = storage.array
    owns = array is not None and (array.base is None or sys.getrefcount(array.base) <= 2)
    return owns and sys.getrefcount(array) <= 4
