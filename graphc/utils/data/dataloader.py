"""DataLoader: batches of a data set, fetched here or by worker processes.

Order and contents do not depend on the number of workers: see `fetch`.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, repeat
from typing import Any, Generic, TypeVar, overload

import numpy as np

from graphc.errors import InvalidArgument
from graphc.frontend.api.random import Generator, randint
from graphc.frontend.tensor import Tensor
from graphc.utils.data.collate import default_collate, default_convert, pinned
from graphc.utils.data.dataset import Dataset, IterableDataset
from graphc.utils.data.fetch import batch_seed, fetch, seeded, stream
from graphc.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from graphc.utils.data.worker import Exhausted, Job, Task, Workers

T = TypeVar("T", covariant=True)
Part = Tensor | np.ndarray[Any, Any] | float  # of a sample: stacked, it is one tensor of the batch
DEFAULT_TIMEOUT_S = 300.0


FROZEN = (
    "batch_size",
    "batch_sampler",
    "dataset",
    "drop_last",
    "persistent_workers",
    "sampler",
)
END = object()


class _BaseDataLoaderIter:
    """For isinstance: what iterates is a generator, whose state nobody saves."""


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """For isinstance."""


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """For isinstance."""


class _Unseen:
    """What no data set gives."""


class EndlessSampler(Sampler[Any]):
    """What stands for a sampler where the data set itself says what comes next."""

    def __iter__(self) -> Iterator[Any]:
        return repeat(None)


class DataLoader(Generic[T]):
    """Iterates over a data set in batches; each iteration is one epoch.

    Reproducible under manual_seed (or `generator`): an epoch takes one draw for the order if it is
    shuffled and one for what the data set draws. Batches come in order also with in_order=False;
    With `pin_memory` their tensors are in memory that a GPU reads by itself, where there is one;
    `pin_memory_device` is accepted and does nothing.

    An IterableDataset is read by every worker, in turn batch by batch, until the last has ended.

    `timeout` is in seconds, 0 for ever. Raises InvalidArgument for a batch_size that is no positive
    integer, a negative num_workers, or options that exclude each other.
    """

    _frozen = False  # whether what follows from these has been made of them

    @overload
    def __init__(
        self, dataset: Dataset[T], batch_size: int | None = 1, shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None, num_workers: int = 0,
        collate_fn: None = None, pin_memory: bool = False, drop_last: bool = False,
        timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None, generator: Generator | None = None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False,
        pin_memory_device: str = "", in_order: bool = True,
    ) -> None: ...  # fmt: skip
    @overload  # what a function of yours makes of samples is not known
    def __init__(
        self: DataLoader[Any], dataset: Dataset[Any], batch_size: int | None = 1,
        shuffle: bool | None = None, sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None, num_workers: int = 0, *,
        collate_fn: Callable[[Any], Any], pin_memory: bool = False, drop_last: bool = False,
        timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None, generator: Generator | None = None,
        prefetch_factor: int | None = None, persistent_workers: bool = False,
        pin_memory_device: str = "", in_order: bool = True,
    ) -> None: ...  # fmt: skip
    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_order(batch_size, bool(shuffle), sampler, batch_sampler, drop_last)
        _check_context(num_workers, multiprocessing_context)
        self._is_stream = isinstance(dataset, IterableDataset)
        if self._is_stream:
            _check_stream(shuffle, sampler, batch_sampler)
        self.dataset = dataset
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        if self._is_stream:
            sampler = EndlessSampler()
        elif sampler is None:
            sampler = (
                RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]  # has a length
                if shuffle
                else SequentialSampler(dataset)  # type: ignore[arg-type]  # as above
            )
        self.sampler: Iterable[Any] = sampler
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._workers: Workers | None = None
        self._frozen = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._frozen and name in FROZEN:
            raise InvalidArgument(
                f"{name} attribute should not be set after DataLoader is initialized",
                fix=f"make another DataLoader with {name}={value!r}"[:200],
            )
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if self._is_stream:
            n = len(self.dataset)  # type: ignore[arg-type]  # its own to provide
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._index_sampler)  # type: ignore[arg-type]  # its own to provide

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    @overload  # of what is not known: type checkers take the first that fits Any
    def __iter__(self: DataLoader[_Unseen]) -> Iterator[Any]: ...
    @overload
    def __iter__(self: DataLoader[tuple[Part, ...]]) -> Iterator[list[Tensor]]: ...
    @overload
    def __iter__(self: DataLoader[Part]) -> Iterator[Tensor]: ...
    @overload
    def __iter__(self: DataLoader[Mapping[str, Part]]) -> Iterator[dict[str, Tensor]]: ...
    @overload
    def __iter__(self) -> Iterator[Any]: ...
    def __iter__(self) -> Iterator[Any]:
        batches = self._batches()
        return map(pinned, batches) if self.pin_memory else batches

    def _batches(self) -> Iterator[Any]:
        seed = int(randint(0, 1 << 62, (), generator=self.generator).item())
        return self._fetch_here(seed) if self.num_workers == 0 else self._fetch_by_workers(seed)

    def _fetch_here(self, seed: int) -> Iterator[Any]:
        if self._is_stream:
            yield from self._stream_here(seed)
            return
        batched = self.batch_sampler is not None
        for number, indices in enumerate(self._index_sampler):
            with seeded(batch_seed(seed, number)):
                batch = fetch(self.dataset, indices, self.collate_fn, batched)
            yield batch

    def _stream_here(self, seed: int) -> Iterator[Any]:
        batches = stream(self.dataset, self.batch_size, self.collate_fn, self.drop_last)
        for number in count():
            with seeded(batch_seed(seed, number)):
                batch = next(batches, END)
            if batch is END:
                return
            yield batch

    def _tasks(self, ended: set[int]) -> Iterator[tuple[int, Any]]:
        """Number and indices of each batch; of a stream, for the workers that have not ended."""
        if not self._is_stream:
            yield from enumerate(self._index_sampler)
            return
        for number in count():
            if len(ended) == self.num_workers:
                return
            if number % self.num_workers not in ended:
                yield number, None

    def _in_turn(self, workers: Workers, seed: int) -> Iterator[Any]:
        """The workers' batches in order, a few tasks for each worker ahead."""
        ahead = self.num_workers * (self.prefetch_factor or 0)
        waiting: deque[int] = deque()
        ended: set[int] = set()
        tasks = self._tasks(ended)
        while True:
            while len(waiting) < ahead:
                task = next(tasks, None)
                if task is None:
                    break
                workers.submit(Task(seed, *task))
                waiting.append(task[0])
            if not waiting:
                return
            number = waiting.popleft()
            batch = workers.result(number)
            if isinstance(batch, Exhausted):
                ended.add(number % self.num_workers)
            else:
                yield batch

    def _fetch_by_workers(self, seed: int) -> Iterator[Any]:
        workers = self._workers or self._start(seed)
        self._workers = workers if self.persistent_workers else None
        finished = False
        try:
            workers.drain()
            yield from self._in_turn(workers, seed)
            finished = True
        except GeneratorExit:
            finished = True  # the caller left early: persistent workers go on
            raise
        finally:
            if not (finished and self.persistent_workers):
                self._workers = None
                workers.close()

    def _start(self, seed: int) -> Workers:
        job = Job(
            self.dataset,
            self.collate_fn,
            self.batch_sampler is not None,
            self._is_stream,
            self.batch_size,
            self.drop_last,
            self.worker_init_fn,
            self.num_workers,
            seed,
        )
        timeout_s = self.timeout or DEFAULT_TIMEOUT_S
        return Workers(job, self.multiprocessing_context, timeout_s)

    def __del__(self) -> None:
        workers = getattr(self, "_workers", None)
        if workers is not None:
            workers.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_workers": None}


