"""DataLoader: batches of a data set, fetched here or by worker processes.

Order and contents do not depend on the number of workers: see `fetch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from graphc.errors import InvalidArgument
from graphc.frontend.random import Generator, randint
from graphc.utils.data.collate import default_collate
from graphc.utils.data.dataset import Dataset
from graphc.utils.data.fetch import batch_seed, fetch, seeded
from graphc.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from graphc.utils.data.worker import Job, Task, Workers

T = TypeVar("T", covariant=True)
DEFAULT_TIMEOUT_S = 300.0


def as_given(sample: Any) -> Any:
    """What stands for a collate_fn where samples are not batched."""
    return sample


class DataLoader(Generic[T]):
    """Iterates over a data set in batches; each iteration is one epoch.

    Reproducible under manual_seed (or `generator`): an epoch takes one draw for the order if it is
    shuffled and one for what the data set draws. `pin_memory` is accepted and does nothing.
    """

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
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_order(batch_size, bool(shuffle), sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        if sampler is None:
            sampler = (
                RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]  # has a length
                if shuffle
                else SequentialSampler(dataset)  # type: ignore[arg-type]  # as above
            )
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else as_given)
        self._workers: Workers | None = None

    def __len__(self) -> int:
        return len(self._index_sampler)  # type: ignore[arg-type]  # its own to provide

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        seed = int(randint(0, 1 << 62, (), generator=self.generator).item())
        return self._fetch_here(seed) if self.num_workers == 0 else self._fetch_by_workers(seed)

    def _fetch_here(self, seed: int) -> Iterator[Any]:
        batched = self.batch_sampler is not None
        for number, indices in enumerate(self._index_sampler):
            with seeded(batch_seed(seed, number)):
                batch = fetch(self.dataset, indices, self.collate_fn, batched)
            yield batch

    def _fetch_by_workers(self, seed: int) -> Iterator[Any]:
        workers = self._workers or self._start(seed)
        self._workers = workers if self.persistent_workers else None
        finished = False
        try:
            workers.drain()
            waiting: deque[int] = deque()
            for number, indices in enumerate(self._index_sampler):
                workers.submit(Task(seed, number, indices))
                waiting.append(number)
                if len(waiting) >= self.num_workers * self.prefetch_factor:
                    yield workers.result(waiting.popleft())
            while waiting:
                yield workers.result(waiting.popleft())
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
