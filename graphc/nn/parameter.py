"""Parameter: a tensor that a module owns and an optimizer updates."""

from __future__ import annotations

from graphc.frontend.creation import empty
from graphc.frontend.tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf over the memory of `data` that registers itself when assigned to a module."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        out = (empty(0) if data is None else data).alias(cls)
        out.requires_grad_(requires_grad)
        return out

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """Everything is done in __new__, which takes over the memory of `data`."""

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
