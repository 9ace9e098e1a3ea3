"""HTML for notebooks: texts and small tables, every word of them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CELL = 'style="text-align:left;font-family:monospace"'


def text(shown: str, title: str = "") -> str:
    """A text as it is printed."""
    head = f"<b>{escape(title, quote=True)}</b>" if title else ""
    return f"{head}<pre>{escape(shown, quote=True)}</pre>"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a heading."""

    def row(kind: str, cells: Sequence[object]) -> str:
        inner = "".join(f"<{kind} {CELL}>{escape(str(c), quote=True)}</{kind}>" for c in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    heading = row("th", head) if head else ""
    return f"<b>{escape(title, quote=True)}</b><table>{heading}{body}</table>"
