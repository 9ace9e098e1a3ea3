"""places: what tensors and steps ask of memory, wherever it lies: the host's, or a device's.

The type of an array says where it is. NumPy's arrays are the host's; whoever makes arrays of
another kind adds it to `PLACES` with the operations on its memory. A device's array shows `shape`,
`dtype`, `strides`, `flags.c_contiguous`, `transpose` and `reshape` as NumPy's does; what reads or
writes elements goes through its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from graphc.frontend.eager.arrays import row_major
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, Scalar, Shape, TensorSpec


class Place(Protocol):
    """The memory of one device."""

    @property
    def name(self) -> str:
        """As PyTorch spells the device: "cpu", "cuda:0"."""
        ...

    @property
    def kind(self) -> type:
        """The type of its arrays, which other devices may share."""
        ...

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """New row-major memory, its elements undefined."""
        ...

    def address(self, array: Array) -> int:
        """Where its first element is, as a program on this device is told."""
        ...

    def base(self, array: Array) -> object | None:
        """What owns the memory and is held by each array over it; None if the array does."""
        ...

    def row_major(self, array: Array) -> Array:
        """The array itself if it is row-major and dense, else a copy that is."""
        ...

    def overlap(self, a: Array, b: Array) -> bool:
        """Whether two arrays of this place have bytes in common."""
        ...

    def copy(self, target: Array, source: Array) -> None:
        """target[...] = source, both of this place."""
        ...

    def add(self, target: Array, source: Array) -> None:
        """target += source, both of this place."""
        ...


class DevicePlace(Place, Protocol):
    """The memory of a GPU, and the operations that eager code runs there."""

    @property
    def index(self) -> int: ...

    def upload(self, target: Any, source: Array, wait: bool) -> None:
        """target[...] = source, an array of the host; without `wait` it may return before it has
        been read, if it is pinned."""
        ...

    def fetched(self, source: Array) -> Any | None:
        """A new array with the elements of one of the host, copied while what was asked for before
        goes on; None where that cannot be, as of memory that is not pinned or has gaps."""
        ...

    def download(self, source: Any) -> Array:
        """The elements in row-major memory of the host, once what computes them is done."""
        ...

    def fill(self, target: Any, value: Scalar) -> None:
        """target[...] = value, `target` being dense."""
        ...

    def settle(self) -> None:
        """Raise what may still fail of what was asked for, before what it gives is kept."""
        ...

    def wait(self) -> None:
        """Until all is done that was asked for."""
        ...

    def exported(self, array: Any, stream: int | None) -> Any:
        """A DLPack capsule for a taker that goes on at once on `stream`; -1: it waits itself."""
        ...

    def imported(self, owner: Any) -> Any:
        """The array of another library's object with `__dlpack__`."""
        ...

    def used_by(self, array: Any, stream: int) -> None:
        """Another stream's work uses the array's memory, up to where it is dropped."""
        ...

    def told(self, interface: Mapping[str, Any], owner: object) -> Any:
        """The array of another library's object with this `__cuda_array_interface__`."""
        ...

    def run(self, op: Op, operands: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Any:
        """`op` on arrays and, as 0-d arrays of the host, numbers; what it gives is row-major."""
        ...


class Host:
    """NumPy's arrays."""

    name = "cpu"
    kind: type = np.ndarray

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        return np.empty(shape, dtype)

    def address(self, array: Array) -> int:
        place: int = array.__array_interface__["data"][0]  # `ctypes.data` takes twice as long
        return place

    def base(self, array: Array) -> object | None:
        return array.base

    def row_major(self, array: Array) -> Array:
        return row_major(array)

    def overlap(self, a: Array, b: Array) -> bool:
        return bool(np.shares_memory(a, b))

    def copy(self, target: Array, source: Array) -> None:
        target[...] = source

    def add(self, target: Array, source: Array) -> None:
        target += source


HOST = Host()
# By type of array, what gives the place of one.
PLACES: dict[type, Callable[[Any], Place]] = {np.ndarray: lambda _: HOST}


def place_of(array: Array | None) -> Place:
    """Where an array is; what has none yet is on the host."""
    if type(array) is np.ndarray or array is None:
        return HOST
    found = PLACES.get(type(array))
    return HOST if found is None else found(array)  # None: a subclass of NumPy's


def place_on(array: Array | None) -> DevicePlace | None:
    """The GPU on which an array is; None on the host."""
    if type(array) is np.ndarray or array is None:
        return None
    place = place_of(array)
    return None if place is HOST else cast(DevicePlace, place)


def settle(array: Array | None) -> None:
    """Before anything keeps what is here: raise what may have failed where it was computed."""
    if (place := place_on(array)) is not None:
        place.settle()


def on_host(array: Array) -> Array:
    """The elements of an array, for Python to look at: the array itself, or of a GPU's a copy."""
    place = place_on(array)
    return array if place is None else place.download(array)


def dense_copy(array: Array) -> Array:
    """A row-major copy."""
    if type(array) is np.ndarray:
        return np.array(array, order="C")
    return arranged(array, tuple(range(array.ndim)))


def arranged(array: Array, order: Shape) -> Array:
    """A copy of `array` that lies in `order`, dimension `order[0]` outermost; same shape."""
    turned, back = array.transpose(order), np.argsort(order)
    if type(array) is np.ndarray:
        return np.array(turned, order="C").transpose(back)
    place = place_of(array)
    packed = place.empty(turned.shape, array.dtype)
    place.copy(packed, turned)
    return packed.transpose(back)
