"""The template of attention's gradients: what the weights were follows from the rows' statistics.

    share of the matrices                  # [tid*U/n, (tid+1)*U/n)
      block of queries
        queries and their cotangents, as columns and as rows; mean of the cotangents
        sums of the weights              # of rows whose statistic has lost their logarithm
        block of keys                      # none that come after all queries
          keys and values, copied
          panel of queries
            keys                           # scores, and the cotangents of the weights
            query lanes                    # weights, and the cotangents of the scores
          keys, panel                      # added to the cotangents of values and keys in memory
          queries, panel                   # added to those of the queries
        queries                            # times the scale

Every sum is one thread's, in one order, so no bit depends on the number of threads.
"""

from __future__ import annotations

from math import inf

from graphc.codegen_cpu import memory
from graphc.codegen_cpu.attention.blocks import Blocks, Place
from graphc.codegen_cpu.attention.plan import KEYS, QUERIES, VECTORS
from graphc.codegen_cpu.emitter import literal
from graphc.codegen_cpu.integers import Int
from graphc.ir.types import f32

# A statistic from here on has rounded off 1e-5 of the sum whose logarithm is in it; one of -1e9, of
# a row that is masked altogether, all of it.
LARGE = 256.0


class Gradient(Blocks):
    """Emits the loops of the cotangents of queries, keys and values, or of some of them."""

    def emit(self) -> None:
        f, p = self.f, self.p
        deep, wide = p.padded(p.depth), p.padded(p.width)
        self.queries, self.columns_of_g = (
            self.scratch(QUERIES * p.depth),
            self.scratch(QUERIES * p.width),
        )
        self.query_rows, self.rows_of_g = self.scratch(QUERIES * deep), self.scratch(QUERIES * wide)
        self.keys, self.values = self.scratch(KEYS * deep), self.scratch(KEYS * wide)
        self.weights, self.pulled = self.scratch(KEYS * QUERIES), self.scratch(KEYS * QUERIES)
        self.sums = self.scratch(QUERIES * deep)
        self.mean, self.lse, self.over = (self.scratch(QUERIES) for _ in range(3))
        units = self.count()
        low = f.div(f.mul("%tid", units), "%nthreads")
        high = f.div(f.mul(f.add("%tid", 1), units), "%nthreads")
        with self.e.loop(f.text(low), f.text(high), 1, "unit") as unit:
            self.start(unit)
            for op, axes, size in (
                ("attention_dk", "se", p.depth),
                ("attention_dv", "sf", p.width),
            ):
                if op in p.parts.results:
                    self._clear(self.place(p.parts.results[op]), axes, size)
            with self.e.loop("0", f.text(self.rows), QUERIES, "block") as first:
                self._queries(first, f.least(QUERIES, f.sub(self.rows, first)))

    def _clear(self, place: Place, axes: str, size: int) -> None:
        f, (base, strides) = self.f, place
        with self.e.loop("0", f.text(self.columns), 1, "clear") as s:
            row = f.pointer(base, f.mul(s, strides[axes[0]]), f32)
            for n in range(0, size, self.p.lanes):
                self.put(row, strides[axes[1]], n, size, literal(0.0, self.t))

    def _queries(self, first: Int, count: Int) -> None:
        f, p = self.f, self.p
        self._load(first, count)
        self.fill(self.sums, QUERIES * p.padded(p.depth))
        end = self.limit(self.columns, f.add(first, f.sub(count, 1)), 0)
        self._weigh(first, count, end)
        with self.e.loop("0", f.text(end), KEYS, "keys") as key:
            self._keys(first, count, key, f.least(KEYS, f.sub(end, key)))
        result = p.parts.results.get("attention_dq")
        if result is None:
            return
        base, strides = self.place(result)
        scale = self.attr("scale", self.t)
        with self.e.loop("0", f.text(count), 1, "row") as k:
            to = f.pointer(base, f.mul(f.add(first, k), strides["l"]), f32)
            at = self.at(self.sums, f.mul(k, p.padded(p.depth)))
            for n in range(0, p.depth, p.lanes):
                x = self.arith("fmul", self.load(at, n), scale)
                self.put(to, strides["e"], n, p.depth, x)

    def _load(self, first: Int, count: Int) -> None:
        """A block of queries: they, their cotangents and their statistics."""
        f, p = self.f, self.p
        parts = p.parts
        scale = self.attr("scale", self.t)
        q, g, out, lse = (self.place(parts.load(n)) for n in ("q", "g", "out", "lse"))
        self.fill(self.mean, QUERIES)

        def keep(row: Int, n: Int, xs: list[str]) -> None:
            self.keep(self.queries, p.depth, row, n, self.arith("fmul", xs[0], scale))

        def noted(row: Int, n: Int, xs: list[str]) -> None:
            self.keep(self.columns_of_g, p.width, row, n, xs[0])
            self.store(self.mean, row, self.fma(xs[0], xs[1], self.load(self.mean, row)))

        self.turned([q], "le", first, count, p.depth, keep)
        self.turned([g, out], "lf", first, count, p.width, noted)
        self.copy(q, "le", first, count, self.query_rows, p.depth)
        self.copy(g, "lf", first, count, self.rows_of_g, p.width)
        with self.panels(count) as (start, _):
            for j in range(VECTORS):
                row = f.add(start, j * p.lanes)
                mask = f.below(f.sub(count, row), p.lanes)
                step = lse[1]["l"]
                offsets = "" if step == 1 else f.steps(step, p.lanes)
                at = f.pointer(lse[0], f.mul(f.add(first, row), step), f32)
                self.store(self.lse, row, memory.load(f, at, f32, p.lanes, offsets, mask))

    def _weigh(self, first: Int, count: Int, end: Int) -> None:
        """What weights are still to be multiplied by: 1, or what their sum lacks to 1."""
        f, e, i1 = self.f, self.e, self.t.of("i1")
        self.fill(self.over, QUERIES, 1.0)

        def found(k: str, masks: list[str]) -> list[str]:
            for j in range(VECTORS):
                large = self._large(f.add(f.mul(k, self.p.panel), j * self.p.lanes))
                masks = [e.value(f"or {i1} {masks[0]}, {large}")]
            return masks

        panels = f.text(f.ceil_div(count, self.p.panel))
        none = literal(False, i1)
        (some,) = e.carried_loop("0", panels, 1, [(i1, none)], found)
        with e.when(e.any_lane(some, self.p.lanes), "large", "known"):
            self.fill(self.over, QUERIES)
            with e.loop("0", f.text(end), KEYS, "keys") as key:
                self._sum(first, count, key, f.least(KEYS, f.sub(end, key)))
            with self.panels(count) as (start, _):
                for j in range(VECTORS):
                    row, one = f.add(start, j * self.p.lanes), literal(1.0, self.t)
                    over = self.arith("fdiv", one, self.load(self.over, row))
                    self.store(self.over, row, self.where(self._large(row), over, one))

    def _large(self, row: Int) -> str:
        """Rows whose statistic is large, and finite."""
        t, i1 = self.t, self.t.of("i1")
        size = self.e.call(f"llvm.fabs.{t.suffix}", t, (t, self.load(self.lse, row)))
        large = self.compare("oge", size, literal(LARGE, t))
        finite = self.compare("one", size, literal(inf, t))
        return self.e.value(f"and {i1} {large}, {finite}")

    def _sum(self, first: Int, count: Int, key: Int, keys: Int) -> None:
        """Add up the weights of a block of keys."""
        f, e, p = self.f, self.e, self.p
        self.copy(self.place(p.parts.load("k")), "se", key, keys, self.keys, p.depth)
        with self.scored(first, count, key, keys) as (start, _, limit):
            for j in range(VECTORS):
                row = f.add(start, j * p.lanes)
                lse, valid = self.load(self.lse, row), f.below(f.sub(count, row), p.lanes)
                with e.loop("0", f.text(limit), 1, "key") as s:
                    x = self.load(self.weights, f.add(f.mul(s, QUERIES), row))
                    x, _ = self.masked(x, f.add(first, row), f.add(key, s), valid)
                    x = self.exp(self.arith("fsub", x, lse))
                    self.store(self.over, row, self.arith("fadd", self.load(self.over, row), x))

    def _keys(self, first: Int, count: Int, key: Int, keys: Int) -> None:
        f, p = self.f, self.p
        self.copy(self.place(p.parts.load("k")), "se", key, keys, self.keys, p.depth)
        self.copy(self.place(p.parts.load("v")), "sf", key, keys, self.values, p.width)
        with self.scored(first, count, key, keys) as (start, k, limit):
            cotangents = self.at(self.columns_of_g, f.mul(k, p.width * p.panel))
            self.scores(self.values, p.width, cotangents, self.at(self.pulled, start), limit)
            self._pull(start, first, count, key, limit)
        of_keys = self.weights, self.rows_of_g, p.width
        self._to_keys("attention_dv", "sf", of_keys, first, count, key, keys)
        of_keys = self.pulled, self.query_rows, p.depth
        self._to_keys("attention_dk", "se", of_keys, first, count, key, keys)
        if "attention_dq" in p.parts.results:
            self._to_queries(first, count, key, keys)

    def _pull(self, start: Int, first: Int, count: Int, key: Int, limit: Int) -> None:
        """Of a panel of queries: weights, and cotangents of the scores from those of weights."""
        f, e, p = self.f, self.e, self.p
        rows = [f.add(start, j * p.lanes) for j in range(VECTORS)]
        valid = [f.below(f.sub(count, row), p.lanes) for row in rows]
        read = self.lse, self.over, self.mean
        numbers = [[self.load(base, row) for base in read] for row in rows]
        with e.loop("0", f.text(limit), 1, "key") as s:
            for row, lanes, (lse, over, mean) in zip(rows, valid, numbers, strict=True):
                at, query, here = f.add(f.mul(s, QUERIES), row), f.add(first, row), f.add(key, s)
                x, seen = self.masked(self.load(self.weights, at), query, here, lanes)
                x = self.arith("fmul", self.exp(self.arith("fsub", x, lse)), over)
                g, kept = self.load(self.pulled, at), x
                if self.drops:
                    factor = self.kept(query, here)
                    g, kept = self.arith("fmul", g, factor), self.arith("fmul", x, factor)
                self.store(self.weights, at, kept)
                g = self.arith("fmul", x, self.arith("fsub", g, mean))
                if seen:  # what is filled does not depend on the product
                    g = self.where(seen, g, literal(0.0, self.t))
                self.store(self.pulled, at, g)
        with e.loop(f.text(limit), f.text(self.whole(limit)), 1, "rest") as s:
            for row in rows:
                for block in (self.weights, self.pulled):
                    self.store(block, f.add(f.mul(s, QUERIES), row), literal(0.0, self.t))

    def _to_keys(
        self, op: str, axes: str, of: tuple[str, str, int], first: Int, count: Int, key: Int,
        keys: Int,
    ) -> None:  # fmt: skip
        """Products of a block of weights, or of their cotangents, with rows of the queries' side,
        added to what the keys' side has in memory."""
        f, p, (block, rows, size) = self.f, self.p, of
        result = p.parts.results.get(op)
        if result is None:
            return
        (base, strides), padded = self.place(result), p.padded(size)
        factor = self.attr("scale", self.t) if op == "attention_dk" else ""
        with self.e.loop("0", f.text(keys), p.rows, "tile") as s:
            since = self._since(first, f.add(key, s))
            left = f.most(f.sub(count, since), 0)
            with self.e.loop("0", str(padded), p.panel, "size") as n:
                row = f.pointer(base, f.add(f.mul(f.add(key, s), strides[axes[0]]),
                                            f.mul(n, strides[axes[1]])), f32)  # fmt: skip
                found: dict[int, list[str]] = {}

                def use(i: int, j: int, value: str, found: dict[int, list[str]] = found) -> None:
                    value = self.arith("fmul", value, factor) if factor else value
                    found.setdefault(i, []).append(value)

                weights = self.at(block, f.add(f.mul(s, QUERIES), since))
                lanes = self.at(rows, f.add(f.mul(since, padded), n))
                self.product(weights, (QUERIES, 1), lanes, padded, left, use)
                for i, values in found.items():
                    with self.e.when(f.less(f.add(s, i), keys), "row", "next"):
                        self._add_row(row, strides, axes, i, n, size, values)

    def _add_row(
        self, row: str, strides: object, axes: str, i: int, n: Int, size: int, values: list[str]
    ) -> None:
        """Add vectors from element `n` on to row i of those from `row` on."""
        f, lanes = self.f, self.p.lanes
        assert isinstance(strides, dict)
        to = f.pointer(row, f.mul(strides[axes[0]], i), f32)
        step = strides[axes[1]]
        offsets = "" if step == 1 else f.steps(step, lanes)
        for j, value in enumerate(values):
            mask = f.below(f.sub(size - j * lanes, n), lanes) if size % self.p.panel else ""
            at = f.pointer(to, f.mul(step, j * lanes), f32)
            memory.store(f, at, f32, lanes, value, offsets, mask, add=True)

    def _since(self, first: Int, key: Int) -> Int:
        """The first query of the block whose panel sees the key."""
        if not self.p.skips:
            return 0
        f, panel = self.f, self.p.panel
        return f.mul(f.div(f.most(f.sub(key, first), 0), panel), panel)

    def _to_queries(self, first: Int, count: Int, key: Int, keys: Int) -> None:
        f, p = self.f, self.p
        padded = p.padded(p.depth)
        with self.e.loop("0", f.text(count), p.rows, "queries") as row:
            limit = self.limit(keys, f.add(f.add(first, row), p.rows - 1), key)
            with self.e.loop("0", str(padded), p.panel, "depth") as n:
                to = self.at(self.sums, f.add(f.mul(row, padded), n))

                def use(i: int, j: int, value: str, to: str = to) -> None:
                    at = i * padded + j * p.lanes
                    self.store(to, at, self.arith("fadd", self.load(to, at), value))

                pulled, keys_at = self.at(self.pulled, row), self.at(self.keys, n)
                self.product(pulled, (1, QUERIES), keys_at, padded, limit, use)
