"""PyTorch's older settings and questions at the top level, in terms of what there is."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.anomaly import is_anomaly_enabled, set_detect_anomaly
from graphc.frontend.api.legacy import BY_NAME, LegacyType
from graphc.frontend.devices import set_default_device
from graphc.frontend.modes import modes, set_default_dtype
from graphc.frontend.switches import (
    are_deterministic_algorithms_enabled,
    is_deterministic_algorithms_warn_only_enabled,
    use_deterministic_algorithms,
)
from graphc.frontend.tensor import Tensor

__all__ = [
    "get_deterministic_debug_mode",
    "has_lapack",
    "has_mkl",
    "has_openmp",
    "has_spectral",
    "init_num_threads",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_storage",
    "is_vulkan_available",
    "is_warn_always_enabled",
    "set_anomaly_enabled",
    "set_default_tensor_type",
    "set_deterministic_debug_mode",
    "set_warn_always",
    "typename",
]

has_lapack, has_openmp, has_mkl = True, False, False  # decompositions are LAPACK's, by NumPy
has_spectral = False  # no complex numbers
_DEBUG = {"default": 0, "warn": 1, "error": 2}
_warns = [False]


def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype` and, of a type of torch.cuda, `set_default_device`, by a class of old or
    its name, as in "torch.FloatTensor"."""
    name = t if isinstance(t, str) else f"{getattr(t, '__module__', '')}.{t.__name__}"
    kind = BY_NAME.get(name.rpartition(".")[2])
    if kind is None or not isinstance(t, str | LegacyType):
        raise InvalidType(f"set_default_tensor_type({t!r:.60}): no type of tensors")
    set_default_dtype(kind.dtype)
    set_default_device("cuda" if ".cuda." in name else "cpu")


def typename(obj: Any, /) -> str:
    """The type of an object, or the name of a class or function, with its module."""
    if isinstance(obj, Tensor):
        found: str = obj.type()
        return found
    named = obj if isinstance(obj, type) or hasattr(obj, "__qualname__") else type(obj)
    module, name = getattr(named, "__module__", "") or "", named.__qualname__
    return name if module in ("builtins", "") else f"{module}.{name}"


def is_storage(obj: Any, /) -> bool:
    """Whether it is what `Tensor.untyped_storage` gives."""
    return type(obj).__name__ in ("UntypedStorage", "TypedStorage")


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """0 or "default", 1 or "warn", 2 or "error": as `use_deterministic_algorithms`."""
    mode = _DEBUG.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if mode not in _DEBUG.values():
        what = f"set_deterministic_debug_mode({debug_mode!r:.40})"
        raise InvalidArgument(what, fix=f"one of {', '.join(map(repr, _DEBUG))}")
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as `set_deterministic_debug_mode` takes it."""
    if not are_deterministic_algorithms_enabled():
        return 0
    return 1 if is_deterministic_algorithms_warn_only_enabled() else 2


def set_warn_always(b: bool, /) -> None:
    """Accepted and remembered: how often warnings show is up to Python's filters."""
    _warns[0] = bool(b)


def is_warn_always_enabled() -> bool:
    """What was set."""
    return _warns[0]


def init_num_threads() -> None:
    """The threads are set up by the first program that wants them."""


def is_vulkan_available() -> bool:
    """False: there is no such back end."""
    return False


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """`autograd.set_detect_anomaly`, for good."""
    set_detect_anomaly(enabled, check_nan)


def is_anomaly_check_nan_enabled() -> bool:
    """Whether detection looks for NaN."""
    return bool(modes.check_nan)
