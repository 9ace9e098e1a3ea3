"""Generators of random numbers: a seed and a count of draws; one is everybody's default."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np

from graphc.errors import InvalidState, InvalidType, Untraceable
from graphc.frontend import tensor as tensors
from graphc.frontend import trace as tracing
from graphc.frontend.devices import resolve
from graphc.frontend.modes import modes
from graphc.frontend.promotion import refuse_wide, wrap
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64, u8


class Generator:
    """A seed and the number of the next draw: the whole state."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = resolve(device)
        _refuse_in_trace("a Generator made")
        self.seed_value = 0
        self.draw = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from draw 0 of `seed`."""
        _refuse_in_trace("manual_seed()")
        refuse_wide(seed)
        self.seed_value = int(seed) & 0xFFFFFFFFFFFFFFFF
        self.draw = 0
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system's."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self.seed_value

    def initial_seed(self) -> int:
        """The seed of the default generator."""
        return int(tracing.guard(partial(getattr, self, "seed_value")))

    def signed_seed(self) -> int:
        """The seed as an i64 holds it."""
        return int(wrap(self.seed_value, i64))

    def next_number(self) -> int:
        return self.draw

    def advance(self, draws: int) -> None:
        self.draw += draws

    def get_state(self) -> Tensor:
        """16 bytes: the seed and the number of the next draw."""
        _refuse_in_trace("the random state read")
        words = np.array([self.signed_seed(), self.draw], "<i8")
        return tensors.wrapped(words.view(np.uint8))

    def set_state(self, state: Tensor) -> None:
        if not isinstance(state, tensors.Tensor) or state.dtype is not u8:
            raise InvalidType(
                f"expected the uint8 tensor that get_state() gives, got {state!r:.100}"
            )
        if state.spec.shape != (16,):
            raise InvalidState(f"a random state has 16 bytes, got {state.spec}")
        seed, draw = np.ascontiguousarray(state.host()).view("<i8").tolist()
        self.manual_seed(seed)
        self.draw = draw


def _refuse_in_trace(what: str) -> None:
    if modes.trace is not None:
        raise Untraceable(
            f"{what} inside a compiled step",
            why="the step is traced once: the generator would not start again at each call",
            fix="do it before the call",
        )


default_generator = Generator()
default_generator.seed()  # another in each process, as PyTorch does; `manual_seed` repeats a run


def manual_seed(seed: Any) -> Generator:
    """Start the default generator again from `seed`, an integer of 64 bits."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system's randomness; the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as a vector of bytes (uint8). -> [bytes]."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Put back what `get_rng_state` gave. [bytes], uint8."""
    default_generator.set_state(new_state)
