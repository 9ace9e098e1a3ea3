"""Tracebacks of graphc's errors show the user's frames; GRAPHC_TRACEBACK=full shows all.

What an error of the package says stands in its message; the frames in between tell a user nothing.
Errors of an invariant (GC9) and of other libraries are shown whole.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from graphc import config
from graphc.errors import PACKAGE, GraphcError

HIDDEN = "(graphc's own frames are hidden; GRAPHC_TRACEBACK=full shows them)\n"
RUNNER = "<frozen runpy>"  # of `python -m graphc run`


def is_shortened(error: BaseException) -> bool:
    whole = not isinstance(error, GraphcError) or error.code.startswith("GC9")
    return not whole and config.text("traceback").lower() != "full"


def lines(error: BaseException) -> list[str]:
    """What is printed of an error that nobody has caught."""
    shown = traceback.TracebackException(type(error), error, error.__traceback__)
    if is_shortened(error):
        hidden = _shorten(shown)
        return [*shown.format(), *([HIDDEN] if hidden else [])]
    return list(shown.format())


def _shorten(shown: traceback.TracebackException) -> bool:
    """Take the package's frames out of it and of what led to it, unless all are; whether any."""
    hidden = False
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        pending += [part.__cause__, part.__context__]
        kept = [f for f in part.stack if not f.filename.startswith((PACKAGE, RUNNER))]
        if kept and len(kept) < len(part.stack):
            part.stack[:] = kept
            hidden = True
    return hidden


def show(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """`sys.excepthook`: graphc's errors in short, others as whoever was asked before shows them."""
    if is_shortened(error):
        sys.stderr.write("".join(lines(error)))
    else:
        error.__traceback__ = _of_script(error, where)
        _before(kind, error, error.__traceback__)


def _of_script(error: BaseException, where: TracebackType | None) -> TracebackType | None:
    """As Python shows a script that it runs itself: without the frames of `graphc run` that lead
    to it, unless there are no others and the fault is theirs."""
    first = where
    while first is not None and first.tb_frame.f_code.co_filename.startswith((PACKAGE, RUNNER)):
        first = first.tb_next
    return first if first is not None or isinstance(error, SyntaxError) else where


_before = sys.excepthook


def install() -> None:
    """Show uncaught errors so, in scripts and, by a method that it looks for, in IPython."""
    global _before
    if sys.excepthook is not show:
        _before, sys.excepthook = sys.excepthook, show
    GraphcError._render_traceback_ = _rendered  # type: ignore[attr-defined]  # IPython's name


def _rendered(self: GraphcError) -> list[str]:
    return "".join(lines(self)).splitlines()
