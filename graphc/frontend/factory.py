"""The keyword options that all factories share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.frontend import device_ops
from graphc.frontend.api import formats
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.modes import modes
from graphc.frontend.options import as_dtype, channels_last_rank

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


def factory(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`make(..., dtype=)` with the options of every factory.

    dtype: a dtype or Python's float, int, bool; device: where, of a function that takes a tensor
    as `input` or x the tensor's unless given, else the default device; requires_grad: makes a leaf
    that autograd records; size: the same as positional sizes; memory_format: the order of
    dimensions in memory, of a function that takes a tensor as `input` that one's unless given;
    pin_memory: in memory that a GPU reads by itself; layout is accepted and changes nothing.
    """
    taken = inspect.signature(make).parameters
    takes_tensor = "input" in taken
    follows = next((name for name in ("input", "x") if name in taken), "")

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
        own["dtype"] = as_dtype(dtype)
        if follows and device is None and ACCELERATORS:
            device = (args[0] if args else own[follows]).device
        if device is None and (follows or modes.device is None):
            out = make(*args, **own)
        else:
            out = device_ops.made_on(device, make, args, own)
        if takes_tensor:
            out = formats.like(out, args[0] if args else own["input"], memory_format)
        elif channels_last_rank(memory_format):
            out = formats.like(out, out, memory_format)
        if pin_memory:
            out = device_ops.pinned(out)
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
