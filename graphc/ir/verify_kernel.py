"""The invariants of a Kernel, checked after lowering.

Each check is a generator of complaints; `verify_kernel` raises the first, with the row as shown.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from graphc.errors import GraphcError, InternalError
from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Buffer,
    Dot,
    Guard,
    Index,
    Inside,
    Kernel,
    Load,
    Phase,
    Reduce,
    Size,
    Statement,
    Store,
    show_statement,
)
from graphc.ir.kernel_partials import partial
from graphc.ir.ops import OPS
from graphc.ir.types import DType, TensorSpec, bf16, bool_, f32, i32, i64
from graphc.ir.verify_geometry import geometry


def verify_kernel(kernel: Kernel) -> None:
    """Raise InternalError unless `kernel` is well formed."""
    body = _call(kernel) if kernel.kind == "routine" else _Nest(kernel).complaints()
    for complaint in (*_signature(kernel), *body):
        raise InternalError(f"ill-formed kernel {kernel.name}: {complaint}")


def _signature(kernel: Kernel) -> Iterator[str]:
    """Arguments have names of their own; aliases are other buffers, of the same type."""
    buffers = {b.name: b for b in kernel.buffers}
    names = [*(b.name for b in kernel.buffers), *kernel.sizes, *(s.name for s in kernel.scalars)]
    yield from (f"{n} is declared {k} times" for n, k in Counter(names).items() if k > 1)
    for b in kernel.buffers:
        if b.renewed and (b.access != "r" or b.alias):
            yield f"{b.name} is renewed by a later launch, but not only read here"
        other = buffers.get(b.alias)
        if b.alias and (other is None or other is b):
            yield f"{b.name} is an alias of {b.alias}, which is no other buffer"
        elif other is not None and other.dtype is not b.dtype:
            yield f"{b.name} is {b.dtype.name}, but its alias {b.alias} is {other.dtype.name}"


def _call(kernel: Kernel) -> Iterator[str]:
    """A routine calls one, with declared buffers, and has no loops."""
    call = kernel.call
    if call is None or kernel.axes or kernel.phases:
        yield "a routine is a call without loops"
        return
    if call.op not in OPS or OPS[call.op].kind != "routine":
        yield f"{call.op} is no routine"
    elif call.runs != OPS[call.op].runs:
        yield f"{call.op} may run on {OPS[call.op].runs}, not on {call.runs}"
    access = {b.name: b.access for b in kernel.buffers}
    for operand, wanted in (*((a, "r") for a in call.args), (call.out, "w")):
        if wanted not in access.get(operand.buffer, ""):
            yield f"{operand.buffer} is not declared as {wanted}"
    shapes = [o.shape for o in (*call.args, call.out)]
    used = {n for shape in shapes for n in shape if isinstance(n, str)}
    yield from _differ("size", kernel.sizes, used)
    yield from _differ("scalar", [s.name for s in kernel.scalars], {call.site})
    yield from _differ(
        "buffer", [b.name for b in kernel.buffers], {o.buffer for o in (*call.args, call.out)}
    )


def _differ(what: str, declared: Sequence[str], used: set[str]) -> Iterator[str]:
    yield from (f"{what} {n} is not declared" for n in sorted(used.difference(declared)))
    yield from (f"{what} {n} is not used" for n in declared if n not in used)


class _Nest:
    """A walk over loops and statements that knows what is in scope."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.buffers = {b.name: b for b in kernel.buffers}
        self.sizes = frozenset(kernel.sizes)
        self.dtypes: dict[str, DType] = {s.name: s.dtype for s in kernel.scalars}  # in scope
        self.assigned: set[str] = set()  # by any statement so far
        self.axes: set[str] = set()
        self.used: set[str] = set()  # arguments of the kernel

    def complaints(self) -> Iterator[str]:
        kernel = self.kernel
        yield from self._kind()
        yield from self._loops(kernel.axes)
        for phase in kernel.phases:
            yield from self._phase(phase)
        for p in kernel.partials:
            yield from partial(kernel, p, self._dtype(p.value))
            self.used.add(p.buffer)
        yield from geometry(kernel)
        yield from self._told()
        named = [*kernel.sizes, *self.buffers, *(s.name for s in kernel.scalars)]
        yield from (f"{n} is declared and not used" for n in named if n not in self.used)

    def _kind(self) -> Iterator[str]:
        """A contraction ends its first phase in its only dot; only scatters add to memory."""
        kind, phases = self.kernel.kind, self.kernel.phases
        if self.kernel.call is not None:
            yield f"a {kind} calls a routine"
        dots = [s for s in self.kernel.statements() if isinstance(s, Dot)]
        last = phases[0].body[-1:] if phases else ()
        if dots and (kind != "contract" or len(dots) > 1 or tuple(dots) != last):
            yield "a dot is not the only one, at the end of a contraction's first phase"
        if kind == "contract" and not dots:
            yield "a contraction without a dot"
        adds = any(isinstance(s, Store) and s.add for s in self.kernel.statements())
        if adds != (kind == "scatter"):
            yield f"a {kind} that {'adds' if adds else 'never adds'} to memory"

    def _told(self) -> Iterator[str]:
        """The sizes in what it says of its loops and results are arguments."""
        for r in self.kernel.roles:
            for size in r.extents:
                yield from self._size(size)
        for p in self.kernel.partials:
            for size in (p.run, p.at.const, *(s for _, s in p.at.terms)):
                yield from self._size(size)
        for w in self.kernel.window:
            for size in (w.stride, w.dilation, w.low, w.end):
                yield from self._size(size)

    # ---- scopes --------------------------------------------------------------------------------

    def _loops(self, axes: Iterable[Axis]) -> Iterator[str]:
        for a in axes:
            if a.name in self.axes:
                yield f"axis {a.name} is declared twice"
            self.axes.add(a.name)
            yield from self._size(a.extent)
            if isinstance(a.extent, int) and a.extent < 0:
                yield f"axis {a.name} has {a.extent} points"

    def _phase(self, phase: Phase) -> Iterator[str]:
        """Reductions are seen by later phases only; all else in loops by this phase only."""
        axes, outside = set(self.axes), dict(self.dtypes)
        yield from self._loops(phase.axes)
        reduced: dict[str, DType] = {}
        latest = -1
        for s in phase.body:
            yield from (f"{c}: {show_statement(s)}" for c in self._statement(s))
            if isinstance(s, Store):
                continue
            number = int(s.name[1:]) if s.name[:1] == "%" and s.name[1:].isdecimal() else -1
            if s.name in self.assigned or number <= latest:
                yield f"{s.name} is not assigned in order: {show_statement(s)}"
            latest = number
            self.assigned.add(s.name)
            (reduced if isinstance(s, Reduce | Dot) else self.dtypes)[s.name] = s.dtype
        if phase.axes:
            self.axes, self.dtypes = axes, outside
        self.dtypes |= reduced

    def _size(self, size: Size) -> Iterator[str]:
        if isinstance(size, str):
            self.used.add(size)
            if size not in self.sizes:
                yield f"size {size} is not declared"

    def _affine(self, at: Affine) -> Iterator[str]:
        names = [axis for axis, _ in at.terms]
        yield from (f"axis {a} is not in scope" for a in names if a not in self.axes)
        if len(set(names)) < len(names) or any(s == 0 for _, s in at.terms):
            yield "an axis stands twice in an address, or with a stride of 0"
        for size in (at.const, *(s for _, s in at.terms)):
            yield from self._size(size)

    def _guards(self, guards: Iterable[Guard]) -> Iterator[str]:
        for g in guards:
            yield from self._affine(g.at)
            yield from self._size(g.lo)
            yield from self._size(g.hi)

    def _dtype(self, name: str) -> DType | None:
        self.used.add(name)
        return self.dtypes.get(name)

    def _value(self, name: str, dtype: DType) -> Iterator[str]:
        """Whether `name` is in scope, of this type."""
        found = self._dtype(name)
        if found is None:
            yield f"{name} is not defined here"
        elif found is not dtype:
            yield f"{name} is {found.name}, not {dtype.name}"

    # ---- statements ----------------------------------------------------------------------------

    def _statement(self, s: Statement) -> Iterator[str]:
        match s:
            case Load() | Store():
                yield from self._access(s)
            case Index():
                yield from self._affine(s.at)
                if s.dtype is not i64:
                    yield "an index is not i64"
            case Inside():
                yield from self._guards(s.guards)
                if s.dtype is not bool_:
                    yield "a test is not bool"
            case Reduce():
                yield from self._reduce(s)
            case Dot():
                narrow = s.dtype is f32 and self._dtype(s.a) is bf16
                yield from self._value(s.a, bf16 if narrow else s.dtype)
                yield from self._value(s.b, bf16 if narrow else s.dtype)
            case Apply():
                yield from self._apply(s)

    def _access(self, s: Load | Store) -> Iterator[str]:
        """The buffer is declared for it, and holds what is loaded or stored."""
        buffer: Buffer | None = self.buffers.get(s.buffer)
        self.used.add(s.buffer)
        wanted = "r" if isinstance(s, Load) else "w"
        if buffer is None or wanted not in buffer.access:
            yield f"{s.buffer} is not declared as {wanted}"
        elif isinstance(s, Store):
            yield from self._value(s.value, buffer.dtype)
            if s.ordered != (s.add and buffer.dtype.is_floating_point):
                yield "adds are ordered if and only if they round"
            if s.bound is not None:
                yield from self._value(s.bound.site, i64)
                if s.add or not buffer.dtype.is_floating_point:
                    yield "only a float that is stored whole has a bound"
        elif s.dtype is not buffer.dtype:
            yield f"{s.buffer} holds {buffer.dtype.name}"
        yield from self._affine(s.at)
        yield from self._guards(s.guards)
        for i in s.indirect:
            yield from self._value(i.index, i64)
            yield from self._size(i.stride)

    def _reduce(self, s: Reduce) -> Iterator[str]:
        op = OPS.get(s.op)
        if op is None or op.kind != "reduce":
            yield f"{s.op} is no reduction"
        elif op.position:
            if self._dtype(s.arg) is None:
                yield f"{s.arg} is not defined here"
            if s.dtype is not i64:
                yield "a position is not i64"
        else:
            yield from self._value(s.arg, s.dtype)

    def _apply(self, s: Apply) -> Iterator[str]:
        """The operands are in scope, and the result's type follows from theirs."""
        found = [self._dtype(a) for a in s.args]
        missing = [a for a, dtype in zip(s.args, found) if dtype is None]
        if missing:
            yield from (f"{a} is not defined here" for a in missing)
            return
        got = _inferred(s, [d for d in found if d is not None])
        if isinstance(got, str):
            yield got
        elif got is not s.dtype:
            yield f"the op gives {got.name}"


