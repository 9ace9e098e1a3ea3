"""torch.autograd.profiler's names: `profile` and `record_function` of `graphc.profiler`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from graphc.frontend.step.inspect import profiler
from graphc.frontend.step.inspect.profiler import record_function

__all__ = ["emit_itt", "emit_nvtx", "profile", "record_function"]


class profile(profiler.profile):
    """`graphc.profiler.profile` under its older name; `enabled=False` records nothing."""

    def __init__(self, enabled: bool = True, **options: Any) -> None:
        known = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
        super().__init__(**{k: v for k, v in options.items() if k in known})
        self.enabled = enabled

    def start(self) -> None:
        """Begin, if enabled."""
        if self.enabled:
            super().start()


class EventList(list[Any]):
    """For isinstance: `key_averages` gives rows that print as a table."""


class emit_nvtx(nullcontext[None]):
    """Accepted: kernels have their names in NVIDIA's tools anyway."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        super().__init__()


class emit_itt(emit_nvtx):
    """Accepted, as `emit_nvtx`."""
