"""Graph as text that reads like the program and parses back, provenance included.

    text   = "// graphc 1  " NAME ["  " title]
             ["extents " extent {", " extent}]
             {"body @" NUMBER " (" NAME ")" graph} graph, the bodies of loops first
    graph  = "graph(" inputs ") {" {row} "  return" [outs] "}"
    extent = WORD " " role " " NUMBER, the value seen
    inputs = input {", " input}, or one input a line where they do not fit in one
    input  = ["scalar " | "state "] NAME ": " type [" order " literal] ["  # " where]
    row    = NAME ": " type " = " (OP {NAME} [attrs] | NUMBER) ["# " where]
    attrs  = "{" WORD "=" literal {" " WORD "=" literal} "}"
    outs   = NAME | "state " NAME " = " NAME, separated by ", "
    where  = ["bw " | "opt "] [FILE ":" LINE] [SCOPE], a line break and a backslash escaped
    literal = NUMBER | "True" | "False" | "None" | quoted string | "(" {literal ","} ")" | size
            | "@" NUMBER, a body
    size    = an expression of extents, as `B*49`; in brackets where it has parentheses

The order of a state input is how it lies in memory: its dimensions, outermost first; without one
it lies row-major. Names are labels: two graphs that differ in names alone are one graph. Declared
types are checked by the parser, not trusted, so a hand-written text cannot make an ill-typed graph.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

from graphc.errors import FileFormatError
from graphc.ir import sizes
from graphc.ir.builder import Builder
from graphc.ir.extent import extent_of, is_unknown
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.ops import OPS
from graphc.ir.rewrite import bodies_of
from graphc.ir.sizes import unknowns
from graphc.ir.symbols import Extents, Role
from graphc.ir.types import DTYPES, DType, Scalar, Shape, TensorSpec

MAGIC = "// graphc 1  "
WIDTH = 100
COMMENT_COLUMN = 58

# ---- printing ----------------------------------------------------------------------------------


def show(graph: Graph, title: str = "") -> str:
    """The text of `graph`; `title` is free text after the name (stage, time, counts)."""
    first = f"{MAGIC}{graph.name}" + (f"  {title}" if title else "")
    bodies: dict[Graph, int] = {}
    inner = [line for b in bodies_of(graph) for line in _body(b, bodies)]
    return "\n".join([first, *_extents(graph), *inner, *_lines(graph, bodies)]) + "\n"


def _body(body: Graph, bodies: dict[Graph, int]) -> Iterator[str]:
    """A loop's body, behind those of the loops in it."""
    if body not in bodies:
        for inner in bodies_of(body):
            yield from _body(inner, bodies)
        bodies[body] = len(bodies)
        yield f"body @{bodies[body]} ({body.name})"
        yield from _lines(body, bodies)


def _lines(graph: Graph, bodies: Mapping[Graph, int]) -> Iterator[str]:
    inputs = set(graph.inputs)
    yield from _head(graph)
    yield from (row(v, bodies) for v in graph.values() if v not in inputs)
    yield f"  return {', '.join(_outs(graph))}".rstrip()
    yield "}"


def title(
    stage: str, number: int, of: int, ms: float, graph: Graph, before: Graph | None = None
) -> str:
    """What stands behind the name: the stage, its time, how many ops there were and are."""
    now = ops(graph)
    count = f"ops {now}" if before is None else f"ops {ops(before)} -> {now}"
    seen = sorted({f"{s.name}={s.hint}" for v in graph.inputs for s in unknowns(v.shape)})
    return "  ".join([f"{stage} {number}/{of}", f"{ms:.1f} ms", count, *seen])


def ops(graph: Graph) -> int:
    """How many of its values an op computes, those of its loops' bodies included."""
    inner = sum(map(ops, bodies_of(graph)))
    return inner + sum(v.op is not None for v in graph.values())


def _extents(graph: Graph) -> Iterator[str]:
    """The line that declares the extents of a graph."""
    symbols = {s for v in graph.values() for s in unknowns(v.shape)}
    words = sorted(f"{s.name} {s.role} {s.hint}" for s in symbols)
    if words:
        yield f"extents {', '.join(words)}"


