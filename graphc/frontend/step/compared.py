"""Differences of stages: what a pass changed, with the rule that changed it.

Names are kept from stage to stage: what takes the place of `%7` is `%7.1`, which is no change by
itself, so a row has changed only if its op, type or attributes have, or what it reads is another
value. Rows stand with three lines of context, grouped by the rule that made what is new.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

VERSION = re.compile(r"(%\d+)(?:\.\d+)+(?![\w.])")
LABEL = re.compile(r"\s*(?:state |scalar )?(%[^\s,:=(){}#]+): ")
COLUMN = re.compile(r" +#")
CONTEXT = 3
GONE = "nothing needs it any more"


class Row(NamedTuple):
    """A row of a difference: "+", "-", or " " for one that stayed."""

    sign: str
    text: str
    label: str = ""

    def __str__(self) -> str:
        return f"{self.sign}{self.text}"


def root(text: str) -> str:
    """The text with each value called as it was traced, its columns aside."""
    return COLUMN.sub(" #", VERSION.sub(r"\1", text))


def changes(before: str, after: str, makers: Mapping[str, str] | None = None) -> list[str]:
    """What differs, as lines; nothing if nothing does. `makers`: the rule that made a value."""
    if not ("\ngraph(" in before and "\ngraph(" in after):
        old, new = before.splitlines(), after.splitlines()
        lines = difflib.unified_diff(old, new, n=CONTEXT, lineterm="")
        return [x for x in lines if x[:3] not in ("---", "+++")]
    rows = graph_rows(_labelled(before), _labelled(after))
    groups: dict[str, list[list[Row]]] = {}
    for first, last in hunks(rows):
        rule = _rule(rows[first:last], makers or {})
        around = rows[max(0, first - CONTEXT) : last + CONTEXT]
        groups.setdefault(rule, []).append(around)
    return list(_shown(groups))


def _shown(groups: Mapping[str, Sequence[Sequence[Row]]]) -> Iterator[str]:
    for rule, parts in groups.items():
        changed = [r.sign for part in parts for r in part]
        yield f"// {rule}: -{changed.count('-')} +{changed.count('+')}"
        for k, part in enumerate(parts):
            if k:
                yield "   ..."
            yield from map(str, part)


def _labelled(text: str) -> dict[str, str]:
    """The rows of a Graph's text by what they define: a value as it was traced, or all of it."""
    found: dict[str, str] = {}
    for line in text.splitlines()[1:]:  # the first tells the stage
        m = LABEL.match(line)
        found[root(m[1]) if m else root(line)] = line
    return found


def graph_rows(old: Mapping[str, str], new: Mapping[str, str]) -> list[Row]:
    """Rows that went, came and stayed, in the order of `new`; what went stands before the next of
    its neighbours that is still there."""
    gone: dict[str, list[Row]] = {}
    waiting: list[Row] = []
    for label, text in old.items():
        if label not in new:
            waiting.append(Row("-", text, label))
        elif waiting:
            gone[label], waiting = waiting, []
    rows: list[Row] = []
    for label, text in new.items():
        rows += gone.get(label, ())
        was = old.get(label)
        if was is not None and root(was) == root(text):
            rows.append(Row(" ", text, label))
            continue
        if was is not None:
            rows.append(Row("-", was, label))
        rows.append(Row("+", text, label))
    return rows + waiting


def hunks(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """From and to of each run of changed rows."""
    first = None
    for k, r in enumerate((*rows, Row(" ", ""))):
        if r.sign == " " and first is not None:
            yield first, k
            first = None
        elif r.sign != " " and first is None:
            first = k


def _rule(rows: Sequence[Row], makers: Mapping[str, str]) -> str:
    """The rule that made the first of the new rows."""
    for r in rows:
        m = LABEL.match(r.text)
        if r.sign == "+" and m and makers.get(m[1]):
            return makers[m[1]]
    return GONE if all(r.sign == "-" for r in rows) else "others"
