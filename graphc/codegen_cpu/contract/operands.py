"""The operands of a contraction in registers, and where each step of the reduction finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.codegen_cpu import memory, scalar
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Values, compute, spread
from graphc.ir.kernel import Apply, Const, Load
from graphc.ir.kernel_contraction import Operand

Bases = dict[str, str]  # the pointer of each load, by name


def evaluate(
    frame: Frame,
    operand: Operand,
    pointers: Bases,
    strides: Mapping[str, Int],
    lanes: int,
    mask: str,
    plan: Plan,
) -> str:
    """The operand in `lanes` lanes, widened to what the sums are computed in."""
    values: Values = dict(frame.arguments)
    for s in operand.statements:
        if isinstance(s, Load):
            stride = strides[s.name]
            values[s.name] = _loaded(frame, s, pointers[s.name], stride, lanes, mask)
        else:
            assert isinstance(s, Apply | Const)
            values[s.name] = compute(frame, s, values, lanes, [mask])
    value, wide = values[operand.value], plan.contraction.dtype
    if value.varying or lanes == 1:
        x = spread(frame, value, 0, lanes)
        return scalar.cast(frame.e, lanes, value.dtype, wide, x)
    x = scalar.cast(frame.e, 1, value.dtype, wide, spread(frame, value, 0, 1))
    return frame.splat(x, scalar.register(wide, lanes))


def _loaded(f: Frame, s: Load, pointer: str, stride: Int, lanes: int, mask: str) -> Value:
    if stride == 0 or lanes == 1:
        return Value(s.dtype, [memory.load(f, pointer, s.dtype, 1)], False)
    return Value(s.dtype, [memory.load(f, pointer, s.dtype, lanes, "", mask, step=stride)], True)


class Stream:
    """One operand at several *points* (rows or vectors) along the innermost reduction loop.

    A point's offset that is a literal shares the operand's base pointer; any other gets a pointer
    of its own before the loop.
    """

    def __init__(
        self,
        frame: Frame,
        operand: Operand,
        bases: Bases,
        offsets: Sequence[Mapping[str, Int]],
        inner: str,
    ) -> None:
        self.frame, self.operand, self.loads = frame, operand, operand.loads
        self.steps = {load.name: frame.size(load.at.stride(inner)) for load in self.loads}
        self.cells = [
            {load.name: self._cell(load, bases[load.name], at[load.name]) for load in self.loads}
            for at in offsets
        ]
        self.moved: dict[tuple[str, str], str] = {}
        first = self.steps[self.loads[0].name]
        self.side_by_side = len(operand.statements) == 1 and first == 1

    def _cell(self, load: Load, base: str, offset: Int) -> tuple[str, int]:
        """A pointer and a literal number of elements to add to it."""
        if isinstance(offset, int):
            return base, offset
        return self.frame.pointer(base, offset, load.dtype), 0

    def distinct(self, steps: int, fold: int) -> int:
        """How many different places the loads of `steps` steps of `fold` points read, for each."""
        first = self.loads[0].name
        step = self.frame.mul(self.steps[first], fold)
        ahead = [step * k for k in range(steps)] if isinstance(step, int) else [0]
        places = {(c[first][0], c[first][1] + k) for c in self.cells for k in ahead}
        return len(places) * (1 if isinstance(step, int) else steps)

    def advance(self, i: Int) -> None:
        """Move every distinct pointer to step `i`."""
        self.moved = {}
        for cells in self.cells:
            for load in self.loads:
                base = cells[load.name][0]
                if (load.name, base) not in self.moved:
                    by = self.frame.mul(self.steps[load.name], i)
                    self.moved[load.name, base] = self.frame.pointer(base, by, load.dtype)

    def pointers(self, point: int, ahead: int) -> Bases:
        """Where the loads of a point are, `ahead` steps after the last `advance`."""
        found: Bases = {}
        for load in self.loads:
            base, shift = self.cells[point][load.name]
            offset = self.frame.add(shift, self.frame.mul(self.steps[load.name], ahead))
            found[load.name] = self.frame.pointer(self.moved[load.name, base], offset, load.dtype)
        return found


def moved(frame: Frame, operand: Operand, bases: Bases, axis: str, i: Int) -> Bases:
    """The base pointers at point `i` of a reduction axis."""
    return {
        load.name: frame.pointer(
            bases[load.name], frame.mul(frame.size(load.at.stride(axis)), i), load.dtype
        )
        for load in operand.loads
    }
