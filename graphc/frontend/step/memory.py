"""memory: a tensor's elements in the order that a compiled program reads them.

A program may keep state, such as the weights of a convolution, in an order of its own: dimension
`order[0]` outermost. Eager code reads it as a strided array; where it would notice (strides, views,
NumPy) the storage is laid out as it is shown first (`Storage.unpack`), and the next call packs it
again.
What others hold by then stays where it is: each call copies it in and out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.errors import InternalError
from graphc.frontend.layouts import is_dense
from graphc.frontend.places import HOST, Place, place_of
from graphc.frontend.storage import holder
from graphc.frontend.tensor import Tensor, fresh
from graphc.ir.types import Array, Shape, TensorSpec

Copy = tuple[Array, Array]  # memory in another order, and the copy that the program works on


def lies(array: Array | None, order: Shape) -> bool:
    """Whether the elements are dense in memory, in this order."""
    return array is not None and bool(array.transpose(order).flags.c_contiguous)


def fitting(array: Array | None, spec: TensorSpec) -> Array:
    """`array`, of the type and size that a program was compiled for: asked wherever an address is
    handed to native code, which trusts it."""
    if array is None or array.dtype != spec.dtype.numpy or array.shape != spec.shape:
        found = "none" if array is None else f"{array.dtype}{list(array.shape)}"
        raise InternalError(f"memory of {found} for a program that was compiled for {spec}")
    return array


def intact(x: Tensor, spec: TensorSpec, order: Shape) -> bool:
    """Whether x shows all of its memory, which is of this type and lies in `order`."""
    whole = not x.views and x.array is x.storage.array
    return whole and x._spec == spec and x.storage.order == order


def row_major(array: Array | None, spec: TensorSpec) -> Array:
    """`fitting`, and where the elements do not lie in their order, a copy of them."""
    array = fitting(array, spec)
    return array if array.flags.c_contiguous else place_of(array).row_major(array)


def address(array: Array) -> int:
    """What a program is told of an array's memory."""
    return place_of(array).address(array)


def give_back(copies: Sequence[Copy]) -> None:
    """After a run: what it wrote into copies of state goes to where the state is."""
    for array, copy in copies:
        if array.flags.writeable:
            place_of(array).copy(array, copy)


def add(target: Array, source: Array) -> None:
    """target += source."""
    place_of(target).add(target, source)


def empty(spec: TensorSpec, order: Shape, place: Place = HOST) -> Tensor:
    """A tensor whose memory lies in `order`."""
    packed = place.empty([spec.shape[k] for k in order], spec.dtype.numpy)
    out = fresh(packed.transpose(np.argsort(order)), spec)
    out.storage.holders = [holder(out)]
    return out


def settle(tensor: Tensor, order: Shape) -> bool:
    """Move a tensor's elements into `order`, if nobody unknown holds its memory.

    A storage whose address is known is bound to a program, which would go on to use the old place.
    """
    storage = tensor.storage
    if lies(storage.array, order):
        return True
    if storage.address or tensor.array is not storage.array:
        return False
    if storage.strides and not is_dense(storage.spec.shape, storage.strides):
        return False  # it could not be laid out like that again
    if storage.holders is None:
        storage.holders = [holder(tensor)]
    return storage.move(order)
