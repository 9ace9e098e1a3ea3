"""Data sets, samplers and the loader, with and without workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.utils import data
from graphc.utils.data import DataLoader, Dataset, TensorDataset

# JAX, where another test of this process has imported it, warns of any fork.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")

Pair = namedtuple("Pair", "x y")


class Numbers(Dataset[Any]):
    """0 .. n-1, each with three random numbers of the three generators."""

    def __init__(self, n: int = 10) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        noise = random.random(), float(np.random.rand()), float(graphc.rand(()))
        return i, np.array(noise, np.float32)


class Faulty(Numbers):
    """Raises, dies or hangs at index 5."""

    def __init__(self, fault: str) -> None:
        super().__init__(8)
        self.fault = fault

    def __getitem__(self, i: int) -> Any:
        if i == 5:
            if self.fault == "raise":
                raise KeyError("no sample 5")
            if self.fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return i


def epoch(loader: Any) -> list[Any]:
    return [[np.asarray(part).tolist() for part in batch] for batch in loader]


# ---- data sets and samplers --------------------------------------------------------------------


def test_datasets() -> None:
    x, y = graphc.arange(6).reshape(6, 1), graphc.arange(6)
    pairs = TensorDataset(x, y)
    assert len(pairs) == 6 and pairs[2][0].tolist() == [2]
    part = data.Subset(pairs, [4, 1])
    assert len(part) == 2 and part[0][1].item() == 4
    both = part + pairs
    assert len(both) == 8 and both[1][1].item() == 1 and both[-1][1].item() == 5
    with pytest.raises(ValueError):
        both[8]
    with pytest.raises(ValueError):
        TensorDataset(x, graphc.arange(5))
    with pytest.raises(ValueError):
        data.ConcatDataset([])


def test_random_split() -> None:
    g = graphc.Generator().manual_seed(1)
    a, b = data.random_split(Numbers(10), [0.75, 0.25], generator=g)
    assert (len(a), len(b)) == (8, 2)
    assert sorted([*a.indices, *b.indices]) == list(range(10))
    again = data.random_split(Numbers(10), [8, 2], generator=g.manual_seed(1))
    assert again[0].indices == a.indices
    with pytest.raises(ValueError):
        data.random_split(Numbers(10), [3, 3])


def test_samplers() -> None:
    graphc.manual_seed(0)
    source = range(7)
    assert list(data.SequentialSampler(source)) == list(source)
    shuffled = data.RandomSampler(source)
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == list(source) and first != second
    assert len(list(data.RandomSampler(source, replacement=True, num_samples=20))) == 20
    assert sorted(data.RandomSampler(source, num_samples=14)) == sorted([*source, *source])
    assert sorted(data.SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    batches = data.BatchSampler(range(7), 3, drop_last=False)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    assert len(data.BatchSampler(range(7), 3, drop_last=True)) == 2
    with pytest.raises(ValueError):
        data.BatchSampler(range(7), 0, drop_last=False)


def test_default_collate() -> None:
    collate = data.default_collate
    assert collate([1.5, 2.0]).dtype is graphc.float64
    assert collate([1, 2]).dtype is graphc.int64
    assert collate(["a", "b"]) == ["a", "b"]
    assert tuple(collate([np.zeros((2, 3), np.float32)] * 4).shape) == (4, 2, 3)
    assert collate([np.float32(1)] * 2).dtype is graphc.float32
    assert collate([{"k": 1}, {"k": 2}])["k"].tolist() == [1, 2]
    assert collate([Pair(1, 2.0), Pair(3, 4.0)]).y.tolist() == [2.0, 4.0]
    mixed = collate([(graphc.ones(2), 1), (graphc.zeros(2), 2)])
    assert type(mixed) is list and mixed[0].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    with pytest.raises(RuntimeError):
        collate([[1, 2], [1]])
    with pytest.raises(TypeError):
        collate([object()])


# ---- the loader --------------------------------------------------------------------------------


def test_batches() -> None:
    pairs = TensorDataset(graphc.arange(7).reshape(7, 1), graphc.arange(7))
    loader: Any = DataLoader(pairs, batch_size=3)
    shapes = [tuple(x.shape) for x, _ in loader]
    assert shapes == [(3, 1), (3, 1), (1, 1)] and len(loader) == 3
    assert len(DataLoader(pairs, batch_size=3, drop_last=True)) == 2
    fast = epoch(loader)
    slow = epoch(DataLoader(pairs, batch_size=3, collate_fn=lambda b: data.default_collate(b)))
    assert fast == slow
    part = data.Subset(data.Subset(pairs, [5, 6, 0, 2]), [3, 0])
    assert epoch(DataLoader(part, batch_size=2)) == [[[[2], [5]], [2, 5]]]
    assert [y for _, y in DataLoader(pairs, batch_size=None)][3].item() == 3
    ordered: Any = DataLoader(pairs, batch_sampler=[[6, 0], [1]])
    assert [y.tolist() for _, y in ordered] == [[6, 0], [1]]


def test_shuffling_is_reproducible() -> None:
    def order() -> list[Any]:
        return epoch(DataLoader(Numbers(), batch_size=4, shuffle=True))

    graphc.manual_seed(5)
    first, second = order(), order()
    graphc.manual_seed(5)
    assert order() == first != second
    g = graphc.Generator().manual_seed(9)
    loader: Any = DataLoader(Numbers(), shuffle=True, generator=g)
    once = epoch(loader)
    g.manual_seed(9)
    assert epoch(loader) == once


def test_the_callers_generators_are_left_alone() -> None:
    loader: Any = DataLoader(Numbers(4), batch_size=2, generator=graphc.Generator())
    random.seed(1), np.random.seed(1), graphc.manual_seed(1)
    expected = random.random(), np.random.rand(), graphc.rand(2).tolist()
    random.seed(1), np.random.seed(1), graphc.manual_seed(1)
    epoch(loader)
    assert (random.random(), np.random.rand(), graphc.rand(2).tolist()) == expected


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_contents_do_not_depend_on_the_number_of_workers(context: str) -> None:
    results = []
    for workers in (0, 1, 2):
        if context == "spawn" and workers == 1:
            continue
        graphc.manual_seed(3)
        options = {"multiprocessing_context": context} if workers else {}
        loader: Any = DataLoader(
            Numbers(11), batch_size=2, shuffle=True, num_workers=workers, **options
        )
        results.append(epoch(loader))
    assert all(r == results[0] for r in results)


def test_persistent_workers_and_an_epoch_left_early() -> None:
    loader: Any = DataLoader(Numbers(12), num_workers=2, persistent_workers=True)
    graphc.manual_seed(1)
    first = epoch(loader)
    pids = [p.pid for p in loader._workers._processes]
    for _ in loader:
        break
    graphc.manual_seed(1)
    assert epoch(loader) == first
    assert [p.pid for p in loader._workers._processes] == pids
    del loader


def ids(worker: int) -> None:
    info = data.get_worker_info()
    assert info is not None and info.id == worker and info.num_workers == 2


def test_worker_init_and_info() -> None:
    assert data.get_worker_info() is None
    assert len(epoch(DataLoader(Numbers(4), num_workers=2, worker_init_fn=ids))) == 4
    with pytest.raises(ZeroDivisionError):
        epoch(DataLoader(Numbers(4), num_workers=1, worker_init_fn=lambda k: 1 // 0))


def test_an_exception_of_a_worker_comes_with_its_traceback() -> None:
    with pytest.raises(KeyError) as e:
        list(DataLoader(Faulty("raise"), num_workers=2))
    text = str(e.value)
    assert "Caught KeyError in DataLoader worker process 1." in text
    assert "no sample 5" in text and "in __getitem__" in text
    with pytest.raises(KeyError):
        list(DataLoader(Faulty("raise")))


@pytest.mark.parametrize(("fault", "timeout"), [("die", 0), ("hang", 0.7)])
def test_a_lost_worker_is_an_error_within_a_second(fault: str, timeout: float) -> None:
    loader: Any = DataLoader(Faulty(fault), num_workers=2, timeout=timeout)
    batches: Iterator[Any] = iter(loader)
    next(batches)
    start = time.monotonic()
    with pytest.raises(
        RuntimeError, match="exited unexpectedly" if fault == "die" else "timed out"
    ):
        list(batches)
    assert time.monotonic() - start < 2.0


ORPHANS = """
import os, time
from tests.utils.test_data import Numbers
from graphc.utils.data import DataLoader
loader = DataLoader(Numbers(100), num_workers=2, persistent_workers=True)
next(iter(loader))
print(*[p.pid for p in loader._workers._processes], flush=True)
time.sleep(60)
"""


def test_no_worker_outlives_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(p) for p in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline and any(alive(p) for p in pids):
        time.sleep(0.05)
    assert not any(alive(p) for p in pids)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("workers", {"num_workers": -1}),
    ("timeout", {"timeout": -1}),
    ("prefetch", {"prefetch_factor": 2}),
    ("persistent", {"persistent_workers": True}),
    ("sampler", {"sampler": [0], "shuffle": True}),
    ("batch_sampler", {"batch_sampler": [[0]], "batch_size": 2}),
    ("drop_last", {"batch_size": None, "drop_last": True}),
    ("batch_size", {"batch_size": 0}),
]


@pytest.mark.parametrize(("name", "options"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        DataLoader(Numbers(), **options)


def test_what_the_loader_is_made_of_stays() -> None:
    loader = DataLoader(Numbers(), batch_size=2)
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3
    loader.collate_fn = len
    assert loader.prefetch_factor is None and set(loader) == {2}


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (TypeError, lambda: data.RandomSampler([1], replacement=3)),  # type: ignore[arg-type]
        (ValueError, lambda: DataLoader([], shuffle=True)),  # type: ignore[arg-type]
        (ValueError, lambda: data.ConcatDataset([Stream()])),
    ],
)
def test_more_errors(error: type[Exception], make: Callable[[], object]) -> None:
    with pytest.raises(error):
        make()


class Stream(data.IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


def test_modules_have_pytorch_s_names() -> None:
    from graphc.utils.data.dataloader import DataLoader as Loader
    from graphc.utils.data.distributed import DistributedSampler
    from graphc.utils.data.sampler import SubsetRandomSampler

    assert (Loader, DistributedSampler, SubsetRandomSampler) == (
        data.DataLoader,
        data.DistributedSampler,
        data.SubsetRandomSampler,
    )
