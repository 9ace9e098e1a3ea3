"""Statements of a kernel as Triton text, over a block of points.

A program computes a block: a tensor of rank 0, 1 or 2 whose dimensions run over points. A `Point`
says which axes lie along which dimension, as `Group`s: axes that one flat index runs over, row by
row. A value has the dimensions that it varies over, with extents of one for the others, and Triton
broadcasts; `level` is the scope of the text in which it is known (`text.Writer`).

A template (map.py, contract.py) makes a Body, sets `body.point`, runs statements by `body.run` and
puts what it computes by itself, reductions and dots, in `body.values`. To run statements inside a
loop or branch, it opens `writer.block` and sets `body.floor` to the block's level, so that no
access to memory is moved out in front; `body.point` then has the indices that the loop defines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from graphc.codegen_gpu import scalar
from graphc.codegen_gpu.scalar import REGISTER, loaded, rounded, stored
from graphc.codegen_gpu.text import Writer
from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Const,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Load,
    Reduce,
    Size,
    Statement,
    Store,
)
from graphc.ir.ops import OPS
from graphc.ir.types import DType, bool_, i32, i64

Dims = frozenset[int]
NONE: Dims = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """Text of a register value: its dtype, the dimensions it varies over, where it is known."""

    text: str
    dtype: DType
    dims: Dims = NONE
    level: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Axes, outermost first, and the flat index that runs over them row by row."""

    axes: tuple[Axis, ...]
    flat: Value


@dataclass(frozen=True, slots=True)
class Point:
    """The points of a block: every axis in scope is in one group.

    `shape` has the extents of the block's dimensions as text. `masks` says which places of a
    dimension are points (none: all are); `live` holds whether there is a point at all.
    """

    shape: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    masks: tuple[tuple[int, Value], ...] = ()
    live: tuple[Value, ...] = ()
    lanes: tuple[tuple[int, Value], ...] = ()  # some value along each dimension
    fours: Value | None = None  # a line of points by fours: the flat index of each, over four

    def block(self, dims: Dims) -> str:
        """The shape of what varies over these dimensions."""
        return "[" + ", ".join(n if d in dims else "1" for d, n in enumerate(self.shape)) + "]"

    def numbered(self, dims: Dims) -> tuple[str, int]:
        """The number of each place of what varies over these dimensions, and how many."""
        terms, count = [], 1
        for d in sorted(dims, reverse=True):
            along = ", ".join(":" if k == d else "None" for k in range(len(self.shape)))
            terms.append(f"tl.arange(0, {self.shape[d]})[{along}] * {count}")
            count *= int(self.shape[d])
        return " + ".join(terms), count

    def within(self, dims: Dims) -> Iterator[Value]:
        """The masks of what varies over these dimensions."""
        yield from self.live
        yield from (mask for d, mask in self.masks if d in dims)


