"""The template of attention's forward: a block of queries after the other.

    share of (matrices, block of queries)  # [tid*U/n, (tid+1)*U/n)
      queries as columns, times the scale
      block of keys                        # none that come after all queries
        keys and values, copied
        panel of queries
          keys                             # scores: a register tile over the depth
          query lanes                      # masked; exp of what is less than the largest so far
        queries, panel of the values       # what there was, made smaller, and the weights' part
      queries                              # over the sum of the weights

A row's maximum, sum and values so far go from block to block (Milakov and Gimelshein, "Online
normalizer calculation for softmax", 2018), each by itself: another batch, or another number of
threads, changes no bit.
"""

from __future__ import annotations

from math import inf

from graphc.codegen_cpu import memory, scalar
from graphc.codegen_cpu.attention.blocks import Blocks
from graphc.codegen_cpu.attention.plan import KEYS, QUERIES, VECTORS
from graphc.codegen_cpu.emitter import literal
from graphc.codegen_cpu.integers import Int
from graphc.ir.types import f32


class Forward(Blocks):
    """Emits the loops of the values, of the rows' statistics, or of both."""

    def emit(self) -> None:
        f, p = self.f, self.p
        self.queries = self.scratch(QUERIES * p.depth)
        self.keys = self.scratch(KEYS * p.padded(p.depth))
        self.values = self.scratch(KEYS * p.padded(p.width))
        self.weights = self.scratch(KEYS * QUERIES)
        self.sums = self.scratch(QUERIES * p.padded(p.width))
        self.top, self.total, self.shrink = (self.scratch(QUERIES) for _ in range(3))
        blocks = f.ceil_div(self.rows, QUERIES)
        units = f.mul(self.count(), blocks)
        low = f.div(f.mul("%tid", units), "%nthreads")
        high = f.div(f.mul(f.add("%tid", 1), units), "%nthreads")
        with self.e.loop(f.text(low), f.text(high), 1, "unit") as unit:
            self.start(f.div(unit, blocks))
            first = f.mul(f.rem(unit, blocks), QUERIES)
            self._queries(first, f.least(QUERIES, f.sub(self.rows, first)))

    def _queries(self, first: Int, count: Int) -> None:
        f, p = self.f, self.p
        scale = self.attr("scale", self.t)
        q = self.place(p.parts.load("q"))

        def keep(row: Int, n: Int, xs: list[str]) -> None:
            self.keep(self.queries, p.depth, row, n, self.arith("fmul", xs[0], scale))

        self.turned([q], "le", first, count, p.depth, keep)
        self.fill(self.top, QUERIES, -inf)
        self.fill(self.total, QUERIES)
        self.fill(self.sums, QUERIES * p.padded(p.width))
        end = self.limit(self.columns, f.add(first, f.sub(count, 1)), 0)
        with self.e.loop("0", f.text(end), KEYS, "block") as key:
            self._keys(first, count, key, f.least(KEYS, f.sub(end, key)))
        self._finish(first, count)

    def _keys(self, first: Int, count: Int, key: Int, keys: Int) -> None:
        p = self.p
        self.copy(self.place(p.parts.load("k")), "se", key, keys, self.keys, p.depth)
        self.copy(self.place(p.parts.load("v")), "sf", key, keys, self.values, p.width)
        with self.scored(first, count, key, keys) as (start, _, limit):
            self._softmax(start, first, count, key, limit)
        if "attention" in p.parts.results:
            self._add(first, count, key, keys)

    def _softmax(self, start: Int, first: Int, count: Int, key: Int, limit: Int) -> None:
        """Scores of a panel of queries to weights, still over no sum; its vectors go together."""
        f, e, t, p = self.f, self.e, self.t, self.p
        rows = [f.add(start, j * p.lanes) for j in range(VECTORS)]
        valid = [f.below(f.sub(count, row), p.lanes) for row in rows]
        at = [self.at(self.weights, row) for row in rows]
        before = [self.load(self.top, row) for row in rows]
        zero = literal(0.0, t)

        def largest(s: str, tops: list[str]) -> list[str]:
            following = []
            for row, here, lanes, top in zip(rows, at, valid, tops, strict=True):
                there = self.load(here, f.mul(s, QUERIES))
                x, _ = self.masked(there, f.add(first, row), f.add(key, s), lanes)
                if x is not there:
                    self.store(here, f.mul(s, QUERIES), x)
                following.append(self.where(self.compare("ogt", x, top), x, top))
            return following

        tops = e.carried_loop("0", f.text(limit), 1, [(t, x) for x in before], largest)
        nothing = [self.compare("oeq", top, literal(-inf, t)) for top in tops]
        used = [self.where(n, zero, top) for n, top in zip(nothing, tops, strict=True)]
        shrink = [self.exp(self.arith("fsub", x, y)) for x, y in zip(before, used, strict=True)]

        def weigh(s: str, totals: list[str]) -> list[str]:
            following = []
            for row, here, top, total in zip(rows, at, used, totals, strict=True):
                x = self.load(here, f.mul(s, QUERIES))
                x = self.exp(self.arith("fsub", x, top))
                following.append(self.arith("fadd", total, x))
                if self.drops:
                    x = self.arith("fmul", x, self.kept(f.add(first, row), f.add(key, s)))
                self.store(here, f.mul(s, QUERIES), x)
            return following

        totals = e.carried_loop("0", f.text(limit), 1, [(t, zero)] * VECTORS, weigh)
        with e.loop(f.text(limit), f.text(self.whole(limit)), 1, "rest") as s:
            for here in at:
                self.store(here, f.mul(s, QUERIES), zero)
        for row, top, less, total in zip(rows, tops, shrink, totals, strict=True):
            self.store(self.top, row, top)
            self.store(self.shrink, row, less)
            self.store(self.total, row, self.fma(self.load(self.total, row), less, total))

    def _add(self, first: Int, count: Int, key: Int, keys: Int) -> None:
        """The values of a block of keys, by their weights."""
        f, p = self.f, self.p
        padded = p.padded(p.width)
        with self.e.loop("0", f.text(count), p.rows, "queries") as row:
            limit = self.limit(keys, f.add(f.add(first, row), p.rows - 1), key)
            factors = [self._one(self.shrink, f.add(row, i)) for i in range(p.rows)]
            with self.e.loop("0", str(padded), p.panel, "width") as n:
                to = self.at(self.sums, f.add(f.mul(row, padded), n))

                def use(i: int, j: int, value: str, to: str = to) -> None:
                    at = i * padded + j * p.lanes
                    self.store(to, at, self.fma(self.load(to, at), factors[i], value))

                weights, values = self.at(self.weights, row), self.at(self.values, n)
                self.product(weights, (1, QUERIES), values, padded, limit, use)

    def _one(self, base: str, at: Int) -> str:
        """One of a row's numbers in every lane."""
        return self.e.splat(memory.load(self.f, self.at(base, at), f32, 1), self.t)

    # ---- out -----------------------------------------------------------------------------------

    def _finish(self, first: Int, count: Int) -> None:
        f, p, t = self.f, self.p, self.t
        one, zero = literal(1.0, t), literal(0.0, t)
        safe = bool(p.parts.number("safe"))
        empty = "true" if safe else f.equal(self.columns, 0)
        none = self.e.splat(empty, t.of("i1"))
        with self.panels(count) as (start, _):
            for j in range(VECTORS):
                row = f.add(start, j * p.lanes)
                total = self.load(self.total, row)
                vanished = self.compare("oeq", total, zero)
                if "attention_lse" in p.parts.results:
                    self._statistics(row, first, count, total, vanished)
                kept = self.e.value(f"and {t.of('i1')} {vanished}, {none}")
                self.store(self.shrink, row, self.arith("fdiv", one, self.where(kept, one, total)))
        out = p.parts.results.get("attention")
        if out is None:
            return
        base, strides = self.place(out)
        with self.e.loop("0", f.text(count), 1, "row") as k:
            factor = self._one(self.shrink, k)
            to = f.pointer(base, f.mul(f.add(first, k), strides["l"]), f32)
            at = self.at(self.sums, f.mul(k, p.padded(p.width)))
            for n in range(0, p.width, p.lanes):
                x = self.arith("fmul", self.load(at, n), factor)
                self.put(to, strides["f"], n, p.width, x)

    def _statistics(self, row: Int, first: Int, count: Int, total: str, vanished: str) -> None:
        f, p, t = self.f, self.p, self.t
        top = self.load(self.top, row)
        nothing = self.compare("oeq", top, literal(-inf, t))
        used = self.where(nothing, literal(0.0, t), top)
        log = scalar.apply(self.e, p.lanes, "log", f32, [f32], [total])
        x = self.arith("fadd", used, log)
        if p.parts.number("safe"):
            x = self.where(vanished, literal(inf, t), x)
        base, strides = self.place(p.parts.results["attention_lse"])
        step = strides["l"]
        offsets = "" if step == 1 else f.steps(step, p.lanes)
        at = f.pointer(base, f.mul(f.add(first, row), step), f32)
        memory.store(f, at, f32, p.lanes, x, offsets, f.below(f.sub(count, row), p.lanes))