def row(v: Value, bodies: Mapping[Graph, int] | None = None) -> str:
    """One value as it stands in a dump."""
    if v.op is not None:
        words = [v.op.name, *(a.name for a in v.args)]
        if v.attrs:
            words.append(show_attrs(v.attrs, bodies or {}))
        text = " ".join(words)
    else:
        text = "input" if v.const is None else repr(v.const)
    return _commented(f"  {v.name}: {v.spec} = {text}", v.where)


def show_attrs(attrs: Mapping[str, Any], bodies: Mapping[Graph, object] | None = None) -> str:
    return "{" + " ".join(f"{k}={show_literal(x, bodies)}" for k, x in attrs.items()) + "}"


def show_literal(x: Any, bodies: Mapping[Graph, object] | None = None) -> str:
    """Python's literal without spaces, which separate attributes."""
    if isinstance(x, Graph):
        return f"@{(bodies or {}).get(x, '?')}"
    if isinstance(x, tuple):
        inner = ",".join(show_literal(item) for item in x)
        return f"({inner},)" if len(x) == 1 else f"({inner})"
    word = repr(x)
    return f"[{word}]" if is_unknown(x) and "(" in word else word


def _head(graph: Graph) -> list[str]:
    names = [
        f"{'' if role == 'arg' else role + ' '}{v.name}: {v.spec}" + show_order(graph.orders.get(v))
        for v, role in zip(graph.inputs, graph.roles, strict=True)
    ]
    line = f"graph({', '.join(names)}) {{"
    if len(line) <= WIDTH and not any(str(v.where) for v in graph.inputs):
        return [line]
    rows = [_commented(f"    {text},", v.where) for text, v in zip(names, graph.inputs)]
    return ["graph(", *rows, ") {"]


def show_order(order: Shape | None) -> str:
    """How dimensions lie in memory, as it stands after a type; nothing for row-major."""
    plain = order is None or order == tuple(range(len(order)))
    return "" if plain else f" order {show_literal(order)}"


def read_order(text: str, rank: int) -> Shape:
    """`(1,0)` as an order of so many dimensions; nothing as row-major."""
    order = tuple(int(d) for d in text.strip("()").split(",") if d) if text else range(rank)
    if sorted(order) != list(range(rank)):
        raise FileFormatError(f"{text!r} is no order of {rank} dimensions")
    return tuple(order)


def _outs(graph: Graph) -> Iterator[str]:
    for v, target in zip(graph.outs, graph.targets, strict=True):
        yield v.name if target is None else f"state {target.name} = {v.name}"


def _commented(left: str, where: Where) -> str:
    text = escaped(str(where))
    return f"{left:<{COMMENT_COLUMN}} # {text}" if text else left


def escaped(text: str) -> str:
    """On one line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


# ---- parsing -----------------------------------------------------------------------------------

LABEL = r"%[^\s,:=(){}#]+"
ORDER = r"(?: order (\([\d,]*\)))?"
INPUT = re.compile(rf"\s*(?:(scalar|state) )?({LABEL}): (\w+\[[^\]]*\]){ORDER},?(?: +# (.*))?")
ROW = re.compile(rf"\s*({LABEL}): (\S+) = (\S+)((?: {LABEL})*)(.*)")
OUT = re.compile(rf"(?:state ({LABEL}) = )?({LABEL})")
ATTR = re.compile(r"(\w+)=")
BODY = re.compile(r"body (@\d+) \((.*)\)")
EXTENT = re.compile(r"(\w+) (batch|sequence|space|other) (\d+)")
TOKEN = re.compile(r"\(|\[[^\]]*\]|\)|,|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,()}]+")
WHERE = re.compile(r"(?:(bw|opt)(?: |$))?(?:(.+?):(\d+)(?: |$))?(.*)")
NOTHING: Mapping[str, int] = {}
WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}


def parse(text: str) -> Graph:
    """Inverse of `show`, into a new builder. Raises FileFormatError naming the line."""
    reader = _Reader(_numbered(text))
    whole = reader.whole()
    return _Building((*reader.bodies.values(), whole), reader.extents).graph(whole)


def parse_where(text: str) -> Where:
    m = WHERE.fullmatch(text.strip())
    assert m is not None  # every part is optional
    return Where(m[1] or "", unescaped(m[2] or ""), int(m[3] or 0), unescaped(m[4]))


Line = tuple[int, str]  # with its number


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it was read; `id` is of its value, which several graphs may have in common."""

    line: Line
    id: int
    label: str
    spec: TensorSpec
    word: str
    args: tuple[int, ...]
    attrs: Mapping[str, Any]  # with the text of a body in its place
    where: Where


