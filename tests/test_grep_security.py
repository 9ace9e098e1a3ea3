"""What must not occur in the library: ways for data to become code, and undeclared switches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "graphc").rglob("*.py"))

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "imp"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
FORBIDDEN_KEYWORDS = {"shell", "allow_pickle"}
ENVIRONMENT = {"os.environ", "os.getenv"}

# file -> what it may use, and why
EXCEPTIONS: dict[str, tuple[str, str]] = {
    "graphc/config.py": ("os.environ", "the one reader of switches"),
    "graphc/cli/demo.py": ("os.environ", "asks for a dump the way a person would"),
    "graphc/utils/data/worker.py": ("pickle", "pipes between a loader and its own workers"),
    "graphc/codegen_gpu/worker.py": ("os.environ", "hides Triton's own switches from it"),
    "graphc/cli/doctor.py": ("os.environ", "lists the switches that are set"),
    "graphc/runtime/cuda/interp.py": ("os.environ", "Triton reads its mode there, at import"),
}


def dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each forbidden thing; a function defined here hides the built-in."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
            yield from ((node.lineno, n) for n in names if n in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            if dotted(node.func) in FORBIDDEN_CALLS - own:
                yield node.lineno, dotted(node.func)
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in FORBIDDEN_KEYWORDS and not off:
                    yield node.lineno, keyword.arg
        elif isinstance(node, ast.Attribute) and dotted(node) in ENVIRONMENT:
            yield node.lineno, dotted(node)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_forbidden(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    allowed, _ = EXCEPTIONS.get(name, ("", ""))
    found = [(line, what) for line, what in findings(ast.parse(path.read_text()))]
    assert not [f"{name}:{line}: {what}" for line, what in found if what != allowed]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "x = eval('1')",
        "def f():\n    exec(text)",
        "subprocess.run('ls', shell=True)",
        "np.load(f, allow_pickle=True)",
        "import os\nos.environ['GRAPHC_NEW']",
    ],
)
def test_the_search_bites(source: str) -> None:
    assert list(findings(ast.parse(source)))


def test_every_exception_is_used() -> None:
    for name, (what, _) in EXCEPTIONS.items():
        found = {w for _, w in findings(ast.parse((ROOT / name).read_text()))}
        assert what in found, f"{name} no longer uses {what}"
