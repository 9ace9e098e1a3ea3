"""Extents: sizes that a plan does not fix, and the numbers that are computed from them.

An `Extent` is a polynomial with integer coefficients over `Symbol`s (the first dimension of the
arguments: `B`) and floored quotients. It stands wherever a size stands: in shapes, attributes,
kernel sizes, scalars, bytes of the arena. Arithmetic on it gives an Extent again, or a plain int
where no symbol is left; division by `/` gives a `Derived` number. `Evaluation` puts sizes in.

What is asked of an extent is answered in one of two ways:
  while the user's step is traced   as for its hint, the value seen. An answer that does not hold
                                    for every value is noted as a `Condition` of the plan; one that
                                    only this value gives (`n == 4`, `range(n)`, `f"{n}"`) raises
                                    `Fixed`, and the step is traced again with that size literal.
  in passes                         as an unknown: equal to what is the same expression and to
                                    nothing else, and never special (no unit dimension). An order
                                    that is not the same for all values is a condition as well.
Decisions about speed ask `typical`, which notes nothing and does not depend on the value seen, so
that a plan does not depend on which batch came first.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from graphc.errors import InternalError, TracerLeak, is_own, user_location

Role = Literal["batch", "sequence", "space", "other"]
Relation = Literal["==", "<"]
TYPICAL: Mapping[Role, int] = {"batch": 32, "sequence": 128, "space": 32, "other": 64}


ENDLESS = 1 << 62  # no size reaches so far


class Fixed(BaseException):
    """The trace needs the values of these symbols; no Exception, so that no step catches it."""

    def __init__(self, symbols: Iterable[Symbol], why: str) -> None:
        super().__init__(why)
        self.symbols = tuple(symbols)
        self.why = why
        self.where = user_location()


@dataclass(frozen=True, eq=False, slots=True)
class Symbol:
    """A named size: its role, the value seen, and the least it can be."""

    name: str
    role: Role
    hint: int
    scope: Extents = field(repr=False)
    least: int = 1


@dataclass(frozen=True, slots=True)
class Quotient:
    """floor(top / bottom), which no polynomial expresses."""

    top: Extent
    bottom: Extent | int

    @property
    def name(self) -> str:
        bottom = show(self.bottom)
        return f"({show(self.top)})//{bottom if bottom.isalnum() else f'({bottom})'}"

    @property
    def least(self) -> int:
        top = self.top.least
        if top is None or not isinstance(self.bottom, int):
            raise InternalError(f"{self.name} may be negative")
        return top // self.bottom


Atom = Symbol | Quotient
Monomial = tuple[Atom, ...]
Terms = Mapping[Monomial, int]


class Condition(NamedTuple):
    """`left relation 0` is `holds`: a fact that a plan rests on, and the user's line that asked."""

    left: Extent
    relation: Relation
    holds: bool
    where: tuple[str, int, str]

    def met(self, sizes: Evaluation) -> bool:
        value = sizes(self.left)
        return (value == 0 if self.relation == "==" else value < 0) is self.holds

    def __str__(self) -> str:
        negative, positive = _sides(self.left)
        words = {"==": ("==", "!="), "<": ("<", ">=")}[self.relation]
        return f"{positive} {words[0] if self.holds else words[1]} {negative}"


class Extents:
    """The symbols of one trace, and what was asked about them."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.conditions: dict[tuple[Extent, Relation], Condition] = {}
        self.tracing = True
        self.compiling = False

    def symbol(self, name: str, role: Role, hint: int) -> int:
        """A new extent, which poses as the int that it stands for."""
        made = Symbol(name, role, hint, self)
        self.symbols.append(made)
        return cast(int, Extent({(made,): 1}))

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Inside, passes work on the trace, which has ended."""
        self.tracing, before, self.compiling = False, self.compiling, True
        try:
            yield
        finally:
            self.compiling = before

    def note(self, left: Extent, relation: Relation) -> bool:
        """What holds for the hints, noted."""
        key = left, relation
        if key not in self.conditions:
            value = hint(left)
            holds = value == 0 if relation == "==" else value < 0
            self.conditions[key] = Condition(left, relation, holds, user_location())
        return self.conditions[key].holds

    def met(self, sizes: Evaluation) -> bool:
        """Whether a plan of this trace serves these sizes."""
        return all(c.met(sizes) for c in self.conditions.values())


