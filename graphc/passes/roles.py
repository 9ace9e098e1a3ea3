"""roles: what each loop of a contraction runs over, kept while loops merge.

A merged loop is told as its parts (`d5: s c[3]`), so a back end that wants single taps, or the
image behind a row of a matrix, finds them without another nest. Parts that are no part of a window
are only more points of one kind: they are told as one, and so products over other images, or
over other batches and lengths, stay one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.ir.kernel import Axis, Roles, Size, WindowAxis
from graphc.ir.types import Shape

Place = Callable[[Size], Size]  # a number as the kernel's text says it


class Part(NamedTuple):
    """One dimension of a contraction in a loop."""

    role: str
    extent: int


@dataclass
class Geometry:
    """The parts of each axis, outermost first, and the windows that slide over them."""

    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    window: tuple[WindowAxis, ...] = ()

    @staticmethod
    def of(shape: Shape, roles: Iterable[str], window: Iterable[WindowAxis] = ()) -> Geometry:
        """Of axes that are one dimension each."""
        parts = map(Part, roles, shape)
        return Geometry({f"d{k}": (part,) for k, part in enumerate(parts)}, tuple(window))

    def alike(self, outer: str, inner: str) -> bool:
        """Whether two axes are points of one kind."""
        return len(self._told((*self.parts.get(outer, ()), *self.parts.get(inner, ())))) < 2

    def join(self, outer: str, inner: str) -> None:
        """`inner` runs over both from now on."""
        if inner in self.parts:
            self.parts[inner] = (*self.parts.pop(outer), *self.parts[inner])

    def roles(self, axes: Iterable[Axis], size: Place) -> tuple[Roles, ...]:
        """What `axes` run over; dimensions of one point are gone."""
        found = []
        for a in axes:
            told = self._told(self.parts.get(a.name, ()))
            if told:
                names = tuple(p.role for p in told)
                found.append(Roles(a.name, names, tuple(size(p.extent) for p in told[1:])))
        return tuple(found)

    def windows(self, size: Place) -> tuple[WindowAxis, ...]:
        return tuple(
            WindowAxis(w.out, w.tap, size(w.stride), size(w.dilation), size(w.low), size(w.end))
            for w in self.window
        )

    def _told(self, parts: Iterable[Part]) -> list[Part]:
        """Neighbours outside of windows as one."""
        slides = {role for w in self.window for role in (w.out, w.tap)}
        told: list[Part] = []
        for p in parts:
            if told and not slides & {p.role, told[-1].role}:
                last = told.pop()
                role = p.role if last.role == "batch" else last.role
                p = Part(role, last.extent * p.extent)
            told.append(p)
        return told
