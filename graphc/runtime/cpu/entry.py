"""The way from Python into the native loop, as a builtin function of our own.

A call through ctypes makes a score of objects, and runs code that a step has swept out of the
caches. This one is what the interpreter expects of its own builtins: it is handed the arguments
where they lie on the stack, reads the addresses out of them and calls `graphc_run`.

    run(pool, job, resume)                      go on with a job
    run(pool, job, -1, pointers, flush, watch)  begin one: copy the list of addresses to the job,
                                                note whether denormals are zero and how many words
                                                are watched

It gives FINISHED where the job ran to its end and no check failed; of any other answer, the job's
`result` tells. Where a signal handler raised, so does it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from graphc.ir.cpu_abi import FAILED, FINISHED, JOB, MOVED, Walker
from graphc.runtime.builtin import OF_BYTES, builtin

PYTHON = (
    "PyLong_AsVoidPtr",
    "PyLong_FromLongLong",
    "PyList_GetItem",
    "PyList_Size",
    "PyErr_Occurred",
)

Run = Callable[..., Any]


class Entry:
    """The builtin `run`."""

    def __init__(self, walker: Walker) -> None:
        functions = [
            ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in PYTHON
        ]
        table = b"".join((f.value or 0).to_bytes(8, "little") for f in functions)
        self.run: Run = builtin(b"run", walker.enter, table, walker.code)


def text() -> str:
    """The function's LLVM text; it stands in one module with `graphc_run`."""
    numbers = {f"job.{k}": v for k, v in JOB.items()} | {"table": OF_BYTES, "MOVED": MOVED}
    numbers |= {"FINISHED": FINISHED, "FAILED": FAILED}
    filled = TEXT
    for name in sorted(numbers, key=len, reverse=True):
        filled = filled.replace("$" + name, str(numbers[name]))
    return filled


TEXT = """
define internal i64 @argument(ptr %args, i64 %k, ptr %to) nounwind {
  %at = getelementptr ptr, ptr %args, i64 %k
  %object = load ptr, ptr %at
  %number = call i64 %to(ptr %object)
  ret i64 %number
}

define internal void @begin(ptr %job, ptr %args, ptr %table, ptr %to) nounwind {
entry:
  %flush = call i64 @argument(ptr %args, i64 4, ptr %to)
  %flush.at = getelementptr i64, ptr %job, i64 $job.denormals
  store i64 %flush, ptr %flush.at
  %watched = call i64 @argument(ptr %args, i64 5, ptr %to)
  %watched.at = getelementptr i64, ptr %job, i64 $job.watched_count
  store i64 %watched, ptr %watched.at
  %stop.at = getelementptr i64, ptr %job, i64 $job.stop_at
  store i64 -1, ptr %stop.at
  %result.at = getelementptr i64, ptr %job, i64 $job.result
  store i64 $MOVED, ptr %result.at
  %item.at = getelementptr ptr, ptr %table, i64 2
  %item = load ptr, ptr %item.at
  %size.at = getelementptr ptr, ptr %table, i64 3
  %size = load ptr, ptr %size.at
  %list.at = getelementptr ptr, ptr %args, i64 3
  %list = load ptr, ptr %list.at
  %count = call i64 %size(ptr %list)
  %pointers.at = getelementptr i64, ptr %job, i64 $job.pointers
  %pointers = load ptr, ptr %pointers.at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %one ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %one, label %done
one:
  %object = call ptr %item(ptr %list, i64 %i)
  %address = call i64 %to(ptr %object)
  %cell = getelementptr i64, ptr %pointers, i64 %i
  store i64 %address, ptr %cell
  %i.next = add i64 %i, 1
  br label %next
done:
  ret void
}

define ptr @graphc_enter(ptr %self, ptr %args, i64 %count) nounwind {
entry:
  %table = getelementptr i8, ptr %self, i64 $table
  %to = load ptr, ptr %table
  %pool.number = call i64 @argument(ptr %args, i64 0, ptr %to)
  %pool = inttoptr i64 %pool.number to ptr
  %job.number = call i64 @argument(ptr %args, i64 1, ptr %to)
  %job = inttoptr i64 %job.number to ptr
  %resume = call i64 @argument(ptr %args, i64 2, ptr %to)
  %fresh = icmp slt i64 %resume, 0
  br i1 %fresh, label %first, label %go
first:
  call void @begin(ptr %job, ptr %args, ptr %table, ptr %to)
  br label %go
go:
  call void @graphc_run(ptr %pool, ptr %job, i64 %resume)
  %result.at = getelementptr i64, ptr %job, i64 $job.result
  %result = load i64, ptr %result.at
  %ended = icmp eq i64 %result, $FINISHED
  br i1 %ended, label %look, label %ask
look:
  %error.at = getelementptr i64, ptr %job, i64 $job.error
  %error = load ptr, ptr %error.at
  %state = load i64, ptr %error
  %good = icmp eq i64 %state, 0
  %answer = select i1 %good, i64 $FINISHED, i64 $FAILED
  br label %give
ask:
  %raised.at = getelementptr ptr, ptr %table, i64 4
  %asking = load ptr, ptr %raised.at
  %raised = call ptr %asking()
  %quiet = icmp eq ptr %raised, null
  br i1 %quiet, label %give, label %leave
give:
  %given = phi i64 [ %answer, %look ], [ %result, %ask ]
  %from.at = getelementptr ptr, ptr %table, i64 1
  %from = load ptr, ptr %from.at
  %number = call ptr %from(i64 %given)
  ret ptr %number
leave:
  ret ptr null
}
"""
