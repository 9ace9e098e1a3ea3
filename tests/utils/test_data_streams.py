"""Iterable data sets, here and in workers; stacked and chained sets; weighted samplers."""

from __future__ import annotations

import random
from collections import Counter, namedtuple
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.utils import data
from graphc.utils.data import DataLoader, IterableDataset

# JAX, where another test of this process has imported it, warns of any fork.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")

Pair = namedtuple("Pair", "x y")


class Range(IterableDataset[Any]):
    """begin .. end-1; in a worker, its share of them."""

    def __init__(self, begin: int, end: int, fault: int = -1) -> None:
        self.begin, self.end, self.fault = begin, end, fault

    def __iter__(self) -> Iterator[int]:
        info = data.get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for k in range(self.begin + first, self.end, step):
            if k == self.fault:
                raise KeyError("no sample")
            yield k

    def __len__(self) -> int:
        return self.end - self.begin


class Noise(Range):
    """A random number of each generator for each sample."""

    def __iter__(self) -> Iterator[Any]:
        for k in super().__iter__():
            yield k, random.random(), float(np.random.rand()), float(graphc.rand(()))


def lists(loader: Any) -> list[Any]:
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7, 9, None])
def test_streams_in_one_process(size: int | None, drop_last: bool) -> None:
    if size is None and drop_last:
        pytest.skip("PyTorch and graphc refuse both")
    loader: Any = DataLoader(Range(0, 7), size, drop_last=drop_last)
    numbers = list(range(7))
    if size is None:
        assert list(loader) == numbers and len(loader) == 7
        return
    expected = [numbers[k : k + size] for k in range(0, 7, size)]
    expected = [b for b in expected if len(b) == size or not drop_last]
    assert lists(loader) == expected == lists(loader) and len(loader) == len(expected)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # PyTorch, more than processors
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_streams_in_workers(workers: int) -> None:
    """Worker k has k, k + workers, ...; their batches come in turn, as PyTorch's do."""
    torch = pytest.importorskip("torch")

    class Theirs(torch.utils.data.IterableDataset):  # type: ignore[misc]  # untyped
        def __iter__(self) -> Iterator[int]:
            info = torch.utils.data.get_worker_info()
            return iter(range(info.id, 11, info.num_workers))

    ours = DataLoader(Range(0, 11), 2, num_workers=workers, persistent_workers=True)
    expected = lists(torch.utils.data.DataLoader(Theirs(), 2, num_workers=workers))
    assert lists(ours) == expected == lists(ours)
    next(iter(ours))  # left early; the next epoch starts again
    assert lists(ours) == expected


def test_a_stream_s_random_numbers_are_reproducible() -> None:
    def epochs(workers: int) -> Any:
        graphc.manual_seed(3)
        loader: Any = DataLoader(Noise(0, 6), 2, num_workers=workers)
        return [[[part.tolist() for part in batch] for batch in loader] for _ in range(2)]

    here = epochs(0)
    assert here == epochs(0) == epochs(1) and here[0] != here[1]


def test_a_failing_stream_says_where() -> None:
    for workers in (0, 2):
        seen = []
        with pytest.raises(KeyError, match="no sample"):
            for batch in DataLoader(Range(0, 8, fault=5), 1, num_workers=workers):
                seen += batch.tolist()
        assert seen == [0, 1, 2, 3, 4]


def test_streams_have_their_own_order() -> None:
    for name, value in {"shuffle": True, "sampler": [1], "batch_sampler": [[1]]}.items():
        options: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=f"IterableDataset: expected unspecified {name}"):
            DataLoader(Range(0, 3), **options)
    assert len(list(DataLoader(Range(0, 3), shuffle=False))) == 3
    with pytest.raises(NotImplementedError):
        iter(IterableDataset())


def test_chained_streams() -> None:
    both = Range(0, 3) + Range(5, 7)
    assert isinstance(both, data.ChainDataset) and len(both) == 5
    assert lists(DataLoader(both, 2)) == [[0, 1], [2, 5], [6]]
    assert sorted(chain(*lists(DataLoader(both, 2, num_workers=2)))) == [0, 1, 2, 5, 6]
    with pytest.raises(TypeError, match="ConcatDataset"):
        list(data.ChainDataset([data.TensorDataset(graphc.ones(1))]))