class Unknown:
    """What extents and derived numbers share: an operator on them gives such a number again."""

    __slots__ = ()

    def at(self, sizes: Evaluation) -> Any:
        raise NotImplementedError

    def symbols(self) -> frozenset[Symbol]:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError

    def fix(self, why: str) -> Any:
        """The value, where nothing but the value will do."""
        symbols = self.symbols()
        scope = next(iter(symbols)).scope
        if not scope.tracing and not scope.compiling:
            raise leaked(self)
        raise Fixed(symbols, f"{why} of {self.text()} needs its value")

    def _shown(self, form: str) -> str:
        """For us the expression; for the user the number, which stays what it is."""
        return self.text() if _asker_is_own(2) else format(self.fix("the text"), form)

    def __str__(self) -> str:
        return self._shown("")

    def __repr__(self) -> str:
        return self._shown("")

    def __format__(self, form: str) -> str:
        return self._shown(form)

    def __float__(self) -> float:
        return float(self.fix("float()"))

    def __int__(self) -> int:
        return int(self.fix("int()"))

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.fix("round()"), digits)

    def __trunc__(self) -> int:
        return int(self.fix("trunc()"))

    def __reduce__(self) -> Any:
        return self.fix("a copy")

    def __truediv__(self, y: Any) -> Any:
        return derived("/", self, y)

    def __rtruediv__(self, y: Any) -> Any:
        return derived("/", y, self)


