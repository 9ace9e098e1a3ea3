"""torch.multiprocessing's names: Python's own, with `spawn`.

A tensor that is sent to another process is copied there: tensors live in the memory of one process,
and what one of them writes the others do not see. `share_memory()` is refused for that reason.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import reduction as reducer
from typing import Any

from graphc.errors import InvalidArgument

__all__ = [
    "ProcessContext",
    "ProcessExitedException",
    "ProcessRaisedException",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "reducer",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]
_PYTHONS: list[str] = vars(multiprocessing)["__all__"]
__all__ += _PYTHONS
globals().update({name: getattr(multiprocessing, name) for name in _PYTHONS})


def get_all_sharing_strategies() -> set[str]:
    """PyTorch's names; which one is set makes no difference, as tensors are copied."""
    return {"file_descriptor", "file_system"}


_strategy = ["file_descriptor"]


def get_sharing_strategy() -> str:
    """What was set."""
    return _strategy[0]


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted and remembered."""
    if new_strategy not in get_all_sharing_strategies():
        what = f"set_sharing_strategy({new_strategy!r:.50})"
        raise InvalidArgument(what, fix='"file_system" or "file_descriptor"')
    _strategy[0] = new_strategy


class ProcessRaisedException(Exception):
    """A process that `spawn` started raised; the text holds its traceback."""

    def __init__(self, msg: str, error_index: int, error_pid: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid


class ProcessExitedException(Exception):
    """A process that `spawn` started was ended by a signal, or left with a code."""

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid
        self.exit_code = exit_code


def _run(function: Callable[..., Any], k: int, args: Sequence[Any], failed: Any) -> None:
    try:
        function(k, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        failed.put(traceback.format_exc())
        raise SystemExit(1) from None


class ProcessContext:
    """The processes that `spawn` started."""

    def __init__(self, processes: Sequence[Any], failures: Sequence[Any]) -> None:
        self.processes, self._failures = list(processes), list(failures)
        self._running = dict(enumerate(self.processes))

    def pids(self) -> list[int]:
        """Their process numbers."""
        return [int(p.pid) for p in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait for one or more to end; True once all have. Raises what the first of them raised,
        after ending the others."""
        by_sentinel = {p.sentinel: k for k, p in self._running.items()}
        ready = multiprocessing.connection.wait(list(by_sentinel), timeout=timeout)
        failed = None
        for sentinel in ready:
            k = by_sentinel[sentinel]
            process = self._running.pop(k)
            process.join()
            if process.exitcode:
                failed = k
        if failed is None:
            return not self._running
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join(grace_period)
        self._raise(failed)
        return True

    def _raise(self, k: int) -> None:
        process = self.processes[k]
        if self._failures[k].empty():
            code = process.exitcode
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            what = f"process {k} terminated with {how}"
            raise ProcessExitedException(what, k, process.pid, code)
        text = f"\n\n-- Process {k} terminated with the following error:\n{self._failures[k].get()}"
        raise ProcessRaisedException(text, k, process.pid)


def start_processes(
    fn: Callable[..., Any],
    args: Sequence[Any] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """`spawn`, with another way of starting processes."""
    context: Any = multiprocessing.get_context(start_method)
    failures = [context.SimpleQueue() for _ in range(nprocs)]
    processes = []
    for k, failed in enumerate(failures):
        process = context.Process(target=_run, args=(fn, k, tuple(args), failed), daemon=daemon)
        process.start()
        processes.append(process)
    found = ProcessContext(processes, failures)
    if not join:
        return found
    while not found.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: Sequence[Any] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """`fn(k, *args)` in `nprocs` processes, k = 0, 1, ...; waits for them unless `join` is false.

    Raises ProcessRaisedException where one of them raises.
    """
    return start_processes(fn, args, nprocs, join, daemon, start_method)
