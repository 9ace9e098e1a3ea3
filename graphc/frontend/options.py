"""The keyword options that all factories share, and PyTorch's names for layouts in memory."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.errors import InvalidType
from graphc.frontend.devices import check_device
from graphc.ir.spelling import spelled
from graphc.ir.types import DType, bool_, f64, i64, refuse_name_only

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "layout",
    "memory_format",
    "preserve_format",
    "strided",
]

PYTHON_TYPES: dict[Any, DType] = {float: f64, int: i64, bool: bool_}


class layout:
    """How elements lie in memory; there are strided tensors only."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return spelled(self._name)


class memory_format(layout):
    """A hint for the order of dimensions in memory; the compiler chooses its own."""


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def as_dtype(dtype: Any) -> DType | None:
    """A dtype, or the one that Python's float, int or bool stands for; None passes."""
    if dtype is None:
        return None
    if isinstance(dtype, DType):
        refuse_name_only(dtype)
        return dtype
    found = PYTHON_TYPES.get(dtype) if isinstance(dtype, type) else None
    if found is None:
        raise InvalidType(f"dtype must be a graphc.dtype, got {dtype!r:.100}")
    return found


def factory(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`make(..., dtype=)` with the options of every factory.

    dtype: a dtype or Python's float, int, bool; device: must exist; requires_grad: makes a leaf
    that autograd records; size: the same as positional sizes; layout, pin_memory and
    memory_format are accepted and change nothing.
    """

    @functools.wraps(make)
    def function(
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        memory_format: Any = None,
        **own: Any,
    ) -> Tensor:
        check_device(device)
        out = make(*args, dtype=as_dtype(dtype), **own)
        return out.requires_grad_(True) if requires_grad else out

    function.__signature__ = _with_options(make)  # type: ignore[attr-defined]  # what help() shows
    return function


OPTIONS = {
    "dtype": None,
    "layout": None,
    "device": None,
    "requires_grad": False,
    "pin_memory": False,
    "memory_format": None,
}


def _with_options(make: Callable[..., Tensor]) -> inspect.Signature:
    """The signature of `make` with the options of every factory."""
    own = inspect.signature(make)
    kept = [p for p in own.parameters.values() if p.name not in OPTIONS]
    rest = [p for p in kept if p.kind is p.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(name, kind, default=value) for name, value in OPTIONS.items()]
    kept = [p for p in kept if p not in rest]
    return own.replace(parameters=[*kept, *options, *rest])
