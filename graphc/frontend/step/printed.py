"""`print` inside a compiled step: at each call, after the commit, with true values.

While a step is traced, `print` notes what it is given. A tensor in an f-string becomes a mark in
the text; that is done only where the very string goes on to `print`, which the code around the
f-string tells. Any other text of a tensor is refused, for it would be made once.
"""

from __future__ import annotations

import builtins
import dis
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

from graphc.errors import Untraceable, user_frame
from graphc.frontend.modes import modes
from graphc.frontend.step import effects, stack
from graphc.frontend.step.observers import taken
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tensor import Tensor
from graphc.ir.symbols import Unknown

OPEN, CLOSE = "\ue000graphc:", "\ue001"
LITERAL = (int, float, complex, bool, type(None))
FORMATS = ("FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC")
FIX = "graphc.debug.print(text, *tensors) prints after each call; or print outside the step"


@dataclass
class Text:
    """Pieces of a text: strings, and tensors with how to show them, as texts of their own."""

    pieces: list[Any]


@dataclass
class Shown:
    """A tensor in a text: by `format` with `form`, or as `repr` shows it for None."""

    tensor: Tensor
    form: str | None

    def text(self) -> str:
        return repr(self.tensor) if self.form is None else format(self.tensor, self.form)


class _Patched:
    """How many steps are being traced, for which `print` is another."""

    lock = threading.Lock()
    count = 0
    original = builtins.print


@contextmanager
def printing() -> Iterator[None]:
    """Inside, `print` in a step being traced happens after each call."""
    with _Patched.lock:
        if _Patched.count == 0:
            _Patched.original, builtins.print = builtins.print, _print
        _Patched.count += 1
    try:
        yield
    finally:
        with _Patched.lock:
            _Patched.count -= 1
            if _Patched.count == 0 and builtins.print is _print:
                builtins.print = _Patched.original


def _print(*args: Any, **kwargs: Any) -> None:
    trace = modes.trace
    if trace is None:
        _Patched.original(*args, **kwargs)
        return
    shown = tuple(_pieces(trace, a) for a in args)
    named = {k: _pieces(trace, a) if isinstance(a, str) else a for k, a in kwargs.items()}
    effects.record(trace, _printed, *shown, **named)


def _pieces(trace: Any, x: Any) -> Any:
    """What is printed of x: tensors and sizes later, of anything else what it shows now."""
    if isinstance(x, str) and OPEN in x:
        first, *rest = x.split(OPEN)
        pieces: list[Any] = [first]
        for part in rest:
            number, _, after = part.partition(CLOSE)
            pieces += [trace.texts[int(number)], after]
        return Text(pieces)
    found: list[Any] = []
    rebuilt(x, found.append, (Tensor, Unknown))
    return x if found or isinstance(x, LITERAL) else str(x)


def _printed(*args: Any, **kwargs: Any) -> None:
    named = {k: _text(a) for k, a in kwargs.items()}
    print(*map(_text, args), **named)


def _text(x: Any) -> Any:
    if not isinstance(x, Text):
        return x
    return "".join(p.text() if isinstance(p, Shown) else p for p in x.pieces)


# ---- texts of tensors --------------------------------------------------------------------------


def marked(trace: Any, x: Tensor, form: str | None) -> str:
    """A mark for the text of x, where `print` alone will see it."""
    frame = user_frame(2)
    if frame is None or not _goes_to_print(frame, form):
        raise trace.refuse(
            Untraceable(
                f"the text of {x.spec}, whose value is known only at run time",
                why="Python runs once, so the text would be made once, and without the value",
                fix=FIX,
            )
        )
    trace.texts.append(Shown(trace.wrap(trace.value(x)), form))
    return f"{OPEN}{len(trace.texts) - 1}{CLOSE}"


@lru_cache(maxsize=256)
def _rows(code: CodeType) -> list[dis.Instruction]:
    return [r for r in dis.get_instructions(code) if r.opname not in ("CACHE", "EXTENDED_ARG")]


def _goes_to_print(frame: FrameType, form: str | None) -> bool:
    """Whether the f-string that a frame is making is an argument of `print`."""
    code = frame.f_code
    rows, levels = _rows(code), stack.heights(code)
    k = next((k for k, r in enumerate(rows) if r.offset == frame.f_lasti), None)
    if k is None or rows[k].opname not in (*FORMATS, "CONVERT_VALUE"):
        return False
    row, flags = rows[k], rows[k].arg or 0
    spec = row.opname == "FORMAT_WITH_SPEC" or (row.opname == "FORMAT_VALUE" and flags & 4)
    if form is None and spec:  # `{x!r:>9}` pads the mark
        return False
    place = levels[row.offset] - 1 - bool(spec)
    return _reaches_print(frame, rows[k + 1 :], levels, place)


def _reaches_print(
    frame: FrameType, rows: list[dis.Instruction], levels: dict[int, int], place: int
) -> bool:
    """Whether the text at `place` on the stack goes on, in f-strings, to `print`."""
    for row, after in pairwise(rows):
        count = row.arg or 0
        if row.is_jump_target or row.opcode in stack.JUMPS or row.offset not in levels:
            return False
        if row.opname in ("PRECALL", "KW_NAMES"):
            continue
        height = levels[row.offset] + taken(row)
        if row.opname == "BUILD_STRING" and height - count <= place:
            place = height - count
        elif row.opname in ("CALL", "CALL_KW"):
            first = height - count - (row.opname == "CALL_KW")
            if first <= place:
                return any(stack.local(frame, first - n) is _print for n in (1, 2))
        elif row.opname == "FORMAT_SIMPLE" and height - 1 == place:
            continue  # after a conversion, of what is a string already
        elif levels.get(after.offset, 0) <= place:
            return False
    return False
