"""Texts fit a terminal and have colours there; files and pipes get them as they are."""

from __future__ import annotations

import io
import sys

import pytest

import graphc
from graphc.__main__ import main
from graphc.frontend import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def print_on(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test itself: pytest puts its own in place before each."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", out)


@graphc.compile
def step(x: graphc.Tensor) -> graphc.Tensor:
    return (x @ x.mT).softmax(0).sum(0).square().mean()


def test_tables_and_notes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    print_on(Terminal(), monkeypatch)
    x = graphc.ones(4, 3)
    profile = step.profile(x)
    line = step.line(next(r.name for r in profile.by("line") if r.calls))
    for text in (str(step.explain()), str(profile), str(line), repr(line)):
        assert max(map(len, text.splitlines())) <= 60
    assert str(step.explain()).count("not fused") == 1


@pytest.mark.parametrize("width, columns", [(40, 2), (60, 5), (200, 6)])
def test_a_narrow_table_still_names_its_rows(
    width: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print_on(Terminal(), monkeypatch)
    monkeypatch.setenv("COLUMNS", str(width))
    head, *rows = step.profile(graphc.ones(4, 3)).table("phase").splitlines()
    assert head.replace("of peak", "of-peak").split()[:-1] == [
        "ms", "share", "calls", "GFLOP/s", "GB/s", "of-peak"
    ][:columns]  # fmt: skip
    assert {row.split()[-1] for row in rows[:2]} == {"(outside)", "forward"}


def test_elsewhere_texts_are_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    print_on(io.StringIO(), monkeypatch)
    step(graphc.ones(4, 3))
    assert max(map(len, str(step.explain()).splitlines())) > 60
    assert terminal.coloured("// a") == "// a"


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    print_on(Terminal(), monkeypatch)
    told = terminal.coloured(
        "// a\n+  %1: f32[2] = neg %0  # a.py:1\n  %2: f32[2] = neg %0  # a.py:1"
    )
    head, added, value = told.split("\n")
    assert head == "\x1b[1m// a\x1b[0m" and added.startswith("\x1b[32m+  %1")
    assert value == "  %2: f32[2] = neg %0 \x1b[2m # a.py:1\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.coloured("// a") == "// a"


def test_the_command_line_is_plain_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "GC104"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_profile_shows_itself_in_a_notebook() -> None:
    shown = step.profile(graphc.ones(4, 3))._repr_html_()
    assert "GFLOP/s" in shown and "<table>" in shown