@cache
def operand_count(op: str) -> int:
    """How many operands an elementwise op takes; attributes come by keyword alone."""
    evaluate = OPS[op].evaluate
    if isinstance(evaluate, np.ufunc):
        return int(evaluate.nin)
    parameters = inspect.signature(evaluate).parameters.values()
    return sum(p.kind is not p.KEYWORD_ONLY for p in parameters)


def _inferred(s: Apply, found: Sequence[DType]) -> DType | str:
    """The type that follows from the op and its operands, or why none does."""
    op = OPS.get(s.op)
    if op is None:
        return f"unknown op {s.op}"
    if s.op == "random_bits":
        return i32 if list(found) == [i64] * 3 else "not seed, draw and number"
    if op.kind == "attention":
        return f32 if s.op == "attention_lse" and found[0].is_half else found[0]
    if s.op == "cast":
        return s.dtype if len(found) == 1 else "a cast of one value"
    if op.can_fail(s.dtype):  # what is checked, and under which number a failure is told
        if len(found) != 3 or found[-1] is not i64:
            return "no check site"
        found = found[:1] if s.op == "check_index" else found[:2]
    if len(found) != operand_count(s.op):
        return f"{len(found)} operands of {operand_count(s.op)}"
    attrs = {"bound": 0, "what": ""} if s.op == "check_index" else {}
    try:
        return op.infer(*(TensorSpec(d, ()) for d in found), **attrs).dtype
    except (GraphcError, TypeError) as e:
        return str(e)
