"""torch.profiler's names: operations of eager code and launches of compiled steps, as they happen.

While a profile records, `Tensor.emit` is one that looks at the clock, and so are the launches of
all compiled steps; otherwise nothing is measured and nothing costs anything. On a GPU an eager
operation is timed until it is queued. A kernel's rows are those of `step.profile()`.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from graphc.errors import AssertedArgument, InvalidArgument, InvalidState, Unsupported
from graphc.frontend.modes import modes
from graphc.frontend.step.compile import timing
from graphc.frontend.step.inspect.profile import Averages, Row, Run, _sum, profile_of
from graphc.frontend.tensor import Tensor
from graphc.ir.ops import Op
from graphc.ir.work import Work

__all__ = [
    "DeviceType",
    "ExecutionTraceObserver",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "tensorboard_trace_handler",
]

F = TypeVar("F", bound=Callable[..., Any])


class ProfilerActivity(Enum):
    """What is looked at: both are, whichever is asked for."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class DeviceType(Enum):
    """Where an event happened."""

    CPU = 0
    CUDA = 1


class ProfilerAction(Enum):
    """What a schedule says of a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def kineto_available() -> bool:
    """False: the profiler is graphc's own."""
    return False


class ExecutionTraceObserver:
    """Refused: there is no dispatcher whose calls it could write down."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise Unsupported("ExecutionTraceObserver", fix="use profile(), or step.explain()")


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Cycles of steps that are passed over, run while nothing is kept, and recorded.

    `repeat` of 0: until the end. With `skip_first_wait` the first cycle does not wait.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertedArgument(
            f"schedule(wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, "
            f"skip_first={skip_first})",
            fix="numbers of steps, of which active is at least 1",
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertedArgument(f"schedule: step {step} is below zero")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        step += wait if skip_first_wait else 0
        length = wait + warmup + active
        if repeat and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


# ---- what is recorded --------------------------------------------------------------------------


class Event(NamedTuple):
    """Something that took time: an eager operation, a kernel's launch, or a range of the user's."""

    name: str
    begin: float  # seconds of the clock
    row: Row
    kind: str


class _Recorder:
    """Listens from `start` to `stop`; one at a time."""

    active: _Recorder | None = None

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._runs: Sequence[Run] = ()
        self._taken = 0
        self._stack = ExitStack()

    def start(self) -> None:
        if _Recorder.active is not None:
            raise InvalidState("profile: another profile is recording", fix="end that one first")
        _Recorder.active = self
        self._runs = self._stack.enter_context(timing())
        plain = Tensor.emit

        def timed(x: Tensor, op: Op, *args: Any, **attrs: Any) -> Tensor:
            if modes.trace is not None:
                return plain(x, op, *args, **attrs)
            self.take_runs()
            begin = time.perf_counter()
            out = plain(x, op, *args, **attrs)
            self.note(op.name, begin, "op")
            self._taken = len(self._runs)  # kernels that ran for it are in its time
            return out

        self._stack.callback(setattr, Tensor, "emit", plain)
        Tensor.emit = timed  # type: ignore[method-assign, assignment]

    def note(self, name: str, begin: float, kind: str) -> None:
        row = Row(name, time.perf_counter() - begin, Work())
        self.events.append(Event(name, begin, row, kind))

    def take_runs(self) -> None:
        """Note what compiled steps ran meanwhile, as ending now."""
        runs = self._runs[self._taken :]
        self._taken = len(self._runs)
        if not runs:
            return
        launches = profile_of(runs, None).launches
        last = launches[-1] if launches else None
        now = time.perf_counter() - (last.begin + last.row.seconds if last else 0.0)
        for x in launches:
            self.events.append(Event(x.kernel, now + x.begin, x.row, "kernel"))

    def stop(self) -> None:
        self.take_runs()
        self._stack.close()
        _Recorder.active = None


class record_function:
    """Gives what runs inside a name in the profile: a context manager and a decorator."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self._begin = 0.0

    def __enter__(self) -> Self:
        if _Recorder.active is not None:
            _Recorder.active.take_runs()
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        recorder = _Recorder.active
        if recorder is not None and modes.trace is None:
            recorder.take_runs()
            recorder.note(self.name, self._begin, "range")

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.name):
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


