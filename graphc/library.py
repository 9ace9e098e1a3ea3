"""torch.library's names: operators of one's own, which are Python functions that graphc traces.

`custom_op` also enters the function in `graphc.ops`. Its derivative is that of what it computes,
or the one that `register_autograd` gives. A function that reads values cannot be traced: in a
compiled step it then runs as it is, between the kernels, if `register_fake` tells the types.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from graphc.aten import aten
from graphc.errors import InvalidArgument, Unsupported
from graphc.frontend.function import Function
from graphc.frontend.modes import modes
from graphc.frontend.step.opaque import Opaque
from graphc.frontend.step.signature import rebuilt

__all__ = ["CustomOpDef", "custom_op", "ops", "register_autograd", "register_fake"]

Call = Callable[..., Any]


class NoExtension(Unsupported, OSError):
    """Of a file with operators in C++; libraries that can do without ask for an OSError."""

    why = "an extension of PyTorch works on PyTorch's own tensors"
    fix = "write the operator in Python, or as a custom_op over NumPy arrays"


class CustomOpDef:
    """A function under a name "namespace::name"."""

    def __init__(self, name: str, function: Call) -> None:
        self._name = name
        self._function = function
        self._signature = inspect.signature(function)
        self._rule: type[Function] | None = None
        self._opaque: Opaque | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            return self._function(*bound.args, **bound.kwargs)
        return (self._rule.apply if self._rule is not None else self._computed)(*bound.args)

    def _computed(self, *args: Any) -> Any:
        if modes.trace is None or self._opaque is None:
            return self._function(*args)
        return self._opaque(*args)

    def _detached(self, *args: Any) -> Any:
        """The same below autograd, whose rule is the operator's own."""
        return self._computed(*rebuilt(args, lambda t: t.detach()))

    def register_fake(self, fn: Call) -> Call:
        """`fn` gives tensors of the types that the operator gives for its arguments."""
        self._opaque = Opaque(self._name, self._function, fn)
        return fn

    def register_kernel(self, device_types: Any, func: Call | None = None, /) -> Any:
        """Not needed: one function serves all devices."""
        return func if func is not None else (lambda fn: fn)

    def register_vmap(self, func: Call | None = None, /) -> Any:
        """Not needed: vmap follows what the function computes."""
        return func if func is not None else (lambda fn: fn)

    def register_autograd(self, backward: Call, *, setup_context: Call | None = None) -> None:
        """`backward(ctx, *gradients)`, of what setup_context(ctx, inputs, output) has kept."""

        def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if setup_context is not None:
                setup_context(ctx, inputs, output)

        members = {
            "forward": staticmethod(self._detached),
            "setup_context": staticmethod(keep),
            "backward": staticmethod(backward),
        }
        self._rule = type(self._name.partition("::")[2], (Function,), members)


OPS: dict[str, CustomOpDef] = {}
FAKES: dict[str, Call] = {}  # of operators that may come


class _Namespace:
    """`ops.mine.scale`: first the namespace, then the operator."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def load_library(self, path: str) -> None:
        """Refused, as an OSError, too: graphc loads no C++ extensions."""
        raise NoExtension(f"ops.load_library({str(path)!r:.200})")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self._prefix:
            return aten if name == "aten" else _Namespace(name)
        path = f"{self._prefix}::{name}"
        if path not in OPS:
            raise AttributeError(f"no operator {path}: see graphc.library.custom_op")
        return OPS[path]


ops = _Namespace()


def custom_op(
    name: str,
    fn: Call | None = None,
    /,
    *,
    mutates_args: str | Iterable[str] = (),
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Enter a function as the operator `name`, "namespace::name"; also as a decorator."""
    if "::" not in name:
        raise InvalidArgument(f"custom_op: a name is 'namespace::name', got {name!r:.100}")

    def enter(function: Call) -> CustomOpDef:
        made = OPS[name] = CustomOpDef(name, function)
        if name in FAKES:
            made.register_fake(FAKES[name])
        return made

    return enter if fn is None else enter(fn)


def _known(op: Any) -> CustomOpDef:
    found = OPS.get(op) if isinstance(op, str) else op
    if not isinstance(found, CustomOpDef):
        raise InvalidArgument(f"no operator {op!r:.100}", fix="make it with custom_op first")
    return found


def register_fake(op: Any, func: Call | None = None, /, **options: Any) -> Any:
    """`func` gives tensors of the types that the operator `op` gives for its arguments; of one that
    is not there yet, or never will be as it is written in C++, it is kept."""
    if func is None:
        return functools.partial(register_fake, op)
    if isinstance(op, str) and op not in OPS:
        FAKES[op] = func
        return func
    return _known(op).register_fake(func)


def register_autograd(
    op: Any, backward: Call, /, *, setup_context: Call | None = None, lib: Any = None
) -> None:
    """Give an operator a derivative of its own."""
    _known(op).register_autograd(backward, setup_context=setup_context)