@dataclass
class Body:
    """Evaluates statements at `point`, writing to `writer`."""

    kernel: Kernel
    writer: Writer
    wide: bool = False
    guarded: bool = False
    point: Point = field(default_factory=Point)
    floor: int = 0  # the level in front of which memory is not touched
    values: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index_dtype = i64 if self.wide else i32
        self.buffers = {b.name: f"b{k}" for k, b in enumerate(self.kernel.buffers)}
        self.dtypes = {b.name: b.dtype for b in self.kernel.buffers}
        self.sizes = {name: f"n{k}" for k, name in enumerate(self.kernel.sizes)}
        self.constant = {b.name for b in self.kernel.buffers if b.access == "r"}
        self.overwriting = {b.name for b in self.kernel.buffers if b.alias}
        self.reading = False  # whether threads may be about to read
        self.told = set(told(self.kernel))
        for s in self.kernel.scalars:
            self.values[s.name] = self._scalar(s.name, s.dtype)
        for name, text in self.sizes.items():
            wide = self.writer.let(f"tl.cast({text}, tl.int64)", 0)
            self.values[name] = Value(wide, i64)
        self.truth: dict[str, bool] = {}  # of values that are known as the text is written
        self.runs: dict[str, int] = {}  # values that are the flat index and a multiple of four
        self.permit: Value | None = None  # of stores, where an earlier launch may have failed
        if self.guarded:
            self.permit = Value(self.writer.let("(tl.load(error) == 0)", 0), bool_)

    def _scalar(self, name: str, dtype: DType) -> Value:
        k = next(k for k, s in enumerate(self.kernel.scalars) if s.name == name)
        if dtype is bool_:
            return Value(self.writer.let(f"(tl.cast(c{k}, tl.int32) != 0)", 0), dtype)
        text = self.writer.let(f"tl.cast(c{k}, {REGISTER[dtype.name]})", 0)
        return Value(self.writer.let(rounded(dtype, text), 0), dtype)

    # ---- text ----------------------------------------------------------------------------------

    def let(self, text: str, dtype: DType, *parts: Value) -> Value:
        """A named value made of `parts`."""
        dims = frozenset().union(*(p.dims for p in parts))
        level = max((p.level for p in parts), default=0)
        return Value(self.writer.let(text, level), dtype, dims, level)

    def size(self, size: Size) -> str:
        return str(size) if isinstance(size, int) else self.sizes[size]

    def product(self, sizes: Iterable[Size]) -> Size | str:
        """Their product: a literal, or text."""
        literal, names = 1, []
        for size in sizes:
            if isinstance(size, int):
                literal *= size
            else:
                names.append(self.index(self.sizes[size], ()).text)
        if not names:
            return literal
        return self.index(" * ".join([*names, *([str(literal)] if literal != 1 else [])]), ()).text

    def index(self, text: str, parts: Sequence[Value]) -> Value:
        """An expression of the index type."""
        return self.let(text, self.index_dtype, *parts)

    # ---- addresses -----------------------------------------------------------------------------

    def run_of(self, group: Group, first: int, last: int) -> Value:
        """The flat index over axes `first` to `last` of a group."""
        behind = self.product(a.extent for a in group.axes[last + 1 :])
        whole = self.product(a.extent for a in group.axes[first : last + 1])
        flat = group.flat
        if behind == 0 or whole == 0:
            return Value("0", self.index_dtype)
        if behind != 1:
            flat = self.index(f"{flat.text} // {behind}", [flat])
        if first > 0 and whole != 1:
            flat = self.index(f"{flat.text} % {whole}", [flat])
        return Value("0", self.index_dtype) if whole == 1 else flat

    @staticmethod
    def neighbours(at: Affine, axes: Sequence[Axis]) -> Iterator[tuple[int, int, Size]]:
        """First and last of neighbours that lie in a row, and the step; without those that add
        nothing to the address."""
        last = len(axes) - 1
        while last >= 0:
            stride = at.stride(axes[last].name)
            first, reach = last, times(stride, axes[last].extent)
            while first > 0 and (
                axes[first - 1].extent == 1
                or (stride != 0 and at.stride(axes[first - 1].name) == reach)
            ):
                first -= 1
                reach = times(reach, axes[first].extent)
            if stride != 0:
                yield first, last, stride
            last = first - 1

    def terms(self, at: Affine) -> Iterator[tuple[Value, Size]]:
        """Indices and strides that add up to the address."""
        for group in self.point.groups:
            for first, last, stride in self.neighbours(at, group.axes):
                yield self.run_of(group, first, last), stride

    def affine(self, at: Affine, wide: bool = False) -> Value:
        """An affine form of the axes; in i64 where `wide`."""
        wide = wide and not self.wide
        dtype = i64 if wide else self.index_dtype
        texts, parts, const = [], [], at.const
        for index, stride in self.terms(at):
            if index.text == "0":
                continue
            if index.text.isdecimal() and isinstance(stride, int) and isinstance(const, int):
                const += int(index.text) * stride
                continue
            text = f"{index.text}.to(tl.int64)" if wide else index.text
            texts.append(text if stride == 1 else f"{text} * {self._factor(stride, wide)}")
            parts.append(index)
        if const != 0:
            texts.append(self._factor(const, wide))
        if not parts and wide:
            number = texts[0] if texts else "0"
            return self.let(f"tl.cast({number}, tl.int64)", i64)
        return self.let(" + ".join(texts) or "0", dtype, *parts)

    def _factor(self, size: Size, wide: bool) -> str:
        if isinstance(size, int):
            return str(size) if size >= 0 else f"({size})"
        return self.values[size].text if wide else self.sizes[size]

    def address(self, at: Affine, indirect: tuple[Indirect, ...]) -> Value:
        """Elements from the start of a buffer."""
        place = self.affine(at)
        for term in indirect:
            index = self.values[term.index]
            text = index.text if self.wide else f"{index.text}.to(tl.int32)"
            step = "" if term.stride == 1 else f" * {self._factor(term.stride, False)}"
            place = self.index(f"{place.text} + {text}{step}", [place, index])
        return place

    # ---- masks ---------------------------------------------------------------------------------

    def never(self, guards: tuple[Guard, ...]) -> bool:
        """Whether a guard on numbers that are known does not hold."""
        return any(self._known(g) is False for g in guards)

    def _known(self, g: Guard) -> bool | None:
        """Whether a guard holds, where that is known as the text is written."""
        known = all(index.text.isdecimal() for index, _ in self.terms(g.at))
        at = self.affine(g.at).text
        if known and at.isdecimal() and isinstance(g.lo, int) and isinstance(g.hi, int):
            return g.lo <= int(at) < g.hi
        return None

    def inside(self, guards: tuple[Guard, ...]) -> Value | None:
        """Whether all guards hold; None if none may not."""
        holds: Value | None = None
        for g in guards:
            if self._known(g):
                continue
            at = self.affine(g.at)
            lo, hi = self._factor(g.lo, False), self._factor(g.hi, False)
            text = f"(({at.text} >= {lo}) & ({at.text} < {hi}))"
            test = self.let(text, bool_, at)
            if at.text.isdecimal():  # no tensor is in it
                test = self.let(
                    f"(tl.cast({at.text}, tl.int32) >= {lo}) & ({at.text} < {hi})", bool_
                )
            holds = test if holds is None else self.both(holds, test)
        return holds

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        if a is None or b is None:
            return a or b
        return self.let(f"({a.text} & {b.text})", bool_, a, b)

    def mask(self, dims: Dims, extra: Value | None = None) -> Value | None:
        """Where a value that varies over `dims` belongs to points, and `extra` holds."""
        found: Value | None = None
        for part in self.point.within(dims):
            found = self.both(found, part)
        return self.both(found, extra)

    def spread(self, place: Value, dims: Dims) -> Value:
        """An address that is formally a tensor over `dims`, too."""
        for d, lane in self.point.lanes:
            if d in dims - place.dims:
                place = self.index(f"{place.text} + {lane.text} * 0", [place, lane])
        return place

    # ---- statements ----------------------------------------------------------------------------

    def run(self, s: Statement) -> None:
        """Any statement but a reduction."""
        match s:
            case Load():
                self.values[s.name] = self.load(s)
            case Store():
                self.store(s)
            case Apply():
                self.values[s.name] = self.apply(s)
            case Const():
                self.values[s.name] = self.let(scalar.literal(s.value, s.dtype), s.dtype)
            case Index():
                self.values[s.name] = self.affine(s.at, wide=True)
                self._note_run(s)
            case Inside():
                self.values[s.name] = self.test(s)
            case _:
                raise AssertionError(s)

    def test(self, s: Inside) -> Value:
        """Whether the point is inside; `truth` notes what is known of it."""
        never = self.never(s.guards)
        holds = None if never else self.inside(s.guards)
        if holds is not None:
            self.truth.pop(s.name, None)
            return holds
        self.truth[s.name] = not never
        return self.let(scalar.literal(not never, bool_), bool_)

    def _note_run(self, s: Index) -> None:
        terms = list(self.terms(s.at))
        if len(terms) == 1 and isinstance(s.at.const, int) and s.at.const % 4 == 0:
            ((index, stride),) = terms
            if stride == 1 and index == self.point.groups[0].flat:
                self.runs[s.name] = s.at.const // 4

    def load(self, s: Load) -> Value:
        """What memory holds, where the points and guards are; else zero."""
        if self.never(s.guards):
            return self.let(scalar.literal(0, s.dtype), s.dtype)
        self.reading = True
        place, holds = self.address(s.at, s.indirect), self.inside(s.guards)
        dims = place.dims | (holds.dims if holds else NONE)
        mask = self.mask(dims, holds)
        dims = dims | (mask.dims if mask else NONE)
        place = self.spread(place, dims)
        level = max(place.level, mask.level if mask else 0, self.floor)
        masked = f", mask={mask.text}, other=0" if mask else ""
        text = f"tl.load({self.pointer(s.buffer, place)}{masked})"
        if s.buffer not in self.constant:
            self.barrier()
            name = self.writer.assign(text, self.writer.level)
            level = self.writer.level
        else:
            name = self.writer.let(text, level)
        value = Value(name, s.dtype, dims, level)
        return self.let(loaded(s.dtype, name), s.dtype, value)

    def barrier(self) -> None:
        """All threads of the program have read and stored what stands before."""
        self.writer.do("tl.debug_barrier()")
        self.reading = False

    def pointer(self, buffer: str, place: Value) -> str:
        return self.buffers[buffer] + ("" if place.text == "0" else f" + ({place.text})")

    def store(self, s: Store) -> None:
        """What the points and guards let through, rounded to the buffer's dtype."""
        if self.never(s.guards):
            return
        value, dtype = self.values[s.value], self.dtypes[s.buffer]
        place, holds = self.address(s.at, s.indirect), self.inside(s.guards)
        mask = self.mask(place.dims | (holds.dims if holds else NONE), holds)
        mask = self.both(mask, self.permit)
        place = self.spread(place, value.dims | (mask.dims if mask else NONE))
        at = self.pointer(s.buffer, place)
        masked = f", mask={mask.text}" if mask else ""
        text = value.text
        if s.buffer in self.overwriting and self.reading:
            self.barrier()
        if s.add:
            self.barrier()  # for what the trip before this one stored
            other = ", other=0" if mask else ""
            old = self.writer.assign(f"tl.load({at}{masked}{other})", self.writer.level)
            text = added(dtype, loaded(dtype, old), text)
        self.writer.do(f"tl.store({at}, {stored(dtype, text)}{masked})")

    def apply(self, s: Apply) -> Value:
        """A half result is rounded if a reader would tell."""
        args = [self.values[a] for a in s.args]
        if s.op == "where" and s.args[0] in self.truth:
            return args[1] if self.truth[s.args[0]] else args[2]
        lane = BodyLane(self, args)
        if s.op == "random_bits" and self.point.fours and s.args[2] in self.runs:
            return self._random_run(lane, s, self.point.fours)
        text = scalar.apply(lane, s.op, s.dtype, [a.dtype for a in args], [a.text for a in args])
        value = replace(lane.place, text=lane.let(text), dtype=s.dtype)
        if s.dtype.is_half and s.name in self.told and not OPS[s.op].exact and s.op != "cast":
            value = self.let(rounded(s.dtype, value.text), s.dtype, value)
        return value

    def _random_run(self, lane: BodyLane, s: Apply, fours: Value) -> Value:
        """Random bits of neighbours: four of a block, which is computed once."""
        seed, draw = (self.values[a].text for a in s.args[:2])
        blocks = lane.let(f"({fours.text}.to(tl.int64) + {self.runs[s.args[2]]})")
        count = int(self.point.shape[0])
        text = lane.let(scalar.random_run(lane, seed, draw, blocks, count))
        return replace(lane.place, text=text, dtype=s.dtype)


