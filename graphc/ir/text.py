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
from collections.abc import Iterator, Mapping
from functools import lru_cache
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


def show_attrs(attrs: Mapping[str, Any], bodies: Mapping[Graph, int] | None = None) -> str:
    return "{" + " ".join(f"{k}={show_literal(x, bodies)}" for k, x in attrs.items()) + "}"


def show_literal(x: Any, bodies: Mapping[Graph, int] | None = None) -> str:
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
    lines = _numbered(text)
    return _read_graph(_name(next(lines)), lines, _Reader(Builder()))


def _read_graph(name: str, lines: Iterator[tuple[int, str]], reader: _Reader) -> Graph:
    reader.read_inputs(lines)
    for number, line in lines:
        if line.lstrip().startswith("return"):
            outs, targets = reader.read_outs(number, line)
            inputs, roles = tuple(reader.inputs), tuple(reader.roles)
            return Graph(name, inputs, roles, outs, targets, reader.orders)
        reader.read_row(number, line)
    raise FileFormatError("graph text ends before its return line")


def parse_where(text: str) -> Where:
    m = WHERE.fullmatch(text.strip())
    assert m is not None  # every part is optional
    return Where(m[1] or "", unescaped(m[2] or ""), int(m[3] or 0), unescaped(m[4]))


class _Reader:
    """What has been read so far: the values by their labels, and the inputs with their roles."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.values: dict[str, Value] = {}
        self.inputs: list[Value] = []
        self.roles: list[str] = []
        self.orders: dict[Value, Shape] = {}
        self.extents: dict[str, int] = {}
        self.bodies: dict[str, Graph] = {}
        self.leaves: dict[str, Value] = {}  # inputs of bodies, which several may have in common

    def read_body(self, head: str, lines: Iterator[tuple[int, str]]) -> None:
        """The body of a loop, whose labels are its own."""
        m = BODY.fullmatch(head)
        inner = _Reader(self.builder)
        inner.extents, inner.bodies = self.extents, self.bodies
        if m is None:
            raise FileFormatError(f"not the head of a body: {head[:100]!r}")
        inner.leaves = dict(self.leaves)
        self.bodies[m[1]] = body = _read_graph(m[2], lines, inner)
        self.leaves |= {v.name: v for v in body.inputs}
        next(lines, None)  # its closing brace

    def read_extents(self, number: int, line: str) -> None:
        scope = Extents()
        scope.tracing, scope.compiling = False, True  # what is read is for passes
        for text in line.removeprefix("extents ").split(", "):
            if (m := EXTENT.fullmatch(text)) is None:
                raise _bad(number, line, "expected extents")
            symbol = scope.symbol(m[1], cast(Role, m[2]), int(m[3]))
            self.extents[m[1]] = extent_of(symbol)

    def read_inputs(self, lines: Iterator[tuple[int, str]]) -> None:
        number, line = next(lines, (0, ""))
        if line.startswith("extents "):
            self.read_extents(number, line)
            number, line = next(lines, (0, ""))
        while line.startswith("body "):
            self.read_body(line, lines)
            number, line = next(lines, (0, ""))
        if not line.startswith("graph("):
            raise _bad(number, line, 'expected "graph("')
        if line.endswith(") {"):
            found = list(INPUT.finditer(line, len("graph(")))
        else:
            found = []
            for number, line in lines:
                if line == ") {":
                    break
                if (m := INPUT.fullmatch(line)) is None:
                    raise _bad(number, line, "expected an input")
                found.append(m)
        for m in found:
            value = self.leaves.get(m[2])
            if value is None:
                spec = read_type(m[3], self.extents)
                value = self.builder.input(m[2][1:], spec, parse_where(m[5] or ""))
            self.values[m[2]] = value
            if m[4]:
                self.orders[value] = read_order(m[4], len(value.shape))
            self.inputs.append(value)
            self.roles.append(m[1] or "arg")

    def read_row(self, number: int, line: str) -> None:
        m = ROW.fullmatch(line)
        if m is None:
            raise _bad(number, line, "expected a row")
        label, type_text, word, names, rest = m.groups()
        spec = read_type(type_text, self.extents)
        attrs, comment = read_attrs(rest[1:], self.extents) if rest.startswith(" {") else ({}, rest)
        with self.builder.at(parse_where(comment.strip().removeprefix("#"))):
            if word in OPS:
                args = [self._named(n, number, line) for n in names.split()]
                attrs = {k: self._graph(a) for k, a in attrs.items()}
                try:
                    v = self.builder.emit(OPS[word], args, attrs, label)
                except TypeError as e:  # of attributes or operands that it has not, or lacks
                    raise _bad(number, line, str(e)) from e
            else:
                v = self.builder.constant(self._number(word, spec.dtype, number, line), spec, label)
        if v.spec != spec:
            raise _bad(number, line, f"declared {spec}, but {word} gives {v.spec}")
        self.values[label] = v

    def _graph(self, attr: Any) -> Any:
        """An attribute, or the graph that it names."""
        return self.bodies.get(attr, attr) if isinstance(attr, str) else attr

    def read_outs(
        self, number: int, line: str
    ) -> tuple[tuple[Value, ...], tuple[Value | None, ...]]:
        found = list(OUT.finditer(line))
        outs = tuple(self._named(m[2], number, line) for m in found)
        targets = tuple(self._named(m[1], number, line) if m[1] else None for m in found)
        return outs, targets

    def _number(self, word: str, dtype: DType, number: int, line: str) -> Scalar:
        known = _size(word, self.extents)
        return _number(word, dtype, number, line) if known is None else known

    def _named(self, label: str, number: int, line: str) -> Value:
        if label not in self.values:
            raise _bad(number, line, f"{label} is not defined above")
        return self.values[label]


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers; a test's `// RUN:` lines come before."""
    started = False
    for number, line in enumerate(text.split("\n"), 1):
        started = started or line.startswith(MAGIC)
        if started and line.strip():
            yield number, line.rstrip()
    if not started:
        raise FileFormatError(f'graph text must begin with "{MAGIC.strip()}"')


def _name(first: tuple[int, str]) -> str:
    return first[1].removeprefix(MAGIC).partition("  ")[0]


def _bad(number: int, line: str, why: str) -> FileFormatError:
    fix = "see the grammar at the top of graphc/ir/text.py"
    return FileFormatError(f"line {number}: {line.strip()[:100]!r}", why=why, fix=fix)


def _number(word: str, dtype: DType, number: int, line: str) -> Scalar:
    try:
        if dtype.is_floating_point:
            return float(word)
        return bool(WORDS[word]) if dtype.category == 0 else int(word)
    except (ValueError, KeyError):
        why = f"{word!r} is neither an op nor a number of {dtype.name}"
        raise _bad(number, line, why) from None


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
