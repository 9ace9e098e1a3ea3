"""Looking into a compiled step: Python that runs after each call of it, with true values, in order.

Outside a compiled step each of these acts at once.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

from graphc.frontend.step.python.effects import after

__all__ = ["breakpoint", "callback", "print"]


def callback(fn: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call `fn(*args, **kwargs)`, whose result is dropped, with what the tensors are here."""
    after(fn, *args, **kwargs)


def print(fmt: object, *args: Any, **kwargs: Any) -> None:
    """Print `fmt.format(*args, **kwargs)`, or what `fmt` itself shows."""
    after(_print, fmt, *args, **kwargs)


def _print(fmt: object, *args: Any, **kwargs: Any) -> None:
    builtins.print(fmt.format(*args, **kwargs) if isinstance(fmt, str) else fmt)


def breakpoint(*tensors: Any) -> None:
    """Stop in the debugger after each call, where `tensors` are what is passed here."""
    after(_stop, *tensors)


def _stop(*tensors: Any) -> None:
    sys.breakpointhook()