def test_stacked_sets() -> None:
    x, y = graphc.arange(4), graphc.arange(4) * 10
    sets = data.TensorDataset(x), data.TensorDataset(y)
    stacked = data.StackDataset(*sets)
    assert len(stacked) == 4 and stacked[2][1][0].item() == 20
    named = data.StackDataset(image=sets[0], label=sets[1])
    batch = next(iter(DataLoader(named, 3)))
    assert batch["label"][0].tolist() == [0, 10, 20]
    bad: list[tuple[Any, Any]] = [
        ((), {}),
        (sets, {"z": sets[0]}),
        ((sets[0], data.Subset(sets[1], [0])), {}),
    ]
    for args, named_args in bad:
        with pytest.raises(ValueError):
            data.StackDataset(*args, **named_args)


def test_empty_shares_warn() -> None:
    with pytest.warns(UserWarning, match="part 1 is empty"):
        parts = data.random_split(data.TensorDataset(graphc.ones(3)), [0.9, 0.1])
    assert [len(p) for p in parts] == [3, 0]


# ---- samplers ----------------------------------------------------------------------------------


def test_weighted_sampler() -> None:
    g = graphc.Generator().manual_seed(1)
    sampler = data.WeightedRandomSampler([0.0, 1.0, 3.0], 4000, generator=g)
    counts = Counter(sampler)
    assert len(sampler) == 4000 and counts[0] == 0
    assert abs(counts[2] - 3000) < 5 * (4000 * 0.75 * 0.25) ** 0.5
    again = data.WeightedRandomSampler([0.0, 1.0, 3.0], 4000, generator=g.manual_seed(1))
    assert Counter(again) == counts
    assert sorted(data.WeightedRandomSampler(graphc.ones(5), 5, replacement=False)) == [*range(5)]


@pytest.mark.parametrize(
    "args", [([1.0], 0), ([1.0], 2.5), ([1.0], True), ([1.0], 1, 0), ([[1.0]], 1)], ids=str
)
def test_wrong_weights(args: Any) -> None:
    with pytest.raises(ValueError):
        data.WeightedRandomSampler(*args)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("length", [1, 7, 9])
def test_shares_of_processes(length: int, drop_last: bool) -> None:
    distributed = pytest.importorskip("torch.utils.data")
    for rank in range(3):
        args = range(length), 3, rank, False, 0, drop_last
        ours, theirs = data.DistributedSampler(*args), distributed.DistributedSampler(*args)
        assert list(ours) == list(theirs) and len(ours) == len(theirs)
    shares = [data.DistributedSampler(range(9), 3, rank, seed=5) for rank in range(3)]
    before = [list(s) for s in shares]
    assert sorted(chain(*before)) == list(range(9))
    for s in shares:
        s.set_epoch(1)
    assert [list(s) for s in shares] != before
    with pytest.raises(ValueError, match="rank"):
        data.DistributedSampler(range(9), 3, 3)
    with pytest.raises(RuntimeError, match="num_replicas"):
        data.DistributedSampler(range(9))


# ---- single samples, and arguments --------------------------------------------------------------


def test_default_convert() -> None:
    sample = {"a": (np.ones(2, np.float32), "text", 3), "b": Pair(np.int64(4), None)}
    out = data.default_convert(sample)
    assert out["a"][0].dtype is graphc.float32 and out["a"][1:] == ["text", 3]
    assert out["b"].x.dtype is graphc.int64 and out["b"].y is None
    texts = np.array(["a"])
    assert data.default_convert(texts) is texts
    rows: Any = DataLoader(list(np.eye(2)), batch_size=None)  # type: ignore[arg-type]  # a list
    assert [row.tolist() for row in rows] == [[1.0, 0.0], [0.0, 1.0]]


def test_arguments_that_change_nothing_here() -> None:
    pairs = data.TensorDataset(graphc.arange(4))
    loader: Any = DataLoader(
        pairs, 2, pin_memory=True, pin_memory_device="cuda", in_order=False, num_workers=1
    )
    assert [x.tolist() for (x,) in loader] == [[0, 1], [2, 3]]
    for options in ({}, {"num_workers": 1, "multiprocessing_context": "tread"}):
        bad: dict[str, Any] = {"multiprocessing_context": "fork", **options}
        with pytest.raises(ValueError, match="multiprocessing_context"):
            DataLoader(pairs, **bad)


def test_a_sampler_of_one_s_own() -> None:
    class Odd(data.Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            return iter([1, 3])

        def __len__(self) -> int:
            return 2

    pairs = data.TensorDataset(graphc.arange(4))
    loader: Any = DataLoader(pairs, sampler=Odd())
    assert len(loader) == 2 and [x.tolist() for (x,) in loader] == [[1], [3]]
    with pytest.raises(NotImplementedError):
        iter(data.Sampler())
