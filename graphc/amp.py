"""Mixed precision under PyTorch's names: automatic casts, and the scaling of losses.

Where a device is not there both warn and do nothing, as in a PyTorch without CUDA.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from graphc.errors import InvalidArgument
from graphc.frontend.autocast import DEFAULTS, is_autocast_available, narrow_type, working
from graphc.frontend.devices import device
from graphc.frontend.grad_scaler import GradScaler
from graphc.frontend.modes import modes
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, bf16, f16, f64

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

F = TypeVar("F", bound=Callable[..., Any])
_dtypes = dict(DEFAULTS)  # what products take, unless autocast is told otherwise


class autocast:
    """A context manager and decorator: inside, functions on a device take their tensors in the
    types that PyTorch's lists say; products in `dtype`, float16 on a GPU and bfloat16 on a CPU."""

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self._enabled = working("autocast", device_type, enabled)
        self.device = device_type
        self.fast_dtype = dtype or _dtypes.get(device_type)
        if self._enabled and self.fast_dtype not in (f16, bf16):
            warnings.warn(
                f"In {device_type} autocast, but the target dtype {self.fast_dtype} is not "
                "supported, disabling: it is for float16 and bfloat16",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False
        self._before: list[tuple[tuple[str, DType], ...]] = []

    def __enter__(self) -> Self:
        self._before.append(modes.autocast)
        kept = tuple(row for row in modes.autocast if row[0] != self.device)
        mine = ((self.device, self.fast_dtype),) if self._enabled and self.fast_dtype else ()
        modes.autocast = tuple(sorted((*kept, *mine), key=lambda row: row[0]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.autocast = self._before.pop()

    def __call__(self, func: F) -> F:
        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether functions on a device are cast here and now."""
    return narrow_type(device_type) is not None


def get_autocast_dtype(device_type: str) -> DType:
    """What products on a device take now, or would if autocast were enabled."""
    return narrow_type(device_type) or _dtypes[device(device_type).type]


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """What products on a device take from now on, wherever autocast is enabled without a dtype."""
    kind = device(device_type).type
    if kind not in _dtypes or dtype not in (f16, bf16):
        what = f"set_autocast_dtype({device_type!r:.40}, {dtype!r:.40})"
        raise InvalidArgument(what, fix='give "cpu" or "cuda", and float16 or bfloat16')
    _dtypes[kind] = dtype
    if narrow_type(kind) is not None:
        set_autocast_enabled(kind, True)


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Turn casts on a device on or off, until told otherwise; of one argument: on "cuda"."""
    kind, on = ("cuda", device_type) if enabled is None else (device_type, enabled)
    if not isinstance(kind, str) or not isinstance(on, bool):
        what = f"set_autocast_enabled({device_type!r:.40}, {enabled!r:.40})"
        raise InvalidArgument(what, fix='give "cpu" or "cuda", and True or False')
    kept = tuple(row for row in modes.autocast if row[0] != device(kind).type)
    mine = ((kind, _dtypes[kind]),) if on and kind in _dtypes else ()
    modes.autocast = tuple(sorted((*kept, *mine), key=lambda row: row[0]))


def _of(kind: str) -> tuple[Callable[[], bool], Callable[[], DType], Any, Any]:
    """PyTorch's older functions, with the device in their names."""

    def enabled() -> bool:
        """Whether functions on the device are cast here and now."""
        return is_autocast_enabled(kind)

    def dtype() -> DType:
        """What products on the device take."""
        return get_autocast_dtype(kind)

    def set_enabled(enabled: bool) -> None:
        """`set_autocast_enabled` of the device."""
        set_autocast_enabled(kind, enabled)

    def set_dtype(dtype: DType) -> None:
        """`set_autocast_dtype` of the device."""
        set_autocast_dtype(kind, dtype)

    return enabled, dtype, set_enabled, set_dtype


(is_autocast_cpu_enabled, get_autocast_cpu_dtype, set_autocast_cpu_enabled,
 set_autocast_cpu_dtype) = _of("cpu")  # fmt: skip
_, get_autocast_gpu_dtype, _, set_autocast_gpu_dtype = _of("cuda")
_cache = [True]


def is_autocast_cache_enabled() -> bool:
    """What was set; casts of weights are ordinary operations, and nothing is kept of them."""
    return _cache[0]


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Accepted and remembered."""
    _cache[0] = bool(enabled)


def clear_autocast_cache() -> None:
    """There is none."""


_nested = [0]


def autocast_increment_nesting() -> int:
    """Count one more region of autocast, for what builds its own."""
    _nested[0] += 1
    return _nested[0]


def autocast_decrement_nesting() -> int:
    """Count one less."""
    _nested[0] -= 1
    return _nested[0]


# ---- functions with a backward of their own -----------------------------------------------------


def _cast_floats(value: Any, kind: str, dtype: DType) -> Any:
    if isinstance(value, Tensor):
        fits = value.dtype.is_floating_point and value.device.type == kind
        return value.to(dtype) if fits and value.dtype is not f64 else value
    if isinstance(value, Mapping):
        return {k: _cast_floats(v, kind, dtype) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast_floats(v, kind, dtype) for v in value)
    return value


def custom_fwd(
    fwd: Any = None, *, device_type: str = "cuda", cast_inputs: DType | None = None
) -> Any:
    """Decorator of an `autograd.Function`'s forward, which then runs as autocast found it.

    With `cast_inputs`, floating tensors on the device come in that type and the forward runs with
    autocast off. `custom_bwd` lets the backward run the same way.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        args[0]._dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        args[0]._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            cast = _cast_floats(kwargs, device_type, cast_inputs)
            return fwd(*_cast_floats(args, device_type, cast_inputs), **cast)

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """Decorator of a backward whose forward has `custom_fwd`: autocast is as it was there."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return backward
