"""An uncaught error shows the user's frames alone, unless GRAPHC_TRACEBACK=full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphc
from graphc import tracebacks
from graphc.errors import GraphcError, InternalError

SCRIPT = """\
import graphc

def mine(x):
    return x.reshape(7)

graphc.compile(lambda x: mine(x))(graphc.ones(3))
"""


@pytest.mark.parametrize("full", [False, True])
def test_frames_of_the_package_are_hidden(full: bool, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    here = str(Path(graphc.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": here, "GRAPHC_TRACEBACK": "full" if full else ""}
    done = subprocess.run([sys.executable, path], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "in mine" in done.stderr and "[GC001]" in done.stderr
    assert (f"{os.sep}graphc{os.sep}frontend" in done.stderr) is full
    assert ("GRAPHC_TRACEBACK=full shows them" in done.stderr) is not full


@pytest.mark.parametrize("fault", ["1 / 0", "1 +"])
def test_a_script_that_fails_reads_as_under_python(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(f"x = 1\n{fault}\n")
    env = {**os.environ, "PYTHONPATH": str(Path(graphc.__file__).parent.parent)}
    plain, ours = (
        subprocess.run([sys.executable, *way, path], env=env, capture_output=True, text=True)
        for way in ([], ["-m", "graphc", "run"])
    )
    assert ours.returncode == plain.returncode == 1
    assert ours.stderr == plain.stderr


def test_what_an_error_came_from_is_shortened_too() -> None:
    try:
        try:
            graphc.ones(3) + graphc.ones(4)
        except GraphcError as e:
            raise graphc.errors.InvalidState("later") from e
    except GraphcError as e:
        shown = "".join(tracebacks.lines(e))
        assert "direct cause" in shown and "graphc/frontend" not in shown
        assert e._render_traceback_() == shown.splitlines()  # type: ignore[attr-defined]


def test_errors_of_the_compiler_and_of_others_are_whole() -> None:
    assert not tracebacks.is_shortened(InternalError("x"))
    assert not tracebacks.is_shortened(KeyError("x"))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"no complex tensors(.|\n)*coverage"):
        graphc.view_as_complex  # noqa: B018
    assert not hasattr(graphc, "nothing_of_the_kind")
    with pytest.raises(ImportError):
        from graphc import nothing_of_the_kind  # noqa: F401
