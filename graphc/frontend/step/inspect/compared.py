"""Differences of stages: what a pass changed, with the rule that changed it.

Names are kept from stage to stage: what takes the place of `%7` is `%7.1`, which is no change by
itself. Of a value that changed in its place, a row `~` tells only what did; of one that now reads
another value, only which:

    // simplify: take_along of reshape: -1 +1 ~1
       %15.1: u8[B,16,5,5,1] = reshape %14.1
    +  %244: f32[B,16,5,5] = max %12 {axes=(4,)}  # net.py:12 2
    -  %16: f32[B,16,5,5,1] = take_along %12 %15 {axis=4}  # net.py:12 2
    ~  %9: sum {axes=(0,1) => (0,)}  # net.py:14
       %244 for %16 in %19.1 %137.1

Rows are grouped by the rule that made what is new. The first change of a kind in a group stands
with three lines of context, the others without. Of stages at two levels, such as a Graph and its
kernels, a row tells what each part became.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

VERSION = re.compile(r"(%\d+)(?:\.\d+)+(?![\w.])")
LABEL = re.compile(r"\s*(?:state |scalar )?(%[^\s,:=(){}#]+): ")
COLUMN = re.compile(r" +#")
VALUE = re.compile(r"\s*(%\S+): (\S+) = (\S+)((?: %[^\s{]+)*)(?: \{(.*?)\})?(?: +#(.*))?")
INPUT = re.compile(r"\s*(?:state |scalar )?(%\S+): (\w+\[[^\]]*\])(?: order (\S+?))?,?(?: +#(.*))?")
RETURN = re.compile(r"  return (.*)")
OUT = re.compile(r"(?:state (\S+) = )?(\S+)")
ATTR = re.compile(r"(\w+)=((?:'[^']*'|\[[^\]]*\]|[^\s'])+)")
CONTEXT = 3
WIDTH = 100
GONE = "nothing needs it any more"
REPLACED = "another value is read instead"


class Row(NamedTuple):
    """A row of a difference: "+", "-", "~" for one that changed, or " " for one that stayed."""

    sign: str
    text: str
    label: str = ""

    def __str__(self) -> str:
        return f"{self.sign}{self.text}"


class Parts(NamedTuple):
    """What a row of a Graph says."""

    label: str
    type: str
    op: str
    args: tuple[str, ...]
    attrs: Mapping[str, str]
    where: str


class Read(NamedTuple):
    """That what read one value reads another now."""

    old: str
    new: str
    reader: str


def root(text: str) -> str:
    """The text with each value called as it was traced, its columns aside."""
    return COLUMN.sub(" #", VERSION.sub(r"\1", text))


def changes(before: str, after: str, makers: Mapping[str, str] | None = None) -> list[str]:
    """What differs, as lines; nothing if nothing does. `makers`: the rule that made a value."""
    levels = level_of(before), level_of(after)
    if levels == ("graph", "graph"):
        return _of_graphs(before, after, makers or {})
    if levels in BECAME:
        return list(BECAME[levels](after))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm="")
    return [x for x in lines if x[:3] not in ("---", "+++")]


def level_of(text: str) -> str:
    """Which of the three levels a stage's text is of; "" for another text."""
    if "\ngraph(" in text:
        return "graph"
    return next((w for w in ("kernel", "program") if text.lstrip().startswith(f"{w} ")), "")


# ---- graphs ------------------------------------------------------------------------------------


def _of_graphs(before: str, after: str, makers: Mapping[str, str]) -> list[str]:
    rows, reads = in_place(graph_rows(_labelled(before), _labelled(after)))
    found = list(hunks(rows))
    removed = {root(r.label): h for h in found for r in rows[h[0] : h[1]] if r.sign == "-"}
    added = {r.label: h for h in found for r in rows[h[0] : h[1]] if r.sign == "+"}
    told: dict[tuple[int, int] | None, list[Read]] = {}
    for read in reads:
        told.setdefault(removed.get(read.old) or added.get(read.new), []).append(read)
    groups: dict[str, list[tuple[int, int] | None]] = {}
    for first, last in found:
        rule = _rule(rows[first:last], told.get((first, last), ()), makers)
        groups.setdefault(rule, []).append((first, last))
    if None in told:
        groups.setdefault(REPLACED, []).append(None)
    return [line for rule, parts in groups.items() for line in _group(rule, parts, rows, told)]


