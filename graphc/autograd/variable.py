"""Variable: what a tensor was called once."""

from __future__ import annotations

from typing import Any

from graphc.frontend.tensor import Tensor


class _Tensors(type):
    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor)


class Variable(metaclass=_Tensors):
    """`Variable(x)` is a tensor over the memory of x; every tensor is an instance of it."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        return data.detach().requires_grad_(requires_grad)
