"""A contract kernel taken apart: two operands, the Dot, the axes and what becomes of the sums."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from graphc.codegen_cpu.scalar import reports
from graphc.ir.kernel import (
    Apply,
    Axis,
    Const,
    Definition,
    Dot,
    Kernel,
    Load,
    Size,
    Statement,
)
from graphc.ir.types import DType, f32, f64

UNKNOWN = 32  # the extent that planning assumes for a symbol, most often a batch


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of the Dot and the statements that compute it, loads first."""

    value: str
    statements: tuple[Definition, ...]

    @property
    def loads(self) -> tuple[Load, ...]:
        return tuple(s for s in self.statements if isinstance(s, Load))

    def uses(self, axis: str) -> bool:
        return any(load.at.stride(axis) != 0 for load in self.loads)

    def reach(self, axis: str) -> int:
        """The longest step in memory, in elements, that a step along the axis makes."""
        return max(abs(guess(load.at.stride(axis))) for load in self.loads)

    def contiguous(self, axis: str) -> bool:
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

    @property
    def dtype(self) -> DType:
        """What products and sums are computed in."""
        wide = any(s.dtype is f64 for o in (self.a, self.b) for s in o.statements)
        return f64 if wide or self.dot.dtype is f64 else f32


def dissect(kernel: Kernel) -> Contraction | None:
    """The kernel's parts, or None if it is no contraction of the plain form."""
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
    return Contraction(a, b, dot, kernel.axes, kernel.phases[0].axes, epilogue)


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
        return not s.guards and not s.indirect
    return not (isinstance(s, Apply) and reports(s.op))


def _plain_epilogue(s: Statement) -> bool:
    if isinstance(s, Apply):
        return not reports(s.op)
    return not getattr(s, "indirect", ()) and not getattr(s, "add", False)


# ---- extents ----------------------------------------------------------------------------------


def guess(size: Size) -> int:
    return size if isinstance(size, int) else UNKNOWN


def points(axes: Iterable[Axis]) -> int:
    return math.prod(guess(a.extent) for a in axes)


def over_samples(c: Contraction) -> bool:
    """Whether the sum is over an unknown number of rows of two matrices, as a weight gradient's."""
    axis = c.reduced[0]
    known = len(c.reduced) > 1 or isinstance(axis.extent, int)
    return not (known or c.a.contiguous(axis.name) or c.b.contiguous(axis.name))
