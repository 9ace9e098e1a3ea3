"""Streams and events under PyTorch's names.

graphc computes in one stream per device, in the order of the calls. Another stream is joined with
it where a `with stream(s)` begins and ends, and before anything asks `s`: what PyTorch promises of
order holds, and nothing overlaps.
"""

from __future__ import annotations

import threading
import weakref
from types import TracebackType
from typing import Any, Self

from graphc.cuda.device_index import device_index, the_device
from graphc.errors import InvalidState, Unsupported
from graphc.frontend.devices import device
from graphc.runtime.cuda.device import Device

__all__ = [
    "CUDAGraph",
    "Event",
    "Stream",
    "StreamContext",
    "current_stream",
    "default_stream",
    "graph",
    "stream",
]


class Stream:
    """A queue of work on a device. `Stream()` is a new one."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        gpu = the_device(device)
        self._open(gpu, gpu.lent_stream(priority, self))

    def _open(self, gpu: Device, handle: int) -> None:
        self._gpu, self.cuda_stream = gpu, handle

    @property
    def device(self) -> device:
        return device("cuda", self._gpu.index)

    def query(self) -> bool:
        """Whether all its work has ended."""
        self._reap()
        return self._gpu.driver.StreamQuery(self.cuda_stream)

    def synchronize(self) -> None:
        self._reap()
        self._gpu.driver.StreamSynchronize(self.cuda_stream)
        self._gpu.pending.glance()

    def record_event(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        self.wait_event(stream.record_event())

    def _reap(self) -> None:
        """In `with stream(s)`, work goes to the device's stream: `s` comes behind it."""
        if current_stream(self._gpu.index) == self:
            _follow(self._gpu, self.cuda_stream, self._gpu.stream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def __repr__(self) -> str:
        return f"<graphc.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


def _follow(gpu: Device, later: int, earlier: int) -> None:
    if later != earlier:
        event = gpu.driver.EventCreate()
        gpu.driver.EventRecord(event, earlier)
        gpu.driver.StreamWaitEvent(later, event)
        gpu.driver.EventDestroy(event)


class Event:
    """A point in a stream; with `enable_timing`, two of them have a time between them."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess:
            raise Unsupported("an event cannot be shared with another process")
        self._gpu, self._timing, self._recorded = the_device(None), enable_timing, False
        self.cuda_event = 0  # of the GPU whose stream records it first

    def record(self, stream: Stream | None = None) -> None:
        stream = current_stream(self._gpu.index) if stream is None else stream
        stream._gpu.enter()
        stream._reap()
        if not self.cuda_event:
            self._gpu = stream._gpu
            driver = self._gpu.driver
            self.cuda_event = driver.EventCreate(self._timing)
            gone, destroy = self._gpu.gone, driver.EventDestroy
            weakref.finalize(self, gone.note, destroy, self.cuda_event).atexit = False
        elif self._gpu is not stream._gpu:
            raise InvalidState(
                f"an event of cuda:{self._gpu.index} is recorded in a stream of {stream.device}",
                why="CUDA keeps an event to the GPU that recorded it first",
                fix="make an event for each GPU",
            )
        self._gpu.driver.EventRecord(self.cuda_event, stream.cuda_stream)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Later work of the stream comes behind this point."""
        if not self._recorded:
            return
        stream = current_stream(self._gpu.index) if stream is None else stream
        self._gpu.driver.StreamWaitEvent(stream.cuda_stream, self.cuda_event)
        if current_stream(stream._gpu.index) == stream:
            self._gpu.driver.StreamWaitEvent(stream._gpu.stream, self.cuda_event)

    def query(self) -> bool:
        return not self._recorded or self._gpu.driver.EventQuery(self.cuda_event)

    def synchronize(self) -> None:
        if self._recorded:
            self._gpu.driver.EventSynchronize(self.cuda_event)
        self._gpu.pending.glance()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from here to `end_event`."""
        events = self, end_event
        if not all(e._timing and e._recorded for e in events):
            raise InvalidState(
                "elapsed_time(): both events must be recorded, and made with enable_timing=True",
                why="an event without timing has no time",
                fix="use Event(enable_timing=True) and record() both",
            )
        return self._gpu.driver.EventElapsedTime(self.cuda_event, end_event.cuda_event)


class _Entered(threading.local):
    """The streams of the `with` blocks that this thread is in."""

    def __init__(self) -> None:
        self.streams: list[Stream | None] = []


_entered = _Entered()


class StreamContext:
    """`with stream(s)`: see the module. `stream(None)` does nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> Self:
        if (s := self.stream) is not None:
            _follow(s._gpu, s._gpu.stream, s.cuda_stream)
        _entered.streams.append(self.stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        _entered.streams.pop()
        if (s := self.stream) is not None:
            _follow(s._gpu, s.cuda_stream, s._gpu.stream)


def stream(stream: Stream | None) -> StreamContext:
    """Inside `with`, work for its GPU goes to this stream; None changes nothing."""
    return StreamContext(stream)


def current_stream(device: Any = None) -> Stream:
    """The stream on which this thread's work for a GPU goes."""
    index = device_index(device)
    inside = (s for s in reversed(_entered.streams) if s is not None and s._gpu.index == index)
    return next(inside, None) or default_stream(device)


def default_stream(device: Any = None) -> Stream:
    """The one in which the device computes."""
    gpu = the_device(device)
    found = Stream.__new__(Stream)
    found._open(gpu, gpu.stream)
    return found


class CUDAGraph:
    """For annotations and isinstance: making one raises."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        the_device(None)
        raise Unsupported(
            "graphc.cuda: graphs are not captured by hand",
            why="a compiled step is captured and replayed as one graph by itself",
            fix="decorate the step with @graphc.compile",
        )


class graph(CUDAGraph):
    """For annotations and isinstance: making one raises."""
