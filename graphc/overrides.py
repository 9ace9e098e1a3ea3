"""torch.overrides' names: modes may bring their own meaning of functions, classes may not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphc.errors import Unsupported
from graphc.frontend.overriding import TorchFunctionMode
from graphc.frontend.tensor import Tensor

__all__ = [
    "TorchFunctionMode",
    "get_ignored_functions",
    "handle_torch_function",
    "has_torch_function",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


def _overrides(x: Any) -> bool:
    return not isinstance(x, Tensor) and hasattr(type(x), "__torch_function__")


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether one of them is of a class, not a tensor, that defines `__torch_function__`."""
    return any(_overrides(x) for x in relevant_args)


def has_torch_function_unary(x: Any) -> bool:
    """`has_torch_function` of one value."""
    return _overrides(x)


def has_torch_function_variadic(*args: Any) -> bool:
    """`has_torch_function` of the arguments."""
    return has_torch_function(args)


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the first class that overrides `public_api` makes of the call."""
    classes = tuple({type(x): None for x in relevant_args if _overrides(x)})
    for kind in classes:
        found = kind.__torch_function__(public_api, classes, args, kwargs)
        if found is not NotImplemented:
            return found
    name = getattr(public_api, "__name__", public_api)
    raise TypeError(f"no implementation found for {name} on types {list(classes)}")


def wrap_torch_function(
    dispatcher: Callable[..., Iterable[Any]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a function of one's own that classes may override; `dispatcher` gives the
    arguments that count."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
        return wrapped

    return decorator


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or of a class that defines `__torch_function__`."""
    return isinstance(inp, Tensor) or hasattr(type(inp), "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether a function belongs to Tensor."""
    return getattr(func, "__qualname__", "").startswith("Tensor.")


def resolve_name(f: Any) -> str | None:
    """Where a function is found, as "graphc.add"; None if that is not known."""
    module, name = getattr(f, "__module__", None), getattr(f, "__qualname__", None)
    return f"{module}.{name}" if module and name else None


def get_ignored_functions() -> set[Callable[..., Any]]:
    """Empty: of graphc's own functions none can be overridden."""
    return set()


def get_overridable_functions() -> Any:
    """Refused: of graphc's own functions none can be overridden."""
    raise Unsupported("overrides.get_overridable_functions", fix="call functions of your own")


def get_default_nowrap_functions() -> set[Callable[..., Any]]:
    """Empty: no results are wrapped."""
    return set()
