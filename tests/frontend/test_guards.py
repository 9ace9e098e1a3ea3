"""Guards see every outside value that user code reads, and hold as long as none changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from graphc.frontend import epoch
from graphc.frontend.step.guards import Content, Guards, same, snapshot
from graphc.frontend.step.reads import reads

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
        raise AssertionError("a guard must not run a property")

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


def labels(fn: Callable[..., Any]) -> set[str]:
    return {r.label for r in reads(fn)}


def test_finds_globals_cells_attributes_items_and_called_functions() -> None:
    found = labels(everything(3))
    wanted = {
        "closure `captured`",
        "global `FLAG`",
        "global `SIZES`",
        "`CONFIG['deep']['lr']`",
        "global `OPTIONS`",
        "`self.scale`",
        "`OPTIONS.nested.scale`",
        "global `helper`",
    }
    assert found == wanted


def test_reads_name_the_users_line() -> None:
    (read,) = [r for r in reads(everything(3)) if r.label == "global `FLAG`"]
    assert (read.file, read.line) == (__file__, everything.__code__.co_firstlineno + 2)


def test_properties_are_not_run() -> None:
    assert labels(lambda: OPTIONS.computed) == {"global `OPTIONS`"}


def guards(fn: Callable[..., Any]) -> Guards:
    return Guards(reads(fn), lambda owner: False)


@pytest.mark.parametrize(
    "change, label, old, new",
    [
        (lambda m: m.setitem(globals(), "FLAG", 1), "global `FLAG`", "True", "1"),
        (lambda m: m.setattr(OPTIONS, "scale", 3.0), "`self.scale`", "2.0", "3.0"),
        (lambda m: m.setitem(CONFIG["deep"], "lr", 0.2), "`CONFIG['deep']['lr']`", "0.1", "0.2"),
        (lambda m: m.setattr(OPTIONS.nested, "scale", -2), "`OPTIONS.nested.scale`", "2.0", "-2"),
        (
            lambda m: m.setitem(globals(), "SIZES", [1, 2.0, 3]),
            "global `SIZES`",
            "list(1, 2, 3)",
            "list(1, '2.0', 3)",
        ),
    ],
)
def test_a_change_is_seen_and_explained(
    monkeypatch: pytest.MonkeyPatch, change: Any, label: str, old: str, new: str
) -> None:
    kept = guards(everything(3))
    assert kept.hold()
    change(monkeypatch)
    assert not kept.hold()
    assert [(c.what, c.old, c.new) for c in kept.changes()] == [(label, old, new)]
    monkeypatch.undo()
    assert kept.hold()


def test_a_closure_cell_is_guarded() -> None:
    scale = 1.0

    def fn() -> float:
        return scale

    kept = guards(fn)
    scale = 2.0
    assert not kept.hold()


def test_list_items_changed_in_place_are_seen() -> None:
    sizes = [1, [2, 3]]
    kept = guards(lambda: sizes)
    sizes[1][1] = 4  # type: ignore[index]
    assert not kept.hold()


def test_what_modules_own_is_checked_when_the_epoch_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Guards(reads(everything(3)), lambda owner: owner is OPTIONS)
    monkeypatch.setattr(OPTIONS, "scale", 3.0)
    assert kept.hold()  # nobody said that a module had changed
    epoch.modules_changed()
    assert not kept.hold()


@pytest.mark.parametrize(
    "now, kept, answer",
    [
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (math.nan, float("nan"), True),
        ("a", "a", True),
        ([1, 2], snapshot([1, 2]), True),
        ([1, True], snapshot([1, 1]), False),
        ({"a": (1, 2)}, snapshot({"a": (1, 2)}), True),
        ({"a": (1, 2)}, snapshot({"a": [1, 2]}), False),
        (object(), object(), False),
    ],
)
def test_same(now: object, kept: object, answer: bool) -> None:
    assert same(now, kept) is answer


def test_large_containers_compare_by_identity() -> None:
    big = list(range(100))
    assert not isinstance(snapshot(big), Content)
    assert same(big, snapshot(big)) and not same(list(big), snapshot(big))
