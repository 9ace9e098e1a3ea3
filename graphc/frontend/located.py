"""Where a Tensor's memory is, and how other libraries come by it: on a GPU, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import AutogradError, InvalidState, InvalidType, NotAvailable
from graphc.frontend import device_ops, notebook
from graphc.frontend import tensor as tensors
from graphc.frontend.devices import ACCELERATORS, CPU, device, resolve
from graphc.frontend.modes import modes
from graphc.ir.types import bf16

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["from_dlpack"]

DLPACK_CPU, DLPACK_CUDA = 1, 2


class Located:
    """What a Tensor tells of its device."""

    @property
    def device(self: Any) -> device:
        return device_ops.device_of(self) if ACCELERATORS else CPU

    def get_device(self) -> int:
        """The index of its GPU; -1 on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    def is_pinned(self: Any, device: Any = None) -> bool:
        """Whether a GPU reads its memory without a copy by the host."""
        return bool(ACCELERATORS) and self.is_cpu and device_ops.is_pinned(self)

    def _repr_html_(self: Any) -> str:
        """For notebooks: the elements as they print, and what they are."""
        return notebook.text(repr(self), f"{self.spec} on {self.device}")

    @property
    def is_cpu(self) -> bool:
        return self.device is CPU

    @property
    def is_cuda(self) -> bool:
        return self.device is not CPU

    is_mps = is_xpu = is_meta = False

    @property
    def __cuda_array_interface__(self: Any) -> dict[str, Any]:
        """Version 3, of CUDA tensors alone: others do not have the attribute."""
        if self.is_cpu or self.array is None:
            raise NotAvailable(
                f"Can't get __cuda_array_interface__ on non-CUDA tensor of {self.spec}",
                fix="use tensor.cuda()",
            )
        _refuse_history(self, "__cuda_array_interface__")
        if self.dtype is bf16:
            raise InvalidType("__cuda_array_interface__ has no bfloat16", fix="use from_dlpack")
        self.storage.unpack()
        device_ops.gpu_of(self).wait()
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
        return device_ops.gpu_of(x).exported(x.array, stream)


def _refuse_history(x: Any, what: str) -> None:
    if x.requires_grad:
        raise AutogradError(
            f"{what} of a tensor that requires grad",
            why="what others compute with its memory leaves no history",
            fix="use tensor.detach()",
        )


def from_dlpack(ext_tensor: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, with `__dlpack__`; of a GPU's, too."""
    if not hasattr(ext_tensor, "__dlpack__"):
        kind = type(ext_tensor).__name__
        raise InvalidType(f"from_dlpack: {kind} has no __dlpack__", fix="pass an array with it")
    kind, index = ext_tensor.__dlpack_device__()
    if int(kind) == DLPACK_CUDA:
        place = device_ops.place_at(resolve(f"cuda:{int(index)}"))
        assert place is not None, "its index is a GPU's"
        out = device_ops.over(place.imported(ext_tensor))
    else:
        array = np.from_dlpack(ext_tensor)
        out = tensors.wrapped(array if array.flags.writeable else array.copy())
    out = out.clone() if copy else out
    return out if device is None else out.to(device)
