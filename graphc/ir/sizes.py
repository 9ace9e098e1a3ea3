"""sizes: what code that meets sizes asks of them, be they ints or extents.

`same`, `is_one` and `smaller` answer for every value and note nothing; `agree` is for rules that
refuse what does not; `typical` and `hint` give one value. `Evaluation` puts sizes in place of
symbols, `read` is the inverse of `extent.show`.
"""

from __future__ import annotations

import ast
from builtins import len  # Python's own, also while a step is traced, whose `len` takes tensors
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from graphc.ir.extent import OPERATIONS, Derived, Extent, is_unknown
from graphc.ir.symbols import Extents, Fixed, Number, Symbol, Unknown

Shape = tuple[int, ...]


class Evaluation:
    """Sizes for symbols, put into expressions; remembers what it has computed."""

    __slots__ = ("_known", "of")

    def __init__(self, sizes: Mapping[Symbol, int] | Callable[[Symbol], int]) -> None:
        self.of = sizes.__getitem__ if isinstance(sizes, Mapping) else sizes
        self._known: dict[Extent, int] = {}

    def __call__(self, x: Any) -> Any:
        """x with numbers in place of unknowns; tuples inside and out."""
        kind = type(x)
        if kind is Extent:
            known = self._known.get(x)
            if known is None:
                known = self._known[x] = x.value(self.of)
            return known
        if kind is Derived:
            return x.value(self.of)
        return tuple(map(self, x)) if isinstance(x, tuple) else x


class _Hints(Evaluation):
    """The values seen, which extents themselves remember."""

    __slots__ = ()

    def __call__(self, x: Any) -> Any:
        return x.hint if type(x) is Extent else super().__call__(x)


HINTS = _Hints(lambda s: s.hint)


def typical(n: Number) -> int:
    """A value that stands for all in decisions about speed."""
    return cast(int, n.typical if type(n) is Extent else n)


def unknowns(x: object) -> frozenset[Symbol]:
    """The symbols in nested tuples of numbers."""
    if isinstance(x, tuple):
        return frozenset().union(*map(unknowns, x))
    return cast(Unknown, x).symbols() if is_unknown(x) else frozenset()


def fix(x: object, why: str) -> None:
    """Raise `Fixed` if there are unknowns in x."""
    if symbols := unknowns(x):
        raise Fixed(symbols, why)


def same(a: Number, b: Number) -> bool:
    """Whether two sizes are equal for every value: the same number, or the same expression."""
    if type(a) is Extent and type(b) is Extent:
        return a._terms == b._terms
    return type(a) is not Extent and type(b) is not Extent and bool(a == b)


def same_shape(a: Shape, b: Shape) -> bool:
    """`same` of all sizes."""
    return a is b or (
        len(a) == len(b)
        and all(
            [m is n or (m == n if type(m) is int is type(n) else same(m, n)) for m, n in zip(a, b)]
        )
    )


def agree(a: Number, b: Number) -> bool:
    """`same`, where anything else is an error: while the user's step is traced, a size that is
    equal for the value seen alone is literal from then on (`Fixed`)."""
    return same(a, b) or bool(a == b)


def agree_shape(a: Shape, b: Shape) -> bool:
    """`agree` of all sizes."""
    return same_shape(a, b) or (len(a) == len(b) and all(map(agree, a, b)))


def broadcast(a: Number, b: Number) -> Number | None:
    """The common size of two that `agree` or are 1; None of others."""
    if is_one(a):
        return b
    return a if is_one(b) or same(a, b) or agree(b, 1) or agree(a, 1) or agree(a, b) else None


def is_fixed(shape: Shape) -> bool:
    """Whether no size is an extent."""
    return cast(type, Extent) not in map(type, shape)


def surely_less(a: Number, b: Number) -> bool:
    """Whether a < b for every value."""
    gap = b - a
    low = gap.least if type(gap) is Extent else gap
    return low is not None and low > 0


def smaller(a: Number, b: Number) -> bool:
    """a < b of numbers; of extents, whether a is never the larger one of the two."""
    gap = b - a
    if type(gap) is not Extent:
        return bool(gap > 0)
    if gap.least is not None and gap.least >= 0:
        return True
    low = (-gap).least
    return not (low is not None and low >= 0) and bool(a < b)


def is_one(n: Number) -> bool:
    """Whether a size is 1 for every value."""
    return type(n) is not Extent and bool(n == 1)


def is_size(n: Number) -> bool:
    """Whether n is not negative for any value."""
    low = n.least if type(n) is Extent else n
    return low is not None and bool(low >= 0)


def index(n: Number) -> int:
    """`operator.index`, which leaves an extent as it is."""
    return cast(int, n if type(n) is Extent else n.__index__())


def scopes_of(shapes: Iterable[Shape]) -> set[Extents]:
    """What the extents in shapes belong to."""
    return {cast(Extent, n).scope for shape in shapes for n in shape if is_unknown(n)}


@contextmanager
def passes(scopes: Iterable[Extents]) -> Iterator[None]:
    """Inside, passes work on a graph whose sizes belong to these."""
    with ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(scope.passes())
        yield


# ---- text --------------------------------------------------------------------------------------


def read(text: str, names: Mapping[str, int]) -> Number:
    """The number of `extent.show`'s text, over the extents called `names`."""
    return _read(ast.parse(text, mode="eval").body, names)


def _read(node: ast.expr, names: Mapping[str, int]) -> Number:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        return -_read(node.operand, names)
    if isinstance(node, ast.BinOp) and type(node.op) in READS:
        return READS[type(node.op)](_read(node.left, names), _read(node.right, names))
    raise ValueError(f"not a size: {ast.unparse(node)}")


READS: Mapping[type[ast.operator], Callable[..., Number]] = {
    ast.Add: OPERATIONS["+"],
    ast.Sub: OPERATIONS["-"],
    ast.Mult: OPERATIONS["*"],
    ast.Div: OPERATIONS["/"],
    ast.Pow: OPERATIONS["**"],
    ast.FloorDiv: lambda a, b: a // b,
}
