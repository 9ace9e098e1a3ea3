"""Dependencies run one way: every import in the package is an arrow that this table allows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphc"
FILES = sorted(PACKAGE.rglob("*.py"))
BASE = {"errors", "config"}

# layer -> the layers it may import, besides itself
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "config": set(),
    "ir": BASE,
    "passes": BASE | {"ir"},
    "codegen_cpu": BASE | {"ir"},
    "codegen_gpu": BASE | {"ir"},
    "runtime": BASE | {"ir"},
    "frontend": BASE | {"ir", "return_types"},
    "autograd": BASE | {"ir", "frontend"},
    "linalg": {"frontend"},
    "random": {"frontend"},
    "return_types": {"ir"},
    "absent_device": BASE,
    "cpu": {"codegen_cpu"},
    "futures": BASE,
    "mps": BASE | {"absent_device"},
    "mtia": BASE | {"absent_device"},
    "multiprocessing": BASE,
    "overrides": BASE | {"frontend"},
    "profiler": {"cuda", "frontend"},
    "refused": BASE | {"frontend"},
    "xpu": BASE | {"absent_device"},
    "accelerator": BASE | {"frontend", "cuda"},
    "compiler": BASE | {"frontend"},
    "_dynamo": {"compiler", "nn"},
    "elsewhere": BASE | {"_dynamo", "frontend", "fx", "ir", "nn"},
    "_higher_order_ops": BASE | {"frontend"},
    "distributions": BASE | {"ir", "frontend"},
    "distributed": BASE | {"frontend"},
    "func": BASE | {"frontend", "nn", "utils"},
    "fx": BASE | {"nn"},
    "hub": BASE | {"frontend"},
    "fft": BASE | {"ir", "frontend"},
    "signal": BASE | {"frontend"},
    "sparse": BASE | {"frontend"},
    "library": BASE | {"aten", "frontend"},
    "aten": BASE,
    "jit": BASE | {"nn"},
    "serialization": BASE | {"frontend"},
    "testing": BASE | {"ir", "frontend"},
    "special": {"frontend"},
    "standin": {"errors", "ir", "torch_version"},
    "torch_version": set(),
    "tracebacks": BASE,
    "version": {"torch_version"},
    "einops_backend": set(),
    "nn": BASE | {"ir", "frontend", "distributed"},
    "optim": BASE | {"ir", "frontend"},
    "utils": BASE | {"ir", "frontend", "hub", "distributed"},
    "datasets": BASE | {"ir", "frontend", "utils"},
    "amp": BASE | {"ir", "frontend"},
    "backends": {"frontend"},
    "cuda": BASE | {"amp", "frontend", "runtime"},
    "debug": {"frontend"},
    "transforms": BASE | {"ir", "frontend", "nn"},
}
# single files that join layers, and what they may import besides
JOINS: dict[str, tuple[set[str], str]] = {
    "graphc/autograd/graph.py": ({"passes"}, "shows the nodes of the tape"),
    "graphc/optim/swa_utils.py": ({"nn"}, "averages whole modules"),
    "graphc/frontend/step/compile.py": (
        {"passes", "runtime"},
        "the one place that gives compiled functions their back ends",
    ),
    "graphc/frontend/step/native_backend.py": (
        {"passes", "codegen_cpu", "runtime"},
        "puts the compiler for the CPU together",
    ),
    "graphc/frontend/step/cuda_backend.py": (
        {"passes", "codegen_gpu", "runtime"},
        "the same for a GPU, imported by the first step that is on one",
    ),
    "graphc/frontend/step/accelerated.py": (
        {"codegen_gpu", "runtime"},
        "a GPU's memory from the runtime, with copies and operations from the compiler",
    ),
    "graphc/codegen_gpu/profile.py": ({"passes"}, "as for a CPU"),
    "graphc/codegen_cpu/profile.py": (
        {"passes"},
        "passes ask for numbers of a machine; the form that they are given in is theirs",
    ),
}
AUTODIFF = (  # eager backward is the same walk; a trace knows what several steps are together
    *("graphc.passes.autodiff", "graphc.passes.vjp_rules"),
    *("graphc.passes.attention", "graphc.passes.loop_body"),
)

# third-party modules: the layers that may import them; None: any
LIBRARIES: dict[str, set[str] | None] = {
    "numpy": None,
    "ml_dtypes": {"ir", "frontend"},
    "llvmlite": {"codegen_cpu", "cli"},
    "networkx": {"passes"},
    "safetensors": {"frontend"},
    "platformdirs": {"runtime"},
    "triton": {"codegen_gpu", "runtime"},
    "cuda": {"runtime"},
    "tqdm": {"cli", "codegen_gpu", "datasets", "utils"},
    "sklearn": {"cli", "datasets"},
    "tensorboardX": {"utils"},
}
# third-party modules that one file of a layer hides from the rest
HIDDEN = {
    "triton": {"graphc/codegen_gpu/abi.py", "graphc/runtime/cuda/interp.py"},
    "cuda": {"graphc/runtime/cuda/bindings.py"},
}


def layer_of(path: Path) -> str:
    """`graphc/ir/ops.py` is in `ir`; the public face and the command line may import all."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return {"__init__.py": "public", "__main__.py": "cli"}.get(parts[0], path.stem)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, at any depth, but not for type checkers."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        pending += ast.iter_child_nodes(node)


