"""A process that compiles: `python -m graphc.codegen_gpu.worker`, driven over its own pipes.

A request is an image without code (`image.py`); the answer is one byte, OK or FAILED, and the image
with its code or the error's text. Whatever Triton prints goes to standard error.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

from graphc.codegen_gpu import abi, image
from graphc.codegen_gpu.compile import compile_source
from graphc.ir.child import FAILED, OK, serve

IDLE_SECONDS = 60.0  # a worker holds some 300 MB


def answer(request: bytes, folder: Path) -> bytes:
    try:
        asked = image.decode(request)
        return OK + image.encode(compile_source(asked.source, asked.arch, folder))
    except Exception as e:  # whatever it is, its text is the answer
        return FAILED + f"{type(e).__name__}: {e}".encode(errors="replace")


def main() -> None:
    with os.fdopen(os.dup(1), "wb") as answers, tempfile.TemporaryDirectory("graphc") as folder:
        os.dup2(2, 1)
        variables = abi.environment(os.environ, folder)
        os.environ.clear()
        os.environ.update(variables)
        with open(0, "rb", buffering=0, closefd=False) as requests:
            serve(requests, answers, partial(answer, folder=Path(folder)), IDLE_SECONDS)


if __name__ == "__main__":
    main()
