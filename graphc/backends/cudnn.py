"""torch.backends.cudnn's switches: `allow_tf32` is read by convolutions on a GPU, and no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from graphc.frontend.switches import allow_tf32_convolutions, precision

enabled = True
benchmark = False
deterministic = False


class _Switches(ModuleType):
    """The module, so that a switch which is set is seen by who reads it."""

    @property
    def allow_tf32(self) -> bool:
        """Whether convolutions of float32 on a GPU may round their operands to TF32."""
        return precision().convolution

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        allow_tf32_convolutions(allowed)


sys.modules[__name__].__class__ = _Switches


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """The switches have these values inside; the defaults are PyTorch's."""
    module = sys.modules[__name__]
    inside = {"enabled": enabled, "benchmark": benchmark, "deterministic": deterministic,
              "allow_tf32": allow_tf32}  # fmt: skip
    before = {name: getattr(module, name) for name in inside}
    try:
        for name, value in inside.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def is_available() -> bool:
    return False


def version() -> int | None:
    """None: there is no cuDNN."""
    return None
