"""Texts of what only a call knows, and `print` of it: made at each call, after the commit.

While a step is traced, `print` notes what it is given. A tensor in an f-string becomes a mark in
the text, and where the text is whole, the watch puts a `HostValue` in its place, which each call
computes. Any other text of a tensor is refused, for it would be made once.
"""

from __future__ import annotations

import dis
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from graphc.errors import Untraceable, user_frame
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.modes import modes
from graphc.frontend.step.python import effects, ours, stack
from graphc.frontend.step.python.code import WATCHED, whose_code
from graphc.frontend.step.python.observers import taken
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tensor import Tensor
from graphc.ir.symbols import Unknown

OPEN, CLOSE = "\ue000graphc:", "\ue001"
LITERAL = (int, float, complex, bool, type(None))
CACHE = dis.opmap.get("CACHE", 0)
FORMATS = ("FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC")
TEXT_METHODS = {"__str__", "__repr__", "__format__"}
FIX = "graphc.debug.print(text, *tensors) prints after each call; or print outside the step"


@dataclass
class Text:
    """Pieces of a text: strings, and what is shown in it."""

    pieces: list[Any]


@dataclass
class Shown:
    """A tensor or value in a text: by `format` with `form`, or as `repr` shows it for None."""

    it: Any
    form: str | None

    def text(self) -> str:
        return repr(self.it) if self.form is None else format(self.it, self.form)


def show(*args: Any, **kwargs: Any) -> None:
    """`print`, which in a step being traced happens after each call."""
    trace = modes.trace
    if trace is None:
        ours.original["print"](*args, **kwargs)
        return
    effects.record(trace, _printed, *map(_shown, args), **kwargs)


def _shown(x: Any) -> Any:
    """What is printed of x: tensors and sizes later, of anything else what it shows now."""
    found: list[Any] = []
    rebuilt(x, found.append, (Tensor, Unknown, HostValue))
    if found or isinstance(x, LITERAL):
        return x
    return of_object(modes.trace, str, x)


def of_object(trace: Any, f: Any, *args: Any) -> Any:
    """`f(*args)`, a text that an object's own code makes: with marks in it, if it shows tensors."""
    text = f(*args)
    return whole(trace, text) if type(text) is str and OPEN in text else text


def returns(code: CodeType) -> list[int]:
    """Where a function gives its result, if that is a text."""
    if code.co_name not in TEXT_METHODS:
        return []
    return [r.offset for r in _rows(code) if r.opname == "RETURN_VALUE"]


def remarked(trace: Any, x: HostValue) -> str:
    """A mark for a text that only a call knows, which Python wants a text for."""
    trace.texts.append(Shown(x, ""))
    return f"{OPEN}{len(trace.texts) - 1}{CLOSE}"


def goes_on(trace: Any, frame: FrameType) -> bool:
    """Whether a text is made by a `__str__` or the like: part of one that is made further out, or
    looked at by nobody but `of_object`."""
    if frame.f_code.co_name not in TEXT_METHODS or (back := frame.f_back) is None:
        return False
    if back.f_code is of_object.__code__ or _is_followed(back, None) or goes_on(trace, back):
        return True
    raise trace.refuse(
        Untraceable(
            "the text of an object that shows values known only at run time",
            why="Python runs once, so the text would be made once, and without the values",
            fix="make it by str(x) or an f-string without a width, or print it; or " + FIX,
        )
    )


def _printed(*args: Any, **kwargs: Any) -> None:
    print(*args, **kwargs)


# ---- texts of tensors --------------------------------------------------------------------------


def marked(trace: Any, x: Tensor | HostValue, form: str | None) -> str:
    """A mark for the text of x, where the watch finds it again when the text is whole."""
    frame = user_frame(2)
    if frame is None or not trace.watched or not _is_followed(frame, form):
        raise trace.refuse(
            Untraceable(
                f"the text of {x.spec if isinstance(x, Tensor) else x.origin}, whose value is "
                "known only at run time",
                why="Python runs once, so the text would be made once, and without the value",
                fix=FIX,
            )
        )
    now = x if isinstance(x, HostValue) else trace.wrap(trace.value(x))
    trace.texts.append(Shown(now, form))
    return f"{OPEN}{len(trace.texts) - 1}{CLOSE}"


