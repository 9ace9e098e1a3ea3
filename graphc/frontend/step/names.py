"""What messages call the tensors of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphc.frontend.step.signature import TABLES, is_record, record
from graphc.frontend.tensor import Tensor


def key_text(key: Any) -> str:
    """A key as messages tell it: of a tensor, such as an optimizer's parameter, no elements."""
    return f"{type(key).__name__} {key.spec}" if isinstance(key, Tensor) else repr(key)


def leaf_names(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[str]:
    """A name for each tensor of a call: its parameter's, with a path inside containers."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # a builtin, or a call that the function itself will refuse
        bound = {f"arg{k}": x for k, x in enumerate(args)} | dict(kwargs)
    return [name for label, x in bound.items() for name in _paths(label, x)]


def _paths(label: str, x: Any) -> Iterator[str]:
    if isinstance(x, Tensor):
        yield label
    elif isinstance(x, tuple | list):
        for k, item in enumerate(x):
            yield from _paths(f"{label}.{k}", item)
    elif type(x) in TABLES or is_record(x):
        for key, item in (record(x) if is_record(x) else x).items():
            yield from _paths(f"{label}.{key}", item)
