"""What the frontend's tensors use of a GPU: its memory from the runtime, its operations and strided
copies from the compiler. Beside `compile.py` and `cuda_backend.py` it may import both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.codegen_gpu.module import emit, needs_wide
from graphc.codegen_gpu.routine import has_code
from graphc.codegen_gpu.tiles import SIDE
from graphc.errors import CudaError, InvalidArgument
from graphc.frontend import device_ops, places
from graphc.frontend.devices import HOST_POINTER, Accelerator
from graphc.frontend.places import DevicePlace
from graphc.frontend.step.cuda_backend import GpuBackend, cuda_backend
from graphc.frontend.step.one_op import OneOp
from graphc.ir.cuda_abi import Image
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, Shape, TensorSpec
from graphc.runtime.cuda import device, probe
from graphc.runtime.cuda.array import DeviceArray
from graphc.runtime.cuda.copies import Moves
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import PointerAttribute
from graphc.runtime.cuda.pack import bound, grid, pack
from graphc.runtime.cuda.place import CudaPlace

WARP = 32


class Copies:
    """Strided copies within a device's memory: a kernel for each kind of them."""

    def __init__(self, on: Device) -> None:
        self._device = on
        self._images: dict[tuple[str, bool, Shape], Image] = {}

    def __call__(self, how: Moves, target: int, source: int) -> None:
        kernel = how.kernel
        sizes = dict(zip(kernel.sizes, how.sizes, strict=True))
        wide = needs_wide(kernel, sizes)
        key = kernel.key(), wide, tuple(n >= SIDE // 2 for n in how.shape)
        image = self._images.get(key)
        if image is None:
            backend = cuda_backend(self._device)
            made = emit(kernel, how.sizes, backend.target, wide=wide, anywhere=(0, 1))
            (image,) = backend.compiled([made])
            self._images[key] = image
        values = bound(image.source, (source, target), how.sizes)
        packed = pack(image.source, values)
        self._device.driver.LaunchKernel(
            self._device.function(image), grid(image.source, sizes),
            WARP * image.source.num_warps, image.shared_bytes, self._device.stream,
            packed.address,
        )  # fmt: skip


class Operations:
    """Eager operations on a device; its back end is made by the first."""

    def __init__(self, on: Device) -> None:
        self._device = on
        self._programs: OneOp | None = None

    def __call__(
        self, place: CudaPlace, op: Op, operands: Sequence[Any], attrs: Attrs, spec: TensorSpec
    ) -> Any:
        if self._programs is None:
            backend: GpuBackend = cuda_backend(self._device)
            self._programs = OneOp(backend, has_code)
        return self._programs(place, op, operands, attrs, spec)


class Cuda:
    """The process's GPUs, whichever driver is chosen."""

    def __init__(self) -> None:
        self._places: dict[Device, CudaPlace] = {}

    def count(self) -> int:
        """Raises DeviceUnavailable, saying what is missing, where there is none."""
        if (missing := probe.unavailable()) is not None:
            raise missing
        return device.count()

    def current(self) -> int:
        return device.current_index()

    def place(self, index: int) -> DevicePlace:
        on = device.current(index)  # which makes it this thread's
        place = self._places.get(on)
        if place is None:
            place = self._places[on] = CudaPlace(on, Copies(on), Operations(on))
        return place

    def owning(self, address: int) -> int:
        try:
            driver = device.current().driver
            return driver.PointerGetAttribute(PointerAttribute.DEVICE_ORDINAL, address)
        except CudaError:
            raise InvalidArgument(HOST_POINTER.format(address)) from None

    def pinned(self, array: Array) -> Array:
        made = device.current().host.array(array.shape, array.dtype)
        made[...] = array
        return made

    def is_pinned(self, array: Array) -> bool:
        return device.is_initialized() and device.current().host.holds(array)

    apply = staticmethod(device_ops.apply)
    full = staticmethod(device_ops.full)


def make() -> Accelerator:
    """Raises DeviceUnavailable, saying what is missing."""
    made = Cuda()
    made.count()
    places.PLACES[DeviceArray] = lambda array: made.place(array.index)
    return made
