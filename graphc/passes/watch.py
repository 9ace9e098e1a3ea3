"""watch: for `compile(check=...)`, tests that a program's state and results stay finite.

What a kernel stores is tested as it stores it (`Store.bound`), which costs no launch and no load.
State is written in place all the same. That is right because of a proof (`spans.py`), not of luck:

  - a kernel that writes state (an *updater*) reads state, and values made before the commit point;
  - of those values, of arguments and of scalars it is tested before the commit that they are no
    larger than some limit (`CHOICES`), of state it was known before the call;
  - if under these limits all that it stores is finite, it may write, whatever the data are.

A value is tested where it is made, if need be in its parts, and a sum of values by those that it
is of. What state grows to is tested as it is written; too large it is good for this call, but no
more known for the next (`Program.assumed`). A kernel for which there is no proof writes the arena,
is tested there, and its state is copied over the old one behind the commit point.

A test that fails says that a value is large, not that it is bad: the caller then finds out, by a
program that checks the very values (`frontend/step/checked.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import NamedTuple

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Buffer,
    Const,
    Kernel,
    Load,
    Phase,
    Reduce,
    ScalarArg,
    Statement,
    Store,
)
from graphc.ir.kernel_bound import Bound
from graphc.ir.ops import OPS
from graphc.ir.program import GROWN, Assumption, CheckSite
from graphc.ir.types import Scalar, bool_, i64
from graphc.passes import spans
from graphc.passes.group import parts_of
from graphc.passes.nest import Lowered
from graphc.passes.spans import Known, Span

CHOICES = 2.0**30, 2.0**24, 2.0**18  # of values; the largest one that all proofs hold for
STATE = 2.0**40
SCALAR = Span(-16.0, 16.0)  # learning rates and the like
POSITIVE = Span(2.0**-60, 16.0)  # what an updater divides by or takes the root of
TESTED = frozenset(("map", "contract"))  # kinds of kernel that test what they store

FAILED = "NotFinite"  # the error of a test before the commit point


class Watched(NamedTuple):
    """The kernels with their tests, and what is assumed of state."""

    kernels: list[Lowered]
    assumed: tuple[Assumption, ...]


def watch(graph: Graph, kernels: Sequence[Lowered], checks: list[CheckSite], kind: str) -> Watched:
    """`kind`: "nan" lets infinities be returned, "finite" does not."""
    kernels = [k for k in kernels if k.writes_something()]
    flow = _Flow(graph, kernels)
    proof = next((p for most in CHOICES if (p := _Proof(flow, most)).holds), None)
    return _Tests(flow, proof or _Proof(flow, CHOICES[-1]).shrunk(), checks, kind).run()


class _Flow:
    """Who makes and reads what, and which kernels may write state in place."""

    def __init__(self, graph: Graph, kernels: Sequence[Lowered]) -> None:
        self.graph, self.kernels = graph, kernels
        self.maker = {v: k for k, kernel in enumerate(kernels) for v in kernel.writes}
        self.readers: dict[Value, set[int]] = {}
        self.parts: dict[Value, list[Value]] = {}  # of what several kernels make
        for k, kernel in enumerate(kernels):
            for v in kernel.reads:
                self.readers.setdefault(v, set()).add(k)
        for part, p in parts_of(graph).items():
            self.readers.setdefault(part, set()).update(self.readers.get(p.whole, ()))
            self.parts.setdefault(p.whole, []).append(part)
        pairs = list(zip(graph.outs, graph.targets, strict=True))
        self.returned = {v for v, t in pairs if t is None}
        self.target = {v: t for v, t in pairs if t is not None and v not in self.returned}
        self.states = {t: v for v, t in self.target.items()}

    def updaters(self) -> list[int]:
        """Kernels that write nothing but new state, which only such kernels read; those that are
        read first."""
        found = {k for k, kernel in enumerate(self.kernels) if self._only_state(kernel)}
        while gone := {k for k in found if not self._followers(k) <= found}:
            found -= gone
        order: list[int] = []
        while len(order) < len(found):
            order += [
                k for k in sorted(found.difference(order))
                if all(self.maker.get(v) not in found.difference(order) - {k}
                       for v in self.kernels[k].reads)
            ]  # fmt: skip
        return order

    def _followers(self, k: int) -> set[int]:
        return set().union(*(self.readers.get(v, ()) for v in self.kernels[k].writes))

    def _only_state(self, kernel: Lowered) -> bool:
        """Nothing else, of kernels that spans are found for; what is added to is not tested, so
        it may not be what others read as state."""
        kind, writes = kernel.kernel.kind, kernel.writes
        if kernel.repeat is not None or not all(v in self.target for v in writes):
            return False
        adds = kind == "scatter" and all(self.target[v] not in self.readers for v in writes)
        floats = any(v.spec.dtype.is_floating_point for v in writes)
        return floats and (adds or kind in TESTED)

    def summed(self, v: Value) -> tuple[Value, int]:
        """What the same kernel stores that v holds sums of, of so many; v itself if of none."""
        if (k := self.maker.get(v)) is not None and self.kernels[k].kernel.partials:
            kernel = self.kernels[k].kernel
            values = {b.name: x for x, b in zip(self.kernels[k].buffers, kernel.buffers)}
            stores = (s for s in kernel.statements() if isinstance(s, Store) and not s.guards)
            stored = {s.value: s.buffer for s in stores}
            for p in kernel.partials:
                if values[p.buffer] is v and p.op == "sum" and p.value in stored:
                    return (values[stored[p.value]], p.run) if isinstance(p.run, int) else (v, 1)
        return v, 1

    def tested_at(self, v: Value) -> Sequence[Value]:
        """The parts of v, if those who make them test them; else v."""
        parts = self.parts.get(v, ())
        own = all(p in self.maker and _tests(self.kernels[self.maker[p]], p) for p in parts)
        return parts if parts and own else (v,)

    def is_scalar(self, v: Value) -> bool:
        """Whether it is one number that the program makes, or is given and does not write."""
        return not v.shape and v not in self.states and v not in self.target


class _Proof:
    """Which updaters store finite numbers, if values are at most `most`, and what else it takes."""

    def __init__(self, flow: _Flow, most: float) -> None:
        self.flow, self.most = flow, most
        self.updaters = flow.updaters()
        self.positive: set[Value] = set()  # scalars that have to be
        self.known: dict[Value, Span] = {}  # what updaters make
        self.growing: set[Value] = set()  # states that are never negative
        self._seen: dict[object, dict[str, Known]] = {}
        self.failed = self._fails()

    @property
    def holds(self) -> bool:
        return not self.failed

    def shrunk(self) -> _Proof:
        """The same without those that it does not hold for, nor who needs them."""
        while self.failed:
            wanted = set(self.updaters) - self.failed
            while gone := {k for k in wanted if not self.flow._followers(k) <= wanted}:
                wanted -= gone
            self.updaters = [k for k in self.updaters if k in wanted]
            self.failed = self._fails()
        return self

    @property
    def assumed(self) -> dict[Value, Span]:
        """What is read of states that are written."""
        read = {v for k in self.updaters for v in self.flow.kernels[k].reads}
        floats = [v for v in self.flow.states if v in read and v.spec.dtype.is_floating_point]
        return {v: self._state(v) for v in floats}

    def _state(self, v: Value) -> Span:
        return Span(0.0 if v in self.growing else -STATE, STATE)

    def _fails(self) -> set[int]:
        """The updaters that there is no proof for, with the most that can be assumed of states."""
        made = {v for k in self.updaters for v in self.flow.kernels[k].writes}
        self.growing = {t for t, v in self.flow.states.items() if v in made}
        while True:
            self.positive, self.known = set(), {}
            failed = {k for k in self.updaters if not self._prove(k)}
            negative = {
                t for t in self.growing
                if (x := self.known.get(self.flow.states[t])) is None or x.lo < 0.0
            }  # fmt: skip
            if not negative:
                return failed
            self.growing -= negative

    def _prove(self, k: int) -> bool:
        """Whether all it stores is finite, assuming of its scalars no more than need be."""
        kernel = self.flow.kernels[k]
        scalars = {v for v in kernel.reads if self.flow.is_scalar(v)}
        found = self._stores(k, set())
        if found is None:
            needed = set(scalars)
            if (found := self._stores(k, needed)) is None:
                return False
            for v in kernel.reads:
                if v in needed and (less := self._stores(k, needed - {v})) is not None:
                    needed, found = needed - {v}, less
            self.positive |= needed
        self.known |= found
        return True

    def _stores(self, k: int, positive: set[Value]) -> dict[Value, Span] | None:
        """The spans of the floats that it stores; None if one has none."""
        kernel = self.flow.kernels[k]
        names = {v: b.name for v, b in zip(kernel.buffers, kernel.kernel.buffers, strict=True)}
        read = {names[v]: self._read(v, positive) for v in kernel.reads}
        key = kernel.kernel.key(), kernel.sizes, kernel.scalars, tuple(read.items())
        if key not in self._seen:
            self._seen[key] = spans.stored(kernel, read)
        found = {
            v: self._seen[key].get(names[v])
            for v in kernel.writes if v.spec.dtype.is_floating_point
        }  # fmt: skip
        kept = {v: x for v, x in found.items() if x is not None}
        return kept if len(kept) == len(found) else None

    def _read(self, v: Value, positive: set[Value]) -> Known:
        if v in self.known:
            return self.known[v]
        if v in self.flow.states:
            return self._state(v)
        if self.flow.is_scalar(v):
            return POSITIVE if v in positive else SCALAR
        most = self.most * self.flow.summed(v)[1] * (1.0 + spans.SLACK)
        return Span(-most, most)


@dataclass(frozen=True, slots=True)
class _Test:
    """Of a stored value."""

    limit: float
    late: bool = False


class _Tests:
    """Puts the tests where they belong."""

    def __init__(self, flow: _Flow, proof: _Proof, checks: list[CheckSite], kind: str) -> None:
        self.flow, self.proof, self.checks = flow, proof, checks
        self.infinite = kind == "nan"

    def run(self) -> Watched:
        wanted = self._wanted()
        kernels, apart = [], dict(wanted)
        for kernel in self.flow.kernels:
            own = {v: wanted[v] for v in kernel.writes if v in wanted and _tests(kernel, v)}
            kernels.append(self._testing(kernel, own))
            for v in own:
                apart.pop(v)
        kernels += [self._reading(v, test.limit) for v, test in apart.items() if v.spec.numel]
        scalars = self._scalars()
        if scalars:
            kernels.append(self._scalar_tests(scalars))
        states = {v: k for k, v in enumerate(self.flow.graph.states())}
        rows = self.proof.assumed.items()
        return Watched(kernels, tuple(Assumption(states[v], *span) for v, span in rows))

    def _wanted(self) -> dict[Value, _Test]:
        """The values to test, each with its limit, the least that anyone asks for."""
        flow, proof = self.flow, self.proof
        updaters, assumed = set(proof.updaters), proof.assumed
        found: dict[Value, _Test] = {}

        def test(v: Value, limit: float, late: bool = False) -> None:
            for part in flow.tested_at(v):
                found[part] = _Test(min(limit, found[part].limit if part in found else inf), late)

        for v in dict.fromkeys(flow.graph.outs):
            if v.spec.dtype.is_floating_point and not v.is_input:
                late = flow.maker.get(v) in updaters
                limit = inf if self.infinite else spans.largest(v.spec.dtype)
                if flow.target.get(v) in assumed:
                    test(v, STATE, late)
                elif not late:
                    test(v, limit)
        for k in proof.updaters:
            for v in flow.kernels[k].reads:
                known = v in flow.states or v in proof.known or flow.is_scalar(v)
                if v.spec.dtype.is_floating_point and not known:
                    test(flow.summed(v)[0], proof.most)
        return found

    def _scalars(self) -> dict[Value, Span]:
        """What updaters read of single numbers, and what is assumed of it."""
        flow, proof = self.flow, self.proof
        reads = (v for k in proof.updaters for v in flow.kernels[k].reads)
        return {
            v: POSITIVE if v in proof.positive else SCALAR
            for v in reads if flow.is_scalar(v) and v.spec.dtype.is_floating_point
        }  # fmt: skip

    # ---- kernels -------------------------------------------------------------------------------

    def _site(self, late: bool) -> int:
        site = CheckSite("a value is not finite", ("", 0, ""), GROWN if late else FAILED)
        if site not in self.checks:
            self.checks.append(site)
        return self.checks.index(site)

    def _testing(self, lowered: Lowered, tests: Mapping[Value, _Test]) -> Lowered:
        """The same kernel, testing what it stores of these values."""
        kernel = lowered.kernel
        names = {b.name: v for v, b in zip(lowered.buffers, kernel.buffers, strict=True)}
        tests = {v: t for v, t in tests.items() if not _is_small(lowered, v, t.limit)}
        if not tests:
            return lowered
        sites: dict[bool, str] = {}
        for late in sorted({t.late for t in tests.values()}):
            sites[late] = f"c{len(kernel.scalars) + len(sites)}"

        def tested(s: Statement) -> Statement:
            if not isinstance(s, Store) or names[s.buffer] not in tests:
                return s
            test = tests[names[s.buffer]]
            return replace(s, bound=Bound(test.limit, sites[test.late], test.late))

        phases = tuple(Phase(p.axes, tuple(map(tested, p.body))) for p in kernel.phases)
        scalars = (*kernel.scalars, *(ScalarArg(name, i64) for name in sites.values()))
        numbers = (*lowered.scalars, *map(self._site, sites))
        kernel = replace(kernel, phases=phases, scalars=scalars)
        return replace(lowered, kernel=kernel, scalars=numbers)

    def _reading(self, v: Value, limit: float) -> Lowered:
        """A kernel that reads a value to test it: where who makes it does not, as of arguments."""
        dtype, where, rows = v.spec.dtype, str(v.where), v.shape[:1]
        long = len(v.shape) > 1
        made = _seen(v)
        if long:
            made = P.apply("max", made, axes=tuple(range(1, len(v.shape))))
        at = Affine((("d0", 1),)) if rows else Affine()
        source = Affine((("d0", "s0"), ("d1", 1))) if long else at
        load = Load("%0", dtype, "b0", source, where=where)
        size = Apply("%1", dtype, "abs", ("%0",), where)
        store = Store("b1", "%2" if long else "%1", at, where=where)
        body: tuple[Phase, ...] = (Phase((), (load, size, store)),)
        if long:
            most = Reduce("%2", dtype, "max", "%1", where)
            body = Phase((Axis("d1", "s0"),), (load, size, most)), Phase((), (store,))
        kernel = Kernel(
            "bound", "map", (Buffer("b0", dtype, "r"), Buffer("b1", dtype, "w")),
            ("s0", "n0")[not long :][: len(v.shape)], (), (Axis("d0", "n0"),) if rows else (), body,
            f"{v.name} is not too large, nor NaN",
        )  # fmt: skip
        sizes = (prod(v.shape[1:]), *rows) if long else rows
        return self._testing(Lowered(kernel, (v, made), sizes, (), ()), {made: _Test(limit)})

    def _scalar_tests(self, given: Mapping[Value, Span]) -> Lowered:
        """A kernel that stores NaN, for its test, if a number is not as assumed."""
        first = next(iter(given))
        made = _seen(first)
        dtype, where = first.spec.dtype, str(first.where)
        body, scalars, numbers = _within(given)
        ok = body[-1]
        assert not isinstance(ok, Store)
        n = len(body)
        body += [
            Const(f"%{n}", dtype, 0.0), Const(f"%{n + 1}", dtype, float("nan")),
            Apply(f"%{n + 2}", dtype, "where", (ok.name, f"%{n}", f"%{n + 1}"), where),
            Store(f"b{len(given)}", f"%{n + 2}", Affine(), where=where),
        ]  # fmt: skip
        buffers = [Buffer(f"b{k}", v.spec.dtype, "r") for k, v in enumerate(given)]
        buffers.append(Buffer(f"b{len(given)}", dtype, "w"))
        kernel = Kernel(
            "bounds", "map", tuple(buffers), (), tuple(scalars), (), (Phase((), tuple(body)),),
            "numbers are as updates of state need them",
        )  # fmt: skip
        lowered = Lowered(kernel, (*given, made), (), tuple(numbers), ())
        return self._testing(lowered, {made: _Test(1.0)})


def _seen(v: Value) -> Value:
    """A value of this type that no other kernel makes."""
    return v.emit(OPS["check"], v, P.apply("eq", v, v), what="its size", error=FAILED)


def _stores(kernel: Lowered, v: Value) -> list[Store]:
    name = next(b.name for x, b in zip(kernel.buffers, kernel.kernel.buffers) if x is v)
    stores = (s for s in kernel.kernel.statements() if isinstance(s, Store))
    return [s for s in stores if s.buffer == name]


def _tests(kernel: Lowered, v: Value) -> bool:
    """Whether it can test what it stores of a value."""
    own = _stores(kernel, v)
    plain = kernel.kernel.kind in TESTED and kernel.repeat is None
    return plain and bool(own) and not any(s.add for s in own)


def _is_small(kernel: Lowered, v: Value, limit: float) -> bool:
    """Whether it stores constants alone, as padding is, that are within the limit."""
    numbers = {s.name: s.value for s in kernel.kernel.statements() if isinstance(s, Const)}
    return all(abs(numbers.get(s.value, inf)) <= min(limit, STATE) for s in _stores(kernel, v))


def _within(
    given: Mapping[Value, Span],
) -> tuple[list[Statement], list[ScalarArg], list[Scalar]]:
    """Statements, the last of which says whether all numbers are in their spans."""
    body: list[Statement] = []
    scalars: list[ScalarArg] = []
    numbers: list[Scalar] = []
    good = ""

    def name() -> str:
        return f"%{len(body)}"

    for k, (v, span) in enumerate(given.items()):
        dtype = v.spec.dtype
        body.append(Load(x := name(), dtype, f"b{k}", Affine()))
        for n, limit in enumerate(span):
            scalars.append(ScalarArg(c := f"c{len(scalars)}", dtype))
            numbers.append(limit)
            body.append(Apply(test := name(), bool_, "le", (x, c) if n else (c, x)))
            if good:
                body.append(Apply(both := name(), bool_, "and", (good, test)))
            good = both if good else test
    return body, scalars, numbers
