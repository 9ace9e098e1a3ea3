"""What a step reads is seen while it runs, told in a person's words, and compared by value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.frontend import epoch
from graphc.frontend.step.python.guards import Content, Guard, same
from graphc.frontend.step.python.sets import Guards, Kept
from graphc.frontend.step.python.watch import Watch

FLAG = True
SIZES = [1, 2, 3]
CONFIG = {"deep": {"lr": 0.1}, "name": "net"}


class Options:
    """A plain object with a stored and a computed attribute."""

    def __init__(self) -> None:
        self.scale = 2.0
        self.nested: Any = None

    @property
    def computed(self) -> float:
        return self.scale * 3

    def factor(self) -> float:
        return self.scale * 2


OPTIONS = Options()
OPTIONS.nested = Options()


def helper() -> object:
    return OPTIONS.nested.scale


def everything(captured: object) -> Callable[[], object]:
    def fn() -> object:
        inner = [FLAG for _ in SIZES]
        lr = CONFIG["deep"]["lr"]
        return captured, inner, lr, OPTIONS.factor(), helper(), math.pi, len(inner)

    return fn


def kept(fn: Callable[[], Any]) -> Kept:
    watch = Watch(fn)
    with watch.on():
        fn()
    return watch.kept()


def guards(fn: Callable[[], Any]) -> Guards:
    return Guards(kept(fn))


def labels(fn: Callable[[], Any]) -> set[str]:
    return {g.label for g in kept(fn).always}


def test_sees_globals_cells_attributes_items_and_functions() -> None:
    assert labels(everything(3)) == {
        "function `fn`",
        "closure `captured`",
        "global `FLAG`",
        "global `SIZES`",
        "items of `SIZES`",
        "global `CONFIG`",
        "`CONFIG['deep']`",
        "`CONFIG['deep']['lr']`",
        "global `OPTIONS`",
        "`OPTIONS.factor`",
        "function `factor`",
        "`OPTIONS.scale`",
        "`OPTIONS.nested`",
        "`OPTIONS.nested.scale`",
        "global `helper`",
        "function `helper`",
        "global `math`",
        "`math.pi`",
        "global `len`",
        "special methods of `Options`",
    }


def test_reads_name_the_users_line() -> None:
    (read,) = [g for g in kept(everything(3)).always if g.label == "global `FLAG`"]
    assert (read.file, read.line) == (__file__, everything.__code__.co_firstlineno + 2)


def test_what_a_property_reads_is_seen() -> None:
    assert {"`OPTIONS.computed`", "`OPTIONS.scale`"} <= labels(lambda: OPTIONS.computed)


def test_what_the_step_made_or_wrote_first_is_no_guard() -> None:
    def fn() -> float:
        made = Options()
        made.scale = 4.0
        OPTIONS.scale = made.scale * 0.5  # another object each time
        items = [1.0]
        items.append(made.scale)
        return sum(items) + OPTIONS.scale

    assert not {x for x in labels(fn) if "scale" in x or "items" in x or "made" in x}


@pytest.mark.parametrize(
    "change, label, old, new",
    [
        (lambda m: m.setitem(globals(), "FLAG", 1), "global `FLAG`", "True", "1"),
        (lambda m: m.setattr(OPTIONS, "scale", 3.0), "`OPTIONS.scale`", "2.0", "3.0"),
        (lambda m: m.setitem(CONFIG["deep"], "lr", 0.2), "`CONFIG['deep']['lr']`", "0.1", "0.2"),
        (lambda m: m.setattr(OPTIONS.nested, "scale", -2), "`OPTIONS.nested.scale`", "2.0", "-2"),
        (
            lambda m: m.setitem(globals(), "SIZES", [1, 2.0, 3]),
            "global `SIZES`",
            "another list",
            "another list",
        ),
    ],
)
def test_a_change_is_seen_and_explained(
    monkeypatch: pytest.MonkeyPatch, change: Any, label: str, old: str, new: str
) -> None:
    seen = guards(everything(3))
    assert seen.hold()
    change(monkeypatch)
    assert not seen.hold()
    assert (label, old, new) in [(c.what, c.old, c.new) for c in seen.changes()]
    monkeypatch.undo()
    assert seen.hold()


def test_a_closure_cell_is_guarded() -> None:
    scale = 1.0

    def fn() -> float:
        return scale

    seen = guards(fn)
    scale = 2.0
    assert not seen.hold()


def test_what_modules_own_is_checked_when_the_epoch_moves() -> None:
    held = {"k": 1.0}
    seen = Guards(Kept([], [Guard("`net.k`", "", 0, held.get, "k", held["k"])]))
    held["k"] = 2.0
    assert seen.hold()  # nobody said that a module had changed
    epoch.modules_changed()
    assert not seen.hold()


def test_an_equal_value_is_no_change() -> None:
    table = {"k": float("2.5")}
    seen = guards(lambda: table["k"])
    table["k"] = float("2.50")
    assert seen.hold() and seen.hold()


@pytest.mark.parametrize(
    "now, kept, answer",
    [
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (math.nan, float("nan"), True),
        ("a", "a", True),
        ((1, 2), (1, 2), True),
        ((1, True), (1, 1), False),
        (Content(list, (1,)), Content(list, (1,)), True),
        (object(), object(), False),
    ],
)
def test_same(now: object, kept: object, answer: bool) -> None:
    assert same(now, kept) is answer


def test_a_container_too_large_to_compare_is_refused() -> None:
    big = list(range(20_000))
    step = graphc.compile(lambda x: x * sum(big))
    with pytest.raises(graphc.errors.Unguarded, match="`big`, a list of 20000 items"):
        step(graphc.ones(1))


def test_an_item_of_a_large_container_is_guarded_alone() -> None:
    big = list(range(20_000))
    step = graphc.compile(lambda x: x * big[3])
    assert step(graphc.ones(1)).item() == 3
    big[4] = 0
    with graphc.assert_max_compiles(0):
        assert step(graphc.ones(1)).item() == 3
    big[3] = 5
    assert step(graphc.ones(1)).item() == 5
