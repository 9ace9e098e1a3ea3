"""torch.random's names: the default generator's seed and state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from graphc.frontend.api.random import (
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


@contextmanager
def fork_rng(
    devices: Iterable[object] | None = None, enabled: bool = True, device_type: str = "cuda"
) -> Iterator[None]:
    """What is drawn or seeded inside leaves no trace in the random state outside.

    `devices` and `device_type` name GPUs, of which there are none.
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)
