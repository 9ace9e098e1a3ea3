"""Processes of our own that answer requests over their standard pipes, one after another.

Both ways a frame is its length and so many bytes. A process ends when its owner is gone, and by
itself when nobody has asked for a while.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

LENGTH = struct.Struct("<Q")
OK, FAILED = (
    b"\x00",
    b"\x01",
)  # the first byte of an answer; the text of an error comes after FAILED
PACKAGE = Path(__file__).parent.parent

# A process needs a few modules of the package; importing `graphc` itself takes a second. What is
# imported is no garbage: to look for some takes a twentieth of the start.
START = (
    "import gc, sys, types; gc.disable(); graphc = types.ModuleType('graphc');"
    "graphc.__path__ = [sys.argv[1]]; sys.modules['graphc'] = graphc; sys.path += sys.argv[2:];"
    "from {module} import main; gc.enable(); main()"
)


def arguments(module: str, *folders: str) -> list[str]:
    """What Python is started with to run `main` of a module of the package, which may import from
    `folders` as well."""
    return ["-c", START.format(module=module), str(PACKAGE), *folders]


def frame(data: bytes) -> bytes:
    return LENGTH.pack(len(data)) + data


def write_frame(stream: IO[bytes], data: bytes) -> None:
    stream.write(frame(data))
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None where the other side is gone."""
    head = _read(stream, LENGTH.size)
    return None if head is None else _read(stream, *LENGTH.unpack(head))


def _read(stream: IO[bytes], count: int) -> bytes | None:
    """So many bytes, of which a stream without a buffer gives what is there; None at its end."""
    data = bytearray()
    while len(data) < count:
        part = stream.read(count - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def serve(
    requests: IO[bytes], answers: IO[bytes], answer: Callable[[bytes], bytes], idle_s: float
) -> None:
    """Answer until the owner is gone, or asks nothing for so long. `requests` has no buffer, which
    would hide from the system that a request is there."""
    while select.select([requests], [], [], idle_s)[0]:
        request = read_frame(requests)
        if request is None:
            return
        write_frame(answers, answer(request))


def usable_cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
