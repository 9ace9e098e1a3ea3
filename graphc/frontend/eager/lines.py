"""Lines: values of a graph as a list of NumPy calls, made once and run many times.

Each call is the one that eager mode makes for the operation (`rows.py`, else its meaning) on arrays
that lie as eager mode lays them out, so the bits are the same; what is left out is all that Python
does around it, and what a row would ask of its operands (`bound.py`). Elementwise arithmetic reads
what is repeated along a dimension as it is, and shapes that come to the same are not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from graphc.frontend.eager import blocks
from graphc.frontend.eager.arrays import row_major
from graphc.frontend.eager.blocks import Block, blocked, graph_of, in_block, source
from graphc.frontend.eager.bound import bound
from graphc.frontend.eager.compiled import AGAIN
from graphc.frontend.eager.groups import MAKERS, Group, Runner, grouped
from graphc.frontend.eager.pool import POOL
from graphc.frontend.eager.spelled import spelled
from graphc.frontend.views import VIEW_OPS
from graphc.ir.graph import Value, topological
from graphc.ir.ops import Op
from graphc.ir.types import Array, Shape

KEPT_BYTES = 1 << 16  # of a source, made once


class Line(NamedTuple):
    """One call: what it reads and where its result goes, by number; whose last reader it is.
    A group or block has several results, which are right as they are."""

    function: Callable[..., Any]
    read: Callable[[list[Any]], tuple[Any, ...]]
    attrs: Mapping[str, Any]
    result: int | tuple[int, ...]
    dtype: np.dtype[Any] | None
    view: bool
    dead: tuple[int, ...]


def shows(v: Value) -> bool:
    """Whether its array may be the memory of an operand."""
    return v.op is not None and (v.op in VIEW_OPS or v.op.aliases) and bool(v.args)


def root(v: Value) -> Value:
    """Whose memory it may be."""
    while shows(v):
        v = v.args[0]
    return v


class Lines:
    """Calls from the arrays of `given` to those of `wanted`."""

    def __init__(
        self,
        given: Sequence[Value],
        wanted: Sequence[Value],
        checks: Sequence[Value] = (),
        groups: bool = True,
    ) -> None:
        self._given = len(given)
        self._place = {v: k for k, v in enumerate(given)}
        self._start: list[Any] = [None] * len(given)
        self._groups = groups
        order = _behind(given, [*wanted, *checks])
        if groups:
            new = spelled(order, [*wanted, *checks])
            wanted, checks = new[: len(wanted)], new[len(wanted) :]
            order = _behind(given, new)
        reads = {v: self._operands(v) for v in order if not self._made_once(v)}
        order = _behind_reads(reads, [*wanted, *checks], self._place)
        order = [v for v in order if v in reads]
        listed: list[Value | Group | Block] = [*order]
        if groups:
            listed = blocked(grouped(order, reads, [*wanted, *checks]), reads)
        places = [self._read_by(x, reads) for x in listed]
        for x in listed:
            for v in (x,) if isinstance(x, Value) else x.wanted:
                self._at(v)
        self._wanted = [self._at(v, full=True) for v in wanted]
        self._lines = self._listed(listed, places)
        self._place.clear()  # values hold all that was ever traced with them

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        env = self._start.copy()
        env[: self._given] = arrays
        with np.errstate(all="ignore"):
            for function, read, attrs, result, dtype, view, dead in self._lines:
                out = function(*read(env), **attrs) if attrs else function(*read(env))
                if dtype is None:
                    for k, array in zip(result, out):  # type: ignore[arg-type]  # of a group
                        env[k] = array
                    out = array = None
                else:
                    if out.__class__ is not np.ndarray or out.dtype is not dtype:
                        out = np.asarray(out, dtype)
                    if not view and not out.flags.c_contiguous:
                        out = row_major(out)
                    env[result] = out  # type: ignore[index]
                for k in dead:
                    env[k] = None
        return [env[k] for k in self._wanted]

    def _made_once(self, v: Value) -> bool:
        """Whether it is a constant, or small and made from nothing."""
        if v in self._place:
            return True
        if v.const is not None:
            self._keep(v, np.array(v.const, v.spec.dtype.numpy))
        elif v.op is not None and not v.args and v.spec.size_bytes <= KEPT_BYTES:
            self._keep(v, row_major(np.asarray(v.op.evaluate(**v.attrs))))
        return v in self._place

    def _keep(self, v: Value, array: Array) -> None:
        self._place[v] = len(self._start)
        self._start.append(array)

    def _operands(self, v: Value) -> list[Any]:
        """What it reads: a Value, or (Value,) of a constant that must be of full size."""
        assert v.op is not None
        if self._groups and in_block(v):
            return [s for a in v.args if (s := source(a, self._place)).const is None]
        elementwise = v.op.kind == "elementwise"
        numbers = elementwise and any(a.const is None for a in v.args)
        args: list[Any] = [
            (a,) if a.const is not None and not numbers else self._same(a) for a in v.args
        ]
        if v.op.name == "reshape" and (before := self._before(v.args[0])).const is None:
            return [before]
        if not elementwise or not numbers or not _reads_narrow(v.op):
            return args  # NumPy may compute another's elements otherwise where one is repeated
        narrow = [a if a.const is not None else self._narrow(a) for a in v.args]
        leading = narrow[:1] if v.op.name == "where" else narrow  # what gives a row its shape
        full = any(a.const is None and a.spec.shape == v.spec.shape for a in leading)
        return [*narrow] if full else args

    def _narrow(self, a: Value) -> Value:
        """What an operand repeats, as NumPy does by itself, or itself."""
        a = self._same(a)
        while a not in self._place and a.op is not None:
            leading = a.op.name == "reshape" and _is_led(a.spec.shape, a.args[0].spec.shape)
            if not (leading or a.op.name == "expand") or a.args[0].const is not None:
                break
            a = self._same(a.args[0])
        return a

    def _same(self, a: Value) -> Value:
        """What has been given other shapes and its own again, or itself."""
        before = self._before(a)
        made = before not in self._place and before.op is not None and before.op not in VIEW_OPS
        return before if made and before.spec.shape == a.spec.shape else a

    def _before(self, a: Value) -> Value:
        """What has been given other shapes, or itself."""
        while a not in self._place and a.op is not None and a.op.name == "reshape":
            a = a.args[0]
        return a

    def _at(self, v: Any, full: bool = False) -> int:
        """The place of a value; of a constant, of full size if asked."""
        if isinstance(v, tuple):
            v, full = v[0], True
        if full and v.const is not None:
            key: Any = (v,)
            if key not in self._place:
                self._place[key] = len(self._start)
                self._start.append(np.full(v.spec.shape, v.const, v.spec.dtype.numpy))
            return self._place[key]
        if v not in self._place:
            self._keep(v, None)  # type: ignore[arg-type]  # filled by each run
        return self._place[v]

    def _read_by(
        self, x: Value | Group | Block, reads: Mapping[Value, list[Any]]
    ) -> tuple[int, ...]:
        operands: Iterable[Any] = reads[x] if isinstance(x, Value) else x.given
        return tuple(self._at(a) for a in operands)

    def _listed(
        self, order: Sequence[Value | Group | Block], places: Sequence[tuple[int, ...]]
    ) -> list[Line]:
        last = {k: at for at, reads in enumerate(places) for k in reads}
        kept = {*self._wanted, *(k for k, a in enumerate(self._start) if a is not None)}
        lines = []
        for at, (x, reads) in enumerate(zip(order, places)):
            dead = tuple({k for k in reads if last[k] == at and k not in kept})
            if not isinstance(x, Value):
                results = tuple(self._place[v] for v in x.wanted)
                call = Together(x) if isinstance(x, Group) else AsOne(x)
                lines.append(Line(call, _reader(reads), {}, results, None, False, dead))
                continue
            function, attrs = bound(x)
            dtype, view = np.dtype(x.spec.dtype.numpy), x.op in VIEW_OPS
            lines.append(Line(function, _reader(reads), attrs, self._place[x], dtype, view, dead))
        return lines


def _reader(places: tuple[int, ...]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """What takes operands out of all arrays."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


