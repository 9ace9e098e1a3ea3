"""Storage: the identity of a tensor's memory, shared by its views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.ir.types import Array, Shape, TensorType

if TYPE_CHECKING:
    from graphc.frontend.trace import Trace

_rebinds = [0]


def rebind_count() -> int:
    """How often any tensor was given another storage (`p.data = t`); steps rebind when it moves."""
    return _rebinds[0]


def count_rebind() -> None:
    _rebinds[0] += 1


class Storage:
    """Memory with a version that every in-place write raises.

    `array` is the base array, or None for what exists only inside `trace`. `name` is the
    parameter's name where a module has given one; it is what dumps and errors show. `adopted` is
    set once a `.grad` lives here, so that a second one takes a copy. `address` is that of `array`
    once a compiled step has asked for it (NumPy takes half a microsecond to tell), until then 0;
    `order` is the memory order that it was asked for, () for row-major arguments.
    """

    __slots__ = (
        "__weakref__", "address", "adopted", "array", "name", "order", "trace", "type", "version",
    )  # fmt: skip

    def __init__(
        self, array: Array | None, type: TensorType, trace: Trace | None = None, name: str = ""
    ) -> None:
        self.array = array
        self.type = type
        self.trace = trace
        self.name = name
        self.version = 0
        self.adopted = False
        self.address = 0
        self.order: Shape = ()
