"""torch.jit's names: marks on Python code, which stays Python; what would make a file is refused.

`graphc.compile` is the compiler. A function or module marked for TorchScript is returned as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from graphc.errors import Unsupported
from graphc.nn.module import Module

__all__ = [
    "Attribute",
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "trace",
    "trace_module",
    "unused",
    "wait",
]

T = TypeVar("T")


class ScriptModule(Module):
    """For isinstance: no module is one."""


class ScriptFunction:
    """For isinstance: no function is one."""


def script(
    obj: T,
    optimize: Any = None,
    _frames_up: int = 0,
    _rcb: Any = None,
    example_inputs: Any = None,
) -> T:
    """`obj` itself."""
    return obj


def _marks(function: T) -> T:
    """A mark on a function, which changes nothing."""
    return function


export = interface = script_method = _marks


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Decorator, with or without parentheses: the function itself."""
    return drop if callable(drop) else _marks


def unused(fn: T) -> T:
    """The function itself."""
    return fn


def script_if_tracing(fn: T) -> T:
    """The function itself."""
    return fn


_script_if_tracing = script_if_tracing
_overload = _overload_method = _marks  # forms of which the last definition is the one that runs


def is_scripting() -> bool:
    """False: nothing is scripted."""
    return False


def is_tracing() -> bool:
    """Whether `jit.trace` runs: it never does. A step being compiled is `compiler.is_compiling`."""
    return False


def annotate(the_type: Any, the_value: T) -> T:
    """`the_value`."""
    return the_value


def Attribute(value: T, type: Any) -> T:
    """`value`."""
    return value


def isinstance(obj: Any, target_type: Any) -> bool:
    """The built-in's answer; of List[int] and the like, that of list."""
    kinds = target_type if type(target_type) is tuple else (target_type,)
    return any(_is_a(obj, getattr(k, "__origin__", k)) for k in kinds)


def _is_a(obj: Any, kind: Any) -> bool:
    return issubclass(type(obj), kind)


class Future:
    """What `fork` gives: the result, computed at once."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def wait(self) -> Any:
        """The result of what `fork` was given."""
        return self.result


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """`func(*args)`, computed at once; `wait` gives the result."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """The result of what `fork` was given."""
    return future.wait()


def set_fusion_strategy(strategy: Any) -> list[Any]:
    """There is nothing to set; the strategy before."""
    return []


def onednn_fusion_enabled() -> bool:
    """False: oneDNN is not used."""
    return False


def _refused(name: str) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise Unsupported(
            f"jit.{name}: there is no TorchScript",
            why="graphc compiles Python functions and modules, and writes no program files",
            fix="use graphc.compile to run fast, graphc.save(model.state_dict(), path) to keep",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Refused: there is no TorchScript."
    return function


trace, trace_module, save, load, freeze, optimize_for_inference = (
    _refused(name)
    for name in ("trace", "trace_module", "save", "load", "freeze", "optimize_for_inference")
)