def _check_workers(workers: int, timeout: float, prefetch: int | None, persistent: bool) -> None:
    if workers < 0:
        raise InvalidArgument(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise InvalidArgument("timeout option should be non-negative")
    if workers == 0 and prefetch is not None:
        raise InvalidArgument("prefetch_factor option needs num_workers > 0")
    if prefetch is not None and prefetch < 1:
        raise InvalidArgument("prefetch_factor option should be positive")
    if workers == 0 and persistent:
        raise InvalidArgument("persistent_workers option needs num_workers > 0")


def _check_context(workers: int, context: Any) -> None:
    if context is None:
        return
    if workers == 0:
        raise InvalidArgument("multiprocessing_context can only be used with num_workers > 0")
    known = multiprocessing.get_all_start_methods()
    if isinstance(context, str) and context not in known:
        raise InvalidArgument(
            f"multiprocessing_context should be one of {known}, but got {context!r:.100}"
        )


def _check_stream(shuffle: bool | None, sampler: object, batch_sampler: object) -> None:
    """An iterable data set has its own order."""
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise InvalidArgument(
                f"DataLoader with IterableDataset: expected unspecified {name} option, "
                f"but got {name}={value!r:.100}"
            )


def _check_order(
    batch_size: int | None,
    shuffle: bool,
    sampler: object,
    batch_sampler: object,
    drop_last: bool,
) -> None:
    if sampler is not None and shuffle:
        raise InvalidArgument("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler or drop_last):
        raise InvalidArgument(
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
            "drop_last"
        )
    if batch_size is None and batch_sampler is None and drop_last:
        raise InvalidArgument(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )
