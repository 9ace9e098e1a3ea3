"""A contract kernel taken apart: two operands, the Dot, the axes and what becomes of the sums;
and the dimensions that its loops run over.

Nothing here holds a number about a machine: which axes make a tile, and whether guarded loads are
welcome, each back end says for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Const,
    Definition,
    Dot,
    Guard,
    Kernel,
    Load,
    Partial,
    Roles,
    Size,
    Statement,
    Store,
)
from graphc.ir.kernel_uses import accesses, arguments
from graphc.ir.ops import OPS
from graphc.ir.types import DType, f32, f64


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of the Dot and the statements that compute it, in order."""

    value: str
    statements: tuple[Definition, ...]

    @property
    def loads(self) -> tuple[Load, ...]:
        return tuple(s for s in self.statements if isinstance(s, Load))

    @property
    def bare(self) -> Load | None:
        """The load that is all of it."""
        (first, *rest) = self.statements
        return first if isinstance(first, Load) and not rest else None

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Padding that is not stored around it."""
        return tuple(g for load in self.loads for g in load.guards)

    def uses(self, axis: str) -> bool:
        """Whether a step along the axis may give another value."""
        return any(form.stride(axis) != 0 for s in self.statements for form in accesses(s))

    def contiguous(self, axis: str) -> bool:
        """Whether steps along the axis read side by side, or one element again."""
        return all(load.at.stride(axis) in (0, 1) for load in self.loads)

    def unit(self, axis: str) -> bool:
        """Whether a step along the axis is one to the next element in memory."""
        return any(load.at.stride(axis) == 1 for load in self.loads)

    @property
    def plain(self) -> bool:
        """Whether it is a float of affine loads and arithmetic that cannot fail."""
        of_floats = self.statements[-1].dtype.is_floating_point and bool(self.loads)
        return of_floats and all(map(_plain, self.statements))


@dataclass(frozen=True, slots=True)
class Contraction:
    """A contract kernel taken apart."""

    a: Operand
    b: Operand
    dot: Dot
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    epilogue: tuple[Statement, ...]
    partials: tuple[Partial, ...] = ()
    sliding: frozenset[str] = frozenset()  # axes that move a window along the innermost summed one

    @property
    def dtype(self) -> DType:
        """What products and sums are computed in."""
        if not self.dot.dtype.is_floating_point:
            return self.dot.dtype
        wide = any(s.dtype is f64 for o in (self.a, self.b) for s in o.statements)
        return f64 if wide or self.dot.dtype is f64 else f32

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Padding that is not stored around an operand."""
        return self.a.guards + self.b.guards


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of a contraction: its index is `loop // step % extent`.

    None stands for a number that follows from no literal alone.
    """

    role: str
    loop: str
    step: int | None
    extent: Size | None

    def stride(self, at: Affine) -> Size | None:
        """The step in memory along this dimension; a merged loop's addresses cross all alike."""
        s = at.stride(self.loop)
        if s == 0 or self.step == 1:
            return s
        return s * self.step if isinstance(s, int) and self.step is not None else None


def is_convolution(kernel: Kernel) -> bool:
    """Whether its products are those of a convolution, which sums over channels and taps."""
    summed = {a.name for a in kernel.phases[0].axes}
    return any(role != "k" for r in kernel.roles if r.loop in summed for role in r.names)


def dimensions(kernel: Kernel) -> tuple[Dimension, ...]:
    """What the loops of a contraction run over, as its `roles` say."""
    loops = (*kernel.axes, *(a for phase in kernel.phases[:1] for a in phase.axes))
    extents = {a.name: a.extent for a in loops}
    return tuple(d for r in kernel.roles for d in _of_loop(r, extents[r.loop]))


def _of_loop(r: Roles, whole: Size) -> Iterator[Dimension]:
    steps = [_product(r.extents[k:]) for k in range(len(r.names))]
    yield Dimension(r.names[0], r.loop, steps[0], _divided(whole, steps[0]))
    for name, step, extent in zip(r.names[1:], steps[1:], r.extents, strict=True):
        yield Dimension(name, r.loop, step, extent)


def _product(sizes: Sequence[Size]) -> int | None:
    literal = [n for n in sizes if isinstance(n, int)]
    return prod(literal) if len(literal) == len(sizes) else None


def _divided(whole: Size, inner: int | None) -> Size | None:
    if inner == 1:
        return whole
    return whole // inner if isinstance(whole, int) and inner else None


def dissect(kernel: Kernel) -> Contraction | None:
    """The parts of a kernel of kind "contract"; None if it is another, or its epilogue loops."""
    if kernel.kind != "contract" or any(p.axes for p in kernel.phases[1:]):
        return None
    first, *rest = kernel.phases
    dot = first.body[-1]
    assert isinstance(dot, Dot)
    a, b = _operand(first.body, dot.a), _operand(first.body, dot.b)
    epilogue = tuple(s for p in rest for s in p.body)
    sliding = _sliding(kernel, first.axes[-1].name) if first.axes else frozenset[str]()
    return Contraction(a, b, dot, kernel.axes, first.axes, epilogue, kernel.partials, sliding)


def _sliding(kernel: Kernel, innermost: str) -> frozenset[str]:
    """Axes whose points read, along the innermost summed one, what their neighbours read there."""
    names = {r.loop: set(r.names) for r in kernel.roles}
    inner = names.get(innermost, set())
    ends = [{w.out, w.tap} for w in kernel.window]
    with_it = set[str]().union(*(pair - inner for pair in ends if pair & inner))
    return frozenset(a.name for a in kernel.axes if names.get(a.name, set()) & with_it)


def plain_contraction(kernel: Kernel) -> Contraction | None:
    """Its parts if it is a contraction of floats in the plain form:

    operands of affine loads and arithmetic, and an epilogue without loops, failures and addresses
    that are data.
    """
    c = dissect(kernel)
    if c is None or not c.reduced or not c.dot.dtype.is_floating_point:
        return None
    return c if c.a.plain and c.b.plain and all(map(_plain_epilogue, c.epilogue)) else None


def _operand(body: tuple[Statement, ...], name: str) -> Operand:
    """The backward slice of `name`."""
    wanted, found = {name}, list[Definition]()
    for s in reversed(body):
        if isinstance(s, Store | Dot) or s.name not in wanted:
            continue
        wanted.update(arguments(s))
        found.append(s)
    return Operand(name, tuple(reversed(found)))


def _plain(s: Definition) -> bool:
    if isinstance(s, Apply):
        return not _may_fail(s)
    return isinstance(s, Const) or (isinstance(s, Load) and not s.indirect)


def _plain_epilogue(s: Statement) -> bool:
    if isinstance(s, Apply):
        return not _may_fail(s)
    return not getattr(s, "indirect", ()) and not getattr(s, "add", False)


def _may_fail(s: Apply) -> bool:
    """Whether it writes the error cell for some data, so that it runs for real points alone."""
    return OPS[s.op].may_fail != "never"
