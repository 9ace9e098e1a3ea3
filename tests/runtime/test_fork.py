"""A forked child and its parent compute in memory of their own."""

from __future__ import annotations

import ctypes
import multiprocessing
import os

import numpy as np
import pytest

import graphc
from graphc.runtime.cpu.arena import Arena

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="no processes fork here"
    ),
]


def chain(x: graphc.Tensor) -> graphc.Tensor:
    y = x.cumsum(0) @ x
    return graphc.softmax(y, -1).cumsum(0) @ y


def test_steps_of_both_do_not_meet() -> None:
    """Each calls, in turn with the other, what the parent compiled: results are those of before."""
    rng, step = np.random.default_rng(0), graphc.compile(chain)
    xs = [graphc.from_numpy(rng.standard_normal((96, 96), np.float32)) for _ in range(2)]
    want = [step(x).numpy().copy() for x in xs]
    child = os.fork()
    x, result = (xs[0], want[0]) if child else (xs[1], want[1])
    same = all(np.array_equal(step(x).numpy(), result) for _ in range(60))
    if not child:
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert same
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_arena_of_a_child_is_a_copy() -> None:
    arena = Arena()
    arena.reserve(0, 1 << 16, [])
    ctypes.memset(arena.base, 1, 1 << 16)
    child = os.fork()
    if not child:
        ctypes.memset(arena.base, 2, 1 << 16)
        os._exit(0)
    os.waitpid(child, 0)
    assert ctypes.string_at(arena.base, 1 << 16) == b"\1" * (1 << 16)
