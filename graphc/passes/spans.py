"""spans: between which finite numbers what a kernel stores lies, if what it reads lies in some.

Interval arithmetic over a kernel's statements; each row of `RULES` is one op. A span is of finite
numbers and holds no NaN: what may be infinite, NaN, or too large for its type has none (None). So
it may only ever err on the wide side; rounding is allowed for by `SLACK`, which is more than what
sums of halves lose. How many terms a sum over an extent has at most is a condition of the plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from graphc.errors import InternalError
from graphc.ir.kernel import (
    Apply,
    Axis,
    Const,
    Definition,
    Dot,
    Load,
    Reduce,
    Size,
    Store,
)
from graphc.ir.sizes import HINTS, surely_less, unknowns
from graphc.ir.symbols import Number
from graphc.ir.types import DType
from graphc.passes.nest import Lowered

MOST = 1 << 22  # terms of a sum over an extent that a plan is made for; of more, its square
WINOGRAD = 2.0**16  # how far transforms of a tile take its sums beyond the plain ones
SLACK = 2.0**-6
TINY = 2.0**-100  # what is smaller may be rounded to nothing


class Span(NamedTuple):
    """lo <= x <= hi, finite."""

    lo: float
    hi: float

    @property
    def most(self) -> float:
        return max(-self.lo, self.hi)

    def with_zero(self) -> Span:
        return Span(min(self.lo, 0.0), max(self.hi, 0.0))


Known = Span | None
Rule = Callable[..., Known]

SMALL, ANGLE = Span(0.0, 1.0), Span(-1.0, 1.0)
LARGEST = {"bf16": 2.0**127 * (2 - 2.0**-7)}  # which NumPy does not know
EXP_MOST = 80.0  # of float32, and less than of float64


def of_type(dtype: DType) -> Span:
    """All that a whole or boolean type holds."""
    if dtype.name == "bool":
        return SMALL
    info = np.iinfo(dtype.numpy)
    return Span(float(info.min), float(info.max))


def largest(dtype: DType) -> float:
    """The largest number of a floating type, exactly."""
    return LARGEST.get(dtype.name) or float(np.finfo(dtype.numpy).max)


def _corners(f: Callable[[float, float], float]) -> Rule:
    """Of what is monotonous in each operand while the other stands."""

    def rule(x: Span, y: Span) -> Known:
        found = [f(a, b) for a in x for b in y]
        return Span(min(found), max(found))

    return rule


def _div(x: Span, y: Span) -> Known:
    if y.lo <= 0.0 <= y.hi:
        return None
    return _corners(lambda a, b: a / b)(x, y)


def _abs(x: Span) -> Known:
    return Span(max(x.lo, -x.hi, 0.0), x.most)


def _hull(*spans: Span) -> Known:
    return Span(min(s.lo for s in spans), max(s.hi for s in spans))


def _rising(f: Callable[[float], float], above: float = -math.inf) -> Rule:
    """Of a function that rises, of arguments from `above` on."""
    return lambda x: Span(f(x.lo), f(x.hi)) if x.lo >= above else None


RULES: Mapping[str, Rule] = {
    "neg": lambda x: Span(-x.hi, -x.lo),
    "abs": _abs,
    "relu": lambda x: Span(max(x.lo, 0.0), max(x.hi, 0.0)),
    "sign": lambda _: ANGLE,
    "exp": lambda x: Span(math.exp(x.lo), math.exp(x.hi)) if x.most < EXP_MOST else None,
    "log": lambda x: Span(math.log(x.lo), math.log(x.hi)) if x.lo > TINY else None,
    "sin": lambda _: ANGLE,
    "cos": lambda _: ANGLE,
    "tanh": lambda _: ANGLE,
    "erf": lambda _: ANGLE,
    "sigmoid": lambda _: SMALL,
    "sqrt": _rising(math.sqrt, 0.0),
    "rsqrt": lambda x: Span(x.hi**-0.5, x.lo**-0.5) if x.lo > TINY else None,
    "floor": lambda x: Span(x.lo - 1.0, x.hi),
    "ceil": lambda x: Span(x.lo, x.hi + 1.0),
    "round": lambda x: Span(x.lo - 1.0, x.hi + 1.0),
    "trunc": lambda x: Span(x.lo - 1.0, x.hi + 1.0).with_zero(),
    "cast": lambda x: x,
    "add": _corners(lambda a, b: a + b),
    "sub": _corners(lambda a, b: a - b),
    "mul": _corners(lambda a, b: a * b),
    "div": _div,
    "maximum": _corners(max),
    "minimum": _corners(min),
    "where": lambda _, x, y: _hull(x, y),
}  # fmt: skip


def stored(lowered: Lowered, read: Mapping[str, Known]) -> dict[str, Known]:
    """The span of what goes to each buffer; `read` gives those of the buffers that are loaded."""
    return _Walk(lowered, read).run()


class _Walk:
    """One walk over a kernel's statements."""

    def __init__(self, lowered: Lowered, read: Mapping[str, Known]) -> None:
        self.kernel, self.read = lowered.kernel, read
        self.sizes = dict(zip(self.kernel.sizes, lowered.sizes, strict=True))
        numbers = zip(self.kernel.scalars, lowered.scalars, strict=True)
        self.known: dict[str, Known] = {s.name: _number(s.dtype, n) for s, n in numbers}
        self.dtypes = {s.name: s.dtype for s in self.kernel.scalars}
        self.found: dict[str, Known] = {}

    def run(self) -> dict[str, Known]:
        for phase in self.kernel.phases:
            for s in phase.body:
                if isinstance(s, Store):
                    self._store(s, phase.axes)
                    continue
                self.dtypes[s.name] = s.dtype
                self.known[s.name] = self._fitting(self._of(s, phase.axes), s.dtype)
        return self.found

    def _store(self, s: Store, loops: tuple[Axis, ...]) -> None:
        """Each place of a buffer gets one of what is stored, and at most all that is added."""
        x = self.known[s.value]
        before = self.found.get(s.buffer, None if s.add else x)
        if x is None or before is None:
            self.found[s.buffer] = None
        elif s.add:
            n, dtype = self._terms(loops), self.dtypes[s.value]
            y = Span(n * x.lo, n * x.hi).with_zero()
            self.found[s.buffer] = self._fitting(Span(before.lo + y.lo, before.hi + y.hi), dtype)
        else:
            self.found[s.buffer] = _hull(x, before)

    def _of(self, s: Definition, loops: tuple[Axis, ...]) -> Known:
        if not s.dtype.is_floating_point:
            return of_type(s.dtype)
        match s:
            case Load():
                x = self.read.get(s.buffer)
                return x.with_zero() if x is not None and s.guards else x
            case Const():
                return _number(s.dtype, s.value)
            case Apply():
                return self._apply(s)
            case Reduce():
                return self._reduce(s, loops)
            case Dot():
                a, b = self.known[s.a], self.known[s.b]
                if a is None or b is None:
                    return None
                scale = WINOGRAD if self.kernel.winograd else 1.0
                most = scale * self._terms(loops) * a.most * b.most
                return Span(-most, most)
        return None

    def _apply(self, s: Apply) -> Known:
        rule = RULES.get(s.op)
        args = [self.known[a] for a in s.args]
        if rule is None or any(a is None for a in args):
            return None
        if s.op == "mul" and s.args[0] == s.args[1]:
            x = args[0]
            assert x is not None
            low = 0.0 if x.lo <= 0.0 <= x.hi else min(x.lo * x.lo, x.hi * x.hi)
            return Span(low, x.most * x.most)
        return rule(*args)

    def _reduce(self, s: Reduce, loops: tuple[Axis, ...]) -> Known:
        x = self.known[s.arg]
        if x is None or s.op not in ("sum", "max", "min"):
            return None
        if s.op == "sum":
            n = self._terms(loops)
            return Span(n * x.lo, n * x.hi).with_zero()
        full = all(surely_less(0, self._size(a.extent)) for a in loops)  # of none it is infinite
        return x if full else None

    def _terms(self, loops: tuple[Axis, ...]) -> float:
        """How often a body runs at most. More often is for another plan, so that what has been
        proven holds for each size that this one serves."""
        times: Number = prod(self._size(a.extent) for a in loops)
        if not unknowns((times,)):
            return float(times)
        most = MOST
        while HINTS(times) > most:
            most *= MOST
        if times > most:  # not so for the size seen, which is what notes the condition
            raise InternalError(f"a sum of {times} terms, bounded by {most}")
        return float(most)

    def _size(self, size: Size) -> Size:
        return self.sizes[size] if isinstance(size, str) else size

    @staticmethod
    def _fitting(x: Known, dtype: DType) -> Known:
        """A little wider; None if it is more than the type holds."""
        if x is None or not dtype.is_floating_point:
            return x
        lo = x.lo * (1.0 - SLACK if x.lo > 0 else 1.0 + SLACK)
        hi = x.hi * (1.0 + SLACK if x.hi > 0 else 1.0 - SLACK)
        if 0.0 < lo < TINY:
            lo = 0.0
        if -TINY < hi < 0.0:
            hi = 0.0
        return Span(lo, hi) if max(-lo, hi) < largest(dtype) / 2 else None


def _number(dtype: DType, value: object) -> Known:
    """The span of a number that is part of the program."""
    if unknowns((value,)) or not isinstance(value, int | float):
        return None if dtype.is_floating_point else of_type(dtype)
    x = float(value)
    return Span(x, x) if math.isfinite(x) else None
