"""torch.ops.aten: PyTorch's operators by their names in C++, for code that tells them apart.

Each is an object of its own, with its overloads as attributes, and calls the function or method of
that name where graphc has one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from graphc.errors import NotAvailable

__all__ = ["aten"]


class Operator:
    """`aten.add`, and each of its overloads: `aten.add.Tensor`."""

    def __init__(self, name: str, packet: Operator | None = None) -> None:
        self.__name__ = name
        self._packet = packet
        self._overloads: dict[str, Operator] = {}

    def __getattr__(self, name: str) -> Operator:
        if name.startswith("__") or self._packet is not None:
            raise AttributeError(name)
        overload = Operator(f"{self.__name__}.{name}", self)
        return self._overloads.setdefault(name, overload)

    @property
    def overloadpacket(self) -> Operator:
        """The operator that this is an overload of."""
        return self._packet or self

    def overloads(self) -> list[str]:
        """None is promised: a function takes what its arguments are."""
        return []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function(self.overloadpacket.__name__)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<operator aten.{self.__name__}>"


def _function(name: str) -> Callable[..., Any]:
    """What a public function of that name does, or else a method."""
    graphc = sys.modules["graphc"]
    found = vars(graphc).get(name) or getattr(graphc.Tensor, name, None)
    if found is None or name.startswith("_"):
        raise NotAvailable(
            f"ops.aten.{name}",
            why="graphc has no function of this name",
            fix="call the public function that PyTorch documents for it",
        )
    done: Callable[..., Any] = found
    return done


class _Aten:
    """The operators by name."""

    def __getattr__(self, name: str) -> Operator:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Operator(name)
        setattr(self, name, made)
        return made


aten = _Aten()
