"""torch.backends.cuda's switches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.frontend.switches import allow_tf32_products, precision


class _Matmul:
    """Products of matrices. `allow_tf32` is `float32_matmul_precision` as a flag."""

    @property
    def allow_tf32(self) -> bool:
        """Whether those of float32 on a GPU may round their operands to TF32."""
        return precision().matmul

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        allow_tf32_products(allowed)


matmul = _Matmul()


def is_built() -> bool:
    return False


# Which kernel attention uses is the compiler's choice: all of them give what its fused loops give.
_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def enable_flash_sdp(enabled: bool) -> None:
    """Remembered, and changes nothing."""
    _attention["flash"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Remembered, and changes nothing."""
    _attention["mem_efficient"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Remembered, and changes nothing."""
    _attention["math"] = enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Remembered, and changes nothing."""
    _attention["cudnn"] = enabled


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` was told."""
    return _attention["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` was told."""
    return _attention["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` was told."""
    return _attention["math"]


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` was told."""
    return _attention["cudnn"]


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """The choices have these values inside, and change nothing."""
    before = dict(_attention)
    inside = (enable_flash, enable_mem_efficient, enable_math, enable_cudnn)
    _attention.update(zip(("flash", "mem_efficient", "math", "cudnn"), inside))
    try:
        yield
    finally:
        _attention.update(before)
