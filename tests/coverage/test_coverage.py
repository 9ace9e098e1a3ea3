"""The names of PyTorch: on the page, there, tested somewhere, and called alike."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import graphc
from tests.coverage import page, public
from tests.coverage.names import ARGUMENTS, MISSING, OURS, SECTIONS, UNTESTED

ROOT = Path(__file__).parents[2]
NAMES = [name for names in SECTIONS.values() for name in names]


def ours_alone(name: str) -> bool:
    return any(name == n or name.startswith(n + ".") for n in OURS)


def test_the_page_is_up_to_date() -> None:
    assert page.PAGE.read_text() == page.text(), "run python -m tests.coverage.page"


def test_the_stored_names_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    if not torch.__version__.startswith("2.13."):
        pytest.skip("the list is that of PyTorch 2.13")
    assert public.stored() == public.of(torch), "run python -m tests.coverage.public"


def test_the_count_is_of_torchs_names() -> None:
    there, absent = page.counted(["zeros", "no_such_name"], "torch")
    assert (there, absent) == (["zeros"], ["no_such_name"])
    assert page.counted(["Linear", "qat"], "nn") == (["Linear"], ["qat"])


@pytest.mark.parametrize("title", SECTIONS)
def test_every_name_is_there_or_has_a_reason(title: str) -> None:
    absent = {n for n in SECTIONS[title] if not page.has(graphc, n)}
    assert absent == {n for n in SECTIONS[title] if n in MISSING}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_name_is_one_of_torchs(title: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.utils.data")
    unknown = [n for n in SECTIONS[title] if not page.has(torch, n) and not ours_alone(n)]
    assert not unknown


def words_of_the_tests() -> set[str]:
    """Identifiers, and names in strings; an in-place form is tested with its function's name."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    text = "\n".join(f.read_text() for f in files if f.parent != Path(__file__).parent)
    words = set(re.findall(r"\w+", text))
    for stem in re.findall(r"(\w+)\{\w+\}d", text):  # f"MaxUnpool{rank}d"
        words |= {f"{stem}{rank}d" for rank in (1, 2, 3)}
    return words | {f"{w}_" for w in words}


def test_every_name_is_used_by_a_test() -> None:
    words = words_of_the_tests()
    unused = {n for n in NAMES if n.split(".")[-1] not in words}
    unused = {n for n in unused if not n.split(".")[-1].startswith("__")} - set(MISSING)
    assert unused == UNTESTED


# ---- arguments ---------------------------------------------------------------------------------


def documented(function: Any) -> list[str] | None:
    """Argument names of what C++ implements, from the first line of its documentation."""
    line = (function.__doc__ or "").strip().split("\n")[0]
    found = re.match(r"(?:\w+\.)*\w+\((.*?)\)(?: ->.*)?$", line)
    if found is None:
        return None
    try:
        parsed = ast.parse(f"def f({found.group(1)}): pass").body[0]
    except SyntaxError:
        return None
    assert isinstance(parsed, ast.FunctionDef)
    return [a.arg for a in parsed.args.args + parsed.args.kwonlyargs]


def arguments(function: Any) -> list[str] | None:
    """Names of the arguments that are not * or **; None where Python cannot know."""
    try:
        found = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return documented(function)
    return [p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def made_by(thing: Any) -> Callable[..., Any]:
    return thing.__init__ if isinstance(thing, type) else thing


def takes_anything(function: Callable[..., Any]) -> bool:
    try:
        found = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return True
    return any(p.kind is p.VAR_KEYWORD for p in found)


def test_no_function_calls_its_argument_x() -> None:
    """PyTorch calls it input; where it documents no signature, the next test cannot know."""
    functions = [f for T in (graphc, graphc.nn.functional) for f in vars(T).values()]
    functions = [f for f in functions if inspect.isfunction(f)]
    found = {f.__name__ for f in functions if (arguments(f) or [""])[0] == "x"}
    assert found <= {"vander"}  # as torch has it


@pytest.mark.parametrize("title", SECTIONS)
def test_arguments_have_torchs_names(title: str) -> None:
    torch = pytest.importorskip("torch")
    wrong = {}
    for name in SECTIONS[title]:
        if ours_alone(name) or name in MISSING or name.split(".")[-1].startswith("__"):
            continue
        theirs, mine = (reduce(getattr, name.split("."), T) for T in (torch, graphc))
        if not callable(mine) or takes_anything(made_by(mine)):
            continue
        wanted = arguments(made_by(theirs) if inspect.isclass(mine) else theirs) or []
        have = arguments(made_by(mine)) or []
        exempt = {"self", *ARGUMENTS, *ARGUMENTS.get(name, ())}
        lacking = [a for a in wanted if a not in have and a not in exempt]
        if lacking:
            wrong[name] = lacking
    assert not wrong