class Extent(Unknown):
    """An integer expression over symbols; immutable, equal where it is the same expression."""

    __slots__ = ("_hash", "_hint", "_least", "_terms", "_typical")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._hash: int | None = None
        self._hint: int | None = None
        self._typical: int | None = None
        self._least: int | Literal["?"] | None = "?"

    @property
    def __class__(self) -> type:  # type: ignore[override]  # `isinstance(n, int)` has to be true
        return int

    @property
    def terms(self) -> Terms:
        return self._terms

    def at(self, sizes: Evaluation) -> int:
        total = 0
        for monomial, factor in self._terms.items():
            for atom in monomial:
                factor *= sizes.atom(atom)
            total += factor
        return total

    def symbols(self) -> frozenset[Symbol]:
        found: set[Symbol] = set()
        for monomial in self._terms:
            for atom in monomial:
                if isinstance(atom, Symbol):
                    found.add(atom)
                else:
                    found |= atom.top.symbols()
                    found |= atom.bottom.symbols() if is_unknown(atom.bottom) else frozenset()
        return frozenset(found)

    @property
    def scope(self) -> Extents:
        return next(iter(self.symbols())).scope

    @property
    def least(self) -> int | None:
        """The least value for any sizes; None where that is not seen.

        Over what each atom has beyond its own least value, a polynomial without negative factors
        is never less than its constant.
        """
        if self._least == "?":
            beyond: dict[Monomial, int] = {}
            for monomial, factor in self._terms.items():
                for part, times in _beyond(monomial):
                    beyond[part] = beyond.get(part, 0) + factor * times
            constant = beyond.pop((), 0)
            self._least = None if any(f < 0 for f in beyond.values()) else constant
        return cast("int | None", self._least)

    def text(self) -> str:
        return show(self)

    # ---- what is asked -------------------------------------------------------------------------

    def __index__(self) -> int:
        return int(self.fix("the use as a number"))

    def __hash__(self) -> int:
        """For our tables that of the expression; for the user's that of the number."""
        if not _asker_is_own(1):
            return hash(self.fix("the use as a key"))
        if self._hash is None:
            self._hash = hash(frozenset(self._terms.items()))
        return self._hash

    def __bool__(self) -> bool:
        return self != 0

    def __eq__(self, y: object) -> bool:
        if self is y:
            return True
        if not _is_whole(y):
            return NotImplemented if not isinstance(y, float) else self._equals_float(y)
        gap = _combined(self, y, -1)
        if not isinstance(gap, Extent):
            return gap == 0
        if not (scope := gap.scope).tracing:
            if not scope.compiling and not _asker_is_own(2):
                raise leaked(self)
            return False
        if _never_zero(gap):
            return False
        if hint(gap) != 0:
            return scope.note(gap, "==")
        raise Fixed(gap.symbols(), f"{show(self)} == {show(y)} holds for this value alone")

    def _equals_float(self, y: float) -> bool:
        return y.is_integer() and self == int(y)

    def __ne__(self, y: object) -> bool:
        equal = self.__eq__(y)
        return NotImplemented if equal is NotImplemented else not equal

    def __lt__(self, y: Any) -> bool:
        return _less(self, y)

    def __gt__(self, y: Any) -> bool:
        return _less(y, self)

    def __le__(self, y: Any) -> bool:
        return not _less(y, self)

    def __ge__(self, y: Any) -> bool:
        return not _less(self, y)

    # ---- arithmetic ----------------------------------------------------------------------------

    def __add__(self, y: Any) -> Any:
        return _combined(self, y, 1) if _is_whole(y) else derived("+", self, y)

    __radd__ = __add__

    def __sub__(self, y: Any) -> Any:
        return _combined(self, y, -1) if _is_whole(y) else derived("-", self, y)

    def __rsub__(self, y: Any) -> Any:
        return _combined(y, self, -1) if _is_whole(y) else derived("-", y, self)

    def __mul__(self, y: Any) -> Any:
        return _product(self, y) if _is_whole(y) else derived("*", self, y)

    def __rmul__(self, y: Any) -> Any:
        return _product(self, y) if _is_whole(y) else derived("*", y, self)

    def __neg__(self) -> Any:
        return _product(self, -1)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    def __floordiv__(self, y: Any) -> Any:
        return _quotient(self, y) if _is_whole(y) else NotImplemented

    def __rfloordiv__(self, y: Any) -> Any:
        return _quotient(y, self) if _is_whole(y) else NotImplemented

    def __mod__(self, y: Any) -> Any:
        return self - y * _quotient(self, y) if _is_whole(y) else NotImplemented

    def __rmod__(self, y: Any) -> Any:
        return y - self * _quotient(y, self) if _is_whole(y) else NotImplemented

    def __divmod__(self, y: Any) -> Any:
        return self // y, self % y

    def __rdivmod__(self, y: Any) -> Any:
        return y // self, y % self

    def __pow__(self, y: Any) -> Any:
        if type(y) is int and 0 <= y <= 4:
            return math.prod([self] * y)
        return derived("**", self, y)

    def __rpow__(self, y: Any) -> Any:
        return derived("**", y, self)

    def __getattr__(self, name: str) -> Any:
        """`bit_length`, `&`, `<<` and what else ints have: of the value."""
        if not hasattr(int, name) or (name.startswith("__") and name not in BITWISE):
            raise AttributeError(name)
        return getattr(self.fix(name), name)


BITWISE = {f"__{r}{op}__" for op in ("and", "or", "xor", "lshift", "rshift") for r in ("", "r")}


