"""Assertions that stand in public models: they hold at trace time, or read a value and say so."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from graphc.errors import InvalidType, RefusedArgument
from graphc.frontend.checked import checked
from graphc.frontend.operands import is_tensor

__all__ = ["_assert", "_assert_async", "_check", "_check_type", "_check_value", "_check_with"]

Message = Callable[[], object] | None


def _assert(condition: Any, message: str) -> None:
    """AssertionError unless the condition holds (a tensor of one element or a bool)."""
    if not condition:
        raise AssertionError(message)


def _assert_async(input: Any, assert_msg: str = "") -> None:
    """RuntimeError where the one element of `input` is 0; in a compiled step when that runs."""
    if not is_tensor(input):
        kind = builtins.type(input).__name__
        raise InvalidType(f"_assert_async(): argument 'input' must be Tensor, not {kind}")
    if input.numel() != 1:
        how = "more than one value" if input.numel() else "no values"
        raise RefusedArgument(f"Boolean value of Tensor with {how} is ambiguous")
    what = assert_msg or "Expected Tensor with single nonzero value, but got zero"
    checked(input.bool(), input.bool(), what, RefusedArgument)


def _check_with(error: builtins.type[Exception], cond: Any, message: Message = None) -> None:
    """`error` unless `cond`; `message` makes the text."""
    if is_tensor(cond) or not isinstance(cond, builtins.bool):
        raise TypeError(f"cond must be a bool, but got {builtins.type(cond)}")
    if not cond:
        raise error(
            "Expected cond to be True, but got False." if message is None else str(message())
        )


def _check(cond: Any, message: Message = None) -> None:
    """RuntimeError unless `cond`."""
    _check_with(RefusedArgument, cond, message)


def _check_value(cond: Any, message: Message = None) -> None:
    """ValueError unless `cond`."""
    _check_with(ValueError, cond, message)


def _check_type(cond: Any, message: Message = None) -> None:
    """TypeError unless `cond`."""
    _check_with(TypeError, cond, message)
