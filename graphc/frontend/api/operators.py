"""Python's operators on tensors: what they take besides tensors and numbers, and what NumPy gets.

An array on the other side counts as a tensor of its own; for anything else the operator passes,
so that the other operand's class may answer, and Python raises TypeError if it does not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import InvalidArgument
from graphc.frontend.api import creation, shapes
from graphc.frontend.api.refusals import CAUGHT, coded
from graphc.frontend.autocast import aware
from graphc.frontend.promotion import NUMBERS
from graphc.ir.sugar import Sugar
from graphc.ir.types import Array, Scalar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

TAKEN = (Sugar, *NUMBERS)


def operator(function: Callable[..., Tensor], name: str = "") -> Callable[..., Tensor]:
    """`function(tensor, other)` as an operator, whose `name` counts where autocast knows it."""

    function = aware(name, function)

    @functools.wraps(function)
    def apply(self: Tensor, other: Any) -> Any:
        if not isinstance(other, TAKEN):
            if not isinstance(other, np.ndarray):
                return NotImplemented
            other = creation.as_tensor(other)
        try:
            return function(self, other)
        except CAUGHT as e:
            raise coded(e, function, (self, other), {}) from None

    return apply


def matrix_operator(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`operator` for matrix products, which take no numbers."""
    taking = operator(function, "__matmul__")

    @functools.wraps(function)
    def apply(self: Tensor, other: Any) -> Any:
        return NotImplemented if isinstance(other, NUMBERS) else taking(self, other)

    return apply


def as_int(x: Tensor) -> int:
    return int(_number(x))


def as_float(x: Tensor) -> float:
    return float(_number(x))


def _number(x: Tensor) -> Scalar:
    if x.numel() != 1:
        raise InvalidArgument(f"{x.spec} is not one number", fix="index it, or reduce it")
    return x.item()


def array_wrap(x: Tensor, array: Array, context: Any = None, return_scalar: bool = False) -> Tensor:
    """NumPy's functions of tensors give tensors."""
    return creation.as_tensor(np.asarray(array))


def reverse(x: Tensor) -> Tensor:
    return shapes.flip(x, 0) if x.spec.shape else x
