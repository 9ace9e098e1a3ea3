"""Kernel: one fused loop nest; it knows nothing of the back ends that compile it.

A kernel is `for each point of axes: for each phase: for each point of phase.axes: body`. The outer
`axes` are parallel: any point may run on any thread. The axes of a phase run in sequence, and a
`Reduce` or `Dot` reduces its argument over them; its result is seen by later phases. Statements of
a phase without axes are seen by later phases too; statements inside a phase loop are local to it.

Softmax over rows is three phases (max, sum of exp, store), a batch-norm statistic one phase whose
axes are the pixels, an elementwise chain one phase without axes, and a convolution one phase that
loads two operands and ends in `Dot`, followed by an epilogue phase.

Invariants:
  - a `Size` is a literal or the name of an i64 argument, so equal kernels of other extents are one;
  - memory is addressed by `Affine` offsets in elements over the axes in scope, plus gathers;
  - a guarded load outside its guards touches no memory and gives zero; a guarded store, nothing;
  - names are assigned in order, so equal computations print as equal text (`key`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal, TypeVar

from graphc.ir.fingerprint import fingerprint
from graphc.ir.graph import Graph
from graphc.ir.kernel_bound import Bound
from graphc.ir.ops import OPS, Runs
from graphc.ir.text import escaped, show_attrs
from graphc.ir.types import DType, Scalar

Size = int | str
PART = "part"  # the number of a run, in the address of a partial result
Statistic = Literal["sum", "mean", "deviations"]
Kind = Literal["map", "contract", "attention", "scatter", "routine", "loop"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A loop: its name and trip count."""

    name: str
    extent: Size


@dataclass(frozen=True, slots=True)
class Affine:
    """const + sum of stride * axis, in elements; each axis at most once, zero strides left out."""

    terms: tuple[tuple[str, Size], ...] = ()
    const: Size = 0

    def stride(self, axis: str) -> Size:
        return next((s for a, s in self.terms if a == axis), 0)


@dataclass(frozen=True, slots=True)
class Guard:
    """True where lo <= at < hi."""

    at: Affine
    lo: Size
    hi: Size


@dataclass(frozen=True, slots=True)
class Indirect:
    """An address term that is a value: `index` (an i64 SSA name) times `stride` elements."""

    index: str
    stride: Size


