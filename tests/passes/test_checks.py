"""Graphs that say themselves what a stage makes of them, as LLVM's FileCheck reads it.

Each file of `checks/` is a graph, and behind it the command and what its output has to hold:

    // RUN: python -m graphc opt %s --pass NAME | filecheck %s
    // CHECK: TEXT       on a line behind that of the check before
    // CHECK-NEXT: TEXT  on the line right behind it
    // CHECK-NOT: TEXT   on no line from there to the next check
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from graphc.__main__ import main

FILES = sorted((Path(__file__).parent / "checks").glob("*.gir"))
RUN = re.compile(r"// RUN: python -m graphc opt %s --pass (\w+) \| filecheck %s")
CHECK = re.compile(r"// (CHECK(?:-NEXT|-NOT)?): (.+)")


def unmet(shown: str, checks: list[tuple[str, str]]) -> str:
    """The first check that the text does not meet; "" if it meets all."""
    lines = shown.splitlines()
    at, never = 0, list[str]()
    for kind, text in [*checks, ("CHECK", "")]:
        if kind == "CHECK-NOT":
            never.append(text)
            continue
        last = kind == "CHECK" and not text  # the end of the text
        found = [k for k in range(at, len(lines)) if text in lines[k]]
        here = len(lines) if last else next(iter(found), None)
        if here is None or (kind == "CHECK-NEXT" and here != at):
            return f"{kind}: {text}"
        if any(word in line for word in never for line in lines[at:here]):
            return f"CHECK-NOT: {never}"
        at, never = here + 1, []
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_stage_makes_of_a_graph_what_its_file_says(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = path.read_text()
    (stage,) = RUN.findall(text)
    assert (checks := CHECK.findall(text))
    assert main(["opt", str(path), "--pass", stage, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["text"]
    assert not unmet(shown, checks), shown


def test_what_is_not_met_is_found() -> None:
    shown = "a\nb\nc\n"
    met = [[("CHECK", "a"), ("CHECK-NEXT", "b"), ("CHECK", "c")], [("CHECK-NOT", "d")]]
    assert not any(unmet(shown, checks) for checks in met)
    assert unmet(shown, [("CHECK", "b"), ("CHECK", "a")]) == "CHECK: a"
    assert unmet(shown, [("CHECK", "a"), ("CHECK-NEXT", "c")]) == "CHECK-NEXT: c"
    assert unmet(shown, [("CHECK", "a"), ("CHECK-NOT", "b"), ("CHECK", "c")])
    assert unmet(shown, [("CHECK", "b"), ("CHECK-NOT", "c")])