def _reads_narrow(op: Op) -> bool:
    """Whether an element is the same where NumPy repeats an operand."""
    return (op.correct or op.exact) and not op.aliases


def _is_led(shape: Shape, by: Shape) -> bool:
    """Whether a shape is another one behind dimensions of size 1."""
    return shape == (1,) * (len(shape) - len(by)) + by


class Together:
    """A group as one function of arrays: by NumPy at first, then by compiled code."""

    def __init__(self, group: Group) -> None:
        self._plain = Lines(group.given, group.wanted, groups=False)
        self._recipe, self._sizes = group.recipe, group.sizes
        self._outs = [(v.spec.shape, np.dtype(v.spec.dtype.numpy)) for v in group.wanted]
        self._left = AGAIN
        self._runner: Runner | None = None

    def __call__(self, *arrays: Array) -> list[Array]:
        if self._runner is None:
            if self._left or not MAKERS:
                self._left = max(self._left - 1, 0)
                return self._plain(arrays)
            self._runner = MAKERS[-1](self._recipe, self._sizes)
        outs = [POOL.empty(shape, dtype) for shape, dtype in self._outs]
        return outs if self._runner([*map(row_major, arrays)], outs) else self._plain(arrays)


class AsOne:
    """A block as one function of arrays: by compiled code, but for a call inside its run."""

    def __init__(self, block: Block) -> None:
        self._plain = Lines(block.given, block.wanted, groups=False)
        self._graph = graph_of(block)
        self._outs = [(v.spec.shape, np.dtype(v.spec.dtype.numpy)) for v in block.wanted]
        self._runner: Runner | None = None

    def __call__(self, *arrays: Array) -> list[Array]:
        if self._runner is None:
            if not blocks.MAKERS:
                return self._plain(arrays)
            self._runner = blocks.MAKERS[-1](self._graph)
        outs = [POOL.empty(shape, dtype) for shape, dtype in self._outs]
        return outs if self._runner([*map(row_major, arrays)], outs) else self._plain(arrays)


def _behind(given: Sequence[Value], wanted: Sequence[Value]) -> list[Value]:
    """What has to be computed, in order; what is behind `given` does not."""
    known = set(given)
    seen: set[Value] = set()
    stack = [v for v in wanted if v not in known]
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            stack.extend(a for a in v.args if a not in known)
    return [v for v in topological(wanted) if v in seen]


def _behind_reads(
    reads: Mapping[Value, list[Any]], wanted: Sequence[Value], known: Mapping[Any, int]
) -> list[Value]:
    """Those of `reads` that somebody still reads, in order."""
    seen: set[Value] = set()
    stack = [v for v in wanted if v in reads]
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            stack.extend(a for a in reads[v] if isinstance(a, Value) and a in reads)
    return [v for v in reads if v in seen]
