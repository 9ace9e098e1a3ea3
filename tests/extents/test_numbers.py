"""Extents as numbers: their arithmetic, what is known of them, and what asking them notes."""

from __future__ import annotations

from typing import Any

import pytest

from graphc.errors import ShapeMismatch, TracerLeak
from graphc.ir.extent import extent_of, is_unknown, show
from graphc.ir.sizes import (
    HINTS,
    Evaluation,
    is_one,
    read,
    same,
    same_shape,
    smaller,
    surely_less,
    typical,
)
from graphc.ir.symbols import TYPICAL, Extents, Fixed
from graphc.ir.type_rules import expand_type, slice_type
from graphc.ir.types import TensorSpec, f32


class Scope:
    """A trace's extents B (seen as 6) and L (seen as 5)."""

    def __init__(self) -> None:
        self.extents = Extents()
        self.symbols = [
            self.extents.symbol("B", "batch", 6), self.extents.symbol("L", "sequence", 5)
        ]  # fmt: skip
        self.b, self.n = map(extent_of, self.symbols)

    def conditions(self) -> list[str]:
        return [str(c) for c in self.extents.conditions.values()]


@pytest.fixture
def scope() -> Scope:
    return Scope()


EXPRESSIONS: list[tuple[str, Any]] = [
    ("B*49+1", lambda b, n: b * 49 + 1),
    ("-B+3", lambda b, n: 3 - b),
    ("B*L", lambda b, n: b * n),
    ("B", lambda b, n: (b * n * 8) // (n * 8)),
    ("(B+1)//2", lambda b, n: (b + 1) // 2),
    ("(B+1)//2", lambda b, n: -(-b // 2)),
    ("(B+1)//2", lambda b, n: (b - 1) // 2 + 1),
    ("B*2", lambda b, n: (b * 4 + 3) // 2 - 1),
    ("1/B", lambda b, n: 1 / b),
    ("(B*4)/(B*4-1)", lambda b, n: 4 * b / (4 * b - 1)),
]


@pytest.mark.parametrize(("text", "build"), EXPRESSIONS, ids=[str(k) for k in range(10)])
def test_expressions_have_one_form_read_back_and_evaluate(
    scope: Scope, text: str, build: Any
) -> None:
    n = build(scope.b, scope.n)
    assert show(n) == text
    assert show(read(text, {"B": scope.b, "L": scope.n})) == text
    for values in ((6, 5), (1, 1), (7, 128)):
        sizes = Evaluation(dict(zip(scope.symbols, values, strict=True)))
        assert sizes(n) == build(*values)
    assert not scope.conditions()


def test_what_holds_for_all_values_notes_nothing(scope: Scope) -> None:
    b, n = scope.b, scope.n
    assert b > 0 and b >= 1 and b != 0 and not b < 1 and bool(b)
    assert 7 * b > 6 and b * n >= n and b * 49 + 48 < b * 49 + 49 and -b < 0
    assert b == b + 0 and b * 4 == 2 * b * 2 and 0 not in (b, n)
    assert b < 1 << 62
    assert not scope.conditions()


def test_other_answers_are_as_for_the_value_seen_and_noted(scope: Scope) -> None:
    b = scope.b
    assert b > 4 and b != 7 and not b > 6 and min(b, 100) is b
    assert scope.conditions() == ["B >= 5", "B != 7", "6 >= B", "100 >= B"] or scope.conditions()
    for values, met in ((6, True), (5, True), (4, False), (7, False)):
        of = dict.fromkeys(scope.symbols, values).__getitem__
        assert scope.extents.met(of) is met


@pytest.mark.parametrize(
    "use",
    [
        lambda b: b == 6,
        lambda b: list(range(b)),
        lambda b: [0, 1, 2, 3, 4, 5, 6][b],
        lambda b: {6: 1}[b],
        lambda b: f"{b}",
        lambda b: int(b),
        lambda b: b & 1,
        lambda b: 0.5 * b < 4,
        lambda b: b**0.5 + 0.0 == 1.0,
    ],
)
def test_what_only_the_value_answers_asks_for_another_trace(scope: Scope, use: Any) -> None:
    with pytest.raises(Fixed) as needed:
        use(scope.b)
    assert needed.value.symbols == (scope.symbols[0],)
    assert needed.value.where[0].endswith("test_numbers.py")


def test_in_passes_an_extent_is_an_unknown(scope: Scope) -> None:
    b, n = scope.b, scope.n
    with scope.extents.passes():
        assert b != 6 and b != 1 and b > 1 and b != n
        assert not scope.conditions()
        assert b * 7 < 49  # an order that is not the same for all is a condition there, too
    assert len(scope.conditions()) == 1


def test_a_size_that_outlives_its_step_is_refused(scope: Scope) -> None:
    with scope.extents.passes():
        pass
    for use in (lambda b: b == 6, lambda b: range(b), lambda b: b > 3, lambda b: f"{b}"):
        with pytest.raises(TracerLeak, match="kept where the call cannot replace it"):
            use(scope.b)


def test_questions_about_sizes(scope: Scope) -> None:
    b, n = scope.b, scope.n
    assert isinstance(b, int) and isinstance(1 / b, float) and is_unknown(b) and not is_unknown(6)
    assert same(b, b + 0) and not same(b, 6) and same(6, 6) and not same(b, n)
    assert same_shape((b, 3), (b * 1, 3)) and not same_shape((b, 3), (6, 3))
    assert is_one(1) and not is_one(b) and not is_one(2)
    assert smaller(1, b) and smaller(b, b * n) and not smaller(b * n, b) and smaller(2, 3)
    assert surely_less(0, b) and not surely_less(1, b)
    assert (HINTS(b * n), typical(b)) == (30, TYPICAL["batch"])
    assert not scope.conditions()


@pytest.mark.parametrize("parts", range(2, 6))
def test_what_a_quotient_leaves_is_never_negative(scope: Scope, parts: int) -> None:
    """What a batch has beside the first of several chunks: floor(t/n) is at most t/n."""
    size = (scope.b + parts - 1) // parts
    rest = scope.b - size
    low = min(n - (n + parts - 1) // parts for n in range(1, 100))
    assert rest.least is not None and rest.least <= low == 0
    assert (rest - 5).least is None or (rest - 5).least <= low - 5


def test_a_whole_dimension_of_a_slice_is_itself(scope: Scope) -> None:
    """Without arithmetic, and without a condition, unless it might be negative."""
    whole = slice_type(TensorSpec(f32, (scope.b, 3)), start=(0, 1), stop=(scope.b, 3), step=(1, 1))
    assert whole.shape[0] is scope.b and whole.shape[1] == 2
    assert not scope.conditions()
    short = scope.b - 2
    slice_type(TensorSpec(f32, (short,)), start=(0,), stop=(short,), step=(1,))
    assert scope.conditions()


def test_a_dimension_that_stays_or_is_one_is_repeated_for_every_size(scope: Scope) -> None:
    wide = expand_type(TensorSpec(f32, (scope.b, 1, 1)), shape=(scope.b, scope.n, 4))
    assert wide.shape == (scope.b, scope.n, 4)
    assert not scope.conditions()
    with pytest.raises(ShapeMismatch):
        expand_type(TensorSpec(f32, (3, 2)), shape=(3, 4))
