"""Eager steps find the memory of the last step; nobody is given what another still has."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.frontend.eager.pool import KEPT_BYTES, LEAST_BYTES, POOL, Pool

F32 = np.dtype(np.float32)
SHAPE = (LEAST_BYTES // 4 // 128, 128)


def place(x: Any) -> int:
    return int(x.__array_interface__["data"][0])


def test_a_block_is_free_once_nobody_has_it() -> None:
    made = Pool()
    x = made.empty(SHAPE, F32)
    first, view = place(x), x[1:, ::2].T
    del x
    y = made.empty(SHAPE, F32)
    assert place(y) != first  # a view holds it
    export, memory = view.__dlpack__(), view.data
    del view
    assert place(made.empty(SHAPE, F32)) != first
    del memory
    assert place(made.empty(SHAPE, F32)) != first
    del export
    others = [made.empty((SHAPE[1], SHAPE[0]), F32) for _ in range(2)]
    assert first in map(place, others) and place(y) not in map(place, others)
    assert made.bytes == 3 * LEAST_BYTES


def test_small_arrays_are_none_of_its_business() -> None:
    made = Pool()
    assert made.empty((3, 4), F32).flags.owndata and not made.bytes


def test_it_keeps_no_more_than_it_may() -> None:
    made = Pool(4 * LEAST_BYTES)
    held = [made.empty(SHAPE, F32) for _ in range(6)]
    assert made.bytes == 4 * LEAST_BYTES
    assert [x.flags.owndata for x in held] == [False] * 4 + [True] * 2
    del held
    twice = made.empty((2, *SHAPE), F32)  # takes the room of two
    assert not twice.flags.owndata and made.bytes == 4 * LEAST_BYTES
    assert made.empty((5, *SHAPE), F32).flags.owndata


def test_threads_share_no_memory() -> None:
    made, wrong = Pool(), []

    def work(k: int) -> None:
        for _ in range(300):
            x = made.empty(SHAPE, F32)
            x[0], x[-1] = k, k
            y = made.empty(SHAPE, F32)
            y[0] = -1
            if x[0, 0] != k or x[-1, -1] != k:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_steps_use_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All large arrays are blocks of the pool, which holds no more than one step has at a time."""
    asked: list[bool] = []
    empty = POOL.empty

    def noted(shape: Any, dtype: Any) -> Any:
        x = empty(shape, dtype)
        if x.nbytes >= LEAST_BYTES:
            asked.append(x.flags.owndata)
        return x

    monkeypatch.setattr(POOL, "empty", noted)
    model = graphc.nn.Sequential(graphc.nn.Linear(256, 512), graphc.nn.GELU(),
                                 graphc.nn.LayerNorm(512), graphc.nn.Linear(512, 10))  # fmt: skip
    optimizer = graphc.optim.AdamW(model.parameters())
    x, y = graphc.randn(512, 256), graphc.zeros(512, dtype=graphc.int64)

    def step() -> None:
        asked.clear()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(4):
        step()
    before = POOL.bytes
    for _ in range(5):
        step()
        assert len(asked) >= 12 and not any(asked)
    assert POOL.bytes == before


def test_a_result_that_is_kept_stays_as_it_was() -> None:
    x = graphc.randn(300, 300)
    kept = F.gelu(x)
    want = kept.numpy().copy()
    shown = kept.numpy()
    del kept
    for _ in range(5):
        F.gelu(x * 0.0)
    assert np.array_equal(shown, want)
    assert POOL.bytes <= KEPT_BYTES