def _group(
    rule: str,
    parts: Sequence[tuple[int, int] | None],
    rows: Sequence[Row],
    told: Mapping[tuple[int, int] | None, Sequence[Read]],
) -> Iterator[str]:
    """A heading that counts, then each place; alike changes of inputs on one line."""
    signs = [r.sign for part in parts if part for r in rows[part[0] : part[1]]]
    yield " ".join([f"// {rule}:", *(f"{s}{signs.count(s)}" for s in "-+~" if s in signs)])
    kinds: set[tuple[tuple[str, str], ...]] = set()
    alike: dict[str, list[str]] = {}
    for k, part in enumerate(parts):
        if part is not None:
            first, last = part
            changed = [r for r in rows[first:last] if not _is_order(r)]
            for r in rows[first:last]:
                if _is_order(r):
                    alike.setdefault(r.text, []).append(r.label)
            kind = tuple((r.sign, _op(r.text)) for r in changed)
            near = CONTEXT if changed and kind not in kinds else 0
            kinds.add(kind)
            if k and changed:
                yield "   ..."
            yield from (_short(r) for r in rows[max(0, first - near) : first])
            yield from map(str, changed)
            yield from (_short(r) for r in rows[last : last + near])
        yield from _reads(told.get(part, ()))
    for text, labels in alike.items():
        yield from _wrapped(f"~{text}", labels)


def _is_order(row: Row) -> bool:
    return row.sign == "~" and row.text.lstrip().startswith("order ")


def _op(text: str) -> str:
    parts = parsed(text)
    return parts.op if parts else text.split(maxsplit=2)[1] if text.count(" ") > 3 else text


def _short(row: Row) -> str:
    """A row of context: the value, without attributes and provenance."""
    text = row.text.partition("  #")[0].partition(" {")[0].rstrip()
    text = text if len(text) <= WIDTH else text[: WIDTH - 4] + " ..."
    return f" {text}" if row.sign in " ~" else f"{row.sign}{text}"


def _reads(reads: Iterable[Read]) -> Iterator[str]:
    by: dict[tuple[str, str], dict[str, None]] = {}
    for r in reads:
        by.setdefault((r.old, r.new), {})[r.reader] = None
    for (old, new), readers in by.items():
        yield from _wrapped(f"   {new} for {old} in", readers)


