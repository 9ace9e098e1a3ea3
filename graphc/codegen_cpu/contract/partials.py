"""Statistics of the results, run by run, as tiles find them (`Kernel.partials`).

    tile: each row adds its vectors to accumulators    # in registers, or on the stack beside them
    run: each tile adds those to the run's, in float64, in the order of the tiles
    end of a run: the statistic is stored

All tiles of a run belong to one thread and the first one starts anew, so what is stored depends on
shapes alone. A run's float64 sums lie on the stack: of all lanes, where the tiles of other lanes
come between its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen_cpu import scalar
from graphc.codegen_cpu.contract.epilogue import Patch
from graphc.codegen_cpu.contract.frame import Frame, Int
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.ir.kernel import Partial
from graphc.ir.types import DType, f32, f64


@dataclass(frozen=True, slots=True)
class Run:
    """Where a tile stands in its run: whether first and last (i1), and where its lanes begin."""

    first: str
    last: str
    lanes: Int


@dataclass(frozen=True, slots=True)
class _Sum:
    """A sum of values or of their squares: in each vector of a tile, and over the run."""

    value: str
    source: DType
    dtype: DType
    squared: bool
    tile: list[str]
    run: str


class Partials:
    """Accumulates and stores what `Kernel.partials` asks for."""

    def __init__(self, frame: Frame, plan: Plan, dtypes: Mapping[str, DType], patches: int) -> None:
        self.frame, self.plan, self.patches = frame, plan, patches
        self.lanes = plan.lanes if plan.how == "lanes" else plan.vectors
        self.wide = Vec("double", self.lanes)
        self.sums = [
            (p, self._sums(p, dtypes[p.value])) for p in plan.contraction.partials
        ]  # fmt: skip

    def _sums(self, p: Partial, source: DType) -> list[_Sum]:
        """What one statistic is made of: short sums in the values' own type, moments in float64."""
        own = f64 if p.op != "sum" or source is f64 else f32
        powers = (False, True) if p.op == "deviations" else (False,)
        return [self._sum(p.value, source, own, squared) for squared in powers]

    def _sum(self, value: str, source: DType, dtype: DType, squared: bool) -> _Sum:
        t = scalar.register(dtype, self.lanes)
        cells = [self.frame.e.value(f"alloca {t}, align 64") for _ in range(self.patches)]
        room = self.plan.run_lanes if self.plan.how == "lanes" else self.plan.run_lanes + self.lanes
        return _Sum(value, source, dtype, squared, cells, self.frame.scratch(room, self.wide))

    @property
    def any(self) -> bool:
        """Whether the kernel asks for some."""
        return bool(self.sums)

    def start(self) -> None:
        """Before the first row of a tile."""
        for s in self._all():
            t = scalar.register(s.dtype, self.lanes)
            for cell in s.tile:
                self.frame.e.do(f"store {t} {literal(0.0, t)}, ptr {cell}, align 64")

    def add(self, patch: int, values: Mapping[str, str]) -> None:
        """One vector of a row's results."""
        e = self.frame.e
        for s in self._all():
            t, cell = scalar.register(s.dtype, self.lanes), s.tile[patch]
            x = scalar.cast(e, self.lanes, s.source, s.dtype, values[s.value])
            x = e.value(f"fmul {t} {x}, {x}") if s.squared else x
            before = e.value(f"load {t}, ptr {cell}, align 64")
            e.do(f"store {t} {e.value(f'fadd {t} {before}, {x}')}, ptr {cell}, align 64")

    def finish(self, patches: Sequence[Patch], run: Run) -> None:
        """Behind the last row of a tile; behind that of a run, store what it came to."""
        e = self.frame.e
        if not self.sums:
            return
        for s in self._all():
            for j in range(self.patches):
                self._to_run(s, j, run)
        inside, done = e.fresh("stored"), e.fresh("run")
        e.do(f"br i1 {run.last}, label %{inside}, label %{done}")
        e.block(inside)
        for p, sums in self.sums:
            for j, patch in enumerate(patches):
                self._store(p, [self._load(s, j, run) for s in sums], patch)
        e.do(f"br label %{done}")
        e.block(done)

    def _all(self) -> list[_Sum]:
        return [s for _, sums in self.sums for s in sums]

    def _to_run(self, s: _Sum, j: int, run: Run) -> None:
        """Add a tile's vector to the run's."""
        e, t = self.frame.e, scalar.register(s.dtype, self.lanes)
        tile = e.value(f"load {t}, ptr {s.tile[j]}, align 64")
        tile = scalar.cast(e, self.lanes, s.dtype, f64, tile)
        zero, before = literal(0.0, self.wide), self._load(s, j, run)
        picked = f"i1 {run.first}, {self.wide} {zero}, {self.wide} {before}"
        total = e.value(f"fadd {self.wide} {e.value(f'select {picked}')}, {tile}")
        e.do(f"store {self.wide} {total}, ptr {self._at(s, j, run)}, align 8")

    def _load(self, s: _Sum, j: int, run: Run) -> str:
        return self.frame.e.value(f"load {self.wide}, ptr {self._at(s, j, run)}, align 8")

    def _at(self, s: _Sum, j: int, run: Run) -> str:
        return self.frame.pointer(s.run, self.frame.add(run.lanes, j * self.lanes), f64)

    def _store(self, p: Partial, sums: Sequence[str], patch: Patch) -> None:
        f, dtype = self.frame, self.frame.dtypes[p.buffer]
        value = scalar.cast(f.e, self.lanes, f64, dtype, self._statistic(p, sums))
        pointer = f.pointer(f.buffers[p.buffer], f.offset(p.at, patch.index), dtype)
        stride = f.size(p.at.stride(self.plan.lane.name))
        f.store_lanes(pointer, stride, dtype, self.lanes, value, patch.mask)

    def _statistic(self, p: Partial, sums: Sequence[str]) -> str:
        e, t = self.frame.e, self.wide
        if p.op == "sum":
            return sums[0]
        assert isinstance(p.run, int), "runs are cut by literal numbers"
        count = literal(float(p.run), t)
        mean = e.value(f"fdiv {t} {sums[0]}, {count}")
        if p.op == "mean":
            return mean
        shift = e.value(f"fmul {t} {mean}, {sums[0]}")
        return e.value(f"fsub {t} {sums[1]}, {shift}")
