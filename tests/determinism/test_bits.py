"""A step's bits depend on its inputs alone: not on threads, the cache or where its data lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphc
from tests.steps import MODELS, training


@pytest.fixture
def as_before() -> Iterator[None]:
    count = graphc.get_num_threads()
    yield
    graphc.set_num_threads(count)


def train(name: str, shift: int = 0) -> bytes:
    """Losses and final weights of four steps; `shift` moves the batch off its alignment."""
    step, x, y, net = training(name)
    if shift:
        room = np.empty(x.numel() + shift, x.numpy().dtype)
        room[shift:] = x.numpy().ravel()
        x = graphc.from_numpy(room[shift:].reshape(x.shape))
    losses = [step(x, y).detach().numpy().tobytes() for _ in range(4)]
    return b"".join([*losses, *(p.detach().numpy().tobytes() for p in net.parameters())])


@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_threads_gives_the_same_bits(name: str, as_before: None) -> None:
    results = set()
    for count in (1, 2, 3, 8):
        graphc.set_num_threads(count)
        results.add(train(name))
    assert len(results) == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_anywhere_in_memory_gives_the_same_bits(name: str) -> None:
    assert len({train(name, shift) for shift in (0, 1, 3)}) == 1
