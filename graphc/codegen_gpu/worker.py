"""A process that compiles: `python -m graphc.codegen_gpu.worker`, driven over its own pipes.

A frame is its length and so many bytes. A request is an image without code (`image.py`); the
answer is one byte, OK or FAILED, and the image with its code or the error's text. Whatever Triton
prints goes to standard error. A worker that nobody asks for a while, or whose owner is gone, ends.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import tempfile
from pathlib import Path
from typing import IO

from graphc.codegen_gpu import abi, image
from graphc.codegen_gpu.compile import compile_source

LENGTH = struct.Struct("<Q")
OK, FAILED = b"\x00", b"\x01"
IDLE_SECONDS = 60.0  # a worker holds some 300 MB


def write_frame(stream: IO[bytes], data: bytes) -> None:
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None where the other side is gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def answer(request: bytes, folder: Path) -> bytes:
    try:
        asked = image.decode(request)
        return OK + image.encode(compile_source(asked.source, asked.arch, folder))
    except Exception as e:  # whatever it is, its text is the answer
        return FAILED + f"{type(e).__name__}: {e}".encode(errors="replace")


def serve(requests: IO[bytes], answers: IO[bytes], folder: Path) -> None:
    # Nothing is left in `requests`' buffer between frames: one is asked for when one is answered.
    while select.select([requests], [], [], IDLE_SECONDS)[0]:
        request = read_frame(requests)
        if request is None:
            return
        write_frame(answers, answer(request, folder))


def main() -> None:
    with os.fdopen(os.dup(1), "wb") as answers, tempfile.TemporaryDirectory("graphc") as folder:
        os.dup2(2, 1)
        variables = abi.environment(os.environ, folder)
        os.environ.clear()
        os.environ.update(variables)
        serve(sys.stdin.buffer, answers, Path(folder))


if __name__ == "__main__":
    main()
