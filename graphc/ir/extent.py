"""Extents: sizes that a plan does not fix, and the numbers that are computed from them.

An `Extent` is a polynomial with integer coefficients over `Symbol`s (the first dimension of the
arguments: `B`) and floored quotients. It stands wherever a size stands: in shapes, attributes,
kernel sizes, scalars, bytes of the arena. Arithmetic on it gives an Extent again, or a plain int
where no symbol is left; division by `/` gives a `Derived` number. `sizes.Evaluation` puts sizes in.

What is asked of an extent is answered in one of two ways:
  while the user's step is traced   as for its hint, the value seen. An answer that does not hold
                                    for every value is noted as a `Condition` of the plan; one that
                                    only this value gives (`n == 4`, `range(n)`, `f"{n}"`) raises
                                    `Fixed`, and the step is traced again with that size literal.
  in passes                         as an unknown: equal to what is the same expression and to
                                    nothing else, and never special (no unit dimension). An order
                                    that is not the same for all values is a condition as well.
Decisions about speed ask `sizes.typical`, which notes nothing and does not depend on the value
seen, so that a plan does not depend on which batch came first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from graphc.errors import InternalError
from graphc.ir import polynomial
from graphc.ir.polynomial import Terms
from graphc.ir.symbols import (
    TYPICAL,
    Extents,
    Fixed,
    Number,
    Sizes,
    Symbol,
    Unknown,
    asker_is_own,
    leaked,
    needed,
)

ENDLESS = 1 << 62  # no size reaches so far


@dataclass(frozen=True, slots=True)
class Quotient:
    """floor(top / bottom), which no polynomial expresses; top is never negative."""

    top: Extent
    bottom: int

    @property
    def name(self) -> str:
        return f"({show(self.top)})//{self.bottom}"

    @property
    def least(self) -> int:
        if self.top.least is None:
            raise InternalError(f"{self.name} may be negative")
        return self.top.least // self.bottom

    def value(self, of: Sizes) -> int:
        return self.top.value(of) // self.bottom


class Extent(Unknown):
    """An integer expression over symbols; immutable, equal where it is the same expression."""

    __slots__ = ("_hash", "_hint", "_least", "_scope", "_terms", "_typical")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._scope: Extents | None = None
        self._hash: int | None = None
        self._hint: int | None = None
        self._typical: int | None = None
        self._least: int | Literal["?"] | None = "?"

    @property  # type: ignore[misc]  # object's can be set
    def __class__(self) -> type:  # `isinstance(n, int)` has to be true
        return int

    @property
    def terms(self) -> Terms:
        return self._terms

    def value(self, of: Sizes) -> int:
        total = 0
        for product, factor in self._terms.items():
            for atom in product:
                factor *= of(atom) if isinstance(atom, Symbol) else cast(Quotient, atom).value(of)
            total += factor
        return total

    def symbols(self) -> frozenset[Symbol]:
        atoms = {atom for product in self._terms for atom in product}
        found = {a for a in atoms if isinstance(a, Symbol)}
        return frozenset(found).union(*(a.top.symbols() for a in atoms if isinstance(a, Quotient)))

    @property
    def scope(self) -> Extents:
        if self._scope is None:
            self._scope = next(iter(self.symbols())).scope
        return self._scope

    @property
    def hint(self) -> int:
        """The value seen."""
        if self._hint is None:
            self._hint = self.value(lambda s: s.hint)
        return self._hint

    @property
    def typical(self) -> int:
        """A value that stands for all in decisions about speed."""
        if self._typical is None:
            self._typical = self.value(lambda s: TYPICAL[s.role])
        return self._typical

    @property
    def least(self) -> int | None:
        """The least value for any sizes; None where that is not seen."""
        if self._least == "?":
            self._least = polynomial.least(self._terms)
        return self._least

    def text(self) -> str:
        return show(self)

    # ---- what is asked -------------------------------------------------------------------------

    def __index__(self) -> int:
        return int(self.fix("the use as a number"))

    def __hash__(self) -> int:
        """For our tables that of the expression; for the user's that of the number."""
        if not asker_is_own(1):
            return hash(self.fix("the use as a key"))
        if self._hash is None:
            self._hash = hash(frozenset(self._terms.items()))
        return self._hash

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __eq__(self, y: object) -> bool:
        if self is y:
            return True
        kind = type(y)
        if kind is Extent and self._terms == cast(Extent, y)._terms:
            return True
        if (kind is Extent or kind is int) and not (own := self.scope).tracing and own.compiling:
            return False  # no expression but the same is equal in passes
        if isinstance(y, float) and not is_unknown(y):
            return y.is_integer() and self == int(y)
        if not _is_whole(y):
            return NotImplemented
        gap = _sum(self, y, -1)
        if not isinstance(gap, Extent):
            return bool(gap == 0)
        if not (scope := gap.scope).tracing:
            if not scope.compiling and not asker_is_own(2):
                raise leaked(self)
            return False
        if _never_zero(gap):
            return False
        if gap.hint != 0:
            return scope.note(gap, "==")
        what = f"{show(self)} == {show(y)}"
        raise Fixed(needed(gap), f"{what} holds for this value alone", alone=True)

    def __ne__(self, y: object) -> Any:
        equal = self.__eq__(y)
        return NotImplemented if equal is NotImplemented else not bool(equal)

    def __lt__(self, y: Number) -> bool:
        return _less(self, y)

    def __gt__(self, y: Number) -> bool:
        return _less(y, self)

    def __le__(self, y: Number) -> bool:
        return not _less(y, self)

    def __ge__(self, y: Number) -> bool:
        return not _less(self, y)

    # ---- arithmetic ----------------------------------------------------------------------------

    def __add__(self, y: Number) -> Number:
        return _sum(self, y) if _is_whole(y) else derived("+", self, y)

    __radd__ = __add__

    def __sub__(self, y: Number) -> Number:
        return _sum(self, y, -1) if _is_whole(y) else derived("-", self, y)

    def __rsub__(self, y: Number) -> Number:
        return _sum(y, self, -1) if _is_whole(y) else derived("-", y, self)

    def __mul__(self, y: Number) -> Number:
        return _product(self, y) if _is_whole(y) else derived("*", self, y)

    def __rmul__(self, y: Number) -> Number:
        return _product(self, y) if _is_whole(y) else derived("*", y, self)

    def __neg__(self) -> Number:
        return _product(self, -1)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return -self if self < 0 else self

    def __truediv__(self, y: Number) -> Number:
        return derived("/", self, y)

    def __rtruediv__(self, y: Number) -> Number:
        return derived("/", y, self)

    def __floordiv__(self, y: Number) -> Number:
        return _quotient(self, y) if _is_whole(y) else NotImplemented

    def __rfloordiv__(self, y: Number) -> Number:
        return _quotient(y, self) if _is_whole(y) else NotImplemented

    def __mod__(self, y: Number) -> Number:
        return self - y * (self // y) if _is_whole(y) else NotImplemented

    def __rmod__(self, y: Number) -> Number:
        return y - self * (y // self) if _is_whole(y) else NotImplemented

    def __divmod__(self, y: Number) -> Number:
        return self // y, self % y

    def __rdivmod__(self, y: Number) -> Number:
        return y // self, y % self

    def __pow__(self, y: Number) -> Number:
        if type(y) is int and 0 <= y <= 4:
            return math.prod([self] * y)
        return derived("**", self, y)

    def __rpow__(self, y: Number) -> Number:
        return derived("**", y, self)

    def __getattr__(self, name: str) -> Number:
        """`bit_length` and what else ints have: of the value."""
        if not hasattr(int, name) or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.fix(name), name)


def _of_value(name: str) -> Callable[..., Number]:
    return lambda self, *args: getattr(self.fix(name), name)(*args)


for _name in ("and", "or", "xor", "lshift", "rshift", "invert"):
    setattr(Extent, f"__{_name}__", _of_value(f"__{_name}__"))
    setattr(Extent, f"__r{_name}__", _of_value(f"__r{_name}__"))


class Derived(Unknown):
    """A float computed from extents: 1/n, n/(n-1)."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        self.op, self.args = op, args

    @property  # type: ignore[misc]  # object's can be set
    def __class__(self) -> type:  # `isinstance(r, float)` has to be true
        return float

    def value(self, of: Sizes) -> float:
        known = (a.value(of) if is_unknown(a) else a for a in self.args)
        return float(OPERATIONS[self.op](*known))

    def symbols(self) -> frozenset[Symbol]:
        return frozenset().union(*(a.symbols() for a in self.args if is_unknown(a)))

    def text(self) -> str:
        words = [w if w.isalnum() else f"({w})" for w in map(show, self.args)]
        return f"-{words[0]}" if self.op == "neg" else self.op.join(words)

    def __hash__(self) -> int:
        return hash(self.text()) if asker_is_own(1) else hash(self.fix("the use as a key"))

    def __eq__(self, y: object) -> bool:
        if self is y or (isinstance(y, Derived) and self.text() == y.text()):
            return True
        if not next(iter(self.symbols())).scope.tracing:
            return False
        return bool(self.fix("a comparison") == y)

    def __lt__(self, y: Number) -> bool:
        return bool(self.fix("a comparison") < y)

    def __gt__(self, y: Number) -> bool:
        return bool(self.fix("a comparison") > y)

    def __le__(self, y: Number) -> bool:
        return bool(self.fix("a comparison") <= y)

    def __ge__(self, y: Number) -> bool:
        return bool(self.fix("a comparison") >= y)

    def __bool__(self) -> bool:
        return bool(self.fix("a test"))

    def __add__(self, y: Number) -> Number:
        return derived("+", self, y)

    def __radd__(self, y: Number) -> Number:
        return derived("+", y, self)

    def __sub__(self, y: Number) -> Number:
        return derived("-", self, y)

    def __rsub__(self, y: Number) -> Number:
        return derived("-", y, self)

    def __mul__(self, y: Number) -> Number:
        return derived("*", self, y)

    def __rmul__(self, y: Number) -> Number:
        return derived("*", y, self)

    def __pow__(self, y: Number) -> Number:
        return derived("**", self, y)

    def __rpow__(self, y: Number) -> Number:
        return derived("**", y, self)

    def __truediv__(self, y: Number) -> Number:
        return derived("/", self, y)

    def __rtruediv__(self, y: Number) -> Number:
        return derived("/", y, self)

    def __neg__(self) -> Number:
        return Derived("neg", (self,))

    def __abs__(self) -> Number:
        return abs(self.fix("abs()"))


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "neg": lambda a: -a,
}


def derived(op: str, a: Number, b: Number) -> Number:
    """`a op b` as a number computed when the sizes are known."""
    plain = all(isinstance(x, int | float) for x in (a, b))
    return Derived(op, (a, b)) if plain else NotImplemented


def is_unknown(x: object) -> bool:
    """Whether x is a number that depends on extents; `isinstance` cannot tell them from ints."""
    return type(x) is Extent or type(x) is Derived


# ---- arithmetic --------------------------------------------------------------------------------


def _is_whole(y: object) -> bool:
    return type(y) is int or isinstance(y, int | np.integer)


def _terms_of(n: Number) -> Terms:
    if type(n) is Extent:
        return n._terms
    value = n.__index__()
    return {(): value} if value else {}


def _made(terms: Terms) -> Number:
    """The extent of these terms, or an int where no symbol is left."""
    return Extent(terms) if any(terms) else terms.get((), 0)


def _sum(a: Number, b: Number, sign: int = 1) -> Number:
    return _made(polynomial.add(_terms_of(a), _terms_of(b), sign))


def _product(a: Number, b: Number) -> Number:
    if type(a) is Extent and type(b) is int:
        return a if b == 1 else _made({p: f * b for p, f in a._terms.items() if b})
    return _made(polynomial.multiply(_terms_of(a), _terms_of(b)))


def _quotient(a: Number, b: Number) -> Number:
    """a // b: what b divides comes out; the rest is a Quotient, its constant least."""
    if type(b) is not Extent and b.__index__() == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    if (near := _near(a, b)) is not None:
        return near
    divisor = _terms_of(b)
    if len(divisor) != 1 or (type(b) is Extent and b.least in (None, 0)):
        return _floored(a, b)
    ((below, scale),) = divisor.items()
    out, rest = polynomial.divide(_terms_of(a), below, scale)
    whole, left = _made(out), _made(rest)
    if type(left) is Extent or (below and left):
        return whole + _floored(left, b)
    return whole if below else whole + left // scale


def _near(a: Number, b: Number) -> int | None:
    """a // b where it is 0 or -1 for every value, as a place counted from either end is."""
    above, below = (_least(n) for n in (a, b - a))
    if above is not None and above >= 0 and below is not None and below > 0:
        return 0
    above, below = (_least(n) for n in (a + b, -a))
    return -1 if above is not None and above >= 0 and below is not None and below > 0 else None


def _least(n: Number) -> int | None:
    return n.least if type(n) is Extent else int(n)


def _floored(a: Number, b: Number) -> Number:
    """The quotient as one atom; only of what is never negative, by a number above zero."""
    if type(b) is Extent or b < 0:
        raise _asked((a, b), f"{show(a)} // {show(b)}")
    low = a.least if type(a) is Extent else a
    if low is not None and low >= 0:
        return Extent({(Quotient(a, int(b)),): 1}) if type(a) is Extent else a // b
    most = (-a).least if type(a) is Extent else -a
    if most is None or most < 0:
        raise _asked((a, b), f"{show(a)} // {show(b)}, which may be negative,")
    return -((b - 1 - a) // b)


def _asked(numbers: Iterable[Number], what: str) -> Fixed:
    symbols = frozenset().union(*(n.symbols() for n in numbers if is_unknown(n)))
    return Fixed(symbols, f"{what} needs the values")


def _never_zero(gap: Extent) -> bool:
    low, high = gap.least, (-gap).least
    return (low is not None and low > 0) or (high is not None and high > 0)


def _less(a: Number, b: Number) -> bool:
    """a < b: by what is known of all values, else by the hints, noted."""
    if type(a) is int and type(b) is Extent and (least := b.least) is not None:
        passing = not b.scope.tracing and b.scope.compiling
        if least > a or (least == a == 1 and passing):
            return True
    if type(b) is int and type(a) is Extent and (least := a.least) is not None and least >= b:
        return False
    if isinstance(a, float) or isinstance(b, float):
        return _less_float(a, b)
    if not is_unknown(a) and abs(a) >= ENDLESS:
        return bool(a < 0)
    if not is_unknown(b) and abs(b) >= ENDLESS:
        return bool(b > 0)
    gap = _sum(a, b, -1)
    if not isinstance(gap, Extent):
        return bool(gap < 0)
    if (low := gap.least) is not None and low >= 0:
        return False
    if (high := (-gap).least) is not None and high > 0:
        return True
    scope = gap.scope
    if not scope.tracing and not scope.compiling:
        raise leaked(gap)
    if not scope.tracing and high == 0 and not is_unknown(a) and a == 1:
        return True  # 1 < n: in passes no unknown dimension is a unit
    return scope.note(gap, "<")


def _less_float(a: Number, b: Number) -> bool:
    if is_unknown(a):
        return _less(a, math.ceil(b)) if math.isfinite(b) else b > 0
    return _less(math.floor(a), b) if math.isfinite(a) else a < 0


def extent_of(symbol: Symbol) -> int:
    """The extent of a symbol; to the type checker the int that it poses as."""
    return cast(int, Extent({(symbol,): 1}))


def show(n: Number) -> str:
    """A size as text: `B`, `B*49+1`, `(B+1)//2`; `sizes.read` is its inverse."""
    if type(n) is Extent:
        return polynomial.show(n.terms)
    return n.text() if type(n) is Derived else repr(n)
