"""What native CPU code and the runtime agree on: cells of argument blocks, tables, jobs, pools.

A cell is 8 bytes. A kernel is `void k(cells* args, i64 tid, i64 nthreads, bytes* room)`. Its block
holds a pointer to the error cell, then a pointer per buffer, an i64 per size, and a cell per scalar
with the scalar's bits in its low bytes (integers extended to 64 bits). Then come the numbers that
its code takes (`Function`) or, where bounds are checked, the bytes of each buffer. The room is its
thread's own, ROOM_BYTES from the start of a page, for what is too large for a stack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from graphc.ir.types import DType, Scalar

CELL_BYTES = 8
PAIR_BYTES = 128  # two cache lines, which processors prefetch in pairs

# The error cell, a block of four: 1 if set, which check, the value and its bound. What is noted
# behind the commit point, and stops nothing, is NOTED. Of an access that is out of bounds:
# OUTSIDE + the number of the buffer (behind them, of the kernel's scratch), the address of the
# argument block, the offset in bytes and the buffer's size.
ERROR_CELLS = 4
OUTSIDE = 2
NOTED = -1

# An entry of a program's table: function, argument block, flags, unused.
ENTRY_CELLS = 4
# Flags: meet first; then stop if the error cell is set; no code; meet again, where the cell may be
# set from here on by what stops the others.
BARRIER, COMMIT, HOST, AGAIN = 1, 2, 4, 8

# A job: one call of one program.
JOB = {
    "table": 0, "entries": 1, "error": 2, "stop_at": 3, "budget": 4,
    "cells": 5, "patches": 6, "patch_count": 7, "pointers": 8, "denormals": 9, "result": 10,
    "watched": 11, "watched_count": 12,
    "ticks": 13,  # where not 0: the clock at each entry's begin, then at the end, by thread 0
}  # fmt: skip
JOB_CELLS = len(JOB)

# The block that a pool's threads share, then a line for each thread, thread 0 first.
POOL = {
    "generation": 0, "job": 16,
    "threads": 32, "spins": 33, "yields": 34, "wait": 35, "post": 36, "yield": 37,
    "release": 38, "take": 39, "signals": 40,
    "walked": 41,  # ticks that the caller has spent in kernels since the pool began
}  # fmt: skip
FIRST_THREAD_LINE = 3
# Cells of a thread's line, after its flags of up to 8 barrier rounds (256 threads).
THREAD = {"epoch": 8, "asleep": 9, "semaphore": 10, "room": 11}
# Of a thread; pages that no kernel touches take no memory.
ROOM_BYTES = 8 << 20
MOST_THREADS = 256

# What a walk returns; any other result is the entry to resume at, or with this bit the entry that
# the caller is to run itself before it resumes at the next.
ROUTINE = 1 << 32
FINISHED, FAILED, ABANDONED = -1, -2, -3
MOVED = -4  # nothing ran: a watched word is not what it was

# A latch: a prepared call (`runtime/latch.py`). Functions of Python's, objects by address,
# where in objects words are, and what the call compares, runs and hands out.
LATCH = {name: k for k, name in enumerate((
    "state", "identify", "ask", "attribute", "drop", "take", "clear", "contains", "equal",
    "occurred", "raise", "try", "free", "number", "save", "restore",
    "thread", "owner", "lock", "lock_at", "owner_at", "count_at", "acquire", "release",
    "count", "rows", "pointers", "tensor", "array", "none", "empty", "false", "shown_at",
    "storages",
    "name_spec", "name_flag", "name_views", "name_base", "name_array", "name_storage",
    "name_dtype", "name_shape", "values_at", "place_spec", "place_flag", "place_views",
    "place_base", "place_array", "place_storage",
    "words", "words_count", "busy", "programs", "clock", "act", "open",
    "sets", "set_cells", "set_count", "chosen", "dict_before", "tensor_weak", "version",
    "storage_words",
    "pool", "job",  # of a CPU
    "graphs", "graph_count", "graph", "width", "starts", "launch", "stream", "index",
    "around", "places", "copy",
    "address_at", "dtype_at", "shape_at", "strides_at", "index_at",  # of a GPU
))}  # fmt: skip
# Bytes in NumPy's public struct of an array; of its flags, that its elements are aligned.
ARRAY = {"data": 16, "rank": 24, "dims": 32, "strides": 40, "descr": 56, "flags": 64}
ARRAY_ALIGNED = 0x100
# Of each argument: whether it is a tensor; the value that it is, or a tensor's type; ...
ROW = {
    "tensor": 0, "object": 1, "flag": 2, "slot": 3, "descr": 4, "rank": 5, "dims": 6, "dtype": 7,
    "shape": 8, "storage": 9, "shown": 10, "strides": 11, "steps": 12, "plain": 13,
}  # fmt: skip
ROW_CELLS = len(ROW)
# Of a result that may be handed out again; its storage's words follow.
RESULT_SET = {
    "tensor": 0, "dict": 1, "version": 2, "storage": 3, "array": 4, "holders": 5, "owner": 6,
    "owner_holders": 7, "address": 8, "words": 9,
}  # fmt: skip
RAN, OPEN = 1, 0  # what starting a latched program gives, or MOVED
RUNNING, LEFT = 1, 2  # of an engine's `busy` cell: 0; in native code; a latch has left a job open


class Function(int):
    """The address of a kernel's code, and what numbers it has where kernels share that code."""

    numbers: tuple[int, ...]

    def __new__(cls, address: int, numbers: tuple[int, ...] = ()) -> Function:
        made = super().__new__(cls, address)
        made.numbers = numbers
        return made


def numbers_of(function: int) -> tuple[int, ...]:
    return function.numbers if isinstance(function, Function) else ()


@dataclass(frozen=True, slots=True)
class Walker:
    """Addresses of the native functions that run programs; `code` keeps them mapped.

    run(pool, job, resume) writes the job's result; worker(pool, thread, generation);
    wake(pool, job, threads); clock() -> ticks; enter is `run` as a function of Python's, latch a
    whole call (`runtime/latch.py`).
    """

    run: int
    worker: int
    wake: int
    clock: int
    enter: int
    latch: int
    code: object


def pool_cells(threads: int) -> int:
    return (FIRST_THREAD_LINE + threads) * PAIR_BYTES // CELL_BYTES


def thread_cell(thread: int, name: str) -> int:
    return (FIRST_THREAD_LINE + thread) * PAIR_BYTES // CELL_BYTES + THREAD[name]


def scalar_bits(value: Scalar, dtype: DType) -> int:
    """A scalar argument as the signed content of its cell."""
    if dtype.is_floating_point:
        with np.errstate(over="ignore"):  # too large for the dtype is an infinity, as in a tensor
            raw = np.asarray(value, np.float64).astype(dtype.numpy).tobytes()
        return int(struct.unpack("<q", raw.ljust(CELL_BYTES, b"\0"))[0])
    return int(value)
