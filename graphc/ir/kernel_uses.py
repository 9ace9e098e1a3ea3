"""What the statements of a kernel read and what changes them, for any back end.

`uses` says it for a whole kernel: a back end hoists by it, chooses what runs side by side, and
knows which loads another buffer's stores may change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphc.ir.kernel import (
    Affine,
    Apply,
    Dot,
    Index,
    Inside,
    Kernel,
    Load,
    Reduce,
    Size,
    Statement,
    Store,
)
from graphc.ir.types import DType, i64


@dataclass(frozen=True, slots=True)
class Uses:
    """For each value, the axes it depends on and its dtype; buffers whose loads may not move."""

    axes: dict[str, frozenset[str]]
    dtypes: dict[str, DType]
    written: frozenset[str]
    memory: dict[str, str]  # of each buffer, one name for all that it may equal
    extents: dict[str, Size]  # of each axis


def accesses(s: Statement) -> Iterator[Affine]:
    """The affine forms of a statement."""
    if isinstance(s, (Load, Store, Index)):
        yield s.at
    if isinstance(s, (Load, Store, Inside)):
        yield from (guard.at for guard in s.guards)


def arguments(s: Statement) -> tuple[str, ...]:
    """The values a statement reads."""
    if isinstance(s, Apply):
        return s.args
    if isinstance(s, Reduce):
        return (s.arg,)
    if isinstance(s, Dot):
        return (s.a, s.b)
    indirect = tuple(i.index for i in s.indirect) if isinstance(s, (Load, Store)) else ()
    return (s.value, *indirect) if isinstance(s, Store) else indirect


def own_axes(s: Statement) -> frozenset[str]:
    return frozenset(axis for at in accesses(s) for axis, _ in at.terms)


def uses(kernel: Kernel) -> Uses:
    axes: dict[str, frozenset[str]] = {}
    dtypes = {s.name: s.dtype for s in kernel.scalars} | dict.fromkeys(kernel.sizes, i64)
    for phase in kernel.phases:
        inner = frozenset(axis.name for axis in phase.axes)
        for s in phase.body:
            if isinstance(s, Store):
                continue
            found = own_axes(s).union(*(axes.get(a, frozenset()) for a in arguments(s)))
            dtypes[s.name] = s.dtype
            axes[s.name] = found - inner if isinstance(s, (Reduce, Dot)) else found
    memory: dict[str, str] = {b.name: b.name for b in kernel.buffers}
    for b in kernel.buffers:
        if b.alias:
            old, new = memory[b.name], memory[b.alias]
            memory = {name: new if m == old else m for name, m in memory.items()}
    stored = {memory[b.name] for b in kernel.buffers if b.access != "r"}
    written = frozenset(name for name, m in memory.items() if m in stored)
    every = [*kernel.axes, *(axis for phase in kernel.phases for axis in phase.axes)]
    return Uses(axes, dtypes, written, memory, {axis.name: axis.extent for axis in every})


def depends(s: Statement, u: Uses) -> frozenset[str]:
    """The axes that change what a statement does."""
    return own_axes(s).union(*(u.axes.get(a, frozenset()) for a in arguments(s)))