@dataclass(eq=False, slots=True)
class _Section:
    """The text of one graph: a body, whose labels are its own, or the whole."""

    name: str
    inputs: list[re.Match[str]]
    labels: dict[str, int]
    rows: list[_Row] = field(default_factory=list)
    outs: list[int] = field(default_factory=list)
    targets: list[int | None] = field(default_factory=list)

    def named(self, label: str, line: Line) -> int:
        if label not in self.labels:
            raise _bad(line, f"{label} is not defined above")
        return self.labels[label]


class _Ids(dict[Hashable, int]):
    """Numbers of values: inputs by label, others by what they compute."""

    def __missing__(self, key: Hashable) -> int:
        self[key] = len(self)
        return self[key]


class _Reader:
    """From lines to the rows of each graph."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines, self.ids = lines, _Ids()
        self.extents: dict[str, int] = {}
        self.bodies: dict[str, _Section] = {}

    def whole(self) -> _Section:
        name = next(self.lines)[1].removeprefix(MAGIC).partition("  ")[0]
        line = next(self.lines, (0, ""))
        if line[1].startswith("extents "):
            self.extents = _read_extents(line)
            line = next(self.lines, (0, ""))
        while line[1].startswith("body "):
            m = BODY.fullmatch(line[1])
            if m is None:
                raise _bad(line, "expected the head of a body")
            self.bodies[m[1]] = self._section(m[2], next(self.lines, (0, "")))
            next(self.lines, None)  # its closing brace
            line = next(self.lines, (0, ""))
        return self._section(name, line)

    def _section(self, name: str, head: Line) -> _Section:
        inputs = self._inputs(head)
        s = _Section(name, inputs, {m[2]: self.ids["input", m[2]] for m in inputs})
        for line in self.lines:
            if line[1].lstrip().startswith("return"):
                for m in OUT.finditer(line[1]):
                    s.outs.append(s.named(m[2], line))
                    s.targets.append(s.named(m[1], line) if m[1] else None)
                return s
            s.rows.append(self._row(s, line))
        raise FileFormatError("graph text ends before its return line")

    def _inputs(self, head: Line) -> list[re.Match[str]]:
        if not head[1].startswith("graph("):
            raise _bad(head, 'expected "graph("')
        if head[1].endswith(") {"):
            return list(INPUT.finditer(head[1], len("graph(")))
        found = []
        for line in self.lines:
            if line[1] == ") {":
                break
            if (m := INPUT.fullmatch(line[1])) is None:
                raise _bad(line, "expected an input")
            found.append(m)
        return found

    def _row(self, s: _Section, line: Line) -> _Row:
        if (m := ROW.fullmatch(line[1])) is None:
            raise _bad(line, "expected a row")
        label, type_text, word, names, rest = m.groups()
        attrs, comment = read_attrs(rest[1:], self.extents) if rest.startswith(" {") else ({}, rest)
        args = tuple(s.named(n, line) for n in names.split())
        s.labels[label] = id_ = self.ids[type_text, word, args, show_attrs(attrs)]
        attrs = {k: self.bodies.get(a, a) if isinstance(a, str) else a for k, a in attrs.items()}
        where = parse_where(comment.strip().removeprefix("#"))
        return _Row(line, id_, label, read_type(type_text, self.extents), word, args, attrs, where)


class _Building:
    """From the rows of all graphs to values of one builder.

    Graphs list their values in order of making. One that a body and the graph around it have in
    common, a constant say, has its place among the rows of both, so it is made between those.
    """

    def __init__(self, sections: Sequence[_Section], extents: Mapping[str, int]) -> None:
        self._extents, self._builder = extents, Builder()
        self._values: dict[int | None, Value] = {}
        self._graphs: dict[_Section, Graph] = {}
        for s in sections:
            for m in s.inputs:
                if s.labels[m[2]] not in self._values:
                    spec, where = read_type(m[3], extents), parse_where(m[5] or "")
                    self._values[s.labels[m[2]]] = self._builder.input(m[2][1:], spec, where)
        for row in _in_order(sections):
            self._values[row.id] = self._made(row)

    def graph(self, s: _Section) -> Graph:
        if s not in self._graphs:
            inputs = tuple(self._values[s.labels[m[2]]] for m in s.inputs)
            given = zip(inputs, s.inputs, strict=True)
            orders = {v: read_order(m[4], len(v.shape)) for v, m in given if m[4]}
            outs = tuple(self._values[v] for v in s.outs)
            targets = tuple(map(self._values.get, s.targets))
            roles = tuple(m[1] or "arg" for m in s.inputs)
            self._graphs[s] = Graph(s.name, inputs, roles, outs, targets, orders)
        return self._graphs[s]

    def _made(self, row: _Row) -> Value:
        word, spec = row.word, row.spec
        with self._builder.at(row.where):
            if word in OPS:
                args = [self._values[a] for a in row.args]
                given = row.attrs.items()
                attrs = {k: self.graph(a) if isinstance(a, _Section) else a for k, a in given}
                try:
                    v = self._builder.emit(OPS[word], args, attrs, row.label)
                except TypeError as e:  # of attributes or operands that it has not, or lacks
                    raise _bad(row.line, str(e)) from e
            else:
                size = _size(word, self._extents)
                number = _number(word, spec.dtype, row.line) if size is None else size
                v = self._builder.constant(number, spec, row.label)
        if v.spec != spec:
            raise _bad(row.line, f"declared {spec}, but {word} gives {v.spec}")
        return v


def _in_order(sections: Sequence[_Section]) -> list[_Row]:
    """Each value's row behind those that come before it in any graph."""
    chains = {s: list({r.id: r for r in s.rows}.values()) for s in sections}
    rows = {r.id: r for chain in chains.values() for r in chain}
    behind: dict[int, list[int]] = {k: [] for k in rows}
    for chain in chains.values():
        for before, after in pairwise(chain):
            behind[before.id].append(after.id)
        for row in chain:
            for body in (chains[a] for a in row.attrs.values() if isinstance(a, _Section)):
                if body:
                    behind[body[-1].id].append(row.id)
    return [rows[k] for k in sequenced(behind)]


