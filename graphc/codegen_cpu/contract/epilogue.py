"""What follows the Dot: bias, activation, residual, an optimizer's update, the stores.

Runs once for each row of a finished tile, a whole vector at a time, on the sums that the register
tile left in memory. Loads that no row changes are read once for the tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.codegen_cpu import scalar
from graphc.codegen_cpu.contract.frame import Frame, Int
from graphc.codegen_cpu.contract.microkernel import spread
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.ir.kernel import Affine, Apply, Const, Guard, Index, Inside, Load, Statement, Store
from graphc.ir.types import DType, i64


@dataclass(frozen=True, slots=True)
class Patch:
    """A vector of outputs: their index (lane axis: its first point), width and mask."""

    index: Mapping[str, Int]
    lanes: int
    mask: str | None


class Epilogue:
    """Evaluates the epilogue's statements for vectors of outputs."""

    def __init__(self, frame: Frame, plan: Plan) -> None:
        self.frame, self.plan = frame, plan
        c = plan.contraction
        self.dtypes: dict[str, DType] = {c.dot.name: c.dot.dtype}
        self.dtypes |= {s.name: s.dtype for s in c.epilogue if not isinstance(s, Store)}
        rows = {r.axis.name for r in plan.rows}
        self.constant = [
            s for s in c.epilogue
            if isinstance(s, Load) and s.buffer in frame.readonly
            and not rows & {a for g in (s.at, *(g.at for g in s.guards)) for a, _ in g.terms}
        ]  # fmt: skip

    def preload(self, patch: Patch) -> dict[str, str]:
        """Values of the loads that are the same for every row."""
        return {s.name: self._load(s, patch) for s in self.constant}

    def run(self, patch: Patch, known: Mapping[str, str], total: str) -> Mapping[str, str]:
        """Everything after the Dot, whose sums are `total`; the values that it came to."""
        dot, frame = self.plan.contraction.dot, self.frame
        values = dict(known)
        wide = self.plan.contraction.dtype
        values[dot.name] = scalar.cast(frame.e, patch.lanes, wide, dot.dtype, total)
        for s in self.plan.contraction.epilogue:
            if isinstance(s, Store):
                known_value = s.value in values
                value = values[s.value] if known_value else spread(frame, s.value, patch.lanes)
                self._store(s, patch, value)
            elif s.name not in values:
                values[s.name] = self._value(s, patch, values)
        return values

    def _value(self, s: Statement, patch: Patch, values: Mapping[str, str]) -> str:
        e, lanes = self.frame.e, patch.lanes
        if isinstance(s, Load):
            return self._load(s, patch)
        if isinstance(s, Const):
            return literal(s.value, scalar.register(s.dtype, lanes))
        if isinstance(s, Index):
            return scalar.cast(e, lanes, i64, s.dtype, self._points(s.at, patch))
        if isinstance(s, Inside):
            return self._guards(s.guards, patch) or literal(True, Vec("i1", lanes))
        assert isinstance(s, Apply)
        kinds = [self._dtype(a) for a in s.args]
        args = [values[a] if a in values else spread(self.frame, a, lanes) for a in s.args]
        return scalar.apply(e, lanes, s.op, s.dtype, kinds, args)

    def _dtype(self, name: str) -> DType:
        return self.dtypes[name] if name in self.dtypes else self.frame.scalars[name][0]

    def _load(self, s: Load, patch: Patch) -> str:
        mask = self._both(patch, patch.mask, self._guards(s.guards, patch))
        pointer, stride = self._place(s.buffer, s.at, patch)
        if stride == 0 and not s.guards:
            mask = None
        elif stride == 0 and patch.lanes > 1:
            stride = "0"  # one address, but some lanes must not read it: gather
        return self.frame.lanes_at(pointer, stride, s.dtype, patch.lanes, mask)

    def _store(self, s: Store, patch: Patch, value: str) -> None:
        mask = self._both(patch, patch.mask, self._guards(s.guards, patch))
        pointer, stride = self._place(s.buffer, s.at, patch)
        dtype = self.frame.dtypes[s.buffer]
        self.frame.store_lanes(pointer, stride, dtype, patch.lanes, value, mask)

    def _place(self, buffer: str, at: Affine, patch: Patch) -> tuple[str, Int]:
        offset = self.frame.offset(at, patch.index)
        base, dtype = self.frame.buffers[buffer], self.frame.dtypes[buffer]
        stride = self.frame.size(at.stride(self.plan.lane.name))
        return self.frame.pointer(base, offset, dtype), stride

    def _points(self, at: Affine, patch: Patch) -> str:
        """The values of an affine form in the patch's lanes."""
        f, lanes = self.frame, patch.lanes
        first = f.splat(f.offset(at, patch.index), lanes)
        stride = f.size(at.stride(self.plan.lane.name))
        if stride == 0 or lanes == 1:
            return first
        t = Vec("i64", lanes)
        steps = f.e.value(f"mul {t} {f.iota(lanes)}, {f.splat(stride, lanes)}")
        return f.e.value(f"add {t} {first}, {steps}")

    def _guards(self, guards: tuple[Guard, ...], patch: Patch) -> str | None:
        mask: str | None = None
        t = Vec("i64", patch.lanes)
        for guard in guards:
            at = self._points(guard.at, patch)
            low = self.frame.splat(self.frame.size(guard.lo), patch.lanes)
            high = self.frame.splat(self.frame.size(guard.hi), patch.lanes)
            above = self.frame.e.value(f"icmp sle {t} {low}, {at}")
            below = self.frame.e.value(f"icmp slt {t} {at}, {high}")
            mask = self._both(patch, mask, self._both(patch, above, below))
        return mask

    def _both(self, patch: Patch, x: str | None, y: str | None) -> str | None:
        if x is None or y is None:
            return y if x is None else x
        return self.frame.e.value(f"and {Vec('i1', patch.lanes)} {x}, {y}")
