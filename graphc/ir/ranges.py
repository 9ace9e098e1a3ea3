"""ranges: between which whole numbers a value lies, whatever the inputs of the graph are.

Interval arithmetic over whole and boolean values; each row of `RULES` is one op. What may wrap
around, comes from a float or from memory lies anywhere in its dtype. It proves indices to be in
range, so it may only ever err on the wide side: `tests/ir/test_ranges.py` tries it on samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple, cast

import numpy as np

from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.types import DType


class Range(NamedTuple):
    """lo <= x <= hi."""

    lo: int
    hi: int

    def within(self, other: Range) -> bool:
        return other.lo <= self.lo and self.hi <= other.hi


Rule = Callable[..., Range]  # of the value, then the range of each argument


def whole(dtype: DType) -> bool:
    return not dtype.is_floating_point


def everything(dtype: DType) -> Range:
    """All that a whole dtype holds."""
    if dtype.name == "bool":
        return Range(0, 1)
    info = np.iinfo(dtype.numpy)
    return Range(int(info.min), int(info.max))


class Ranges:
    """The ranges of values, each found once; `Ranges()[v]` of a whole or boolean value."""

    def __init__(self) -> None:
        self._known: dict[Value, Range] = {}

    def __getitem__(self, v: Value) -> Range:
        """Arguments first, on a list, because a chain may be deeper than Python's stack."""
        stack = [v]
        while stack:
            top = stack[-1]
            missing = [a for a in _read(top) or () if a not in self._known]
            stack.extend(missing)
            if not missing:
                stack.pop()
                self._known.setdefault(top, self._of(top))
        return self._known[v]

    def _of(self, v: Value) -> Range:
        most = everything(v.spec.dtype)
        if v.const is not None:
            number = cast(int, v.const) if is_unknown(v.const) else int(v.const)
            return Range(number, number)
        args = _read(v)
        if v.op is None or v.op.name not in RULES or not v.spec.numel or args is None:
            return most
        found = RULES[v.op.name][1](v, *(self._known[a] for a in args))
        return found if found.within(most) else most


def _read(v: Value) -> list[Value] | None:
    """The arguments whose ranges count; None if some is no whole number."""
    if v.op is None or v.op.name not in RULES or v.const is not None:
        return []
    reads = RULES[v.op.name][0]
    args = list(v.args[reads])
    return args if all(whole(a.spec.dtype) for a in args) else None


def _hull(_v: Value, *ranges: Range) -> Range:
    return Range(min(r.lo for r in ranges), max(r.hi for r in ranges))


def _chosen(v: Value, _condition: Range, x: Range, y: Range) -> Range:
    """Either branch; of `where(a < b, ..)`, which clamps are made of, a branch that is a or b is
    known better."""
    test, one, other = v.args
    if test.op is None or test.op.name not in ("lt", "le"):
        return _hull(v, x, y)
    low, high = test.args
    less = int(test.op.name == "lt")
    if one is high and other is low:  # low where it is not less: max-like
        return Range(max(x.lo, y.lo), max(x.hi, y.hi))
    if one is low and other is high:
        return Range(min(x.lo, y.lo), min(x.hi, y.hi))
    return _hull(v, _bounded(one, x, low, high, less), _bounded(other, y, high, low, 1 - less))


def _bounded(v: Value, x: Range, low: Value, high: Value, gap: int) -> Range:
    """What x is where low + gap <= high, if it is one of the two and the other is a constant."""
    if v is low and high.const is not None:
        return Range(min(x.lo, int(high.const) - gap), min(x.hi, int(high.const) - gap))
    if v is high and low.const is not None:
        return Range(max(x.lo, int(low.const) + gap), max(x.hi, int(low.const) + gap))
    return x


def _corners(f: Callable[[int, int], int]) -> Rule:
    """Of what is monotonous in each operand while the other stands."""

    def rule(_v: Value, x: Range, y: Range) -> Range:
        found = [f(a, b) for a in x for b in y]
        return Range(min(found), max(found))

    return rule


def _upto(length: Callable[[Value], int]) -> Rule:
    """0 <= x < length"""
    return lambda v: Range(0, max(length(v) - 1, 0))