@dataclass(frozen=True, slots=True)
class Load:
    """buffer[at + indirect]; zero where a guard is false."""

    name: str
    dtype: DType
    buffer: str
    at: Affine
    guards: tuple[Guard, ...] = ()
    indirect: tuple[Indirect, ...] = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: 0, 1, -1, an infinity, NaN or a bool. Other numbers are scalar arguments."""

    name: str
    dtype: DType
    value: Scalar
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """The i64 value of an affine form of the axes: iota, random counters."""

    name: str
    dtype: DType
    at: Affine
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Inside:
    """bool: whether all guards hold."""

    name: str
    dtype: DType
    guards: tuple[Guard, ...]
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """A scalar operation by its name in `ir/ops.py`; arguments are SSA names or scalar arguments.

    `dtype` is the result's; `cast` converts its argument to it. `check_index index bound site`
    gives a safe index and records the first bad one in the error cell; `check x condition site`
    gives x and records where the condition does not hold. `random_bits seed draw index` gives the
    Philox word of that element as i32.
    """

    name: str
    dtype: DType
    op: str
    args: tuple[str, ...]
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Reduce:
    """Reduce `arg` over the axes of this phase: sum, prod, max, min, argmax or argmin.

    argmax and argmin give the i64 row-major position over the phase's axes of the first extreme;
    NaN counts as the extreme of each reduction, as in PyTorch; one over nothing gives the identity.
    """

    name: str
    dtype: DType
    op: str
    arg: str
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Dot:
    """Sum of a * b over the axes of this phase, accumulated in float32 (float64 for f64)."""

    name: str
    dtype: DType
    a: str
    b: str
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Store:
    """buffer[at + indirect] = value, or += value where `add` (scatter kernels).

    `ordered` adds happen in the order of the phase's axes, as a float's bits need; others in any.
    """

    buffer: str
    value: str
    at: Affine
    guards: tuple[Guard, ...] = ()
    indirect: tuple[Indirect, ...] = ()
    add: bool = False
    ordered: bool = False
    bound: Bound | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Operand:
    """A whole buffer as a row-major array of this shape."""

    buffer: str
    shape: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """out = op(*args, **attrs) by its NumPy meaning; `site` names the scalar for its check site.

    `runs` says where it may: on a host by that meaning, on a device by a library that gives the
    same, or either.
    """

    op: str
    args: tuple[Operand, ...]
    attrs: tuple[tuple[str, Any], ...]
    site: str
    out: Operand
    runs: Runs = "host"
    where: str = field(default="", compare=False)


Definition = Load | Const | Index | Inside | Apply | Reduce | Dot
Statement = Definition | Store


@dataclass(frozen=True, slots=True)
class Phase:
    """A sequential loop nest (outermost axis first; none: the body runs once a point)."""

    axes: tuple[Axis, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """A statistic of a value over runs of parallel points, which tiles of a contraction find.

    The points of the axes `over`, in row-major order, are cut into runs of `run` (the last may be
    shorter). For each run, number `part` in `at`, and each point of the other axes, buffer[at] is
    the `sum`, the `mean`, or the `deviations` of the run: the sum of squared distances from its own
    mean, which unlike a sum of squares loses no digits, and merges by Chan's rule. A run of all
    points has no number.
    """

    buffer: str
    op: Statistic
    value: str
    at: Affine
    over: tuple[str, ...]
    run: Size
    where: str = field(default="", compare=False)

    @property
    def step(self) -> Size:
        """Elements from one run's place to the next one's."""
        return self.at.stride(PART)


@dataclass(frozen=True, slots=True)
class Roles:
    """What a loop of a contraction runs over: dimensions, outermost first.

    A dot's are `batch`, `m`, `n` and the summed `k`; a convolution's `n`, the group `g`, the
    output channel `k`, places `d`, `h`, `w`, and summed the channel `c` and taps `t`, `r`, `s`.
    `extents` are those of all but the first name, which has what is left of the loop's.
    """

    loop: str
    names: tuple[str, ...]
    extents: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowAxis:
    """How a convolution's window slides along one axis: it reads place out*stride + tap*dilation.

    The input begins at place `low` and ends before `end`; around it are zeros. An `end` of 0 says
    that no place is outside. A role that no loop has is one point.
    """

    out: str
    tap: str
    stride: Size
    dilation: Size
    low: Size = 0
    end: Size = 0


@dataclass(frozen=True, slots=True)
class Buffer:
    """A pointer argument. `alias` names another buffer of the kernel it may equal exactly."""

    name: str
    dtype: DType
    access: Literal["r", "w", "rw"]
    alias: str = ""
    renewed: bool = False  # only read here, and written anew by another launch


@dataclass(frozen=True, slots=True)
class ScalarArg:
    """A number passed at each launch."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Kernel:
    """One compiled unit. Two kernels with equal `key()` are the same code.

    kind "map" is any nest of loops; "contract" has a first phase that ends in its only `Dot`, and
    says by `roles` and `window` what its loops run over, however they were merged; `partials` are
    statistics of what its epilogue computes; `winograd` asks a back end to compute a convolution by
    Winograd's algorithm, so many outputs a tile along each axis, not by the sum as written;
    "attention" has one phase of loads, results and stores (`kernel_attention.py`);
    "scatter" has `Store(add=True)` inside phase loops, where parallel points add to other places.
    "routine" has a `Call` in place of loops, and no code: it runs between native kernels. "loop"
    stands for the kernels of a loop's body until the schedule for given sizes repeats them.
    """

    name: str
    kind: Kind
    buffers: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    scalars: tuple[ScalarArg, ...]
    axes: tuple[Axis, ...]
    phases: tuple[Phase, ...]
    note: str = field(default="", compare=False)
    call: Call | None = None
    roles: tuple[Roles, ...] = ()
    window: tuple[WindowAxis, ...] = ()
    partials: tuple[Partial, ...] = ()
    winograd: int = 0
    _key: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def statements(self) -> Iterator[Statement]:
        for phase in self.phases:
            yield from phase.body

    def may_fail(self) -> bool:
        """Whether it checks an index or what it stores, divides integers or calls what may fail."""
        if self.call is not None:
            return OPS[self.call.op].may_fail != "never"
        return any(
            isinstance(s, Apply) and OPS[s.op].can_fail(s.dtype)
            if not isinstance(s, Store)
            else s.bound is not None and not s.bound.late
            for s in self.statements()
        )

    def key(self) -> str:
        """The text without the name, provenance and notes: what the code depends on."""
        if not self._key:
            self._key.append(show_body(self, provenance=False))
        return self._key[0]


