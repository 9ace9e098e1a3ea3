"""What is a library's own affair: that it logs and imports, and times what it does for nobody.

What is read then (a level, a stream, which modules are there) leads to no number of a step's.
"""

from __future__ import annotations

import dis
from types import FrameType

from graphc.frontend.step.python.code import INSTALLED, LIBRARY, whose
from graphc.frontend.step.python.printed import rows_after

OWN_AFFAIRS = "logging", "importlib._bootstrap"


def is_its_own_affair(frame: FrameType) -> bool:
    """Whether a function of Python's logs or imports for another library's, which takes no answer
    from it."""
    name = frame.f_globals.get("__name__")
    if name not in OWN_AFFAIRS or (caller := frame.f_back) is None:
        return False
    inside = caller.f_code.co_filename == frame.f_code.co_filename
    if inside or whose(caller.f_code.co_filename) not in (LIBRARY, INSTALLED):
        return False
    return name != "logging" or is_dropped(caller)


def is_dropped(frame: FrameType) -> bool:
    """Whether nobody takes the result of the call that a frame makes: it goes at once, or to a
    local variable that its function never reads."""
    after, code = rows_after(frame), frame.f_code
    if not after or after[0].opname == "POP_TOP":
        return bool(after)
    if after[0].opname != "STORE_FAST" or "locals" in code.co_names:
        return False
    reads = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST")
    name = after[0].argval
    return not any(
        row.opname.startswith(reads) and name in row.argrepr for row in dis.get_instructions(code)
    )
