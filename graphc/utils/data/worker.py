"""Worker processes of a DataLoader: they fetch batches, in the order they are asked.

A worker's main thread fetches, one thread takes tasks in and one sends results out, so neither side
ever waits on a full pipe while the other does the same. The first also notices when the parent has
died, and ends the process. The parent waits on a worker's pipe and on every worker's sentinel, so a
killed worker is noticed at once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from graphc.errors import GraphcError
from graphc.utils.data.fetch import batch_seed, fetch, seed_everything, stream

ORPHAN_POLL_S = 0.5  # a worker outlives a killed parent by at most this and the poll itself


class WorkerFailed(GraphcError, RuntimeError):
    """A worker process of a DataLoader died or hangs."""

    code = "GC601"
    why = "the process ended without an answer (killed, out of memory, or a crash in a library)"
    fix = "run with num_workers=0 to see the cause, or use fewer workers"


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a data set may ask inside a worker.

    id: 0..num_workers-1; seed: that of its generators; dataset: its copy.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a loader does: fetch by index, or with `stream` what comes next."""

    dataset: Any
    collate: Callable[[Any], Any]
    batched: bool
    stream: bool
    batch_size: int | None
    drop_last: bool
    init: Callable[[int], None] | None
    workers: int
    seed: int


@dataclass(frozen=True, slots=True)
class Task:
    """Fetch `indices`, batch `number` of an epoch with this seed."""

    seed: int
    number: int
    indices: Any


class Exhausted:
    """The answer of a worker whose stream has ended."""


class Failure:
    """An exception of a worker, as the parent will raise it."""

    def __init__(self, e: BaseException, worker: int) -> None:
        text = "".join(traceback.format_exception(e))
        self.kind = type(e)
        self.message = (
            f"Caught {type(e).__name__} in DataLoader worker process {worker}.\nOriginal {text}"
        )

    def raised(self) -> BaseException:
        """The same class with the worker's traceback in its text; RuntimeError if it cannot be."""
        try:
            return self.kind(_Text(self.message) if self.kind is KeyError else self.message)
        except Exception:
            return RuntimeError(self.message)


class _Text(str):
    """A message whose repr is itself: KeyError prints the repr of its argument."""

    def __repr__(self) -> str:
        return self


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Who this worker process is; None in the main process."""
    return _info


# ---- in the worker -----------------------------------------------------------------------------


def work(job: Job, worker: int, pipe: Connection) -> None:
    """The life of a worker: answer tasks until told to stop."""
    global _info
    parent = os.getppid()  # with a forkserver that server, which ends when the program does
    _info = WorkerInfo(worker, job.workers, job.seed + worker, job.dataset)
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks, parent), daemon=True).start()
    sender = threading.Thread(target=_send, args=(pipe, answers), daemon=True)
    sender.start()
    seed_everything(job.seed + worker)
    broken = _initialise(job, worker)
    source: Iterator[Any] = iter(())
    while (task := tasks.get()) is not None:
        if job.stream and task.number == worker:  # its first of an epoch
            source = stream(job.dataset, job.batch_size, job.collate, job.drop_last)
        answers.put(broken or _answer(job, task, worker, source))
    answers.put(None)
    sender.join()


def _receive(pipe: Connection, tasks: queue.SimpleQueue[Task | None], parent: int) -> None:
    while True:
        try:
            while not pipe.poll(ORPHAN_POLL_S):
                if os.getppid() != parent:
                    os._exit(1)
            task = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)
        tasks.put(task)
        if task is None:
            return


def _send(pipe: Connection, answers: queue.SimpleQueue[bytes | None]) -> None:
    try:
        while (answer := answers.get()) is not None:
            pipe.send_bytes(answer)
    except OSError:
        os._exit(1)  # nobody reads any more


def _initialise(job: Job, worker: int) -> bytes | None:
    """Run the user's worker_init_fn; its failure is the answer to every task."""
    if job.init is None:
        return None
    try:
        job.init(worker)
    except Exception as e:
        return _packed(Failure(e, worker))
    return None


def _answer(job: Job, task: Task, worker: int, source: Iterator[Any]) -> bytes:
    try:
        seed_everything(batch_seed(task.seed, task.number))
        if job.stream:
            return _packed(next(source, Exhausted()))
        return _packed(fetch(job.dataset, task.indices, job.collate, job.batched))
    except Exception as e:
        return _failed(Failure(e, worker))


def _failed(failure: Failure) -> bytes:
    try:
        return _packed(failure)
    except Exception:  # an exception class that does not pickle
        failure.kind = RuntimeError
        return _packed(failure)


def _packed(answer: Any) -> bytes:
    return bytes(ForkingPickler.dumps(answer))


# ---- in the parent -----------------------------------------------------------------------------


class Workers:
    """The worker processes of one loader; task k of an epoch goes to worker k % their number."""

    def __init__(self, job: Job, context: Any, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._pending = [0] * job.workers
        named = isinstance(context, str | None)
        mp: Any = multiprocessing.get_context(context) if named else context
        for k in range(job.workers):
            ours, theirs = mp.Pipe()
            process = mp.Process(target=work, args=(job, k, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __len__(self) -> int:
        return len(self._pipes)

    def submit(self, task: Task) -> None:
        k = task.number % len(self)
        try:
            self._pipes[k].send(task)
        except OSError:
            raise self._lost(k) from None
        self._pending[k] += 1

    def result(self, number: int) -> Any:
        """The answer to task `number`, which must be its worker's oldest."""
        answer = self._receive(number % len(self))
        if isinstance(answer, Failure):
            raise answer.raised()
        return answer

    def _receive(self, k: int) -> Any:
        pipe = self._pipes[k]
        sentinels = [p.sentinel for p in self._processes]
        ready = wait([pipe, *sentinels], timeout=self._timeout_s)
        if not ready:
            raise WorkerFailed(
                f"DataLoader timed out after {self._timeout_s:g} seconds",
                why=f"worker {k} has not answered",
                fix="look for a deadlock in the data set, or pass a larger timeout=",
            )
        dead = next((j for j, s in enumerate(sentinels) if s in ready), None)
        if dead is not None:
            raise self._lost(dead)
        try:
            answer = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._lost(k) from None
        self._pending[k] -= 1
        return answer

    def _lost(self, k: int) -> WorkerFailed:
        process = self._processes[k]
        process.join(0.5)
        return WorkerFailed(
            f"DataLoader worker {k} (pid {process.pid}) exited unexpectedly with exit code "
            f"{process.exitcode}"
        )

    def drain(self) -> None:
        """Take in and forget the answers of an epoch that was left early."""
        for k, pending in enumerate(self._pending):
            for _ in range(pending):
                self._receive(k)

    def close(self) -> None:
        """End the processes: ask, and kill those that still fetch."""
        for k, pipe in enumerate(self._pipes):
            if not self._pending[k]:
                try:
                    pipe.send(None)
                except OSError:
                    continue
        for k, process in enumerate(self._processes):
            if not self._pending[k]:
                process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        for pipe in self._pipes:
            pipe.close()
        self._pipes, self._processes = [], []
