"""Kernels as text and back: `parse(show(k)) == k`, provenance and note included.

    kernel scale_sum__fc map (x: r f32, e: w f32 | n0, s0 | c0: f32) {
      for i0 in n0 {
        for r0 in 28 {
          %0: f32 = load x[i0*s0 + r0 + 3] if 0 <= r0 - 1 < 28  # net.py:9 fc
          %1: f32 = mul %0 c0  # net.py:9 fc
          %2: f32 = sum %1  # net.py:10 fc
        }
        once {
          store e[i0] = %2  # net.py:10 fc
        }
      }
    }  // note

An address is a sum of axes times strides, values times strides, and one constant. `once` stands for
a loop nest without axes. A routine is one row, its attributes as in a Graph's text:

      call scatter_reduce(b0[n0], b1[n1], b2[n2]; {axis=0 mode='sum'}; c0) -> b3[n3] on both

Graphs that it runs are `@0`, `@1` there; the text of each follows a line `graph @0`.

A contraction says before its loops what they run over, here images, rows, columns and channels,
then rows of taps, and taps merged with 3 channels; and how a window of stride 2 slides along rows
and columns that begin at place 1 and end before 33:

      roles d0: n, d3: h, d4: w, d2: k, d6: r, d5: s c[3]
      window 1 <= h*2 + r*1 < 33, 1 <= w*2 + s*1 < 33

It may ask for Winograd's algorithm, with tiles of 4 by 4 outputs:

      winograd 4

Statistics of its results over runs of 128 points stand behind the loops:

      partial b3[d2 + part*64] = deviations %5 over d0, d3, d4 by 128

What it prints of a kernel's body is in `kernel.py`: without provenance it is the kernel's key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Literal, cast, get_args

from graphc.errors import FileFormatError, InvalidArgument
from graphc.ir import kernel_bound
from graphc.ir.graph import Graph
from graphc.ir.kernel import (
    PART,
    Affine,
    Apply,
    Axis,
    Buffer,
    Call,
    Const,
    Dot,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Kind,
    Load,
    Operand,
    Partial,
    Phase,
    Reduce,
    Roles,
    ScalarArg,
    Size,
    Statement,
    Statistic,
    Store,
    WindowAxis,
    graphs_of,
    show_body,
)
from graphc.ir.ops import OPS, Runs
from graphc.ir.text import escaped, read_attrs, unescaped
from graphc.ir.text import parse as parse_graph
from graphc.ir.text import show as show_graph
from graphc.ir.types import DTYPES, DType, Scalar

Access = Literal["r", "w", "rw"]


def show(kernel: Kernel) -> str:
    """The whole kernel, for people and `parse`."""
    note = f"  // {escaped(kernel.note)}" if kernel.note else ""
    graphs = enumerate(graphs_of(kernel.call) if kernel.call is not None else ())
    behind = "".join(f"\ngraph @{n}\n{show_graph(g)}" for n, g in graphs)
    return f"kernel {kernel.name} {show_body(kernel, provenance=True)}{note}{behind}"


# ---- parse -------------------------------------------------------------------------------------

GRAPH = re.compile(r"^graph @\d+\n", re.MULTILINE)
HEAD = re.compile(r"kernel (\S+) (\w+) \((.*) \| (.*) \| (.*)\) \{")
TAIL = re.compile(r"\}(?:  // (.*))?")
STORE = re.compile(
    rf"store (\S+?)\[(.*?)\] (\+?=) (\S+)( in order)?{kernel_bound.PATTERN}(?: if (.*))?"
)
CALL = re.compile(r"call (\w+)\(([^{]*); (\{.*)")
RESULT = re.compile(r"; (\S+)\) -> (\S+?\[.*?\]) on (host|device|both)(?:  # (.*))?")
OPERAND = re.compile(r"(\S+)\[(.*)\]")
DEFINE = re.compile(r"(\S+): (\w+) = (\w+)(?: (.*))?")
LOAD = re.compile(r"(\S+?)\[(.*?)\](?: if (.*))?")
PAIR = re.compile(r"(\S+) (\S+)")
GUARD = re.compile(r"(\S+) <= (.*) < (\S+)")
PARTIAL = re.compile(r"partial (\S+?)\[(.*?)\] = (\w+) (\S+) over (.*) by (\S+?)(?:  # (.*))?")
ROLE = re.compile(r"(\w+)(?:\[(\S+)\])?")
WINDOW = re.compile(r"(?:(\S+) <= )?(\w+)\*(\S+) \+ (\w+)\*(\S+)(?: < (\S+))?")


def parse(text: str) -> Kernel:
    """Inverse of `show`."""
    own, *behind = GRAPH.split(text)
    graphs = {f"@{n}": parse_graph(g) for n, g in enumerate(behind)}
    lines = chain(own.strip().split("\n"), repeat(""))  # no line is empty: one means the end
    head = _matched(HEAD, next(lines))
    name, kind, buffers, sizes, scalars = head.groups()
    reader = _Reader(tuple(n for n in sizes.split(", ") if n))
    first = next(lines).strip()
    call = _parsed_call(first, graphs) if kind == "routine" else None
    told: dict[str, list[str]] = {}
    while first.startswith(("roles ", "window ", "winograd ")):
        word, _, rows = first.partition(" ")
        told[word] = rows.split(", ")
        first = next(lines).strip()
    axes = () if call else reader.axes(first)
    phases = () if call else tuple(reader.phases(lines, axes))
    partials, last = [], next(lines)
    while last.startswith("  partial "):
        partials.append(reader.partial(last.strip(), axes))
        last = next(lines)
    note = _matched(TAIL, last).group(1) or ""
    return Kernel(
        name,
        cast(Kind, kind),
        tuple(_buffer(b) for b in buffers.split(", ") if b),
        reader.sizes,
        tuple(_scalar(s) for s in scalars.split(", ") if s),
        axes,
        phases,
        unescaped(note),
        call,
        tuple(map(_parsed_roles, told.get("roles", ()))),
        tuple(map(_parsed_window, told.get("window", ()))),
        tuple(partials),
        int(told.get("winograd", ["0"])[0]),
    )


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"not kernel text: {text!r}")
    return found


def _buffer(text: str) -> Buffer:
    name, access, dtype, *rest = text.replace(":", "").split()
    if access not in ("r", "w", "rw"):
        raise InvalidArgument(f"not kernel text: {text!r}")
    alias = rest[1] if rest[:1] == ["alias"] else ""
    return Buffer(name, _dtype(dtype), cast(Access, access), alias, rest == ["renewed"])


def _scalar(text: str) -> ScalarArg:
    name, _, dtype = text.partition(": ")
    return ScalarArg(name, _dtype(dtype))


def _dtype(name: str) -> DType:
    if name not in DTYPES:
        raise InvalidArgument(f"not kernel text: unknown dtype {name!r}")
    return DTYPES[name]


class _Reader:
    """Reads statements; knows which names are sizes and which are axes in scope."""

    def __init__(self, sizes: tuple[str, ...]) -> None:
        self.sizes = sizes
        self.scope: frozenset[str] = frozenset()

    def axes(self, line: str) -> tuple[Axis, ...]:
        if line == "once {":
            return ()
        loops = line.removeprefix("for ").removesuffix(" {").split(", ")
        return tuple(Axis(n, _size(e)) for n, _, e in (loop.partition(" in ") for loop in loops))

    def phases(self, lines: Iterator[str], outer: tuple[Axis, ...]) -> Iterator[Phase]:
        for line in lines:
            if line == "  }":
                return
            axes = self.axes(line.strip())
            self.scope = frozenset(a.name for a in (*outer, *axes))
            body = []
            while (row := next(lines)) != "    }":
                body.append(self.statement(row.strip()))
            yield Phase(axes, tuple(body))

    def statement(self, line: str) -> Statement:
        line, _, where = line.partition("  # ")
        where = unescaped(where)
        if line.startswith("store "):
            found = _matched(STORE, line).groups()
            buffer, place, sign, value, order, *bound, guards = found
            at, indirect = self.address(place)
            tests, add = self.guards(guards), sign == "+="
            within = kernel_bound.parsed(*bound)
            return Store(buffer, value, at, tests, indirect, add, bool(order), within, where)
        name, dtype_name, op, rest = _matched(DEFINE, line).groups()
        dtype, rest = _dtype(dtype_name), rest or ""
        if op == "load":
            buffer, place, guards = _matched(LOAD, rest).groups()
            at, indirect = self.address(place)
            return Load(name, dtype, buffer, at, self.guards(guards), indirect, where)
        if op == "const":
            return Const(name, dtype, _parsed_number(rest, dtype), where)
        if op == "index":
            return Index(name, dtype, self.address(rest)[0], where)
        if op == "inside":
            return Inside(name, dtype, self.guards(rest), where)
        if op == "dot":
            a, b = _matched(PAIR, rest).groups()
            return Dot(name, dtype, a, b, where)
        if op in OPS and OPS[op].kind == "reduce":
            return Reduce(name, dtype, op, rest, where)
        if op not in OPS:
            raise InvalidArgument(f"not kernel text: unknown op {op!r}")
        return Apply(name, dtype, op, tuple(rest.split()), where)

    def partial(self, line: str, axes: tuple[Axis, ...]) -> Partial:
        buffer, place, op, value, over, run, where = _matched(PARTIAL, line).groups()
        if op not in get_args(Statistic):
            raise InvalidArgument(f"not kernel text: unknown statistic {op!r}")
        self.scope = frozenset((PART, *(a.name for a in axes)))
        at, statistic = self.address(place)[0], cast(Statistic, op)
        names = tuple(over.split(", "))
        return Partial(buffer, statistic, value, at, names, _size(run), unescaped(where or ""))

    def guards(self, text: str | None) -> tuple[Guard, ...]:
        found = []
        for part in (text or "").split(", "):
            if part:
                lo, at, hi = _matched(GUARD, part).groups()
                found.append(Guard(self.address(at)[0], _size(lo), _size(hi)))
        return tuple(found)

    def address(self, text: str) -> tuple[Affine, tuple[Indirect, ...]]:
        terms: list[tuple[str, Size]] = []
        indirect: list[Indirect] = []
        const: Size = 0
        for part in text.replace(" - ", " + -").split(" + "):
            name, _, stride = part.partition("*")
            factor = _size(stride) if stride else 1
            if name in self.scope:
                terms.append((name, factor))
            elif stride:
                indirect.append(Indirect(name, factor))
            else:
                const = _size(name)
        return Affine(tuple(terms), const), tuple(indirect)


def _parsed_roles(text: str) -> Roles:
    loop, _, parts = text.partition(": ")
    found = [_matched(ROLE, part).groups() for part in parts.split(" ")]
    return Roles(loop, tuple(name for name, _ in found), tuple(_size(n) for _, n in found[1:]))


def _parsed_window(text: str) -> WindowAxis:
    low, out, stride, tap, dilation, end = _matched(WINDOW, text).groups("0")
    return WindowAxis(out, tap, _size(stride), _size(dilation), _size(low), _size(end))


def _parsed_call(line: str, graphs: Mapping[str, Graph]) -> Call:
    op, args, rest = _matched(CALL, line).groups()
    if op not in OPS:
        raise InvalidArgument(f"not kernel text: unknown op {op!r}")
    try:
        attrs, rest = read_attrs(rest)
    except FileFormatError as e:
        raise InvalidArgument(f"not kernel text: {e.what}") from None
    site, out, runs, where = _matched(RESULT, rest).groups()
    operands = tuple(_parsed_operand(a) for a in args.split(", ") if a)
    place = unescaped(where or "")
    target = _parsed_operand(out)
    given = tuple((k, graphs.get(a, a) if isinstance(a, str) else a) for k, a in attrs.items())
    return Call(op, operands, given, site, target, cast(Runs, runs), place)


def _parsed_operand(text: str) -> Operand:
    buffer, shape = _matched(OPERAND, text).groups()
    return Operand(buffer, tuple(map(_size, shape.split())))


def _size(text: str) -> Size:
    return int(text) if text.lstrip("-").isdigit() else text


def _parsed_number(text: str, dtype: DType) -> Scalar:
    if dtype.name == "bool":
        return text == "True"
    try:
        return float(text) if dtype.is_floating_point else int(text)
    except ValueError:
        raise InvalidArgument(f"not kernel text: {text!r} is no {dtype.name}") from None
