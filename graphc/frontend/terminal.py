"""Texts on a terminal: as wide as it is, and in colours. Where the output is none, nothing is
changed, so that what is written to files and pipes does not depend on who looks."""

from __future__ import annotations

import re
import shutil
import sys
from textwrap import wrap

from graphc import config

NARROW = 40  # a terminal that says less is not believed
BOLD, DIM, RED, GREEN, YELLOW = (f"\x1b[{n}m" for n in (1, 2, 31, 32, 33))
PLAIN = "\x1b[0m"
ROWS = (  # what a line begins with, and its colour
    (re.compile(r"//|kernel |program |graph\("), BOLD),
    (re.compile(r"\+ "), GREEN),
    (re.compile(r"- "), RED),
    (re.compile(r"~ "), YELLOW),
)
BESIDE = re.compile(r"\s# .*$")  # provenance


def columns() -> int | None:
    """How wide the terminal is that texts are printed on; None where they are not."""
    out = sys.stdout
    if out is None or not out.isatty():
        return None
    return max(NARROW, shutil.get_terminal_size().columns)


def wrapped(row: str, indent: int) -> list[str]:
    """A row, on as many lines as it needs, the later ones further right by `indent`."""
    width = columns()
    if width is None or len(row) <= width:
        return [row]
    lead = " " * (len(row) - len(row.lstrip()))
    return wrap(row.lstrip(), width, initial_indent=lead, subsequent_indent=lead + " " * indent,
                break_on_hyphens=False)  # fmt: skip


def clipped(row: str) -> str:
    """A row of a table, whose end is cut off where it does not fit."""
    width = columns()
    return row if width is None or len(row) <= width else f"{row[: width - 1]}…"


def coloured(text: str) -> str:
    """A text in colours, if it goes to a terminal and NO_COLOR is not set."""
    if columns() is None or config.text("no_color"):
        return text
    return "\n".join(map(_coloured, text.split("\n")))


def _coloured(line: str) -> str:
    for begins, colour in ROWS:
        if begins.match(line):
            return f"{colour}{line}{PLAIN}"
    return BESIDE.sub(lambda m: f"{DIM}{m[0]}{PLAIN}", line)
