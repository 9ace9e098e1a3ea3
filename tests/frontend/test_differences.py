"""What a difference of two stages shows: only what changed, by the rule that changed it."""

from __future__ import annotations

import itertools

import pytest

import graphc
from graphc import nn
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.inspect.compared import changes, graph_rows, in_place, parsed

# The backward and the update come with it, which is most of a step.
LARGE = {"autodiff"}


@pytest.fixture(scope="module")
def step() -> CompiledFunction:
    """Convolutions, norms and pooling: each stage has something to do."""
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.Flatten(), nn.Linear(8 * 25, 10))
    opt = graphc.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    train_step(graphc.randn(4, 3, 12, 12), graphc.arange(4))
    return train_step


def test_a_difference_is_a_fifth_of_the_stage_at_most(step: CompiledFunction) -> None:
    names = [s.name for s in step._units()[0].stages]
    shares = {
        f"{a} -> {b}": len(step.diff(a, b)) / len(step.ir(b))
        for a, b in itertools.pairwise(names)
        if b not in LARGE
    }
    assert len(shares) > 8
    assert {pair: share for pair, share in shares.items() if share > 0.2} == {}


def test_every_value_that_came_or_went_is_told(step: CompiledFunction) -> None:
    """Removing what is told to have gone from one stage and adding what came gives the other."""

    def labels(stage: str) -> set[str]:
        rows = filter(None, map(parsed, step.ir(stage).splitlines()))
        return {r.label.split(".")[0] for r in rows if r.op and r.label[1:2].isdigit()}

    names = [s.name for s in step._units()[0].stages if s.level == "graph"]
    for a, b in itertools.pairwise(names):
        told: dict[str, set[str]] = {"+": set(), "-": set()}
        for line in step.diff(a, b).splitlines():
            if line[:1] in told and (row := parsed(line[1:])):
                told[line[0]].add(row.label.split(".")[0])
        assert labels(a) - labels(b) <= told["-"], (a, b)
        assert labels(b) - labels(a) <= told["+"], (a, b)


def test_a_row_that_changed_tells_only_what_did() -> None:
    old = {"%1": "  %1: f32[2] = sum %0 {axes=(0,1) keep=True}   # a.py:1"}
    new = {"%1": "  %1.1: f32[2] = sum %0 {axes=(0,) keep=True}   # a.py:1"}
    rows, reads = in_place(graph_rows(old, new))
    assert [str(r) for r in rows] == ["~  %1.1: sum {axes=(0,1) => (0,)}  # a.py:1"]
    assert reads == []


def test_what_reads_another_value_is_told_once() -> None:
    old = {k: f"  {k}: f32[2] = neg %0" for k in ("%1", "%2")}
    new = {k: f"  {k}.1: f32[2] = neg %9" for k in ("%1", "%2")}
    rows, reads = in_place(graph_rows(old, new))
    assert [r.sign for r in rows] == [" ", " "]
    assert [(r.old, r.new, r.reader) for r in reads] == [("%0", "%9", "%1.1"), ("%0", "%9", "%2.1")]


def test_another_type_or_op_is_told() -> None:
    old = {"%1": "  %1: f32[2] = neg %0", "%x": "    state %x: f32[2,3],  # a.py:1"}
    new = {"%1": "  %1.1: f64[2] = exp %0", "%x": "    state %x: f32[2,3] order (1,0),  # a.py:1"}
    rows, _ = in_place(graph_rows(old, new))
    assert [str(r) for r in rows] == [
        "~  %1.1: f32[2] => f64[2] neg %0 => exp %0",
        "~  order as shown => (1,0):",
    ]


def test_what_is_returned_besides() -> None:
    graph = "// graphc 1  f\ngraph(%x: f32[2]) {{\n  return {}\n}}\n"
    told = changes(graph.format("%x, state %y = %x"), graph.format("%x, state %z = %x"))
    assert any(r == "~  return -%y = %x, +%z = %x" for r in told), told


def test_from_one_level_to_the_next(step: CompiledFunction) -> None:
    """Each kernel with the lines that it computes for, and each with its launches."""
    kernels = step.diff("foresee", "fuse").splitlines()
    assert sum(r.startswith("+  ") for r in kernels) == len(step._units()[0].program.launches)
    assert any("conv" in r and "test_differences.py" in r for r in kernels)
    launches = step.diff("fuse", "memory")
    assert all(f"  {k.name}: launch " in launches for k in step.kernels)
