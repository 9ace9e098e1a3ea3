"""Code of libraries that graphc calls for whoever wrote it, such as the `forward` of a module.

A library's own affairs are not watched, but what it subclasses of ours is part of the step: a
module that counts its calls, an optimizer with a number in its state. Between it and the user's
code stand functions of ours, which are not watched, so who called it does not tell.
"""

from __future__ import annotations

from inspect import CO_VARARGS
from types import CodeType, FrameType
from typing import Any

from graphc.frontend.step.python import stack
from graphc.frontend.step.python.code import LIBRARY, OWN, is_pythons, whose
from graphc.frontend.step.python.found import given
from graphc.frontend.step.python.stack import MISSING

OWN_AFFAIRS = "logging", "importlib._bootstrap"


def is_handed(frame: FrameType) -> bool:
    """Whether a library's function that begins, or runs, is a method of a class made of ours."""
    caller = frame.f_back
    if caller is None or whose(caller.f_code.co_filename) != OWN:
        return False
    return not is_pythons(frame.f_code.co_filename) and _is_made_of_ours(type(_first(frame)))


def is_its_own_affair(frame: FrameType) -> bool:
    """Whether a library's function logs or imports for another library's: what is read then (a
    level, a stream, which modules are there) leads to no number of the step's."""
    if frame.f_globals.get("__name__") not in OWN_AFFAIRS or (caller := frame.f_back) is None:
        return False
    inside = caller.f_code.co_filename == frame.f_code.co_filename
    return not inside and whose(caller.f_code.co_filename) == LIBRARY


def _first(frame: FrameType) -> Any:
    """The first positional argument; MISSING without one."""
    code: CodeType = frame.f_code
    if code.co_argcount:
        return given(stack.local(frame, 0))
    if code.co_flags & CO_VARARGS:
        rest = stack.local(frame, code.co_kwonlyargcount)
        return rest[0] if isinstance(rest, tuple) and rest else MISSING
    return MISSING


def _is_made_of_ours(kind: type) -> bool:
    first, *bases = (k.__module__.partition(".")[0] == "graphc" for k in kind.__mro__)
    return not first and any(bases)
