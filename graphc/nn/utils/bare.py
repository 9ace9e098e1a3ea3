"""Modules without their first draw, and weights in another order in memory."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

from graphc.errors import InvalidState, InvalidType
from graphc.frontend.modes import no_grad
from graphc.nn.module import Module

__all__ = [
    "convert_conv2d_weight_memory_format",
    "convert_conv3d_weight_memory_format",
    "skip_init",
]

M = TypeVar("M", bound=Module)


def skip_init(module_cls: Callable[..., M], *args: Any, **kwargs: Any) -> M:
    """`module_cls(*args, **kwargs)` with parameters that nobody has written yet.

    The class must take `device` and make all its tensors there: they are described on the meta
    device first. Raises InvalidType for what is no Module, InvalidState for one without `device`.
    """
    kind: Any = module_cls
    if not (isinstance(kind, type) and issubclass(kind, Module)):
        raise InvalidType(f"Expected a Module; got {kind!r:.100}")
    if "device" not in signature(kind).parameters:
        raise InvalidState(
            f"Module must support a 'device' arg to skip initialization: {module_cls}"
        )
    where = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=where)


def convert_conv2d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module, the weights of whose convolutions of images lie in a memory format."""
    return _converted(module, memory_format, ("Conv2d", "ConvTranspose2d"))


def convert_conv3d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module, the weights of whose convolutions of volumes lie in a memory format."""
    return _converted(module, memory_format, ("Conv3d", "ConvTranspose3d"))


@no_grad()
def _converted(module: M, memory_format: Any, names: tuple[str, ...]) -> M:
    for layer in module.modules():
        if any(cls.__name__ in names for cls in type(layer).__mro__):
            weight: Any = layer.weight
            weight.data = weight.detach().clone(memory_format=memory_format)
    return module
