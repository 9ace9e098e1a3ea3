"""PyTorch's global switches. But for the precision of products they change nothing here, or say how
graphc computes anyway."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from graphc.errors import InvalidState, InvalidType
from graphc.frontend import epoch
from graphc.frontend.modes import modes
from graphc.ir.types import f32

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "set_float32_matmul_precision",
    "set_num_interop_threads",
    "use_deterministic_algorithms",
]

PRECISIONS = ("highest", "high", "medium")

_set: dict[str, Any] = {"deterministic": False, "warn_only": False, "precision": ""}
_convolutions = [True]  # whether a GPU's may round to TF32: PyTorch's default


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted and remembered: every graphc program is deterministic, whatever the mode."""
    if not isinstance(mode, bool):
        raise InvalidType(f"use_deterministic_algorithms: mode must be a bool, got {mode!r:.100}")
    _set.update(deterministic=mode, warn_only=mode and warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told; False at the start, as in PyTorch."""
    return bool(_set["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told last as `warn_only`."""
    return bool(_set["warn_only"])


class Precision(NamedTuple):
    """Whether products of float32 on a GPU may round their operands to TF32: 10 bits of mantissa.

    Sums are kept in float32. Programs look at each call, so a switch holds from the next one on.
    """

    matmul: bool = False
    convolution: bool = False


def precision() -> Precision:
    """What is allowed now."""
    return Precision(get_float32_matmul_precision() != "highest", _convolutions[0])


def allow_tf32_products(allowed: bool) -> None:
    """As "high"; to forbid it is not to ask for sums as written, on a CPU."""
    _set["precision"] = "high" if allowed else ""
    epoch.switch_changed()


def allow_tf32_convolutions(allowed: bool) -> None:
    _convolutions[0] = bool(allowed)
    epoch.switch_changed()


def set_float32_matmul_precision(precision: str) -> None:
    """How products of float32 are computed.

    "highest", where a program says so, makes a CPU's convolutions the sums as written: until then,
    and with any other precision, a step may compute them by Winograd's algorithm, whose rms error
    stays within 1e-5 of the rms of the result. With any other, a GPU's products may round their
    operands to TF32.

    "high" is exact float32 on a CPU: three products of bfloat16 for one are no faster there.
    "medium" rounds operands of large products to bfloat16 where a CPU has `avx512bf16`, with sums
    in float32, if gradients are recorded and an operand requires one, and those gradients'
    products likewise. Convolutions, attention, loops and products without gradients stay float32.
    """
    if precision not in PRECISIONS:
        warnings.warn(
            f"{precision!r:.100} is not one of {', '.join(PRECISIONS)}; nothing changes",
            stacklevel=2,
        )
        return
    _set["precision"] = precision
    epoch.switch_changed()


def get_float32_matmul_precision() -> str:
    """What was set; "highest" at the start, as in PyTorch, though it is then not asked for."""
    return _set["precision"] or "highest"


def precision_asked() -> str:
    """What compiled code depends on: "highest" or "medium", else ""."""
    return "" if _set["precision"] == "high" else str(_set["precision"])


def how_multiplied(x: Any, y: Any) -> dict[str, bool]:
    """How the product of two tensors may be computed: of rounded operands, or exactly.

    Where nothing trains, a rounded copy of the weight would cost each call more than it saves."""
    asked = _set["precision"] == "medium" and modes.grad and x.dtype is f32
    return {"narrow": True} if asked and (x.requires_grad or y.requires_grad) else {}


def as_written() -> bool:
    """Whether a program asked for sums of products as they are written."""
    return bool(_set["precision"] == "highest")


def get_num_interop_threads() -> int:
    """1: a step runs one operation at a time, each on `get_num_threads()` threads."""
    return 1


def set_num_interop_threads(count: int, /) -> None:
    """Checked and otherwise ignored, see `get_num_interop_threads`."""
    if not isinstance(count, int) or isinstance(count, bool):
        raise InvalidType(f"set_num_interop_threads: an integer is expected, got {count!r:.100}")
    if count < 1:
        raise InvalidState(f"set_num_interop_threads expects a positive integer, got {count}")