def _checked(v: Value, x: Range) -> Range:
    """What is in range, and 0 for what is not."""
    bound: int = v.attrs["bound"]
    return Range(max(min(x.lo, bound - 1), 0), max(min(x.hi, bound - 1), 0))


def _signed(divisor: Range) -> Range:
    """What a remainder with the sign of the divisor may be; that is never 0."""
    return Range(min(divisor.lo + 1, 0), max(divisor.hi - 1, 0))


def _floordiv(v: Value, x: Range, y: Range) -> Range:
    if y.lo <= 0 <= y.hi:
        return everything(v.spec.dtype)
    return _corners(lambda a, b: a // b)(v, x, y)


def _and(v: Value, x: Range, y: Range) -> Range:
    """No bit that is not in both: at most the smaller one, if that is not negative."""
    tops = [r.hi for r in (x, y) if r.lo >= 0]
    return Range(0, min(tops)) if tops else everything(v.spec.dtype)


def _abs(_v: Value, x: Range) -> Range:
    return Range(max(x.lo, -x.hi, 0), max(-x.lo, x.hi))


def _padded(v: Value, x: Range) -> Range:
    value = int(v.attrs.get("value", 0))
    return Range(min(x.lo, value), max(x.hi, value))


def _sums(v: Value, x: Range) -> Range:
    """Of as many terms as there are at most: an axis is summed whole, a row may take them all."""
    (source, *_) = v.args
    terms = source.spec.numel
    if v.op is not None and v.op.name == "sum":
        terms = prod(source.shape[k] for k in v.attrs["axes"])
    return Range(min(terms * x.lo, 0), max(terms * x.hi, 0))


def _same(_v: Value, x: Range) -> Range:
    return x


ALL, FIRST, NONE = slice(None), slice(1), slice(0)

# By op: whose ranges the rule reads (of all arguments, the first, or none), and the rule.
RULES: Mapping[str, tuple[slice, Rule]] = {
    "iota": (NONE, _upto(lambda v: v.shape[v.attrs["axis"]])),
    "argmax": (NONE, _upto(lambda v: v.args[0].shape[v.attrs["axis"]])),
    "argmin": (NONE, _upto(lambda v: v.args[0].shape[v.attrs["axis"]])),
    "argmax_last_nan": (NONE, _upto(lambda v: v.args[0].shape[v.attrs["axis"]])),
    "argsort": (NONE, _upto(lambda v: v.shape[v.attrs["axis"]])),
    "searchsorted": (NONE, _upto(lambda v: v.args[0].shape[-1] + 1)),
    "last_along": (NONE, lambda v: Range(-1, v.args[0].shape[v.attrs["axis"]] - 1)),
    "check_index": (FIRST, _checked),
    "check": (FIRST, _same),
    "cast": (FIRST, _same),
    "neg": (FIRST, lambda _v, x: Range(-x.hi, -x.lo)),
    "abs": (FIRST, _abs),
    "sign": (FIRST, lambda _v, x: Range((x.lo > 0) - (x.lo < 0), (x.hi > 0) - (x.hi < 0))),
    "relu": (FIRST, lambda _v, x: Range(max(x.lo, 0), max(x.hi, 0))),
    "add": (ALL, _corners(lambda a, b: a + b)),
    "sub": (ALL, _corners(lambda a, b: a - b)),
    "mul": (ALL, _corners(lambda a, b: a * b)),
    "maximum": (ALL, _corners(max)),
    "minimum": (ALL, _corners(min)),
    "floordiv": (ALL, _floordiv),
    "rem": (ALL, lambda _v, _x, y: _signed(y)),
    "and": (ALL, _and),
    "where": (ALL, _chosen),
    **dict.fromkeys(
        ("reshape", "transpose", "expand", "slice", "flip", "unfold", "diagonal", "contiguous"),
        (FIRST, _same),
    ),
    "pad": (FIRST, _padded),
    "concat": (ALL, _hull),
    "assemble": (ALL, _hull),
    "max": (FIRST, _same),
    "min": (FIRST, _same),
    "sum": (FIRST, _sums),
    "scatter_add": (FIRST, _sums),
    "put_along": (FIRST, _sums),
    "gather": (FIRST, _same),
    "take_along": (FIRST, _same),
}
