"""Modes of the running thread: whether autograd records, which trace is active; default dtype."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from graphc.errors import InvalidType
from graphc.frontend import epoch
from graphc.ir.types import DType, f32, refuse_name_only

if TYPE_CHECKING:
    from graphc.frontend import devices
    from graphc.frontend.mapped import Mapped
    from graphc.frontend.places import DevicePlace
    from graphc.frontend.trace import Trace

__all__ = [
    "enable_grad",
    "get_default_dtype",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_default_dtype",
    "set_grad_enabled",
]

F = TypeVar("F", bound=Callable[..., Any])


class _Modes(threading.local):
    """One per thread, as in PyTorch; all stand in the thread's `__dict__`, so that a compiled step
    asks for them at once."""

    def __init__(self) -> None:
        """Also called where a new thread first looks."""
        self.grad = True
        self.inference = False
        self.disabled = False  # whether compiled functions run plainly
        self.trace: Trace | None = None
        self.anomaly = False  # whether backward looks for NaN, see `anomaly.py`
        self.check_nan = True
        self.device: devices.device | None = None  # where factories make tensors, if not the CPU
        self.autocast: tuple[tuple[str, DType], ...] = ()  # what products take, by type of device
        self.place: DevicePlace | None = None  # on which GPU a factory that runs fills memory
        self.mapped: Mapped | None = None  # the vmap whose function runs
        self.functions: tuple[Any, ...] = ()  # TorchFunctionModes, see `overriding.py`


class _Draw(threading.local):
    """Apart from `modes`, whose words a compiled step watches: a draw between two of its calls is
    nothing to it."""

    def __init__(self) -> None:
        self.runs = False  # eager operations round as compiled code does meanwhile


modes = _Modes()
draw = _Draw()


def is_grad_enabled() -> bool:
    """Whether what is computed now, in this thread, is recorded for gradients."""
    return modes.grad


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on in this thread."""
    return modes.inference


class _GradMode:
    """A context manager and decorator that sets grad mode inside."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[tuple[bool, bool]] = []
        self._inference = False

    def __enter__(self) -> Self:
        self._before.append((modes.grad, modes.inference))
        modes.grad = self._enabled
        modes.inference = modes.inference or self._inference
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.grad, modes.inference = self._before.pop()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return self._of_generator(function)  # type: ignore[return-value]  # as below

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)._again(self):
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature

    def _of_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The mode holds while the generator runs, not while its caller does."""

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            running, sent, failure = function(*args, **kwargs), None, None
            while True:
                try:
                    with type(self)._again(self):
                        item = running.send(sent) if failure is None else running.throw(failure)
                except StopIteration as end:
                    return end.value
                try:
                    sent, failure = (yield item), None
                except GeneratorExit:
                    running.close()
                    raise
                except BaseException as e:
                    sent, failure = None, e

        return inside

    @classmethod
    def _again(cls, like: _GradMode) -> _GradMode:
        """A fresh one for each call, so that a decorated function may recurse or run in threads."""
        fresh = _GradMode(like._enabled)
        fresh._inference = like._inference
        return fresh


class no_grad(_GradMode):
    """Autograd records nothing inside; also a decorator, with or without parentheses."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        if function is not None:
            return cls()(function)
        return super().__new__(cls)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Autograd records inside, even within `no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        if function is not None:
            return cls()(function)
        return super().__new__(cls)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__(True)


class inference_mode(_GradMode):
    """`no_grad` by another name: graphc keeps no further bookkeeping to save."""

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        if callable(mode):
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        inside = bool(mode)
        super().__init__(not inside and modes.grad)
        self._inference = inside


class set_grad_enabled(_GradMode):
    """Sets grad mode at once; as a context manager, restores it on exit."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._at_call = modes.grad
        modes.grad = self._enabled

    def __enter__(self) -> Self:
        self._before.append((self._at_call, modes.inference))
        modes.grad = self._enabled
        return self

    def __call__(self, function: F) -> F:
        modes.grad = self._at_call
        return super().__call__(function)


def drawing(function: F) -> F:
    """A function that makes random numbers: the same to the bit, eager and compiled."""

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        before, draw.runs = draw.runs, True
        try:
            return function(*args, **kwargs)
        finally:
            draw.runs = before

    return cast(F, inside)


_default = [f32]


def get_default_dtype() -> DType:
    """The dtype of Python floats and of float factories; float32 unless set."""
    return _default[0]


def set_default_dtype(d: DType) -> None:
    """The dtype of floats that nobody gives one; InvalidType unless it is floating."""
    if not isinstance(d, DType) or not d.is_floating_point:
        raise InvalidType(f"only floating-point dtypes can be the default, got {d!r}")
    refuse_name_only(d)
    _default[0] = d
    epoch.switch_changed()
