"""A process that compiles LLVM text: `workers.py` starts it and asks over its pipes, in frames of
`ir/child.py`.

An empty frame says that it is ready. A request is the processor's three texts and that of the
module, a zero byte between; the answer is OK and what is to be kept (`compiled`), or FAILED and
what LLVM complains of.
"""

from __future__ import annotations

import os
from contextlib import suppress

from graphc.codegen_cpu.elf import LIBRARY, image_of, undefined_symbols
from graphc.codegen_cpu.llvm import Processor, object_code
from graphc.errors import BackendError
from graphc.ir.child import FAILED, OK, serve, write_frame

IDLE_SECONDS = 5.0  # a process holds some 100 MB, and takes 60 ms to start
ALLOWED = LIBRARY | {"_GLOBAL_OFFSET_TABLE_"}


def checked(code: bytes) -> bytes:
    """An object; raises BackendError if it needs a library: an unresolved symbol would end the
    process that loads it."""
    missing = sorted(set(undefined_symbols(code)) - ALLOWED)
    if missing:
        raise BackendError(f"generated code calls {', '.join(missing)}, which no library has")
    return code


def compiled(text: str, processor: Processor) -> bytes:
    """What is kept of a module: its image, or where it has none the object."""
    code = checked(object_code(text, processor))
    image = image_of(code)
    return code if image is None else image.packed()


def request(text: str, processor: Processor) -> bytes:
    return "\0".join((*processor, text)).encode()


def answer(asked: bytes) -> bytes:
    *processor, text = asked.decode().split("\0")
    try:
        return OK + compiled(text, Processor(*processor))
    except BackendError as e:
        return FAILED + e.what.encode()


def main() -> None:
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as answers:  # nobody wants them
        os.dup2(2, 1)
        with open(0, "rb", buffering=0) as requests:
            write_frame(answers, b"")
            serve(requests, answers, answer, IDLE_SECONDS)
