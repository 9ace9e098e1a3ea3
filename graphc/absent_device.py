"""Kinds of devices that graphc has no back end for: what PyTorch's modules for them answer where
there is none. What asks is answered, what seeds or empties does nothing, what needs one raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import DeviceUnavailable

__all__ = ["functions"]


def _answer(name: str, value: Any, text: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return value() if value in (list, dict) else value

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


def _refused(name: str, kind: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise DeviceUnavailable(
            f"{kind}.{name}: there is no {kind} device",
            why=f"graphc computes on CPUs and on NVIDIA's GPUs, and has no back end for {kind}",
            fix=f'ask {kind}.is_available() first, and use "cpu" or "cuda"',
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Refused: there is no {kind} device."
    return function


def functions(
    kind: str, no: str, zero: str, lists: str, quiet: str, refused: str
) -> dict[str, Any]:
    """By name: what is false, what is 0, what is empty, what does nothing, and what raises."""
    found: dict[str, Any] = {}
    for names, value, text in (
        (no, False, "False: there is no such device."),
        (zero, 0, "0: there is no such device."),
        (lists, list, "Of no devices, nothing."),
        (quiet, None, "Nothing: there is no such device."),
    ):
        found |= {name: _answer(name, value, text) for name in names.split()}
    return found | {name: _refused(name, kind) for name in refused.split()}
