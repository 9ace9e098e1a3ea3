"""The workers that walk programs beside the calling thread: our own pool, without a C library.

A worker is a Python thread that enters the native loop once and stays there without the GIL: it
spins a little for the next job, then sleeps on a semaphore (`runtime/cpu/dispatch.py` has the
protocol). Python only starts workers, and joins them at exit, at a new thread count, and never in
a fork: the child has no workers, whatever its memory says, so it drops the pool.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from functools import lru_cache

import numpy as np

from graphc import config
from graphc.errors import InvalidArgument
from graphc.ir.cpu_abi import (
    CELL_BYTES,
    MOST_THREADS,
    PAIR_BYTES,
    POOL,
    ROOM_BYTES,
    Walker,
    pool_cells,
    thread_cell,
)
from graphc.ir.types import Array
from graphc.runtime.cpu.arena import group_file

# A waiting thread pauses this often (2-4 us), then yields its processor between looks: where two
# of our threads share a processor, a barrier costs 3 us so, and 20 us with ten times the pauses.
# A worker without a job sleeps after so many yields, about 1 ms where nobody else wants the
# processor: waking a sleeper costs 25 us, and 150 us once a virtual machine's processor went idle,
# more than a small step takes, and the Python between two steps is mostly shorter than 1 ms.
SPINS, YIELDS = 200, 2000
# What `graphc_run` calls of the interpreter: give up its lock, take it again, run signal handlers.
PYTHON = {
    "release": ctypes.pythonapi.PyEval_SaveThread,
    "take": ctypes.pythonapi.PyEval_RestoreThread,
    "signals": ctypes.pythonapi.PyErr_CheckSignals,
}
SEMAPHORE_BYTES = 64  # sem_t has 32 on Linux
STACK_BYTES = 1 << 20  # of a worker: kernels keep little there
PAGE_BYTES = 4096
JOIN_SECONDS = 2.0

wanted: int | None = None  # by set_num_threads; None: as many as the machine gives
denormals = False  # whether denormal floats are zero in compiled steps
turns = ctypes.c_int64(0)  # moves when jobs may have to run in another way than the last one


def turned() -> None:
    """What runs jobs, or looks at them, is another now."""
    turns.value += 1


def machine_threads() -> int:
    """Processors this process may use: its affinity, within its control group's quota."""
    count = _affinity()
    quota = _quota()
    return max(1, count if quota is None else min(count, quota))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> int | None:
    """Whole processors of the CPU quota, rounded up; None where there is no quota."""
    quota, period = (*group_file("", "cpu.max").split(), "", "")[:2]
    if not quota:
        quota = group_file("cpu", "cpu.cfs_quota_us")
        period = group_file("cpu", "cpu.cfs_period_us")
    if not (quota.isdigit() and period.isdigit()):  # "max", or -1
        return None
    return -(-int(quota) // int(period))


def get_num_threads() -> int:
    """How many threads a step runs on."""
    global wanted
    if wanted is None:
        most = config.num_threads() or MOST_THREADS
        wanted = min(machine_threads(), most, MOST_THREADS)
    return wanted


def set_num_threads(count: int) -> None:
    """Run steps on `count` threads from now on; results do not depend on it."""
    global wanted
    if not 1 <= count <= MOST_THREADS:
        raise InvalidArgument(f"set_num_threads: {count} is not in [1, {MOST_THREADS}]")
    wanted = count if _system() is not None else 1
    turned()


def set_flush_denormal(mode: bool) -> bool:
    """Treat denormal floats as zero in compiled steps (not by default, as in PyTorch)."""
    global denormals
    denormals = bool(mode)
    turned()
    return True


def forget_threads() -> None:
    """In a forked child: one thread, until set_num_threads says otherwise."""
    global wanted
    wanted = 1
    turned()


class System:
    """The functions of the C library that native code calls, and the semaphores it sleeps on."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.semaphore = library.sem_init
        self.wait, self.post, self.give = (
            ctypes.cast(f, ctypes.c_void_p).value or 0
            for f in (library.sem_wait, library.sem_post, library.sched_yield)
        )


@lru_cache(maxsize=1)
def _system() -> System | None:
    """None where there are no unnamed POSIX semaphores (then steps run on the calling thread)."""
    if sys.platform != "linux":
        return None
    with contextlib.suppress(AttributeError, OSError):
        return System()
    return None


def aligned_cells(count: int, line_bytes: int = PAIR_BYTES) -> Array:
    """`count` zeroed 8-byte cells that begin at a multiple of `line_bytes`."""
    spare = line_bytes // CELL_BYTES
    block = np.zeros(count + spare, np.int64)
    skip = -block.ctypes.data % line_bytes // CELL_BYTES
    return block[skip : skip + count]


class Pool:
    """`threads - 1` workers and the block of cells they share with the caller."""

    def __init__(self, walker: Walker, threads: int) -> None:
        self.threads = threads
        self._walker = walker
        self.cells = aligned_cells(pool_cells(threads))
        self.address = self.cells.ctypes.data
        self.cells[POOL["threads"]] = threads
        for name, function in PYTHON.items():
            self.cells[POOL[name]] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self.cells[POOL["spins"]], self.cells[POOL["yields"]] = SPINS, YIELDS
        self._rooms = aligned_cells(threads * ROOM_BYTES // CELL_BYTES, PAGE_BYTES)
        for k in range(threads):
            self.cells[thread_cell(k, "room")] = self._rooms.ctypes.data + k * ROOM_BYTES
        self._semaphores = aligned_cells(threads * SEMAPHORE_BYTES // CELL_BYTES)
        self._workers: list[threading.Thread] = []
        if threads > 1:
            self._start()

    def _start(self) -> None:
        system = _system()
        assert system is not None, "set_num_threads gives 1 without a system"
        self.cells[POOL["wait"]] = system.wait
        self.cells[POOL["post"]] = system.post
        self.cells[POOL["yield"]] = system.give
        for k in range(1, self.threads):
            semaphore = self._semaphores.ctypes.data + k * SEMAPHORE_BYTES
            system.semaphore(ctypes.c_void_p(semaphore), 0, 0)
            self.cells[thread_cell(k, "semaphore")] = semaphore
            # A daemon, else the interpreter would wait for it before atexit stops it.
            worker = threading.Thread(target=self._live, args=(k,), name=f"graphc-{k}", daemon=True)
            self._workers.append(worker)
            before = threading.stack_size(STACK_BYTES)
            try:
                worker.start()
            finally:
                threading.stack_size(before)

    def _live(self, thread: int) -> None:
        """A worker's life; bound to the pool, so its cells outlast the native loop."""
        native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        native(self._walker.worker)(self.address, thread, 0)

    def stop(self) -> None:
        """Wake the workers with no job, which ends them. Only while no job runs."""
        if not self._workers:
            return
        wake = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        wake(self._walker.wake)(self.address, None, self.threads)
        for worker in self._workers:
            worker.join(JOIN_SECONDS)
        self._workers = []