def _wrapped(head: str, words: Iterable[str]) -> list[str]:
    """Words on as many lines as they need."""
    return wrap(" ".join([head.lstrip(), *words]), WIDTH, subsequent_indent=" " * 7,
                initial_indent=head[: len(head) - len(head.lstrip())],
                break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _labelled(text: str) -> dict[str, str]:
    """The rows of a Graph's text by what they define: a value as it was traced, or all of it."""
    found: dict[str, str] = {}
    for line in text.splitlines()[1:]:  # the first tells the stage
        m = LABEL.match(line)
        found["return" if RETURN.match(line) else root(m[1] if m else line)] = line
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


def in_place(rows: Sequence[Row]) -> tuple[list[Row], list[Read]]:
    """The rows with one "~" for two of the same value, and what reads another value now: a row
    that changed in nothing else counts as one that stayed. Provenance stands behind two spaces."""
    found: list[Row] = []
    reads: list[Read] = []
    k = 0
    while k < len(rows):
        row, after = rows[k], rows[k + 1] if k + 1 < len(rows) else None
        k += 1
        if row.sign == "-" and after and after.sign == "+" and after.label == row.label:
            k += 1
            row, more = _changed(row.text, after)
            reads += more
        found.append(row._replace(text=COLUMN.sub("  #", row.text), label=_name(row)))
    return found, reads


def _name(row: Row) -> str:
    m = LABEL.match(row.text)
    return m[1] if m else row.label


def _changed(was: str, row: Row) -> tuple[Row, list[Read]]:
    """What one row says of a value that changed."""
    if RETURN.match(row.text):
        return _returned(was, row)
    old, new = parsed(was), parsed(row.text)
    if old is None or new is None:
        return row, []
    if not new.op:  # an input
        orders = [p.attrs.get("order", "as shown") for p in (old, new)]
        if old.type == new.type:
            return Row("~", f"  order {' => '.join(orders)}:", new.label), []
        return Row("~", f"  {new.label}: {old.type} => {new.type}", new.label), []
    where = f"  #{new.where}" if new.where else ""
    kind = "" if old.type == new.type else f" {old.type} => {new.type}"
    if old.op != new.op or len(old.args) != len(new.args):
        return Row("~", f"  {new.label}:{kind} {_said(old)} => {_said(new)}{where}", new.label), []
    pairs = zip(old.args, new.args, strict=True)
    reads = [Read(root(a), b, new.label) for a, b in pairs if root(a) != root(b)]
    keys = dict.fromkeys((*old.attrs, *new.attrs))
    values = [(k, root(old.attrs.get(k, "none")), root(new.attrs.get(k, "none"))) for k in keys]
    attrs = [f"{k}={a} => {b}" for k, a, b in values if a != b]
    if not attrs and not kind:
        return row._replace(sign=" "), reads
    said = f" {{{' '.join(attrs)}}}" if attrs else ""
    return Row("~", f"  {new.label}:{kind} {new.op}{said}{where}", new.label), reads


def _returned(was: str, row: Row) -> tuple[Row, list[Read]]:
    """A `return` holds as many values as a net has parameters: only those that differ are told."""
    old, new = (dict(_outs(text)) for text in (was, row.text))
    both = [(root(old[k]), new[k]) for k in new if k in old]
    reads = [Read(a, b, "return") for a, b in both if a != root(b)]
    came = [f"+{k} = {v}" for k, v in new.items() if k not in old]
    went = [f"-{k} = {v}" for k, v in old.items() if k not in new]
    if not came and not went:
        return row._replace(sign=" "), reads
    return Row("~", f"  return {', '.join(went + came)}", "return"), reads


def _outs(text: str) -> Iterator[tuple[str, str]]:
    """By where it goes, each value of a `return`."""
    for k, out in enumerate(text.removeprefix("  return ").split(", ")):
        if m := OUT.fullmatch(out):
            yield m[1] or f"result {k}", m[2]


def _said(p: Parts) -> str:
    attrs = " ".join(f"{k}={v}" for k, v in p.attrs.items())
    return " ".join([p.op, *p.args, *([f"{{{attrs}}}"] if attrs else [])])


def parsed(text: str) -> Parts | None:
    """The parts of a row that defines a value or an input."""
    if m := VALUE.fullmatch(text):
        attrs = dict(ATTR.findall(m[5] or ""))
        return Parts(m[1], m[2], m[3], tuple(m[4].split()), attrs, m[6] or "")
    if m := INPUT.fullmatch(text):
        return Parts(m[1], m[2], "", (), {"order": m[3]} if m[3] else {}, m[4] or "")
    return None


def hunks(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """From and to of each run of changed rows."""
    first = None
    for k, r in enumerate((*rows, Row(" ", ""))):
        if r.sign == " " and first is not None:
            yield first, k
            first = None
        elif r.sign != " " and first is None:
            first = k


def _rule(rows: Sequence[Row], reads: Sequence[Read], makers: Mapping[str, str]) -> str:
    """The rule that made the first of the new rows, or of what reads others now."""
    named = [*(r.label for r in rows if r.sign in "+~"), *(r.reader for r in reads)]
    if found := [makers[name] for name in named if makers.get(name)]:
        return next((rule for rule in found if ": " in rule), found[0])
    if any(r.sign != "-" for r in rows):
        return "others"
    return REPLACED if reads else GONE


# ---- from one level to the next ----------------------------------------------------------------

KERNEL = re.compile(r"kernel (\S+) (\w+) ")
WHERE = re.compile(r"  # (.+)$")
LAUNCH = re.compile(r"\s*(\d+): launch (\S+?)\(")


def _kernels(after: str) -> Iterator[str]:
    """Each kernel that values became, with the lines that it computes for."""
    name, places = "", dict[str, None]()
    rows: list[tuple[str, list[str]]] = []
    for line in after.splitlines():
        if m := KERNEL.match(line):
            name, places = f"{m[1]} ({m[2]})", {}
        elif line.startswith("}") and name:
            rows.append((name, list(places)))
        elif m := WHERE.search(line):
            places[m[1]] = None
    yield f"// values became {len(rows)} kernels, which compute for:"
    for name, lines in rows:
        yield from _wrapped(f"+  {name}:", [", ".join(lines) or "no line of yours"])


def _launches(after: str) -> Iterator[str]:
    """The launches of each kernel, in a program."""
    by: dict[str, list[str]] = {}
    for line in after.splitlines():
        if m := LAUNCH.match(line):
            by.setdefault(m[2], []).append(m[1])
    head = after.lstrip().partition("{")[0].strip()
    yield f"// kernels became {sum(map(len, by.values()))} launches: {head}"
    for name, numbers in by.items():
        yield from _wrapped(f"+  {name}: launch", numbers)


BECAME = {
    ("graph", "kernel"): _kernels,
    ("graph", "program"): _launches,
    ("kernel", "program"): _launches,
}
