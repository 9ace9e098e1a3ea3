"""One batch of a data set, with random numbers that depend on the batch alone.

Before a batch is fetched, Python's, NumPy's and graphc's generators are seeded from the epoch's
seed and the batch's number, so augmentations are the same bits for any number of workers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from graphc.frontend.api.random import default_generator
from graphc.utils.data.collate import default_collate
from graphc.utils.data.dataset import Subset


def fetch(dataset: Any, indices: Any, collate: Callable[[Any], Any], batched: bool) -> Any:
    """The batch at `indices`, or with `batched` false one sample, through `collate`."""
    if not batched:
        return collate(dataset[indices])
    if collate is default_collate and (batch := _at_once(dataset, indices)) is not None:
        return batch
    if hasattr(dataset, "__getitems__"):
        return collate(dataset.__getitems__(indices))
    return collate([dataset[i] for i in indices])


def stream(
    dataset: Any, batch_size: int | None, collate: Callable[[Any], Any], drop_last: bool
) -> Iterator[Any]:
    """The batches of an iterable data set, or with `batch_size` None its samples."""
    samples = iter(dataset)
    if batch_size is None:
        yield from map(collate, samples)
        return
    while batch := list(islice(samples, batch_size)):
        if len(batch) == batch_size or not drop_last:
            yield collate(batch)


def _at_once(dataset: Any, indices: list[int]) -> Any:
    """The whole batch from a data set that can index many samples together; else None."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    collated = getattr(dataset, "collated", None)
    return None if collated is None else collated(indices)


def seed_everything(seed: int) -> None:
    """Seed the three generators that a data set may use."""
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    default_generator.manual_seed(seed)


def batch_seed(base: int, number: int) -> int:
    """A seed for batch `number`; neighbouring ones are far apart (the golden ratio times 2^64)."""
    return (base + (number + 1) * 0x9E3779B97F4A7C15) & 0x7FFFFFFFFFFFFFFF


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed everything inside, and put the caller's generators back."""
    python, numpy = random.getstate(), np.random.get_state()
    mine = default_generator.initial_seed(), default_generator.next_number()
    seed_everything(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        default_generator.manual_seed(mine[0])
        default_generator.advance(mine[1])