def sequenced(behind: Mapping[int, Sequence[int]]) -> list[int]:
    """The keys, each before what is behind it; what is in a circle, as it was given."""
    waits = Counter(k for after in behind.values() for k in after)
    ready = deque(k for k in behind if not waits[k])
    found: dict[int, None] = {}
    while ready:
        found[(k := ready.popleft())] = None
        for after in behind[k]:
            waits[after] -= 1
            if not waits[after]:
                ready.append(after)
    return list(dict.fromkeys((*found, *behind)))


def _read_extents(line: Line) -> dict[str, int]:
    scope = Extents()
    scope.tracing, scope.compiling = False, True  # what is read is for passes
    found = {}
    for text in line[1].removeprefix("extents ").split(", "):
        if (m := EXTENT.fullmatch(text)) is None:
            raise _bad(line, "expected extents")
        symbol = scope.symbol(m[1], cast(Role, m[2]), int(m[3]))
        found[m[1]] = extent_of(symbol)
    return found


def _numbered(text: str) -> Iterator[Line]:
    """Lines that hold something, with their numbers; a test's `// RUN:` lines come before."""
    started = False
    for number, line in enumerate(text.split("\n"), 1):
        started = started or line.startswith(MAGIC)
        if started and line.strip():
            yield number, line.rstrip()
    if not started:
        raise FileFormatError(f'graph text must begin with "{MAGIC.strip()}"')


