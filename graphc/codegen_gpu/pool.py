"""Worker processes that compile kernels side by side, started when there is something to do.

They are processes because Triton compiles one kernel at a time in each, takes a second to start
in the first one, and may crash; this process never imports it. A worker that dies with a kernel
is replaced and asked once more, then the kernel is at fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import IO

from graphc.codegen_gpu import image
from graphc.ir.child import OK, arguments, read_frame, usable_cores, write_frame
from graphc.ir.cuda_abi import Image, Source

ATTEMPTS = 2
MOST_LOG = 4000  # characters of what a worker printed before it died


class Worker:
    """This process's end of a worker; one request at a time."""

    def __init__(self) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # open while it lives
        self.process = subprocess.Popen(
            [sys.executable, *arguments("graphc.codegen_gpu.worker")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,  # an interrupt from the keyboard is this process's affair
        )

    def ask(self, request: bytes) -> bytes | None:
        """The answer; None if the worker died."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            write_frame(self.process.stdin, request)
            return read_frame(self.process.stdout)
        return None

    def last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")[-MOST_LOG:]
        return f"the compiling process ended with {self.process.returncode}\n{text}"

    def close(self) -> None:
        """Let it end: it does at the end of its input."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.log.close()


class Pool:
    """At most `size` workers, kept for the next kernels until they end by themselves."""

    def __init__(self, size: int = 0) -> None:
        self.size = size or usable_cores()
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def compile(
        self, sources: Sequence[Source], arch: str, done: Callable[[], object]
    ) -> Iterator[tuple[int, Image | str]]:
        """Each source's position and image, or the compiler's complaint, as they come."""
        if os.getpid() != self._owner:  # a fork: the workers' pipes are the parent's
            self._idle, self._lock, self._owner = [], threading.Lock(), os.getpid()
        longest_first = sorted(range(len(sources)), key=lambda i: -len(sources[i].text))
        with ThreadPoolExecutor(min(self.size, len(sources))) as threads:
            waiting: dict[Future[Image | str], int] = {
                threads.submit(self._one, sources[i], arch): i for i in longest_first
            }
            try:
                for future in as_completed(waiting):
                    done()
                    yield waiting[future], future.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    @contextmanager
    def _worker(self, fresh: bool) -> Iterator[Worker]:
        """A worker for one request; an idle one may be about to end, a `fresh` one is not."""
        with self._lock:
            worker = self._idle.pop() if self._idle and not fresh else None
        if worker is not None and worker.process.poll() is not None:
            worker.close()
            worker = None
        worker = worker or Worker()
        yield worker
        if worker.process.poll() is None:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.close()

    def _one(self, source: Source, arch: str) -> Image | str:
        request, complaint = image.encode(Image(source, arch)), ""
        for attempt in range(ATTEMPTS):
            with self._worker(fresh=attempt > 0) as worker:
                reply = worker.ask(request)
                if reply is None:
                    complaint = worker.last_words()
                    continue
            if reply[:1] == OK:
                return image.decode(reply[1:])
            return reply[1:].decode(errors="replace")
        return complaint
