"""Statistics of the results, run by run, as tiles find them (`Kernel.partials`).

    tile: each row adds its vectors to accumulators    # in registers, or in scratch beside them
    run: each tile adds those to the run's, in float64, in the order of the tiles
    end of a run: the statistic is stored

All tiles of a run belong to one thread and the first one starts anew, so what is stored depends on
shapes alone. A run's float64 sums lie in scratch: of all lanes, where the tiles of other lanes
come between its own.

Where a sum must be one of float64, of values or of their squares, the rows of a tile need not add
in it: those of float32 add up distances d from the first row k, which lose no more than the values
themselves, and sum(x) = sum(d) + n*k and sum(x*x) = sum(d*d) + k*(2*sum(d) + n*k) follow once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen_cpu import scalar
from graphc.codegen_cpu.contract.epilogue import Epilogue
from graphc.codegen_cpu.contract.microkernel import fma
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.statements import Point, Values, spread
from graphc.ir.kernel import Apply, Partial, Store
from graphc.ir.types import DType, f32, f64


@dataclass(frozen=True, slots=True)
class Run:
    """Where a tile stands in its run: whether first and last (i1), and where its lanes begin."""

    first: str
    last: str
    lanes: Int


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums of a value and, as the second power, of its squares."""

    value: str
    source: DType
    dtype: DType  # that rows add in
    shifted: bool  # by the first row
    cells: tuple[tuple[str, ...], ...]  # for each vector of a tile: its sums, its shift
    runs: tuple[str, ...]  # float64 sums over the run

    @property
    def powers(self) -> int:
        return len(self.runs)


