"""Python's operators on tensors: what they take besides tensors and numbers, and what NumPy gets.

An array on the other side counts as a tensor of its own; for anything else the operator passes,
so that the other operand's class may answer, and Python raises TypeError if it does not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import InvalidArgument
from graphc.frontend.api import creation, shapes
from graphc.frontend.api.refusals import CAUGHT, coded, refusing
from graphc.frontend.autocast import aware
from graphc.frontend.modes import modes
from graphc.frontend.overriding import entered, overridden
from graphc.frontend.promotion import NUMBERS
from graphc.frontend.registry import public
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
        if entered and modes.functions:
            return overridden(apply, (self, other), {})
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


@public(operators=("__int__",))
def as_int(x: Tensor) -> int:
    return int(_number(x))


@public(operators=("__float__",))
def as_float(x: Tensor) -> float:
    return float(_number(x))


def _number(x: Tensor) -> Scalar:
    if x.numel() != 1:
        raise InvalidArgument(f"{x.spec} is not one number", fix="index it, or reduce it")
    return x.item()


@public(operators=("__array_wrap__",))
def array_wrap(x: Tensor, array: Array, context: Any = None, return_scalar: bool = False) -> Tensor:
    """NumPy's functions of tensors give tensors."""
    return creation.as_tensor(np.asarray(array))


@public(operators=("__reversed__",))
def reverse(x: Tensor) -> Tensor:
    return shapes.flip(x, 0) if x.spec.shape else x


# How the functions marked as operators become methods: those of the tensor alone as they are, the
# others by `operator`, but for these.
FORMS: dict[str, Callable[[Any], Any]] = {
    "__matmul__": matrix_operator,
    "__rmatmul__": matrix_operator,
    "__getitem__": refusing,
    "__setitem__": refusing,
    "__array_wrap__": lambda function: function,
}
AUGMENTED = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]


def of_python(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as the operator called `name`."""
    form = FORMS.get(name)
    function = aware("__matmul__" if name == "__rmatmul__" else name, function)
    if form is not None:
        return form(function)  # type: ignore[no-any-return]  # of the table
    alone = len(inspect.signature(function).parameters) == 1
    return function if alone else operator(function)
