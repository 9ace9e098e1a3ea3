"""torch.cpu's names: the one device that is always there, and does its work at once."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from graphc.codegen_cpu.target import Target

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "device_count",
    "get_capabilities",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def set_device(device: Any) -> None:
    """There is no other."""


def synchronize(device: Any = None) -> None:
    """Work on the CPU is done when the call returns."""


class Stream:
    """Stands for the order of the program."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """Nothing is left to wait for."""

    def record_event(self) -> None:
        """Nothing to record."""

    def wait_event(self, event: Any) -> None:
        """Nothing is left to wait for."""


class Event:
    """A point in the order of the program."""

    def query(self) -> bool:
        """True: what was before has been done."""
        return True

    def record(self, stream: Any = None) -> None:
        """Nothing to record."""

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def wait(self, stream: Any = None) -> None:
        """Nothing is left to wait for."""


_default = Stream()


def current_stream(device: Any = None) -> Stream:
    """The one there is."""
    return _default


class StreamContext(nullcontext[None]):
    """`with stream(s)`: changes nothing."""

    def __init__(self, stream: Any) -> None:
        super().__init__()


def stream(stream: Any) -> StreamContext:
    """As StreamContext."""
    return StreamContext(stream)


def get_capabilities() -> dict[str, Any]:
    """What the processor can do, by LLVM's names of its features."""
    target = Target.host()
    named = (f for f in target.features.split(",") if f.startswith("+"))
    found: dict[str, Any] = {f[1:]: True for f in named}
    return {"architecture": target.triple.partition("-")[0], **found}