def violations(path: Path) -> list[str]:
    layer = layer_of(path)
    if layer in ("public", "cli"):
        return []
    extra, _ = JOINS.get(path.relative_to(ROOT).as_posix(), (set(), ""))
    allowed = ALLOWED[layer] | extra | {layer}
    found = []
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "graphc" or len(parts) == 1:
            continue
        if name.startswith(AUTODIFF) and layer == "frontend":
            continue
        if parts[1] not in allowed:
            found.append(f"{path.relative_to(ROOT)}:{line}: {layer} may not import {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_arrows(path: Path) -> None:
    assert not violations(path)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_libraries(path: Path) -> None:
    layer = layer_of(path)
    for line, name in imports(path):
        top = name.partition(".")[0]
        if top == "graphc" or top in sys.stdlib_module_names:
            continue
        where = f"{path.relative_to(ROOT)}:{line}"
        assert top in LIBRARIES, f"{where}: {top} is not a declared dependency"
        layers = LIBRARIES[top]
        assert layers is None or layer in layers, f"{where}: {layer} may not import {top}"
        files = HIDDEN.get(top)
        assert files is None or path.relative_to(ROOT).as_posix() in files, f"{where}: {top}"


def test_every_layer_is_in_the_table() -> None:
    layers = {layer_of(path) for path in FILES} - {"public", "cli"}
    assert layers <= set(ALLOWED)


def circles(paths: Sequence[Path]) -> list[list[str]]:
    """The modules that need each other, by imports at any depth: of none the rest comes first."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, path in names.items():
        for _, needed in imports(path):
            module = needed if needed in names else needed.rpartition(".")[0]
            if module in names and module != name:
                graph.add_edge(name, module)
    return [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


def test_the_frontend_has_no_circle() -> None:
    """`registry` and `methods` are below the tensor, what becomes its methods above."""
    assert not circles([path for path in FILES if layer_of(path) == "frontend"])


def test_what_code_is_generated_from_has_no_circle() -> None:
    """The two lower levels and what works on them; a graph's ops need graphs, as a loop's body is
    one."""
    layers = ("passes", "codegen_cpu", "codegen_gpu", "runtime")
    lower = [p for p in FILES if p.parent.name == "ir" and p.stem.startswith(("kernel", "program"))]
    assert not circles([*lower, *(path for path in FILES if layer_of(path) in layers)])


def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("import two\n")
    two.write_text("def f():\n    from one import g\n")
    assert circles([one, two]) == [["one", "two"]]
    two.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one\n")
    assert circles([one, two]) == []


def test_a_wrong_arrow_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong on purpose: the test above must bite."""
    bad = tmp_path / "graphc" / "ir" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("def f():\n    from graphc.passes import fuse\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "graphc")
    assert violations(bad) == ["graphc/ir/bad.py:2: ir may not import graphc.passes.fuse"]
