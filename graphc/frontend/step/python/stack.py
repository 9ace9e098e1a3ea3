"""What lies on the value stack of a running Python frame: the operands of its next instruction.

CPython shows it to nobody, so it is read where the interpreter keeps it. How high it is, CPython
3.11 writes down, and later ones leave to be found from the code. `works()` tries all that once on a
frame whose stack is known.
"""

from __future__ import annotations

import ctypes
import dis
import sys
from functools import lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FrameType
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()
FRAME = 24  # of the interpreter's frame in a frame object
FUNCTION = 0 if sys.version_info < (3, 12) else 16  # of the function in the interpreter's frame
TOP, LOCALS = 64, 72  # of the stack's height, and of local variables with the stack behind them
WORD = ctypes.sizeof(ctypes.c_void_p)
KEPT = sys.version_info < (3, 12)  # whether the height is written down before each instruction
JUMPS = {*dis.hasjrel, *dis.hasjabs}
ENDS = {
    "RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT", "INTERPRETER_EXIT",
}  # fmt: skip
_address = ctypes.c_void_p.from_address
_object = ctypes.py_object.from_address
_height = ctypes.c_int.from_address


def top(frame: FrameType, depth: int = 1) -> Any:
    """The value at `depth` from the top, 1 for the top itself; MISSING for an empty place."""
    inner = _address(id(frame) + FRAME).value or 0
    if KEPT:
        return _value(inner + LOCALS + WORD * (_height(inner + TOP).value - depth))
    return _value(inner + LOCALS + WORD * (heights(frame.f_code)[frame.f_lasti] - depth))


def put(frame: FrameType, depth: int, value: Any) -> None:
    """Let `value` lie at `depth` from the top, in place of what is there."""
    inner = _address(id(frame) + FRAME).value or 0
    height = _height(inner + TOP).value if KEPT else heights(frame.f_code)[frame.f_lasti]
    place = _address(inner + LOCALS + WORD * (height - depth))
    old, kept = place.value, ctypes.py_object(value)
    ctypes.pythonapi.Py_IncRef(kept)
    place.value = id(value)
    if old:
        ctypes.pythonapi.Py_DecRef(ctypes.cast(old, ctypes.py_object))


_heights: dict[int, tuple[CodeType, dict[int, int]]] = {}


def heights(code: CodeType) -> dict[int, int]:
    """How high the stack is before each instruction, counted with the local variables below it."""
    known = _heights.get(id(code))
    if known is None:
        known = _heights[id(code)] = code, _found_heights(code)
    return known[1]


def _found_heights(code: CodeType) -> dict[int, int]:
    """Follows each way through the code; an error's handler begins with what its table says."""
    rows = list(dis.get_instructions(code))
    index = {row.offset: k for k, row in enumerate(rows)}
    base = len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars)
    work = [(0, base)]
    for entry in dis._parse_exception_table(code):  # type: ignore[attr-defined]  # of dis itself
        work.append((index[entry.target], base + entry.depth + entry.lasti + 1))
    found: dict[int, int] = {}
    while work:
        k, height = work.pop()
        while k < len(rows) and rows[k].offset not in found:
            row = rows[k]
            found[row.offset] = height
            argument = row.arg if row.opcode >= dis.HAVE_ARGUMENT else None
            if row.opcode in JUMPS:
                jumped = height + dis.stack_effect(row.opcode, argument, jump=True)
                work.append((index[row.argval], jumped))
            if row.opname in ENDS:
                break
            made = row.opname == "RETURN_GENERATOR"  # it goes on with what is sent on top
            height += 1 if made else dis.stack_effect(row.opcode, argument, jump=False)
            k += 1
    return found


def local(frame: FrameType, index: int) -> Any:
    """A local variable by its number, a cell as itself; MISSING while it has no value."""
    return _value((_address(id(frame) + FRAME).value or 0) + LOCALS + WORD * index)


def locals_of(frame: FrameType, code: CodeType) -> list[Any]:
    """The arguments of a frame that begins."""
    extra = bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    count = code.co_argcount + code.co_kwonlyargcount + extra
    return [local(frame, k) for k in range(count)]


def named(frame: FrameType, code: CodeType) -> Any:
    """The dict of `**kwargs` of a frame that begins, which each call makes; MISSING without one."""
    return locals_of(frame, code)[-1] if code.co_flags & CO_VARKEYWORDS else MISSING


def function(frame: FrameType) -> Any:
    """The function that runs in a frame."""
    return _value((_address(id(frame) + FRAME).value or 0) + FUNCTION)


def _value(place: int) -> Any:
    return _object(place).value if _address(place).value else MISSING


@lru_cache(maxsize=1)
def works() -> bool:
    """Whether this interpreter keeps its frames as this file thinks."""
    seen: list[bool] = []

    def probe(first: object, second: object) -> list[object]:
        return [first, second, look()]

    def look() -> object:
        frame = sys._getframe(1)
        held = [local(frame, 0), local(frame, 1)]
        seen.append(held == [first, second] and function(frame) is probe)
        return None

    if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info < (3, 14):
        return False
    first, second = object(), object()
    probe(first, second)
    return seen == [True]
