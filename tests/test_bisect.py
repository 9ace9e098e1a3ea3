"""`graphc bisect` names a bug planted in a pass or in the code of an op, and shows it alone."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.__main__ import main
from graphc.codegen_cpu import scalar
from graphc.errors import InternalError
from graphc.frontend.step import native_backend as compiling
from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import rebuild
from graphc.passes import lower, pipeline

SCRIPT = """\
import graphc
from graphc import nn, optim

net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
opt = optim.SGD(net.parameters(), lr=0.1)

@graphc.compile
def step(x):
    opt.zero_grad()
    loss = (net(x) * 1.25).exp().sum()
    loss.backward()
    opt.step()
    return loss

step(graphc.randn(3, 4))
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("graphc.cli.script.install_as_torch", lambda: None)
    compiling.native.cache_clear()
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    yield path
    compiling.native.cache_clear()


def test_a_right_compiler_is_found_right(script: Path, capsys: Any) -> None:
    assert main(["bisect", str(script)]) == 0
    assert "computes what it should" in capsys.readouterr().out


def wrong_pass(graph: Graph, profile: Any) -> Graph:
    """Takes exp(x) for exp(x) * 1.5."""

    def scaled(v: Value) -> Value:
        return P.apply("mul", v, 1.5) if v.op is not None and v.op.name == "exp" else v

    return rebuild(graph, scaled)


def test_a_wrong_pass_is_named(script: Path, capsys: Any, monkeypatch: Any) -> None:
    stages = tuple(
        s._replace(function=wrong_pass) if s.name == "tidy" else s for s in pipeline.PIPELINE
    )
    for where in (pipeline.compile_graph, pipeline._compile_graph):
        defaults = where.__defaults__
        monkeypatch.setattr(where, "__defaults__", defaults and (stages, *defaults[1:]))
    monkeypatch.setattr("graphc.cli.bisect.PIPELINE", stages)
    assert main(["bisect", str(script)]) == 1
    assert "pass `tidy`" in capsys.readouterr().out
    with pytest.raises(InternalError, match="tidy"):
        runpy.run_path("bisect_tidy.py")


def test_a_wrong_kernel_is_named(script: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(scalar.SCALAR, "tanh", scalar.SCALAR["sin"])
    assert main(["bisect", str(script)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("kernel `") and "differs by" in out
    (written,) = Path().glob("bisect_*.py")
    with pytest.raises(InternalError, match="kernel"):
        runpy.run_path(str(written))


def test_a_wrong_lowering_is_named_and_not_a_kernel_that_updates_in_place(
    script: Path, capsys: Any, monkeypatch: Any
) -> None:
    emit = lower._Lowering.emit

    def wrong(self: Any, v: Value, chain: Any) -> str:
        """Takes 1.5 for 1.25."""
        return emit(self, v.builder.constant(1.5, v.spec) if v.const == 1.25 else v, chain)

    monkeypatch.setattr(lower._Lowering, "emit", wrong)
    assert main(["bisect", str(script)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("pass `lower`: kernel `dot_add_mul_exp") and "does what it says" in out
    with pytest.raises(InternalError, match="dot_add_mul_exp"):
        runpy.run_path("bisect_lower.py")


def test_what_is_not_there(capsys: Any) -> None:
    assert main(["bisect", "nowhere.py"]) == 3
    assert graphc.__version__ and "no such file" in capsys.readouterr().err
