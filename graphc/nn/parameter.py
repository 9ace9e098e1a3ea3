"""Parameter and Buffer: tensors that a module owns, with and without an optimizer."""

from __future__ import annotations

from graphc.frontend.api.creation import empty
from graphc.frontend.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


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


class Buffer(Tensor):
    """A tensor that registers itself as a buffer when assigned to a module.

    A persistent one stands in the module's state_dict.
    """

    persistent: bool = True

    def __new__(
        cls, data: Tensor | None = None, *, persistent: bool = True, requires_grad: bool = False
    ) -> Buffer:
        out = (empty(0) if data is None else data).alias(cls)
        out.requires_grad_(requires_grad)
        out.persistent = persistent
        return out

    def __init__(
        self, data: Tensor | None = None, *, persistent: bool = True, requires_grad: bool = False
    ) -> None:
        """Everything is done in __new__, which takes over the memory of `data`."""
