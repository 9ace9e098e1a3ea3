"""What is packed: the wheel has all that runs, the source archive also what explains it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, of a copy: building writes into the sources. No network is asked."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("built")
    names = ["graphc", "docs", "examples", "benchmarks", "tests", "README.md", "LICENSE"]
    names += ["ARCHITECTURE.md", "MANIFEST.in", "Makefile", "mkdocs.yml", "pyproject.toml"]
    for name in names:
        source, target = ROOT / name, folder / "source" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder / "dist")]
    done = subprocess.run(
        [*command, str(folder / "source")], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "dist"


def below(root: Path, names: set[str]) -> set[str]:
    """The files of a folder of the repository that an archive has to have."""
    files = {p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    return {str(p.relative_to(ROOT)) for p in files if p.suffix in names}


def test_the_wheel_has_all_that_runs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as z:
        names = set(z.namelist())
        facts = z.read(next(n for n in names if n.endswith("METADATA"))).decode()
    wanted = below(ROOT / "graphc", {".py", ".pyi", ".js", ".css", ".html"}) | {"graphc/py.typed"}
    assert not wanted - names
    packed = {n for n in names if ".dist-info/" not in n}
    assert not {n for n in packed if not n.startswith("graphc/")}, "graphc alone is installed"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for field in ("Author: ", "Keywords: ", "Classifier: ", "License-Expression: "):
        assert f"\n{field}" in facts, field
    for extra in extras["optional-dependencies"]:
        assert f"\nProvides-Extra: {extra}\n" in facts


def test_the_source_archive_has_what_explains_it(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as t:
        names = {n.partition("/")[2] for n in t.getnames()}
    for folder in ("docs", "examples", "benchmarks", "tests", "graphc"):
        assert not below(ROOT / folder, {".py", ".md", ".png", ".txt"}) - names - {""}, folder
    assert {"mkdocs.yml", "ARCHITECTURE.md", "LICENSE", "README.md", "Makefile"} <= names
