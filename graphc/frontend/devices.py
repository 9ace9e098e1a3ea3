"""Devices by name. Any name PyTorch knows can be written down; the CPU and GPUs hold tensors, and
the meta device those without elements.

What works on a GPU is an `Accelerator`, which the first use of one makes; this module and all the
frontend know it by that protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from graphc.errors import DeviceUnavailable, InvalidType
from graphc.frontend.modes import modes
from graphc.frontend.places import DevicePlace
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, TensorSpec

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["device", "get_default_device", "set_default_device"]

TYPES = ("cpu", "cuda", "mps", "xpu", "meta", "hip", "xla", "mtia", "hpu")


class device:
    """A device type and an index: device("cuda:0") is device("cuda", 0).

    To name a device asks for nothing; a tensor on one that is not there raises
    DeviceUnavailable. As a context manager it is the default device inside.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if not isinstance(type, str | device):
            raise InvalidType(f"device(): a name or a device is expected, got {type!r:.100}")
        if index is not None and not isinstance(index, int):
            raise InvalidType(f"device(): the index must be an integer, not {index!r:.100}")
        kind, colon, number = str(type).partition(":")
        if kind not in TYPES:
            raise DeviceUnavailable(
                f"no device {str(type)[:200]!r}",
                why=f"expected one of {', '.join(TYPES)} at the start of a device's name",
            )
        if colon and index is not None:
            raise DeviceUnavailable(
                f"device(): {str(type)[:200]!r} has an index, and index={index} was passed too",
                why="the index may stand in one place only",
                fix=f'use device("{kind}", {index})',
            )
        if (colon and not (number.isascii() and number.isdecimal())) or (index or 0) < 0:
            raise DeviceUnavailable(
                f"invalid device {str(type)[:200]!r}, index {index}",
                why="an index is a number from 0 up",
                fix=f'use device("{kind}:0")',
            )
        self.type = kind
        self.index = int(number) if colon else index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        where = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{where})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> Any:
        return device, (self.type, self.index)

    def __enter__(self) -> Self:
        where = resolve(self)
        _before.append(modes.device)
        modes.device = where
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.device = _before.pop()


CPU, META = device("cpu"), device("meta")

_cuda: dict[int, device] = {}  # the device of an index, so that tensors of one have one

_before: list[device | None] = []  # the default device outside each `with` that has not ended


class Accelerator(Protocol):
    """The GPUs of this machine."""

    def count(self) -> int:
        """Raises DeviceUnavailable where there is none."""
        ...

    def current(self) -> int:
        """The index that "cuda" alone means."""
        ...

    def place(self, index: int) -> DevicePlace: ...
    def owning(self, address: int) -> int:
        """The index of the GPU whose memory this is in. Raises InvalidArgument."""
        ...

    def pinned(self, array: Array) -> Array:
        """A copy in memory of the host that a GPU reads by itself."""
        ...

    def is_pinned(self, array: Array) -> bool: ...

    def apply(self, owner: Tensor, op: Op, args: Sequence[Any], attrs: Attrs) -> Tensor:
        """`op` where its operands are; one without any where its owner is."""
        ...

    def full(self, x: Tensor, value: Any, spec: TensorSpec) -> Tensor | None:
        """A tensor of one value beside x; None if x is on the host."""
        ...


HOST_POINTER = (
    "The specified pointer {:#x} resides on host memory and is not registered with any CUDA device"
)

ACCELERATORS: list[Accelerator] = []  # the one there is, once a tensor was to be off the host
META_ONLY: list[Accelerator] = []  # what stands for it while only the meta device is used


# What makes it, the last one; given by who wires the back ends together, far above this.
MAKERS: list[Callable[[], Accelerator]] = []


def accelerator() -> Accelerator:
    """What works on GPUs; DeviceUnavailable where there is none."""
    if not ACCELERATORS or ACCELERATORS[0] in META_ONLY:
        ACCELERATORS[:] = [MAKERS[-1]()]
    gpu = ACCELERATORS[0]
    gpu.count()  # raises where the switch has been turned off since
    return gpu


def check_device(where: Any) -> None:
    """Raise unless `where` is a device that can hold tensors; None is the default one."""
    if where is not None and where is not CPU:
        resolve(where)


def resolve(where: Any) -> device:
    """The device that `where` means, which is there: a name, a number, or None for the default."""
    cpu = CPU
    if where is None:
        return modes.device or cpu
    if where is CPU:
        return cpu
    if isinstance(where, int) and not isinstance(where, bool):
        where = f"cuda:{where}"  # PyTorch's meaning of a number alone
    named = device(where)
    if named.type == "cpu":
        return cpu
    if named.type == "meta":
        ACCELERATORS.extend(META_ONLY if not ACCELERATORS else ())
        return META
    if named.type != "cuda":
        raise no_device(str(named))
    gpu = accelerator()
    index = gpu.current() if named.index is None else named.index
    if index >= gpu.count():
        raise DeviceUnavailable(
            f"no device 'cuda:{index}': this machine has {gpu.count()}",
            why="CUDA error: invalid device ordinal",
        )
    return cuda_device(index)


def cuda_device(index: int) -> device:
    """`device("cuda", index)`, the same object each time."""
    found: device | None = _cuda.get(index)
    if found is None:
        found = _cuda[index] = device("cuda", index)
    return found


def no_device(name: str) -> DeviceUnavailable:
    """The error of everything that needs a device other than the CPU."""
    return DeviceUnavailable(
        f"no device {name!r}: this build has no back end but the CPU's",
        fix='use device="cpu", or `"cuda" if graphc.cuda.is_available() else "cpu"`',
    )


def get_default_device() -> device:
    """Where factories make tensors: the CPU, unless `set_default_device` or a device as a context
    manager says otherwise."""
    return modes.device or CPU


def set_default_device(device: Any) -> None:
    """Have factories make tensors on a device, in this thread; None is the CPU."""
    modes.device = None if device is None else resolve(device)
