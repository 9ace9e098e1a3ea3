"""Processes that compile kernels while the caller writes the text of the next ones.

They are processes so that what LLVM takes, some 100 MB of library and heaps, is gone with them, and
the user's process never loads it. No thread waits for them: whoever adds a module, or wants its
code, moves what the pipes hold. Requests are under way to each, the more of them the more wait, so
that none is idle while the caller thinks, nor at the end, when the last ones go to who is free.
What they make does not depend on how many they are.

They end when nobody asks for a while, be it that a program's passes take so long, and with their
owner. One says when it is ready: one that ends afterwards is replaced; where it died, with modules
under way, the second time the module is at fault.
Where none gets ready, as in programs that are frozen or may start none, the caller compiles.
"""

from __future__ import annotations

import atexit
import heapq
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import llvmlite

from graphc.codegen_cpu.llvm import Processor
from graphc.codegen_cpu.server import compiled, request
from graphc.errors import BackendError
from graphc.ir.child import LENGTH, OK, arguments, frame, usable_cores

AHEAD = 3  # modules under way to one process, at least, while the caller does other things
MOST_AHEAD = 16  # and at most, of the longest ones that wait
PIPE_BYTES = 1 << 20  # of a pipe, where the system lets it grow
ATTEMPTS = 2
SELECTOR = getattr(selectors, "PollSelector", selectors.DefaultSelector)  # opens no file
EARLY = 2  # processes that start before it is known how many are of use
MOST = 8  # processes, however many processors there are
SITE = str(Path(llvmlite.__file__).parent.parent)


class Work:
    """A module that is compiled."""

    def __init__(self, workers: Workers, text: str) -> None:
        self.text = text
        self.answer: bytes | None = None
        self.attempts = 0
        self._workers = workers

    def code(self) -> bytes:
        """Its code, once it is there: an image or an object. Raises BackendError if LLVM refuses
        the text or it needs a library."""
        while self.answer is None:
            self._workers.move(wait=True)
        if self.answer[:1] != OK:
            raise BackendError(self.answer[1:].decode())
        return self.answer[1:]


