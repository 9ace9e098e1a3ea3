"""Copies between two memory orders, in squares that are turned in registers.

    lanes w, stored side by side; axis c, loaded side by side; a square of as many of each:
      a vector along c at each lane  =>  turned  =>  a vector across lanes at each c

A gather would read one element of each line, and where lines lie a page apart (the planes of an
image), all of them share the same few places of the cache, so that a line is gone before its next
element is asked for. A square reads each line once, and whole. Which points a square has, no
element depends on; what fills none goes element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from graphc.codegen_cpu import memory
from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.frame import Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.scalar import register
from graphc.codegen_cpu.statements import Point
from graphc.ir.kernel import Kernel, Load, Store
from graphc.ir.kernel_uses import Uses
from graphc.ir.types import f32

if TYPE_CHECKING:
    from graphc.codegen_cpu.map.loops import Template


def crossed_axis(kernel: Kernel, lane: str, lanes: int, u: Uses) -> str:
    """The axis that loads go along where lanes would gather, and stores do not; or ""."""
    if lanes < 4 or len(kernel.phases) != 1 or kernel.phases[0].axes:
        return ""
    body = kernel.phases[0].body
    stores = [s for s in body if isinstance(s, Store)]
    if any(s.guards or s.indirect or s.add or s.bound is not None for s in stores):
        return ""
    stored = [u.memory[s.buffer] for s in stores]
    read = {u.memory[s.buffer] for s in body if isinstance(s, Load)}
    if any(s.at.stride(lane) != 1 for s in stores) or not read.isdisjoint(stored):
        return ""
    axes = {a.name: a for a in kernel.axes if a.name != lane}
    for s in _crossed(kernel, lane):
        for name, step in s.at.terms:
            n = axes[name].extent if name in axes else 0
            if step == 1 and (isinstance(n, str) or n >= lanes):
                return name
    return ""


def _crossed(kernel: Kernel, lane: str) -> list[Load]:
    """The loads whose lanes lie apart, all of them."""
    floats = {b.name for b in kernel.buffers if b.dtype is f32}
    loads = [s for s in kernel.statements() if isinstance(s, Load)]
    plain = [s for s in loads if not (s.guards or s.indirect) and s.dtype is f32]
    return [s for s in plain if s.buffer in floats and s.at.stride(lane) not in (0, 1)]


def turned(e: Emitter, t: Vec, rows: Sequence[str]) -> list[str]:
    """As many vectors as they have lanes: lane k of row j is lane j of row k then."""
    found, apart = [*rows], 1
    while apart < t.lanes:
        for first in (k for k in range(t.lanes) if not k & apart):
            pair = found[first], found[first + apart]
            for place, moved in ((first, 0), (first + apart, apart)):
                picks = [
                    t.lanes + k - apart + moved if k & apart else k + moved for k in range(t.lanes)
                ]
                words = ", ".join(f"i32 {k}" for k in picks)
                found[place] = e.value(
                    f"shufflevector {t} {pair[0]}, {t} {pair[1]}, <{t.lanes} x i32> <{words}>"
                )
        apart *= 2
    return found


class Crossing:
    """The loops of a kernel over blocks of the crossed axis, and of lanes inside each."""

    def __init__(self, template: Template, axis: str) -> None:
        self.t, self.axis = template, axis
        self.e, self.f, self.lanes = template.e, template.frame, template.plan.lanes
        loads = _crossed(template.kernel, template.plan.lane)
        self.loads = [s for s in loads if s.at.stride(axis) == 1]

    def blocks(self) -> Int:
        """Of the crossed axis, the last perhaps partial."""
        return self.f.ceil_div(self._extent(), self.lanes)

    def _extent(self) -> Int:
        return self.f.size(self.t.uses.extents[self.axis])

    def run(self, start: Int, stop: Int, point: Point) -> None:
        """The blocks [start, stop), at a point of the outer axes."""
        f = self.f
        with self.t.loop(start, stop) as block:
            first = f.mul(block, self.lanes)
            last = f.least(f.add(first, self.lanes), self._extent())
            visit = partial(self._points, first, last)
            self.t.lane_blocks(0, self.t.blocks(), point, visit)

    def _points(self, first: Int, last: Int, point: Point) -> None:
        """The points [first, last) of the crossed axis at a vector of lanes."""
        square = partial(self._square, first, point)
        rest = partial(self._each, first, last, point)
        whole = self.f.equal(self.f.sub(last, first), self.lanes)
        if whole == "false":
            rest()
        elif whole == "true":
            square()
        else:
            self.e.either(whole, square=square, rest=rest)

    def _each(self, first: Int, last: Int, point: Point) -> None:
        with self.t.loop(first, last) as index:
            self.t.elements(point.at(self.axis, index))

    def _square(self, first: Int, point: Point) -> None:
        columns = {s.name: self._turned(s, first, point) for s in self.loads}
        for k in range(self.lanes):
            for s in self.loads:
                self.t.values[s.name] = Value(s.dtype, [columns[s.name][k]], True)
            self.t.elements(point.at(self.axis, self.f.add(first, k)), columns)

    def _turned(self, s: Load, first: Int, point: Point) -> list[str]:
        """The vectors of a load at each point of the square; a missing lane is the last."""
        f, lane = self.f, point.lane
        index = {**point.index, self.axis: first}
        last = f.sub(f.size(self.t.uses.extents[lane]), 1)
        rows = []
        for k in range(self.lanes):
            row = f.add(index[lane], k)
            row = f.least(row, last) if point.vectors[0].mask else row
            at = f.offset(s.at, {**index, lane: row})
            rows.append(memory.load(f, f.address(s.buffer, at), s.dtype, self.lanes))
        return turned(self.e, register(s.dtype, self.lanes), rows)