def sources(kernel: Kernel) -> list[str]:
    """Where its statements come from, in order."""
    return [s.where for s in (*kernel.statements(), *kernel.partials)]


def retold(kernel: Kernel, name: str, note: str, where: Sequence[str]) -> Kernel:
    """Another kernel of the same text, whose statements come from elsewhere."""
    if len(where) != len(sources(kernel)):
        raise ValueError("one line for each statement")
    lines = iter(where)
    bodies = [tuple([_at(s, next(lines)) for s in p.body]) for p in kernel.phases]
    phases = tuple([Phase(p.axes, b) for p, b in zip(kernel.phases, bodies, strict=True)])
    partials = tuple([_at(p, next(lines)) for p in kernel.partials])
    made = replace(kernel, name=name, note=note, phases=phases, partials=partials)
    made._key.append(kernel.key())
    return made


S = TypeVar("S", bound=Definition | Store | Partial)


def _at(s: S, where: str) -> S:
    """The statement with another line, which is its last field."""
    if s.where == where:
        return s
    make: Callable[..., S] = type(s)
    return make(*OTHER_FIELDS[type(s)](s), where)


OTHER_FIELDS: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    cls: attrgetter(*(f.name for f in fields(cls)[:-1]))
    for cls in (Load, Const, Index, Inside, Apply, Reduce, Dot, Store, Partial)
}


# ---- text --------------------------------------------------------------------------------------


def show_body(kernel: Kernel, provenance: bool) -> str:
    """The kernel without its name and note; without provenance it is what the code depends on."""
    buffers = ", ".join(
        f"{b.name}: {b.access} {b.dtype.name}"
        + (f" alias {b.alias}" if b.alias else " renewed" if b.renewed else "")
        for b in kernel.buffers
    )
    scalars = ", ".join([f"{s.name}: {s.dtype.name}" for s in kernel.scalars])
    head = f"{kernel.kind} ({buffers} | {', '.join(kernel.sizes)} | {scalars}) {{"
    if kernel.call is not None:
        call = _call(kernel.call, provenance)
        return "\n".join([head, f"  {_provenance(call, kernel.call.where, provenance)}", "}"])
    lines = [head, *_geometry(kernel), f"  {_loops(kernel.axes)} {{"]
    for phase in kernel.phases:
        lines.append(f"    {_loops(phase.axes)} {{")
        for s in phase.body:
            lines.append("      " + _provenance(show_statement(s), s.where, provenance))
        lines.append("    }")
    partials = [_provenance(_partial(p), p.where, provenance) for p in kernel.partials]
    return "\n".join([*lines, "  }", *partials, "}"])


def _provenance(text: str, where: str, wanted: bool) -> str:
    return f"{text}  # {escaped(where)}" if wanted and where else text