class Derived(Unknown):
    """A float computed from extents: 1/n, n/(n-1)."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        self.op, self.args = op, args

    @property
    def __class__(self) -> type:  # type: ignore[override]  # `isinstance(r, float)` has to be true
        return float

    def at(self, sizes: Evaluation) -> float:
        return OPERATIONS[self.op](*(sizes(a) for a in self.args))

    def symbols(self) -> frozenset[Symbol]:
        return frozenset().union(*(a.symbols() for a in self.args if is_unknown(a)))

    def text(self) -> str:
        words = [w if w.isidentifier() else f"({w})" for w in map(show, self.args)]
        return f"-{words[0]}" if self.op == "neg" else self.op.join(words)

    def __hash__(self) -> int:
        return hash(self.text()) if _asker_is_own(1) else hash(self.fix("the use as a key"))

    def __eq__(self, y: object) -> bool:
        if self is y or (isinstance(y, Derived) and self.text() == y.text()):
            return True
        if not next(iter(self.symbols())).scope.tracing:
            return False
        return bool(self.fix("a comparison") == y)

    def __lt__(self, y: Any) -> bool:
        return bool(self.fix("a comparison") < y)

    def __gt__(self, y: Any) -> bool:
        return bool(self.fix("a comparison") > y)

    def __le__(self, y: Any) -> bool:
        return bool(self.fix("a comparison") <= y)

    def __ge__(self, y: Any) -> bool:
        return bool(self.fix("a comparison") >= y)

    def __bool__(self) -> bool:
        return bool(self.fix("a test"))

    def __add__(self, y: Any) -> Any:
        return derived("+", self, y)

    def __radd__(self, y: Any) -> Any:
        return derived("+", y, self)

    def __sub__(self, y: Any) -> Any:
        return derived("-", self, y)

    def __rsub__(self, y: Any) -> Any:
        return derived("-", y, self)

    def __mul__(self, y: Any) -> Any:
        return derived("*", self, y)

    def __rmul__(self, y: Any) -> Any:
        return derived("*", y, self)

    def __pow__(self, y: Any) -> Any:
        return derived("**", self, y)

    def __rpow__(self, y: Any) -> Any:
        return derived("**", y, self)

    def __neg__(self) -> Any:
        return Derived("neg", (self,))

    def __abs__(self) -> Any:
        return abs(self.fix("abs()"))


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "neg": lambda a: -a,
}


def derived(op: str, a: Any, b: Any) -> Any:
    """`a op b` as a number computed when the sizes are known."""
    plain = all(isinstance(x, int | float) for x in (a, b))
    return Derived(op, (a, b)) if plain else NotImplemented


class Evaluation:
    """Sizes for symbols, put into expressions; remembers what it has computed."""

    __slots__ = ("_known", "_of")

    def __init__(self, sizes: Mapping[Symbol, int] | Callable[[Symbol], int]) -> None:
        self._of = sizes.__getitem__ if isinstance(sizes, Mapping) else sizes
        self._known: dict[Extent, int] = {}

    def atom(self, atom: Atom) -> int:
        if isinstance(atom, Symbol):
            return self._of(atom)
        return int(self(atom.top) // self(atom.bottom))

    def __call__(self, x: Any) -> Any:
        """x with numbers in place of unknowns; tuples inside and out."""
        kind = type(x)
        if kind is Extent:
            known = self._known.get(x)
            if known is None:
                known = self._known[x] = x.at(self)
            return known
        if kind is Derived:
            return x.at(self)
        if kind is tuple:
            return tuple(map(self, x))
        return x


class _Hints(Evaluation):
    """The values seen, which extents themselves remember."""

    __slots__ = ()

    def __call__(self, x: Any) -> Any:
        return hint(x) if type(x) is Extent else super().__call__(x)


HINTS = _Hints(lambda s: s.hint)


def leaked(n: Unknown) -> TracerLeak:
    return TracerLeak(
        f"a size of a compiled step, {n.text()}, is used after the step has been traced",
        why="it stands for the sizes of all calls, and was kept where the call cannot replace it",
        fix="return it from the step, or read it from the tensor outside",
    )


def is_unknown(x: object) -> bool:
    """Whether x is a number that depends on extents; `isinstance` cannot tell them from ints."""
    return type(x) is Extent or type(x) is Derived


def hint(n: Any) -> Any:
    """The value seen."""
    if type(n) is not Extent:
        return n.at(Evaluation(lambda s: s.hint)) if type(n) is Derived else n
    if n._hint is None:
        n._hint = n.at(Evaluation(lambda s: s.hint))
    return n._hint


def typical(n: int) -> int:
    """A value that stands for all in decisions about speed."""
    if type(n) is not Extent:
        return n
    if n._typical is None:
        n._typical = n.at(Evaluation(lambda s: TYPICAL[s.role]))
    return n._typical


def unknowns(x: Any) -> frozenset[Symbol]:
    """The symbols in nested tuples of numbers."""
    if is_unknown(x):
        return cast(Unknown, x).symbols()
    if type(x) is tuple:
        return frozenset().union(*map(unknowns, x))
    return frozenset()


def fix(x: Any, why: str) -> None:
    """Raise `Fixed` if there are unknowns in x."""
    if symbols := unknowns(x):
        raise Fixed(symbols, why)


def same(a: int, b: int) -> bool:
    """Whether two sizes are equal for every value: the same number, or the same expression."""
    if type(a) is Extent and type(b) is Extent:
        return a.terms == b.terms
    return type(a) is not Extent and type(b) is not Extent and a == b


def same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """`same` of all sizes."""
    if Extent not in map(type, a) and Extent not in map(type, b):
        return a == b
    return len(a) == len(b) and all(map(same, a, b))


def surely_less(a: int, b: int) -> bool:
    """Whether a < b for every value."""
    gap = b - a
    return gap.least is not None and gap.least > 0 if type(gap) is Extent else gap > 0


def smaller(a: int, b: int) -> bool:
    """a < b of numbers; of extents, whether a is never the larger one of the two."""
    gap = b - a
    if type(gap) is not Extent:
        return gap > 0
    if gap.least is not None and gap.least >= 0:
        return True
    if (low := (-gap).least) is not None and low >= 0:
        return False
    return a < b


def is_one(n: int) -> bool:
    """Whether a size is 1 for every value."""
    return type(n) is not Extent and n == 1


def index(n: Any) -> int:
    """`operator.index`, which leaves an extent as it is."""
    return cast(int, n) if type(n) is Extent else cast(int, n.__index__())


# ---- polynomials -------------------------------------------------------------------------------


def _is_whole(y: object) -> bool:
    return isinstance(y, int | np.integer)


def _terms_of(n: Any) -> Terms:
    if type(n) is Extent:
        return n.terms
    value = n.__index__()
    return {(): value} if value else {}


def _made(terms: dict[Monomial, int]) -> Any:
    """The extent of these terms, or an int where no symbol is left."""
    kept = {m: f for m, f in terms.items() if f}
    if not kept or (len(kept) == 1 and () in kept):
        return kept.get((), 0)
    return Extent(kept)


def _combined(a: Any, b: Any, sign: int) -> Any:
    terms = dict(_terms_of(a))
    for monomial, factor in _terms_of(b).items():
        terms[monomial] = terms.get(monomial, 0) + sign * factor
    return _made(terms)


def _product(a: Any, b: Any) -> Any:
    terms: dict[Monomial, int] = {}
    for m, f in _terms_of(a).items():
        for n, g in _terms_of(b).items():
            monomial = tuple(sorted((*m, *n), key=lambda atom: atom.name)) if m and n else m or n
            terms[monomial] = terms.get(monomial, 0) + f * g
    return _made(terms)


def _quotient(a: Any, b: Any) -> Any:
    """a // b: what b divides comes out; the rest is a Quotient, its constant least."""
    if type(b) is not Extent and b.__index__() == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    divisor = _terms_of(b)
    if len(divisor) != 1 or (type(b) is Extent and b.least in (None, 0)):
        return _whole_quotient(a, b)
    ((below, scale),) = divisor.items()
    out: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, factor in _terms_of(a).items():
        left = _without(monomial, below)
        if left is None or (factor % scale and left):
            rest[monomial] = factor
            continue
        out[left] = out.get(left, 0) + factor // scale
        if factor % scale:
            rest[monomial] = factor % scale
    left_over = _made(rest)
    whole = _made(out)
    if not is_unknown(left_over) and not below:
        return whole + left_over // scale
    if left_over == 0 and not is_unknown(left_over):
        return whole
    return whole + _whole_quotient(left_over, b)