class Partials:
    """Accumulates and stores what `Kernel.partials` asks for."""

    def __init__(self, epilogue: Epilogue, patches: int) -> None:
        """For `patches` vectors of a row."""
        self.frame, self.plan, self.statements = epilogue.frame, epilogue.plan, epilogue.statements
        self.patches, self.dtypes = patches, self.statements.uses.dtypes
        plan = self.plan
        self.lanes = plan.out_lanes
        self.wide = Vec("double", self.lanes)
        self.wanted = [(p, *self._asked(p)) for p in plan.contraction.partials]
        asked: dict[tuple[str, bool], int] = {}
        for _, value, moment, power in self.wanted:
            asked[value, moment] = max(power, asked.get((value, moment), 0))
        self.moments = {key: self._moments(*key, power) for key, power in asked.items()}
        self.begun: set[int] = set()  # patches of the tile that have a row

    def _asked(self, p: Partial) -> tuple[str, bool, int]:
        """The value whose moments a statistic is made of, whether in float64, the highest power."""
        if p.op != "sum":
            return p.value, True, 2 if p.op == "deviations" else 1
        if self.dtypes[p.value] is not f64:
            return p.value, False, 1
        made = {s.name: s for s in self.plan.contraction.epilogue if isinstance(s, Apply)}
        value, power = p.value, 1
        if value in made and made[value].op == "mul" and len(set(made[value].args)) == 1:
            value, power = made[value].args[0], 2
        if value in made and made[value].op == "cast" and self.dtypes[made[value].args[0]] is f32:
            return made[value].args[0], True, power
        return (value, True, power) if value in self.dtypes else (p.value, True, 1)

    def _moments(self, value: str, wide: bool, powers: int) -> _Moments:
        source = self.dtypes[value]
        shifted = wide and self.plan.direct and source is not f64
        dtype = f64 if source is f64 or (wide and not shifted) else f32
        t, e = scalar.register(dtype, self.lanes), self.frame.e
        cells = tuple(
            tuple(e.value(f"alloca {t}, align 64") for _ in range(powers + shifted))
            for _ in range(self.patches)
        )
        room = self.plan.run_lanes if self.plan.how == "lanes" else self.plan.run_lanes + self.lanes
        runs = tuple(self.frame.scratch(room, self.wide) for _ in range(powers))
        return _Moments(value, source, dtype, shifted, cells, runs)

    # ---- the rows of a tile --------------------------------------------------------------------

    def start(self) -> None:
        """Before the first row of a tile."""
        self.begun = set()
        for m in self.moments.values():
            t = scalar.register(m.dtype, self.lanes)
            for cells in m.cells:
                for cell in cells[: m.powers]:
                    self._put(t, literal(0.0, t), cell)

    def add(self, patch: int, values: Values) -> None:
        """One vector of a row's results."""
        for m in self.moments.values():
            t, cells = scalar.register(m.dtype, self.lanes), m.cells[patch]
            x = spread(self.frame, values[m.value], 0, self.lanes)
            x = scalar.cast(self.frame.e, self.lanes, m.source, m.dtype, x)
            if m.shifted:
                if patch not in self.begun:
                    self._put(t, self._finite(t, x), cells[-1])
                x = self.frame.e.value(f"fsub {t} {x}, {self._get(t, cells[-1])}")
            total = self._get(t, cells[0])
            self._put(t, self.frame.e.value(f"fadd {t} {total}, {x}"), cells[0])
            if m.powers > 1:
                self._put(t, fma(self.frame, t, x, x, self._get(t, cells[1])), cells[1])
        self.begun.add(patch)

    def _finite(self, t: Vec, x: str) -> str:
        """x, or zero where it is no number to measure distances from."""
        nothing = self.frame.e.value(f"fsub {t} {x}, {x}")
        zero = literal(0.0, t)
        holds = self.frame.e.value(f"fcmp oeq {t} {nothing}, {zero}")
        return self.frame.e.value(f"select {t.of('i1')} {holds}, {t} {x}, {t} {zero}")

    def _get(self, t: Vec, cell: str) -> str:
        return self.frame.e.value(f"load {t}, ptr {cell}, align 64")

    def _put(self, t: Vec, value: str, cell: str) -> None:
        self.frame.e.do(f"store {t} {value}, ptr {cell}, align 64")

    # ---- runs ----------------------------------------------------------------------------------

    def finish(self, points: Sequence[Point], run: Run) -> None:
        """Behind the last row of a tile; behind that of a run, store what it came to."""
        for m in self.moments.values():
            for j in range(self.patches):
                for power, total in enumerate(self._of_tile(m, j)):
                    self._to_run(m.runs[power], j, run, total)
        with self.frame.e.when(run.last, "stored", "run"):
            for p, value, wide, power in self.wanted:
                runs = self.moments[value, wide].runs[:power]
                for j, point in enumerate(points):
                    self._store(p, [self._load(r, j, run) for r in runs], point)

    def _of_tile(self, m: _Moments, j: int) -> list[str]:
        """The sums of a tile's vector in float64, about zero."""
        e, w, t = self.frame.e, self.wide, scalar.register(m.dtype, self.lanes)
        wide = [scalar.cast(e, self.lanes, m.dtype, f64, self._get(t, cell)) for cell in m.cells[j]]
        if not m.shifted:
            return wide
        shift = wide.pop()
        shifts = e.value(f"fmul {w} {shift}, {literal(float(self.plan.row_count), w)}")
        first = e.value(f"fadd {w} {wide[0]}, {shifts}")
        if m.powers == 1:
            return [first]
        both = e.value(f"fadd {w} {wide[0]}, {first}")
        return [first, fma(self.frame, w, shift, both, wide[1])]

    def _to_run(self, sums: str, j: int, run: Run, tile: str) -> None:
        """Add a tile's vector to the run's."""
        e, w, before = self.frame.e, self.wide, self._load(sums, j, run)
        before = e.value(f"select i1 {run.first}, {w} {literal(0.0, w)}, {w} {before}")
        total = e.value(f"fadd {w} {before}, {tile}")
        e.do(f"store {w} {total}, ptr {self._at(sums, j, run)}, align 8")

    def _load(self, sums: str, j: int, run: Run) -> str:
        return self.frame.e.value(f"load {self.wide}, ptr {self._at(sums, j, run)}, align 8")

    def _at(self, sums: str, j: int, run: Run) -> str:
        return self.frame.pointer(sums, self.frame.add(run.lanes, j * self.lanes), f64)

    def _store(self, p: Partial, sums: Sequence[str], point: Point) -> None:
        value = {p.value: Value(f64, [self._statistic(p, sums)], point.lanes > 1)}
        self.statements.run(Store(p.buffer, p.value, p.at, where=p.where), point, value)

    def _statistic(self, p: Partial, sums: Sequence[str]) -> str:
        e, w = self.frame.e, self.wide
        if p.op == "sum":
            return sums[-1]
        assert isinstance(p.run, int), "runs are cut by literal numbers"
        mean = e.value(f"fdiv {w} {sums[0]}, {literal(float(p.run), w)}")
        if p.op == "mean":
            return mean
        return e.value(f"fsub {w} {sums[1]}, {e.value(f'fmul {w} {mean}, {sums[0]}')}")
