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
)
from graphc.ir.ops import OPS
from graphc.ir.types import DType, f32, f64


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of the Dot and the statements that compute it, loads first."""

    value: str
    statements: tuple[Definition, ...]

    @property
    def loads(self) -> tuple[Load, ...]:
        return tuple(s for s in self.statements if isinstance(s, Load))

    def uses(self, axis: str) -> bool:
        """Whether a step along the axis reads elsewhere."""
        return any(load.at.stride(axis) != 0 for load in self.loads)

    def contiguous(self, axis: str) -> bool:
        """Whether steps along the axis read side by side, or one element again."""
        return all(load.at.stride(axis) in (0, 1) for load in self.loads)


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

    @property
    def dtype(self) -> DType:
        """What products and sums are computed in."""
        wide = any(s.dtype is f64 for o in (self.a, self.b) for s in o.statements)
        return f64 if wide or self.dot.dtype is f64 else f32

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Padding that is not stored around an operand."""
        return tuple(g for o in (self.a, self.b) for load in o.loads for g in load.guards)


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
    """The kernel's parts, or None if it is no contraction of floats in the plain form:

    operands of affine loads and arithmetic, and an epilogue without loops, failures and addresses
    that are data.
    """
    if kernel.kind != "contract" or not kernel.phases or not kernel.phases[0].axes:
        return None
    body = kernel.phases[0].body
    dot = body[-1]
    if not isinstance(dot, Dot) or not dot.dtype.is_floating_point:
        return None
    if any(p.axes for p in kernel.phases[1:]):
        return None
    a, b = _operand(body, dot.a), _operand(body, dot.b)
    if a is None or b is None:
        return None
    epilogue = tuple(s for p in kernel.phases[1:] for s in p.body)
    if not all(_plain_epilogue(s) for s in epilogue):
        return None
    return Contraction(a, b, dot, kernel.axes, kernel.phases[0].axes, epilogue, kernel.partials)


def _operand(body: tuple[Statement, ...], name: str) -> Operand | None:
    """The backward slice of `name`, or None where a statement is not plain."""
    wanted, found = {name}, []
    for s in reversed(body):
        if not isinstance(s, Load | Const | Apply) or s.name not in wanted:
            continue
        if not _plain(s) or (s.name == name and not s.dtype.is_floating_point):
            return None
        if isinstance(s, Apply):
            wanted.update(s.args)
        found.append(s)
    operand = Operand(name, tuple(reversed(found)))
    return operand if operand.loads else None


def _plain(s: Statement) -> bool:
    if isinstance(s, Load):
        return not s.indirect
    return not (isinstance(s, Apply) and _may_fail(s))


def _plain_epilogue(s: Statement) -> bool:
    if isinstance(s, Apply):
        return not _may_fail(s)
    return not getattr(s, "indirect", ()) and not getattr(s, "add", False)


def _may_fail(s: Apply) -> bool:
    """Whether it writes the error cell for some data, so that it runs for real points alone."""
    return OPS[s.op].may_fail != "never"
