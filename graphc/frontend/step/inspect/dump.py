"""GRAPHC_DUMP: every stage of every compiled program as files that a person and a tool can read.

    NN_STAGE.gir      the text after each stage; .txt for kernels and the program
    NN.diff           what stage NN changed, where it changed something
    kernels/NAME.ll   LLVM text, and NAME.s the assembly; for a GPU NAME.py, the Triton text,
                      NAME.ptx, and NAME.sass, the machine code
    report.html       all of it on one page
    stats.json        counts, bytes and milliseconds
    trace.json        compile stages on a time line, for Perfetto

The first program goes into the folder itself, each later one into NN_NAME below it. While one
process writes there, another takes a folder of its own below it, process_PID.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

from graphc.frontend.report.saved import save
from graphc.frontend.step.inspect.compared import changes
from graphc.frontend.step.inspect.inspection import Unit, makers_of
from graphc.frontend.step.inspect.predicted import memory_of

SUFFIXES = {"llvm": "ll", "asm": "s", "triton": "py"}  # where the level's name is none
_numbers: defaultdict[Path, Iterator[int]] = defaultdict(partial(itertools.count, 1))


def dump(unit: Unit, folder: str) -> Path:
    """Write all of `unit`; returns where."""
    from graphc.frontend.report.facts import Facts
    from graphc.frontend.report.page import page  # only who asks for a dump pays for it
    from graphc.frontend.report.record import code_of, record
    from graphc.frontend.report.write import environment, numbers

    root = _own(Path(folder).absolute(), os.getpid())
    number = next(_numbers[root])
    if number > 1:
        root /= f"{number:02}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', unit.name)}"
    (root / "kernels").mkdir(parents=True, exist_ok=True)
    _write_stages(root, unit)
    (code,) = code_of([unit], lambda *_: True)
    for level, texts in code.items():
        for kernel, text in zip(unit.kernels(), texts, strict=True):
            save(root / "kernels" / f"{kernel.name}.{SUFFIXES.get(level, level)}", text)
    told = Facts(unit.name, numbers([unit]), environment())
    save(root / "report.html", page(record([unit], told), [code]))
    (root / "stats.json").write_text(json.dumps(_stats(unit), indent=1) + "\n")
    (root / "trace.json").write_text(json.dumps({"traceEvents": _events(unit)}) + "\n")
    return root


@lru_cache
def _own(folder: Path, process: int) -> Path:
    """Where this process writes: the lock on `folder` is the operating system's, so that whoever
    ends gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return folder / f"process_{process}"
    return folder


def _write_stages(root: Path, unit: Unit) -> None:
    before, stages, makers = "", unit.stages, makers_of(unit)
    for k, stage in enumerate(stages, 1):
        text = stage.text()
        save(root / f"{k:02}_{stage.name}.gir", text)
        if before and (rows := changes(before, text, makers)):
            head = f"// {stages[k - 2].name} -> {stage.name}: {stage.why}"
            save(root / f"{k:02}.diff", "\n".join([head, *rows]) + "\n")
        before = text


def _stats(unit: Unit) -> dict[str, object]:
    memory = memory_of([unit.part()])
    return {
        "name": unit.name,
        "kernels": len(unit.kernels()),
        "launches": len(unit.program.launches),
        "arena_bytes": memory.arena_bytes,
        "bound_bytes": memory.bound_bytes,
        "peak_bytes": memory.peak_bytes,
        "ms": {s.name: round(s.wall_ms, 3) for s in unit.stages},
    }


def _events(unit: Unit) -> list[dict[str, object]]:
    """Complete events ("X") one after another; times in microseconds."""
    events: list[dict[str, object]] = []
    at = 0.0
    for stage in unit.stages:
        us = stage.wall_ms * 1000
        span = {"name": stage.name, "cat": "compile", "ph": "X", "ts": at, "dur": us}
        events.append({**span, "pid": 1, "tid": 1})
        at += us
    return events