class profile:
    """Records from `with` (or `start`) on, or in the steps that `schedule` says; `step` ends one.

    `record_shapes`, `profile_memory`, `with_stack`, `with_flops` and `with_modules` are accepted
    and change nothing: of kernels the line, the module and the work are always known.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None,
    ) -> None:
        if activities is not None and not set(activities):
            raise InvalidArgument("profile: activities is empty", fix="leave it away")
        self.schedule, self.on_trace_ready = schedule or _always, on_trace_ready
        self._by_step = schedule is not None
        self.step_num = 0
        self._recorder: _Recorder | None = None
        self._events: list[Event] = []
        self._metadata: dict[str, str] = {}
        self._range: record_function | None = None

    # ---- when it records

    def start(self) -> None:
        """Begin, at step 0."""
        self._turn(self.schedule(self.step_num))
        self._begin_step()

    def stop(self) -> None:
        """End, and hand what was recorded since the last save to `on_trace_ready`."""
        self._end_step()
        if self._recorder is not None:
            self._save()

    def step(self) -> None:
        """The step is over; what follows belongs to the next."""
        self._end_step()
        before = self.schedule(self.step_num)
        self.step_num += 1
        now = self.schedule(self.step_num)
        if before is ProfilerAction.RECORD_AND_SAVE and self._recorder is not None:
            self._save()
        self._turn(now)
        self._begin_step()

    def _turn(self, action: ProfilerAction) -> None:
        on = action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if on and self._recorder is None:
            self._recorder = _Recorder()
            self._recorder.start()
        elif not on and self._recorder is not None:
            self._save()

    def _save(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
            self._events, self._recorder = self._recorder.events, None
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def _begin_step(self) -> None:
        if self._by_step and self._recorder is not None:
            self._range = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _end_step(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    # ---- what it tells

    def events(self) -> list[Event]:
        """All that was recorded, in order of beginning."""
        found = self._recorder.events if self._recorder is not None else self._events
        return sorted(found, key=lambda e: e.begin)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> Averages:
        """A row for each name; `.table(sort_by=, row_limit=)` shows them."""
        groups: dict[str, list[Row]] = {}
        for e in self.events():
            groups.setdefault(e.name, []).append(e.row)
        return Averages(_sum(name, rows) for name, rows in groups.items())

    def add_metadata(self, key: str, value: str) -> None:
        """Write a word into the trace."""
        self._metadata[key] = str(value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """The same, of a value that is JSON already."""
        self._metadata[key] = value

    def preset_metadata_json(self, key: str, value: str) -> None:
        """The same, before the profile begins."""
        self._metadata[key] = value

    def export_chrome_trace(self, path: str) -> None:
        """Write a trace that Perfetto and chrome://tracing read; packed if it ends in .gz."""
        lanes = {"range": 0, "op": 1, "kernel": 2}
        rows = [
            {"name": e.name, "cat": e.kind, "ph": "X", "pid": os.getpid(), "tid": lanes[e.kind],
             "ts": 1e6 * e.begin, "dur": 1e6 * e.row.seconds,
             "args": {"flops": e.row.work.flops, "bytes": e.row.work.bytes}}
            for e in self.events()
        ]  # fmt: skip
        data = json.dumps({"traceEvents": rows, "displayTimeUnit": "ms", **self._metadata}).encode()
        Path(path).write_bytes(gzip.compress(data) if str(path).endswith(".gz") else data)


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: write each trace to a file of its own, where TensorBoard looks."""

    def handler(prof: profile) -> None:
        folder = Path(dir_name)
        folder.mkdir(parents=True, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        end = ".pt.trace.json.gz" if use_gzip else ".pt.trace.json"
        prof.export_chrome_trace(str(folder / f"{worker}.{time.time_ns()}{end}"))

    return handler