class BodyLane:
    """Where a row of `scalar.SCALAR` writes: at the level of the operands."""

    def __init__(self, body: Body, args: Sequence[Value]) -> None:
        self.body = body
        dims = frozenset().union(*(a.dims for a in args))
        self.place = Value("", i64, dims, max((a.level for a in args), default=0))

    def let(self, expression: str) -> str:
        return self.body.writer.let(expression, self.place.level)

    def do(self, line: str) -> None:
        self.body.writer.do(line, self.place.level)

    def fresh(self) -> str:
        return self.body.writer.fresh()

    def report(self, bad: str, site: str, value: str, bound: str) -> None:
        """The first program to set the flag tells, of the first of its lanes that is bad; in lanes
        of points alone, at every trip of a loop. Lanes agree before one asks memory: an atomic
        access of each takes the registers of a whole block."""
        body, writer = self.body, self.body.writer
        failed = body.both(body.mask(self.place.dims), replace(self.place, text=bad, dtype=bool_))
        assert failed is not None
        if not failed.dims:
            self._tell(failed.text, site, value, bound)
            return
        lane, count = body.point.numbered(failed.dims)
        text = f"tl.min(tl.where({failed.text}, {lane}, {count}), axis=None)"
        first = writer.assign(text, writer.level)
        some = writer.assign(f"{first} < {count}", writer.level)
        with writer.block(f"if {some}:"):
            own = f"tl.where(({lane}) == {first}, {value}, tl.full([], 0, tl.int64))"
            self._tell(some, site, f"tl.sum({own}, axis=None)", bound)

    def _tell(self, failed: str, site: str, value: str, bound: str) -> None:
        writer = self.body.writer
        level = writer.level
        flag = writer.assign(f"tl.atomic_xchg(error, 1, mask={failed})", level)
        won = writer.assign(f"({failed} & ({flag} == 0))", level)
        for k, text in enumerate((site, value, bound), 1):
            writer.do(f"tl.store(error + {k}, {text}, mask={won})", level)


def added(dtype: DType, old: str, text: str) -> str:
    """The sum of a memory's old value and a register."""
    return f"({old} | {text})" if dtype is bool_ else f"({old} + {text})"


def times(stride: Size | None, extent: Size) -> Size | None:
    """Their product, if it has a name."""
    if isinstance(stride, int) and isinstance(extent, int):
        return stride * extent
    if stride == 1:
        return extent
    return stride if extent == 1 else None


def told(kernel: Kernel) -> Iterator[str]:
    """Values whose readers would tell whether they were rounded to their dtype.

    Those compare, choose, or hand the value on exactly; what computes from it rounds its own.
    """
    dtypes = {s.name: s.dtype for s in kernel.scalars}
    for s in kernel.statements():
        if isinstance(s, Apply):
            yield from (
                a for a in s.args if OPS[s.op].exact or dtypes.get(a, s.dtype) is not s.dtype
            )
        elif isinstance(s, Reduce) and OPS[s.op].best:
            yield s.arg
        if not isinstance(s, Store):
            dtypes[s.name] = s.dtype