def _whole_quotient(a: Any, b: Any) -> Any:
    """The quotient as one atom; only of what is never negative, by a number above zero."""
    low = a.least if type(a) is Extent else a.__index__()
    if type(b) is Extent or b.__index__() < 0:
        raise Fixed(unknowns((a, b)), f"{show(a)} // {show(b)} needs their values")
    if low is None or low < 0:
        most = (-a).least if type(a) is Extent else -low
        if most is None or most < 0:
            raise Fixed(unknowns((a, b)), f"{show(a)} // {show(b)} may be negative")
        return -((-a + (b - 1)) // b)
    return Extent({(Quotient(a, b),): 1})


def _without(monomial: Monomial, below: Monomial) -> Monomial | None:
    """monomial / below, or None."""
    left = list(monomial)
    for atom in below:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _beyond(monomial: Monomial) -> list[tuple[Monomial, int]]:
    """The product over what each atom has beyond its least value, multiplied out."""
    parts: list[tuple[Monomial, int]] = [((), 1)]
    for atom in monomial:
        low = atom.least
        parts = [
            *(((*m, atom), f) for m, f in parts),
            *((m, f * low) for m, f in parts if low),
        ]
    return parts


def _never_zero(gap: Extent) -> bool:
    low, high = gap.least, (-gap).least
    return (low is not None and low > 0) or (high is not None and high > 0)


def _less(a: Any, b: Any) -> bool:
    """a < b: by what is known of all values, else by the hints, noted."""
    if isinstance(a, float) or isinstance(b, float):
        return _less_float(a, b)
    if not is_unknown(a) and abs(a) >= ENDLESS:
        return bool(a < 0)
    if not is_unknown(b) and abs(b) >= ENDLESS:
        return bool(b > 0)
    gap = _combined(a, b, -1)
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


def _less_float(a: Any, b: Any) -> bool:
    if is_unknown(a):
        return _less(a, math.ceil(b)) if math.isfinite(b) else b > 0
    return _less(math.floor(a), b) if math.isfinite(a) else a < 0


# ---- text --------------------------------------------------------------------------------------


def show(n: Any) -> str:
    """A size as text: `B`, `B*49+1`, `(B+1)//2`; `read` is its inverse."""
    if not is_unknown(n):
        return repr(n)
    if type(n) is Derived:
        return n.text()
    rows = sorted(n.terms.items(), key=lambda t: [a.name for a in t[0]], reverse=True)
    return "".join(_term(m, f) for m, f in rows).removeprefix("+")


def _term(monomial: Monomial, factor: int) -> str:
    words = [atom.name for atom in monomial]
    if not words or abs(factor) != 1:
        words.append(str(abs(factor)))
    return ("-" if factor < 0 else "+") + "*".join(words)


def _sides(n: Extent) -> tuple[str, str]:
    """n as `positive - negative`: the text of both."""
    positive = _made({m: f for m, f in n.terms.items() if f > 0})
    negative = _made({m: -f for m, f in n.terms.items() if f < 0})
    return show(negative), show(positive)


def read(text: str, names: Mapping[str, int]) -> Any:
    """The number of `show`'s text, over the extents called `names`."""
    return _read(ast.parse(text, mode="eval").body, names)


def _read(node: ast.expr, names: Mapping[str, int]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        return -_read(node.operand, names)
    if isinstance(node, ast.BinOp) and type(node.op) in READS:
        return READS[type(node.op)](_read(node.left, names), _read(node.right, names))
    raise ValueError(f"not a size: {ast.unparse(node)}")


READS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: OPERATIONS["+"],
    ast.Sub: OPERATIONS["-"],
    ast.Mult: OPERATIONS["*"],
    ast.Div: OPERATIONS["/"],
    ast.Pow: OPERATIONS["**"],
    ast.FloorDiv: lambda a, b: a // b,
}


@contextmanager
def passes(shapes: Iterable[tuple[int, ...]]) -> Iterator[None]:
    """Inside, passes work on a graph whose inputs have these shapes."""
    scopes = {s.scope for shape in shapes for s in unknowns(shape)}
    with ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(scope.passes())
        yield


def _asker_is_own(depth: int) -> bool:
    """Whether graphc's own code asks; what dataclasses generate asks for whoever calls it."""
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_name in GENERATED and frame.f_back is not None:
        frame = frame.f_back
    return is_own(frame.f_code.co_filename)


GENERATED = ("__hash__", "__eq__", "__repr__")  # methods of dataclasses, which stand in no file
