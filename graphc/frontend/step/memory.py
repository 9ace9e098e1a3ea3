"""memory: a tensor's elements in the order that a compiled program reads them.

A program may keep state, such as the weights of a convolution, in an order of its own: dimension
`order[0]` outermost. Eager code reads it as a strided array; where it would notice (strides, views,
NumPy) the storage is laid out as it is shown first (`Storage.unpack`), and the next call packs it
again.
What others hold by then stays where it is: each call copies it in and out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from graphc.errors import InternalError
from graphc.frontend.layouts import is_dense
from graphc.frontend.places import HOST, DevicePlace, Place, arranged, place_of
from graphc.frontend.storage import holder
from graphc.frontend.tensor import Tensor, fresh
from graphc.ir.types import Array, Shape, TensorSpec

Copy = tuple[Array, Array]  # memory in another order, and the copy that the program works on

ALIGNED = 16  # bytes that each access of a GPU's thread may be as wide as


class Copies(list[Copy]):
    """What stands in for state that a program of `place` cannot use as it is, for one call."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def usable(self, array: Array, order: Shape) -> Array:
        """State as the program uses it: itself if it lies in `order`, or a copy, which is noted."""
        here = is_at(array, self.place)
        if here and lies(array, order):
            return array
        made = arranged(array, order) if here else brought(array, self.place)
        self.append((array, made))
        return made


def lies(array: Array | None, order: Shape) -> bool:
    """Whether the elements are dense in memory, in this order, and where a program can use them."""
    if array is None or not array.transpose(order).flags.c_contiguous:
        return False
    return begins_well(array)


def begins_well(array: Array) -> bool:
    """Whether a program can read it from its first element on."""
    return type(array) is np.ndarray or address(array) % ALIGNED == 0


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


def row_major(array: Array | None, spec: TensorSpec, place: Place) -> Array:
    """`fitting`, and where the elements do not lie in their order, or are elsewhere, a copy."""
    array = fitting(array, spec)
    return place_of(array).row_major(array) if is_at(array, place) else brought(array, place)


def is_at(array: Array, place: Place) -> bool:
    """Whether a program there can use it; a number of the host is brought to a GPU."""
    return place_of(array) is place


def brought(array: Array, place: Place) -> Array:
    """A copy of a number of the host's in the memory of a GPU; a program trusts addresses, so what
    else is elsewhere is an error of whoever chose it."""
    if array.shape or place is HOST or place_of(array) is not HOST:
        raise InternalError(f"memory of {place_of(array).name} for a program on {place.name}")
    made = place.empty(array.shape, array.dtype)
    cast(DevicePlace, place).upload(made, array, wait=True)
    return made


def address(array: Array) -> int:
    """What a program is told of an array's memory."""
    return place_of(array).address(array)


def give_back(copies: Sequence[Copy]) -> None:
    """After a run: what it wrote into copies of state goes to where the state is."""
    for array, copy in copies:
        if not array.flags.writeable:
            continue
        if is_at(array, place := place_of(copy)):
            place.copy(array, copy)
        else:
            array[...] = cast(DevicePlace, place).download(copy)


def add(target: Array, source: Array) -> None:
    """target += source."""
    place_of(target).add(target, source)


def empty(spec: TensorSpec, order: Shape, place: Place = HOST) -> Tensor:
    """A tensor whose memory lies in `order`."""
    packed = place.empty([spec.shape[k] for k in order], spec.dtype.numpy)
    out = fresh(packed.transpose(np.argsort(order)), spec)
    out.storage.holders = [holder(out)]
    return out


def relayout(tensor: Tensor, order: Shape) -> bool:
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