def whole(trace: Any, x: str) -> HostValue:
    """A text that has marks in it, as each call makes it."""
    first, *rest = x.split(OPEN)
    pieces: list[Any] = [first]
    for part in rest:
        number, _, after = part.partition(CLOSE)
        pieces += [trace.texts[int(number)], after]
    out: HostValue = trace.computed(_joined, Text(pieces), kind=str)
    return out


def _joined(x: Text) -> str:
    return "".join(p.text() if isinstance(p, Shown) else p for p in x.pieces)


def _is_followed(frame: FrameType, form: str | None) -> bool:
    """Whether an f-string of the user's is being made, whose end is known."""
    if whose_code(frame.f_code, frame.f_globals) not in WATCHED:
        return False
    end = texts(frame.f_code).get(frame.f_lasti)
    return end is not None and not (form is None and end.padded)


# ---- code ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """Where the text that an instruction makes a part of is whole; `padded`: after a conversion."""

    at: tuple[int, ...]  # offsets of the instruction that follows, prefixes included
    padded: bool


@lru_cache(maxsize=1024)
def _rows(code: CodeType) -> list[dis.Instruction]:
    return [r for r in dis.get_instructions(code) if r.opname not in ("CACHE", "EXTENDED_ARG")]


def rows_after(frame: FrameType) -> list[dis.Instruction]:
    """The instructions that follow the one that a frame is at."""
    rows, at = _rows(frame.f_code), frame.f_lasti
    while at > 0 and frame.f_code.co_code[at] == CACHE:  # it waits for what it has called
        at -= 2
    k = next((k for k, r in enumerate(rows) if r.offset == at), len(rows))
    return rows[k + 1 : k + 8]


@lru_cache(maxsize=1024)
def texts(code: CodeType) -> dict[int, End]:
    """By the offset of each instruction that formats a value, where its text is whole."""
    rows, levels = _rows(code), stack.heights(code)
    found: dict[int, End] = {}
    for k, row in enumerate(rows):
        if row.opname not in (*FORMATS, "CONVERT_VALUE") or row.offset not in levels:
            continue
        flags = row.arg or 0
        spec = row.opname == "FORMAT_WITH_SPEC" or (row.opname == "FORMAT_VALUE" and flags & 4)
        after = k + 1
        if row.opname == "CONVERT_VALUE":
            if rows[after].opname != "FORMAT_SIMPLE":
                continue
            after += 1
        end = _end(rows, after, levels, levels[row.offset] - 1 - bool(spec))
        if end is not None:
            found[row.offset] = End(_offsets(code, rows[end].offset), bool(spec))
    return found


def _end(rows: list[dis.Instruction], first: int, levels: dict[int, int], place: int) -> int | None:
    """The row before which the text at `place` on the stack is whole; None where none is sure."""
    for k in range(first, len(rows)):
        row = rows[k]
        if row.offset not in levels:
            return None
        height = levels[row.offset] + taken(row)
        if row.opname == "BUILD_STRING" and height - (row.arg or 0) <= place:
            return k + 1
        after = levels.get(rows[k + 1].offset, 0) if k + 1 < len(rows) else 0
        if after <= place or (k == first and row.opname.startswith("JUMP_")):
            return first  # it is used, and was no part of another
        if row.is_jump_target or row.opcode in stack.JUMPS:
            return None
    return None


def _offsets(code: CodeType, at: int) -> tuple[int, ...]:
    """The offset of an instruction, and of prefixes before it."""
    found: list[int] = []
    for row in dis.get_instructions(code):
        if row.opname == "EXTENDED_ARG":
            found.append(row.offset)
        elif row.offset == at:
            return (*found, at)
        elif row.opname != "CACHE":
            found.clear()
    return (at,)
