"""Where a Tensor's memory is, and how other libraries come by it: on a GPU, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import AutogradError, InvalidState, InvalidType, NotAvailable, Unsupported
from graphc.frontend import notebook
from graphc.frontend.devices import ACCELERATORS, CPU, META, cuda_device, device
from graphc.frontend.meta import META as META_PLACE
from graphc.frontend.modes import modes
from graphc.frontend.places import HOST, DevicePlace, place_of, place_on
from graphc.ir.types import bf16

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

DLPACK_CPU, DLPACK_CUDA = 1, 2


def gpu_of(x: Tensor) -> DevicePlace:
    """The GPU of a tensor that is on one."""
    place = place_on(x.array)
    assert place is not None, "asked of tensors on a GPU"
    return place


def device_of(x: Tensor) -> device:
    """Where a tensor is; one of a trace, where the trace's tensors are."""
    if x.array is None:
        trace = modes.trace or x.storage.trace
        place: Any = HOST if trace is None else trace.place
    else:
        place = place_of(x.array)
    if place is META_PLACE:
        return META
    return CPU if place is HOST else cuda_device(place.index)


def is_pinned(x: Tensor) -> bool:
    """Asked once `ACCELERATORS` is not empty; nothing is pinned where the GPU was switched off."""
    return x.array is not None and ACCELERATORS[0].is_pinned(x.array)


class Located:
    """What a Tensor tells of its device."""

    @property
    def device(self: Any) -> device:
        """Where the memory is."""
        return device_of(self) if ACCELERATORS else CPU

    def get_device(self) -> int:
        """The index of its GPU; -1 on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    def is_pinned(self: Any, device: Any = None) -> bool:
        """Whether a GPU reads its memory without a copy by the host."""
        return bool(ACCELERATORS) and self.is_cpu and is_pinned(self)

    def _repr_html_(self: Any) -> str:
        """For notebooks: the elements as they print, and what they are."""
        return notebook.text(repr(self), f"{self.spec} on {self.device}")

    @property
    def is_cpu(self) -> bool:
        """Whether the memory is the host's."""
        return self.device is CPU

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is a GPU's."""
        return self.device not in (CPU, META)

    @property
    def is_meta(self) -> bool:
        """Whether it has no memory at all, but a type and a shape."""
        return self.device is META

    is_mps = is_xpu = is_xla = is_mtia = is_ipu = is_maia = is_vulkan = is_mkldnn = False
    is_nested = False  # every tensor has one size in each dimension

    def is_shared(self) -> bool:
        """Whether other processes have the memory: none do."""
        return False

    def record_stream(self: Any, stream: Any) -> None:
        """Say that work in this stream, another library's perhaps, uses the memory: once the tensor
        goes, nobody gets it before what the stream has by then is done."""
        if not self.is_cuda:
            raise Unsupported(
                "Could not run 'record_stream' with arguments from the 'CPU' backend",
                why="memory of the host is used by no stream",
                fix="ask it of a tensor on a GPU",
            )
        if self.array is not None:  # a trace's is its program's
            gpu_of(self).used_by(self.array, int(stream.cuda_stream))

    @property
    def __cuda_array_interface__(self: Any) -> dict[str, Any]:
        """Version 3, of CUDA tensors alone: others do not have the attribute."""
        if not self.is_cuda or self.array is None:
            raise NotAvailable(
                f"Can't get __cuda_array_interface__ on non-CUDA tensor of {self.spec}",
                fix="use tensor.cuda()",
            )
        _refuse_history(self, "__cuda_array_interface__")
        if self.dtype is bf16:
            raise InvalidType("__cuda_array_interface__ has no bfloat16", fix="use from_dlpack")
        self.storage.unpack()
        gpu_of(self).wait()
        return dict(self.array.__cuda_array_interface__)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (DLPACK_CPU, 0) if self.is_cpu else (DLPACK_CUDA, self.get_device())

    def __dlpack__(
        self: Any,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The memory for another library, as a capsule; what it computes on another stream than
        the legacy default one (`stream` 1, or None) waits for what is computed here."""
        _refuse_history(self, "__dlpack__")
        if modes.trace is not None or self.array is None:
            self.host("make it before the step")  # says why there is none
        x = self.clone() if copy else self
        if dl_device is not None and dl_device != x.__dlpack_device__():
            raise InvalidState(f"__dlpack__ for device {dl_device} of a tensor on {x.device}")
        x.storage.unpack()
        if x.is_cpu:
            return x.array.__dlpack__(stream=None)
        return gpu_of(x).exported(x.array, stream)


def _refuse_history(x: Any, what: str) -> None:
    if x.requires_grad:
        raise AutogradError(
            f"{what} of a tensor that requires grad",
            why="what others compute with its memory leaves no history",
            fix="use tensor.detach()",
        )
