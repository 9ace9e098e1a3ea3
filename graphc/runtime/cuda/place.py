"""The memory of a GPU as tensors use it: arrays made, copied, filled and brought to the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import FROM_NUMPY, Array, Scalar, TensorSpec
from graphc.runtime.cuda import dlpack
from graphc.runtime.cuda.array import DeviceArray
from graphc.runtime.cuda.copies import SMALL_SPAN, Moves, is_dense, moves, on_host
from graphc.runtime.cuda.interface import array_of
from graphc.runtime.cuda.memory import Allocation

ADD = OPS["add"]
ALIGNED = 16  # bytes to which programs ask their operands to be aligned, see `row_major`


class Block(Protocol):
    """Allocated memory; it is free when nobody holds this any more."""

    @property
    def address(self) -> int: ...


class Memory(Protocol):
    """A device's memory and its one stream: everything is done in the order of the calls."""

    @property
    def index(self) -> int: ...
    def allocate(self, size: int) -> Block: ...
    def upload(self, address: int, source: Array, wait: bool) -> None:
        """Copy a dense array of the host. Returns when it may be changed; without `wait`, if it
        is pinned, before."""
        ...

    def fetch(self, source: Array) -> Block | None:
        """Memory with the elements of a dense pinned array, which is copied beside what runs; None
        of any other array."""
        ...

    def download(self, target: Array, address: int) -> None:
        """Copy to a dense array of the host, and wait for it."""
        ...

    def move(self, target: int, source: int, size: int) -> None: ...
    def set(self, address: int, word: bytes, count: int) -> None:
        """`count` words of 1, 2 or 4 bytes."""
        ...

    def synchronize(self) -> None: ...
    def settle(self) -> None: ...


class CudaPlace:
    """One GPU's memory; strided copies and operations are the compiler's, given as functions."""

    def __init__(
        self,
        memory: Memory,
        copy: Callable[[Moves, int, int], None],
        run: Callable[[CudaPlace, Op, Sequence[Any], Attrs, TensorSpec], DeviceArray],
    ) -> None:
        """`copy(moves, target, source)` of addresses."""
        self.memory = memory
        self._copy, self._run = copy, run
        self.index = memory.index
        self.name, self.kind = f"cuda:{memory.index}", DeviceArray

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        shape = tuple(shape)
        count = 1
        for n in shape:
            count *= n
        block = self.memory.allocate(count * dtype.itemsize)
        return DeviceArray(block.address, dtype, shape, block, self.index)

    def address(self, array: Any) -> int:
        return int(array.address)

    def base(self, array: Any) -> object | None:
        return array.base  # type: ignore[no-any-return]  # a DeviceArray's

    def overlap(self, a: Any, b: Any) -> bool:
        """By the bytes themselves: of two arrays with gaps one may lie in those of the other."""
        return self._meet(a, b) and bool(np.shares_memory(_shadow(a), _shadow(b)))

    @staticmethod
    def _meet(a: Any, b: Any) -> bool:
        (a0, a1), (b0, b1) = a.span(), b.span()
        return bool(a0 < b1 and b0 < a1)

    def row_major(self, array: Any) -> Any:
        """Aligned as programs ask for it, too."""
        if array.flags.c_contiguous and array.address % ALIGNED == 0:
            return array
        made = self.empty(array.shape, array.dtype)
        self.copy(made, array)
        return made

    def copy(self, target: Any, source: Any) -> None:
        if not target.size:
            return
        if self._meet(target, source):  # as if it were read before anything is written
            apart = self.empty(source.shape, source.dtype)
            self.copy(apart, source)
            source = apart
        how = moves(target.itemsize, target.shape, target.strides, source.strides)
        if how.is_block:
            self.memory.move(target.address, source.address, target.nbytes)
        else:
            self._copy(how, target.address, source.address)

    def add(self, target: Any, source: Any) -> None:
        spec = TensorSpec(FROM_NUMPY[target.dtype], target.shape)
        self.copy(target, self.run(ADD, (target, source), {}, spec))

    def upload(self, target: Any, source: Array, wait: bool) -> None:
        if not target.size:
            return
        if not target.flags.c_contiguous:
            made = self.empty(target.shape, target.dtype)
            self.upload(made, source, wait)
            self.copy(target, made)
            return
        dense = source.flags.c_contiguous
        self.memory.upload(target.address, source if dense else np.ascontiguousarray(source), wait)

    def fetched(self, source: Array) -> Any | None:
        """An array of its own, if there is a way beside what runs."""
        block = self.memory.fetch(source)
        if block is None:
            return None
        return DeviceArray(block.address, source.dtype, source.shape, block, self.index)

    def download(self, source: Any) -> Array:
        """The piece of memory where the elements are, and what they are of it."""
        first, end = source.span()
        dense = is_dense(source.shape, source.strides, source.itemsize)
        if not dense and end - first > max(SMALL_SPAN, 2 * source.nbytes):
            source = self.row_major(source)
            first, end = source.span()
        memory = np.empty(end - first, np.uint8)
        if memory.size:
            self.memory.download(memory, first)
        return on_host(memory, source)

    def fill(self, target: Any, value: Scalar) -> None:
        """By repeated words where the device has them, else by a copy from the host."""
        word = np.array(value, target.dtype).tobytes()
        while len(word) > 1 and word[: len(word) // 2] == word[len(word) // 2 :]:
            word = word[: len(word) // 2]
        if len(word) <= 4:
            self.memory.set(target.address, word, target.nbytes // len(word))
        else:
            self.upload(target, np.full(target.shape, value, target.dtype), wait=True)

    def settle(self) -> None:
        """Raise what may still fail of what was asked for."""
        self.memory.settle()

    def wait(self) -> None:
        """Until all is done that was asked for."""
        self.memory.synchronize()

    def exported(self, array: Any, stream: int | None) -> Any:
        """A DLPack capsule for a taker that goes on at once on `stream`; -1: it waits itself."""
        if stream != -1:
            self.wait()
        return dlpack.export(array)

    def imported(self, owner: Any) -> Any:
        """The array of an object with `__dlpack__`, which is done when this returns."""
        capsule = owner.__dlpack__(stream=1)  # the legacy default stream, on which nothing runs
        array = dlpack.take(capsule)
        self.wait()
        return array

    def used_by(self, array: Any, stream: int) -> None:
        """Work in this stream uses the memory: it is handed out again behind it."""
        if isinstance(array.base, Allocation):  # not another library's
            array.base.used_by(stream)

    def told(self, interface: Mapping[str, Any], owner: object) -> Any:
        """The array of an object with `__cuda_array_interface__`, done as above if it names a
        stream."""
        array = array_of(interface, owner, self.index)
        if interface.get("stream") is not None:
            self.wait()
        return array

    def run(self, op: Op, operands: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Any:
        return self._run(self, op, operands, attrs, spec)


class _Interface:
    """What NumPy makes an array of an address by."""

    def __init__(self, array: DeviceArray) -> None:
        self.__array_interface__ = {
            "shape": array.shape,
            "typestr": f"|V{array.itemsize}",
            "data": (array.address, True),
            "strides": array.strides,
            "version": 3,
        }


def _shadow(array: DeviceArray) -> Array:
    """An array of the same addresses, to ask which they are: its elements must not be read."""
    return np.asarray(_Interface(array))