class Server:
    """Our end of a process."""

    def __init__(self) -> None:
        """Raises OSError if none can be started."""
        writes_no_files = bool(sys.dont_write_bytecode or sys.pycache_prefix)
        options = ["-I", "-S", *["-B"] * writes_no_files]
        with _standard_streams():
            self._process = subprocess.Popen(
                [sys.executable, *options, *arguments("graphc.codegen_cpu.server", SITE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # an interrupt from the keyboard is this process's affair
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.ends = self._process.stdin.fileno(), self._process.stdout.fileno()
        for end in self.ends:
            os.set_blocking(end, False)
            _widen(end)
        self.ready = False
        self.under_way: deque[Work] = deque()
        self._out, self._in = bytearray(), bytearray()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def rested(self) -> bool:
        """Of one that is gone: whether it ended by itself, as nobody had asked for a while."""
        return self._process.returncode == 0

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def give(self, work: Work, asked: bytes) -> None:
        self.under_way.append(work)
        self._out += frame(asked)

    def move(self) -> bool:
        """Write and read what the pipes take and hold. False if the process is gone."""
        to, source = self.ends
        gone = False
        try:
            while self._out:
                del self._out[: os.write(to, self._out)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            gone = True  # what it has said before is still there
        with suppress(BlockingIOError):
            while part := os.read(source, PIPE_BYTES):
                self._in += part
                self._note()
            return False
        return not gone

    def _note(self) -> None:
        """Answers that are there in full; they come in the order of the requests."""
        while len(self._in) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._in)[0]
            if len(self._in) < end:
                return
            answer = bytes(self._in[LENGTH.size : end])
            del self._in[:end]
            if self.ready:
                self.under_way.popleft().answer = answer
            self.ready = True  # which is what the first frame says

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._close_pipes()
        self._process.wait()

    def forget(self) -> None:
        """In a fork: it is the parent's."""
        self._process.returncode = 0  # nothing to wait for, nor to warn of
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _standard_streams() -> Iterator[None]:
    """Inside, 0 to 2 are open, as in few daemons: no pipe of ours becomes what others take for
    their input or output, nor has the process an answer's pipe for its errors."""
    held = []
    while (end := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(end, True)
        held.append(end)
    os.close(end)
    try:
        yield
    finally:
        for end in held:
            os.close(end)


def _is_python(executable: str | None) -> bool:
    """Whether it takes Python's options: of a frozen or embedding program it is that program."""
    return Path(executable or "").name.startswith(("python", "pypy"))


def _widen(pipe: int) -> None:
    """Let a pipe hold several modules; Linux alone can."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class _Idle(list[Server]):
    """Processes that wait for the next program; they are not those of a process forked from it."""

    possible = True  # to start one, as far as is known

    def forget(self) -> None:
        while self:
            self.pop().forget()

    def started(self) -> Server | None:
        """One that waits, or a new one; None where there is none to be had."""
        return self.taken() or self.new()

    def new(self) -> Server | None:
        if self.possible and _is_python(sys.executable):
            with suppress(OSError):
                return Server()
        return None

    def taken(self) -> Server | None:
        while self:
            server = self.pop()
            if server.alive:
                return server
            server.close()
        return None


_idle = _Idle()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.forget)


def start_early() -> None:
    """Have processes start for a program that is not there yet. The caller holds LLVM_LOCK."""
    while len(_idle) < min(EARLY, usable_cores()) and (server := _idle.new()):
        _idle.append(server)


class Workers:
    """Compiles the modules of a program.

    The caller holds LLVM_LOCK inside the `with`. Of what waits the longest text is next, so that
    the last ones to be done are short.
    """

    def __init__(self, processor: Processor, count: int = 0) -> None:
        self._processor, self._count = processor, count or min(MOST, usable_cores())
        self._servers: list[Server] = []
        self._waiting: list[tuple[int, int, Work]] = []
        self._added = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        while self._servers:
            server = self._servers.pop()
            if kind is not None or server.under_way:  # who knows where an interrupt came
                server.close()
            else:
                _idle.append(server)

    def prepare(self, modules: int) -> None:
        """Have processes start, which takes a while, before the first of so many is known."""
        while len(self._servers) < min(modules, self._count) and self._start():
            pass

    def add(self, text: str) -> Work:
        """Begin with a module."""
        work = Work(self, text)
        self._wait(work)
        self.move()
        return work

    def _wait(self, work: Work) -> None:
        self._added += 1
        heapq.heappush(self._waiting, (-len(work.text), self._added, work))

    def move(self, wait: bool = False) -> None:
        """Hand out what waits and take what is done; with `wait` until something has moved."""
        least = 1 if wait else AHEAD  # who waits hands out the next one at once
        self._hand_out(least)
        if wait and self._servers:
            with SELECTOR() as selector:
                for server in self._servers:
                    to, source = server.ends
                    selector.register(source, selectors.EVENT_READ)
                    if server.wants_to_write:
                        selector.register(to, selectors.EVENT_WRITE)
                selector.select()
        for server in self._servers.copy():
            if not server.move():
                self._lost(server)
        self._hand_out(least)

    def _depth(self, least: int) -> int:
        """Modules under way to a process: half of its part of those that wait, so that what it has
        to do when nothing waits any more is little."""
        part = len(self._waiting) // (2 * max(1, len(self._servers)))
        return min(MOST_AHEAD, max(least, part))

    def _hand_out(self, ahead: int) -> None:
        """To who has least to do, as long as that is less than `ahead`, or than waits for long."""
        while self._waiting:
            least = min(self._servers, key=lambda s: len(s.under_way), default=None)
            busy = least is None or least.under_way
            if busy and len(self._servers) < self._count and self._start():
                continue
            if least is None or self._count == 0:
                return self._compile_here()
            if len(least.under_way) >= self._depth(ahead):
                return None
            work = heapq.heappop(self._waiting)[2]
            work.attempts += 1
            least.give(work, request(work.text, self._processor))
        return None

    def _start(self) -> bool:
        """Have one process more; False where there is none to be had."""
        server = _idle.started()
        if server is None:
            self._count = len(self._servers)
            return False
        self._servers.append(server)
        return True

    def _lost(self, server: Server) -> None:
        """It is gone: what it had goes to another, but not over and over."""
        self._servers.remove(server)
        server.close()
        if not server.ready:  # nor would others be
            _idle.possible, self._count = False, len(self._servers)
        for k, work in enumerate(server.under_way):
            # The first is what it was at.
            work.attempts -= k > 0 or not server.ready or server.rested
            self._wait(work)
            if work.attempts == ATTEMPTS:
                raise BackendError("the process that compiles ended while at a kernel, twice")

    def _compile_here(self) -> None:
        while self._waiting:
            work = heapq.heappop(self._waiting)[2]
            work.answer = OK + compiled(work.text, self._processor)


def close() -> None:
    """End the processes that wait."""
    while server := _idle.taken():
        server.close()


atexit.register(close)
