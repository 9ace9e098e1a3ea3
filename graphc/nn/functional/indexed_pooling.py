"""Max pools that give positions without being asked: `max_pool2d_with_indices` and the like."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

from graphc.nn.functional import adaptive_pooling, pooling

__all__ = [
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d_with_indices",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
]


def _indexed(pool: Callable[..., Any]) -> Callable[..., Any]:
    """`pool` with `return_indices`, whatever the caller says of that."""
    parameters = signature(pool)

    @wraps(pool)
    def both(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs)
        given.arguments["return_indices"] = True
        return pool(*given.args, **given.kwargs)

    both.__name__ = both.__qualname__ = f"{pool.__name__}_with_indices"
    both.__doc__ = f"`{pool.__name__}`, and of the same shape each element's flat position (int64)."
    both.__module__ = __name__
    return both


max_pool1d_with_indices = _indexed(pooling.max_pool1d)
max_pool2d_with_indices = _indexed(pooling.max_pool2d)
max_pool3d_with_indices = _indexed(pooling.max_pool3d)
adaptive_max_pool1d_with_indices = _indexed(adaptive_pooling.adaptive_max_pool1d)
adaptive_max_pool2d_with_indices = _indexed(adaptive_pooling.adaptive_max_pool2d)
adaptive_max_pool3d_with_indices = _indexed(adaptive_pooling.adaptive_max_pool3d)
