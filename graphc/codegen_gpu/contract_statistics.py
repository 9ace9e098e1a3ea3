"""Statistics of a contraction's results over runs of points (`Kernel.partials`), found in tiles.

Each tile sums its rows in float32, and the squares of their distances from its mean where float64
is asked for, which loses no more than the results themselves did; what a tile gives is float64.
Where a run has several tiles, each lays its sums into scratch memory, and the one that comes last
adds them up in the order of the rows, so every run of a program gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen_gpu.body import Group, Point, Value
from graphc.codegen_gpu.contract_parts import Product
from graphc.codegen_gpu.scalar import REGISTER
from graphc.ir.kernel import Apply, Partial, Store
from graphc.ir.types import DType, f32, f64

if TYPE_CHECKING:
    from graphc.codegen_gpu.contract import ContractTemplate

SUM_BYTES = f64.itemsize


class Moment(NamedTuple):
    """The sum of a value of the epilogue, or of its square; `exact`: about no other number."""

    value: str
    power: int
    exact: bool


class Statistics:
    """Writes them behind an epilogue."""

    def __init__(self, template: ContractTemplate) -> None:
        self.template, self.writer, self.body = template, template.writer, template.body
        self.c = template.c
        self.dtypes = dtypes_of(self.c)
        self.wanted = [(p, self.asked(p)) for p in self.c.kernel.partials]
        self.moments = list(dict.fromkeys(m for _, moments in self.wanted for m in moments))

    @property
    def scratch_bytes(self) -> int:
        """Of a program; none where a tile is a whole run."""
        return len(self.moments) * self.template.t.cols * SUM_BYTES if self.apart else 0

    @property
    def apart(self) -> bool:
        """Whether a run has several tiles."""
        t = self.template
        return t.tiles_of(0) != "1"

    def asked(self, p: Partial) -> tuple[Moment, ...]:
        """What a statistic is made of: of float64 values of float32, their float32 ones."""
        if p.op == "mean":
            return (Moment(p.value, 1, False),)
        if p.op == "deviations":
            return Moment(p.value, 1, False), Moment(p.value, 2, False)
        if self.dtypes[p.value] is not f64:
            return (Moment(p.value, 1, True),)
        made = {s.name: s for s in self.c.epilogue if isinstance(s, Apply)}
        value, power = p.value, 1
        s = made.get(value)
        if s is not None and s.op == "mul" and s.args[0] == s.args[1]:
            value, power = s.args[0], 2
        s = made.get(value)
        if s is not None and s.op == "cast" and self.dtypes[s.args[0]] is f32:
            return (Moment(s.args[0], power, False),)
        return (Moment(p.value, 1, True),)

    # ---- a tile --------------------------------------------------------------------------------

    def run(self, level: int, points: str) -> None:
        """Behind the epilogue's statements; `points` says how many the run has."""
        sums = self.of_tile(level, points)
        if not self.apart:
            self.store(sums, level, points)
            return
        t, w = self.template, self.writer
        width, tiles = t.t.cols, t.tiles_of(0)
        columns = t.tiles_of(1)
        run = w.let(f"{t.number.text} * {columns} + {t.col_tile}", 0)
        each = len(self.moments) * width
        w.do(f"lanes = tl.arange(0, {width})")
        w.do(f"runs = scratch + tl.cast({run}, tl.int64) * {tiles} * {each} + lanes")
        for k, text in enumerate(sums):
            w.do(f"tl.store(runs + {t.row_tile} * {each} + {k * width}, {text})")
        w.do("tl.debug_barrier()")
        w.do(f'arrived = tl.atomic_add(counters + {run}, 1, sem="acq_rel")')
        with w.block(f"if arrived >= {tiles} - 1:") as inner:
            w.do("tl.debug_barrier()")
            totals = [w.assign(f"tl.zeros([{width}], tl.float64)", inner) for _ in sums]
            with w.block("for s in range(0, arrived + 1):"):
                for k, total in enumerate(totals):
                    at = f"runs + s * {each} + {k * width}"
                    w.do(f'{total} = {total} + tl.load({at}, cache_modifier=".cg")')
            w.do(f"tl.store(counters + {run}, 0)")
            self.body.floor = inner
            self.store(totals, inner, points)

    def of_tile(self, level: int, points: str) -> list[str]:
        """The moments of the tile's rows, for each column, in float64."""
        t, w = self.template, self.writer
        down, _ = t.dims
        masks = [m.text for d, m in self.body.point.masks if d == down]
        valid = [w.let(" & ".join(masks), level)] if masks else []
        found: dict[Moment, str] = {}
        for value in dict.fromkeys(m.value for m in self.moments):
            x = self.body.values[value]
            whole = f"[{', '.join(t.shape)}]"
            text = x.text if len(x.dims) == 2 else f"tl.broadcast_to({x.text}, {whole})"
            x_text = w.let(text, level)
            kept = f"tl.where({valid[0]}, {x_text}, 0.0)" if valid else x_text
            total = w.assign(f"tl.sum({kept}, {down})", level)
            wide = found[Moment(value, 1, True)] = w.let(f"{total}.to(tl.float64)", level)
            if any(m.value == value and not m.exact for m in self.moments):
                found[Moment(value, 1, False)] = wide
            if Moment(value, 2, False) in self.moments:
                squares = self.squares(x_text, total, valid, level, points)
                found[Moment(value, 2, False)] = squares
        return [found[m] for m in self.moments]

    def squares(self, x: str, total: str, valid: Sequence[str], level: int, points: str) -> str:
        """sum(x*x) by distances d from the tile's mean: sum(d*d) + sum(x)^2 / n.

        What the sum of all tiles loses in float32 is the same in both of what a variance is the
        difference of, so that little of it is left there.
        """
        t, w = self.template, self.writer
        down, _ = t.dims

        def let(text: str) -> str:
            return w.let(text, level)

        count = str(t.t.rows)
        if valid:
            count = let(f"min({points} - {t.row_tile} * {t.t.rows}, {t.t.rows})")
            count = t.boxed.count(0) if t.boxed else count
        mean = let(f"{total} / {count}")
        mean = let(f"tl.where({mean} - {mean} == 0.0, {mean}, 0.0)")  # of infinity all is NaN
        d = let(f"{x} - tl.expand_dims({mean}, {down})")
        d = let(f"tl.where({valid[0]}, {d}, 0.0)") if valid else d
        near = let(f"tl.sum({d} * {d}, {down}).to(tl.float64)")
        wide = let(f"{total}.to(tl.float64)")
        return let(f"{near} + {wide} * {wide} / {count}")

    # ---- a run ---------------------------------------------------------------------------------

    def store(self, sums: Sequence[str], level: int, points: str) -> None:
        """What the moments of a run come to, for each of its columns."""
        t, body = self.template, self.body
        of = dict(zip(self.moments, sums, strict=True))
        cols, masks = t.side(1, 0, 1)
        groups, lane = (Group(t.batch, t.number), *cols), t.lane(t.col, 0, 1)
        body.point = Point((str(t.t.cols),), groups, masks, lanes=((0, lane),))
        dtypes = {b.name: b.dtype for b in self.c.kernel.buffers}
        for p, moments in self.wanted:
            text = self.statistic(p, [of[m] for m in moments], points)
            text = self.writer.let(f"({text}).to({REGISTER[dtypes[p.buffer].name]})", level)
            name = f"{p.buffer} of runs"
            body.values[name] = Value(text, dtypes[p.buffer], frozenset({0}), level)
            body.run(Store(p.buffer, name, p.at, where=p.where))

    @staticmethod
    def statistic(p: Partial, sums: Sequence[str], points: str) -> str:
        if p.op == "sum":
            return sums[0]
        mean = f"({sums[0]} / {points})"
        return mean if p.op == "mean" else f"({sums[1]} - {mean} * {sums[0]})"


def dtypes_of(c: Product) -> dict[str, DType]:
    """Of what the epilogue computes."""
    found = {s.name: s.dtype for s in c.epilogue if not isinstance(s, Store)}
    return found | {c.dot.name: c.dot.dtype}