def _geometry(kernel: Kernel) -> Iterator[str]:
    if kernel.roles:
        yield "  roles " + ", ".join(map(_roles, kernel.roles))
    if kernel.window:
        yield "  window " + ", ".join(map(_window, kernel.window))
    if kernel.winograd:
        yield f"  winograd {kernel.winograd}"


def _roles(r: Roles) -> str:
    inner = [f" {name}[{n}]" for name, n in zip(r.names[1:], r.extents, strict=True)]
    return f"{r.loop}: {r.names[0]}{''.join(inner)}"


def _window(w: WindowAxis) -> str:
    place = f"{w.out}*{w.stride} + {w.tap}*{w.dilation}"
    return place if w.end == 0 else f"{w.low} <= {place} < {w.end}"


def _partial(p: Partial) -> str:
    value = f"{p.op} {p.value} over {', '.join(p.over)} by {p.run}"
    return f"  partial {p.buffer}[{_affine(p.at)}] = {value}"


def _loops(axes: Sequence[Axis]) -> str:
    if not axes:
        return "once"
    return "for " + ", ".join([f"{a.name} in {a.extent}" for a in axes])


def graphs_of(s: Call) -> list[Graph]:
    """The graphs that it runs, each once."""
    return list(dict.fromkeys(a for _, a in s.attrs if isinstance(a, Graph)))


def show_statement(s: Statement) -> str:
    """One statement; the types are told apart in the order of their frequency."""
    if isinstance(s, Apply):
        return f"{s.name}: {s.dtype.name} = {s.op} {' '.join(s.args)}"
    if isinstance(s, Load):
        place = f"{s.buffer}[{_affine(s.at, s.indirect)}]"
        return f"{s.name}: {s.dtype.name} = load {place}{_guards(s.guards, ' if ')}"
    if isinstance(s, Store):
        sign = "+=" if s.add else "="
        place = f"{s.buffer}[{_affine(s.at, s.indirect)}]"
        order = " in order" if s.ordered else ""
        return f"store {place} {sign} {s.value}{order}{s.bound or ''}{_guards(s.guards, ' if ')}"
    head = f"{s.name}: {s.dtype.name} = "
    match s:
        case Const():
            return head + f"const {_number(s.value, s.dtype)}"
        case Reduce():
            return head + f"{s.op} {s.arg}"
        case Dot():
            return head + f"dot {s.a} {s.b}"
        case Index():
            return head + f"index {_affine(s.at)}"
        case Inside():
            return head + f"inside{_guards(s.guards, ' ')}"


def _call(s: Call, provenance: bool) -> str:
    """Graphs by number, as they follow in the whole text, or by what they are."""
    args = ", ".join(map(_operand, s.args))
    bodies = {g: n if provenance else fingerprint(g) for n, g in enumerate(graphs_of(s))}
    told = f"{args}; {show_attrs(dict(s.attrs), bodies)}; {s.site}"
    return f"call {s.op}({told}) -> {_operand(s.out)} on {s.runs}"


def _operand(o: Operand) -> str:
    return f"{o.buffer}[{' '.join(map(str, o.shape))}]"


def _affine(at: Affine, indirect: Sequence[Indirect] = ()) -> str:
    parts = [axis if stride == 1 else f"{axis}*{stride}" for axis, stride in at.terms]
    if indirect:
        parts += [f"{i.index}*{i.stride}" for i in indirect]
    const = at.const
    if const == 0 and parts:
        return " + ".join(parts)
    if parts and isinstance(const, int) and const < 0:
        return f"{' + '.join(parts)} - {-const}"
    parts.append(str(const))
    return " + ".join(parts)


def _guards(guards: Sequence[Guard], head: str) -> str:
    if not guards:
        return ""
    return head + ", ".join([f"{g.lo} <= {_affine(g.at)} < {g.hi}" for g in guards])


def _number(value: Scalar, dtype: DType) -> str:
    if dtype.is_floating_point:
        return repr(float(value))
    return str(bool(value)) if dtype.name == "bool" else str(int(value))
