"""What became of a line or a module, as text; and what a pass changed, with the rule."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import InvalidArgument
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.inspect import places
from graphc.frontend.step.inspect.compared import changes, graph_rows, root
from graphc.ir import text


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        h = self.norm(self.first(x)).relu()
        return self.last(h)  # here


LINES = Path(__file__).read_text().splitlines()


def at(code: str) -> str:
    """The line of this file that begins with `code`."""
    number = next(k for k, line in enumerate(LINES, 1) if line.strip().startswith(code))
    return f"{Path(__file__).name}:{number}"


HERE = at("return self.last(h)")
BATCH = graphc.ones(4, 6), graphc.arange(4) % 3


@pytest.fixture(scope="module")
def step() -> CompiledFunction:
    net = Net()
    optimizer = optim.AdamW(net.parameters(), lr=0.1)

    @graphc.compile
    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    train_step(*BATCH)
    return train_step


def test_a_line_before_and_after_a_profile(step: CompiledFunction) -> None:
    told = step.line(HERE)
    assert told.startswith(f"{HERE}  return self.last(h)  # here")
    assert "not profiled" in told
    step.profile(*BATCH)
    told = step.line(HERE)
    assert " ms (" in told and "%last.weight" in told and "dot" in told
    for title in ("values: ", "kernels: ", "buffers: "):
        assert title in told


def test_the_slowest_and_largest_are_told_and_where_the_others_are(step: CompiledFunction) -> None:
    step.profile(*BATCH)
    everything = step.line("norm", limit=None).splitlines()
    told = step.line("norm", limit=2).splitlines()
    assert len(told) < len(everything) and set(told) - set(everything)  # the rows that count
    counts = {row.partition(" ")[0]: int(row.split()[1]) for row in told if row[:1] in "kbv"}
    hidden = [int(row.split()[1]) for row in told if row.startswith("  ... ")]
    assert [n - 2 for n in counts.values() if n > 3] == hidden and hidden
    assert told[-1].endswith(' more: step.ir("foresee", where="norm"), or limit=None here')
    kernels = everything[everything.index(f"kernels: {counts['kernels:']}") + 1 :]
    times = [float(row.split()[1]) for row in kernels[: counts["kernels:"]]]
    assert times == sorted(times, reverse=True)
    assert len(step.line("norm").splitlines()) <= 3 * (places.SHOWN + 2) + 3


def test_lines_that_call(step: CompiledFunction) -> None:
    whole = step.line(at("loss = F.cross_entropy(net(x), y)"))
    assert "cross_entropy" in whole and "sum" in whole and "last.weight" not in whole
    called = step.line(at("train_step(*BATCH)"))
    assert len(called) > len(whole), "a line that computes nothing itself stands for what it calls"


def test_shares_of_all_modules_are_less_than_the_whole(step: CompiledFunction) -> None:
    step.profile(*BATCH)
    parts = [step.line(name).partition("(")[2].partition("%")[0] for name in ("first", "norm")]
    assert 0 <= sum(map(float, parts)) <= 100.1


@pytest.mark.parametrize("stage", ["trace", "foresee", "memory"])
def test_rows_of_a_module(step: CompiledFunction, stage: str) -> None:
    rows = step.ir(stage, where="last").splitlines()
    assert 0 < len(rows) < len(step.ir(stage).splitlines())
    told = [r for r in rows if " # " in r]
    assert told and all(r.rsplit(" # ")[1].split()[-1].startswith("last") for r in told)


def test_kernels_and_code_of_a_line(step: CompiledFunction) -> None:
    kernels = step.ir("fuse", where=HERE)
    assert kernels.count("kernel ") < step.ir("fuse").count("kernel ")
    assert "dot" in kernels and "define void" in step.ir("llvm", where=HERE)


def test_a_place_where_nothing_is(step: CompiledFunction) -> None:
    with pytest.raises(InvalidArgument, match="nothing was traced"):
        step.line("test_places.py:1")
    with pytest.raises(InvalidArgument, match="nothing was traced"):
        step.line("layer9")
    with pytest.raises(InvalidArgument, match=r"stage 'fuse' has nothing of 'nope.py:3'"):
        step.ir("fuse", where="nope.py:3")


def test_headers_tell_time_and_counts(step: CompiledFunction) -> None:
    first = step.ir("simplify").splitlines()[0]
    before, after = (
        sum(v.op is not None for v in text.parse(step.ir(s)).values())
        for s in ("check_indices", "simplify")
    )
    assert first.startswith("// graphc 1  train_step  simplify 6/18  ")
    assert first.endswith(f" ms  ops {before} -> {after}  B=4")
    assert step.stats.ms["autodiff"] > 0


def test_names_are_kept_so_differences_are_small(step: CompiledFunction) -> None:
    rows = step.diff("check_indices", "simplify").splitlines()
    changed = [r for r in rows if r[:1] in "+-"]
    assert 0 < len(changed) < 0.2 * len(step.ir("simplify").splitlines())
    assert any(r.startswith("// simplify") for r in rows)
    assert len(step.diff("decompose", "tidy")) < 0.05 * len(step.ir("tidy"))


def test_rows_are_compared_as_they_were_traced() -> None:
    assert root("%7.2: f32[3] = add %3.1 %0.weight      # a") == "%7: f32[3] = add %3 %0.weight # a"
    old = {"%1": "%1: a", "%2": "%2: b", "%3": "%3: c %2"}
    new = {"%1": "%1: a", "%3": "%3.1: c %1"}
    signs = [(r.sign, r.text) for r in graph_rows(old, new)]
    assert signs == [(" ", "%1: a"), ("-", "%2: b"), ("-", "%3: c %2"), ("+", "%3.1: c %1")]


def test_the_same_text_has_no_changes() -> None:
    shown = "// graphc 1  f  a\ngraph(%x: f32[2]) {\n  %1: f32[2] = neg %x\n  return %1\n}\n"
    assert changes(shown, shown.replace("  a\n", "  b\n")) == []
