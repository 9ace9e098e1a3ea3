"""In-place functions that call the user's Python for each element: on the host, in eager code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import AutogradError, InvalidType, ShapeMismatch
from graphc.frontend import tensor as tensors
from graphc.frontend.inplace import overwrite_with
from graphc.frontend.operands import broadcast_to, check_tensors
from graphc.frontend.registry import public

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__: list[str] = []  # methods alone


@public(method="apply_")
def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element becomes what `callable` makes of it. Raises AutogradError where gradients are
    computed for x, DataDependentBranch in a compiled step. The shape stays."""
    return _written("apply_", x, callable)


@public(method="map_")
def map_(x: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """`apply_` of x's elements with those of a tensor that broadcasts to x. The shape stays."""
    return _written("map_", x, callable, tensor)


@public(method="map2_")
def map2_(x: Tensor, tensor: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """`apply_` with the elements of two tensors that broadcast to x. The shape stays."""
    return _written("map2_", x, callable, tensor, y)


def _written(name: str, x: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    check_tensors(name, *others)
    for t in (x, *others):
        if t.requires_grad:
            raise AutogradError(
                f"Can't call {name}() on Variable that requires grad.",
                fix=f"Use var.detach().{name}() instead.",
            )
        if not t.is_cpu:
            raise InvalidType(f"{name} is only implemented on CPU tensors, got one on {t.device}")
        if t.dtype is not x.dtype:
            raise ShapeMismatch(f"{name}: expected {x.dtype}, got {t.spec}")
    rows = [broadcast_to(t, x.spec.shape).host().ravel().tolist() for t in (x, *others)]
    made = np.array([function(*row) for row in zip(*rows, strict=True)], x.dtype.numpy)
    return overwrite_with(x, tensors.wrapped(made.reshape(x.spec.shape)))
