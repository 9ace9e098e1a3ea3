"""Devices by name. Any name PyTorch knows can be written down; only the CPU can hold tensors."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from graphc.errors import DeviceUnavailable, InvalidType

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
        check_device(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None


CPU = device("cpu")


def check_device(where: Any) -> None:
    """Raise unless `where` is a device that can hold tensors; None is the CPU."""
    if where is None or where is CPU:
        return
    if isinstance(where, int) and not isinstance(where, bool):
        where = f"cuda:{where}"  # PyTorch's meaning of a number alone
    if (named := device(where)).type != "cpu":
        raise no_device(str(named))


def no_device(name: str) -> DeviceUnavailable:
    """The error of everything that needs a device other than the CPU."""
    return DeviceUnavailable(
        f"no device {name!r}: this build has no back end but the CPU's",
        fix='use device="cpu", or `"cuda" if graphc.cuda.is_available() else "cpu"`',
    )


def get_default_device() -> device:
    """Where factories make tensors: the CPU."""
    return CPU


def set_default_device(device: Any) -> None:
    """Accepts the CPU; raises for a device that is not there."""
    check_device(device)