def _bad(line: Line, why: str) -> FileFormatError:
    fix = "see the grammar at the top of graphc/ir/text.py"
    return FileFormatError(f"line {line[0]}: {line[1].strip()[:100]!r}", why=why, fix=fix)


def _number(word: str, dtype: DType, line: Line) -> Scalar:
    try:
        if dtype.is_floating_point:
            return float(word)
        return bool(WORDS[word]) if dtype.category == 0 else int(word)
    except (ValueError, KeyError):
        why = f"{word!r} is neither an op nor a number of {dtype.name}"
        raise _bad(line, why) from None


def read_type(text: str, extents: Mapping[str, int] = NOTHING) -> TensorSpec:
    """`f32[3,4]` or, with extents of these names, `f32[B,4]` as a type."""
    name, _, rest = text.removesuffix("]").partition("[")
    sizes = [_size(d, extents) for d in rest.split(",")] if extents and name in DTYPES else []
    if any(n is not None for n in sizes):
        return TensorSpec(DTYPES[name], tuple(map(_dimension, rest.split(","), sizes)))
    return _read_type(text)


def _dimension(text: str, size: int | None) -> int:
    return int(text) if size is None else size


def _size(text: str, extents: Mapping[str, int]) -> Any:
    """An expression of extents; None for what names none of them."""
    if not extents or extents.keys().isdisjoint(re.findall(r"[A-Za-z_]\w*", text)):
        return None
    try:
        return sizes.read(text, extents)
    except (SyntaxError, ValueError, KeyError):
        raise FileFormatError(f"not a size: {text[:100]!r}") from None


@lru_cache(4096)
def _read_type(text: str) -> TensorSpec:
    m = re.fullmatch(r"(\w+)\[((?:\d+,)*\d+|)\]", text)
    if m is None or m[1] not in DTYPES:
        raise FileFormatError(f"{text!r} is not a type", fix="write dtype[dims], as f32[3,4]")
    return TensorSpec(DTYPES[m[1]], tuple(int(d) for d in m[2].split(",") if d))


def read_attrs(text: str, extents: Mapping[str, int] = NOTHING) -> tuple[dict[str, Any], str]:
    """The attributes of `{k=v k=v}...` and what follows the closing brace."""
    attrs: dict[str, Any] = {}
    at = 1
    while not text.startswith("}", at):
        m = ATTR.match(text, at)
        if m is None:
            raise FileFormatError(f"not attributes: {text[:100]!r}")
        attrs[m[1]], at = _read_literal(text, m.end(), extents)
        at += text.startswith(" ", at)
    return attrs, text[at + 1 :]


def _read_literal(text: str, at: int, extents: Mapping[str, int]) -> tuple[Any, int]:
    """One literal from `at`, and where it ends; nesting is as deep as the attribute's own type."""
    m = TOKEN.match(text, at)
    if m is None:
        raise FileFormatError(f"not a literal: {text[at:100]!r}")
    if m[0] != "(":
        return _read_word(m[0], extents), m.end()
    items = []
    at = m.end()
    while not text.startswith(")", at):
        item, at = _read_literal(text, at, extents)
        items.append(item)
        at += text.startswith(",", at)
    return tuple(items), at + 1


def _read_word(word: str, extents: Mapping[str, int]) -> Any:
    if word[0] == "@":
        return word
    if word[0] in "'\"":
        return ast.literal_eval(word)
    if (size := _size(word.strip("[]"), extents)) is not None:
        return size
    if word in WORDS:
        return WORDS[word]
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    raise FileFormatError(f"not a literal: {word[:100]!r}")
