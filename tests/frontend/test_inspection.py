"""What a compiled step tells about itself, on real programs: stages, differences, dumps."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import InvalidArgument, InvalidState, NotAvailable
from graphc.frontend.report.page import record_of
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.inspect.explanation import SHOWN, _not_fused, sizes_told
from graphc.ir import text
from graphc.passes.pipeline import PIPELINE

GRAPHS = ("trace", "autodiff", *(s.name for s in PIPELINE))
STAGES = (*GRAPHS, "fuse", "memory", "llvm", "asm")


def make_step() -> CompiledFunction:
    graphc.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


def batch(size: int = 4) -> tuple[graphc.Tensor, graphc.Tensor]:
    return graphc.ones(size, 6), graphc.arange(size) % 3


@pytest.fixture(scope="module")
def step() -> CompiledFunction:
    step = make_step()
    step(*batch())
    return step


def test_stages(step: CompiledFunction) -> None:
    assert step.stages == STAGES
    for stage in STAGES:
        assert step.ir(stage).strip()
    with pytest.raises(InvalidArgument, match="no stage 'fusion'"):
        step.ir("fusion")
    with pytest.raises(NotAvailable, match="no `ptx`: device is cpu"):
        step.ir("ptx")


def test_graph_stages_parse_back(step: CompiledFunction) -> None:
    for stage in GRAPHS:
        graph = text.parse(step.ir(stage))
        assert text.parse(text.show(graph)).name == "train_step"


def test_trace_is_the_code_as_written(step: CompiledFunction) -> None:
    written = text.parse(step.ir("trace"))
    assert {v.where.phase for v in written.values()} == {""}
    whole = text.parse(step.ir("autodiff"))
    assert {v.where.phase for v in whole.values()} == {"", "bw", "opt"}
    assert len(written.outs) == 1 and len(whole.outs) > 8


def test_every_value_has_its_line_and_module(step: CompiledFunction) -> None:
    for stage in GRAPHS[1:]:
        for v in text.parse(step.ir(stage)).values():
            if v.op is not None:
                assert v.where.file == "test_inspection.py" and v.where.line and v.where.scope


def test_diff_shows_what_changed_and_who_changed_it(step: CompiledFunction) -> None:
    diff = step.diff("autodiff", "simplify")
    assert "// by simplify: " in diff
    assert all(row[:1] in "+-/ " for row in diff.splitlines() if row)
    assert len(diff.splitlines()) < len(step.ir("autodiff").splitlines())
    assert "launch" in step.diff("simplify", "memory")


def test_diff_across_levels_is_short_and_has_one_direction(step: CompiledFunction) -> None:
    code = step.diff("memory", "llvm")
    assert all(f"{k.name}: {len(k.llvm.splitlines())} lines" in code for k in step.kernels)
    assert len(code.splitlines()) == len(step.kernels) + 2
    with pytest.raises(InvalidArgument, match="comes before"):
        step.diff("memory", "trace")


def test_kernels_are_named_alike_everywhere(step: CompiledFunction) -> None:
    program = step.ir("memory")
    for kernel in step.kernels:
        assert kernel.name in program and kernel.name in step.ir("fuse")
        assert kernel.name in kernel.text and "define void" in kernel.llvm


def test_explain_and_stats() -> None:
    step = make_step()
    with pytest.raises(InvalidState):
        step.memory()
    step(*batch(4))
    step(*batch(6))
    assert not step.explain().recompiles and step.stats.programs == 1
    x, y = batch(6)
    step(x.requires_grad_(), y)
    told = step.explain()
    assert told.programs == 1 and told.kernels <= told.launches
    assert [r.argument for r in told.recompiles] == ["argument `x`"]
    assert "f32[6,6] -> f32[6,6] requires_grad" in str(told)
    stats = step.stats
    assert (stats.compiles, stats.programs) == (2, 2)
    assert stats.kernels >= told.kernels
    assert stats.compile_seconds > 0 and set(STAGES[1:-2]) <= set(stats.ms)
    assert stats.peak_bytes == step.memory().peak_bytes


def test_explain_tells_the_dearest_ends_first(step: CompiledFunction) -> None:
    told = step.explain()
    lines = str(told).splitlines()
    titles = [row.partition(":")[0] for row in lines[1:] if row[:1] != " "]
    assert titles == ["recompiles", "sizes", "not fused", "host callbacks", "plans"]
    costs = [sum(map(int, re.findall(r"(\d+) bytes through", why))) for _, why in told.unfused]
    first = max(zip(costs, (kernel for kernel, _ in told.unfused)), key=lambda row: row[0])[1]
    assert lines[titles_at(lines, "not fused") + 1].startswith(f"  {first}: ")
    assert " bytes" not in str(told), "sizes are told as people read them"
    assert all(kernel in str(told) for kernel, _ in told.unfused)


def titles_at(lines: list[str], title: str) -> int:
    return next(k for k, row in enumerate(lines) if row.startswith(f"{title}:"))


def test_many_ends_are_cut_short_and_said_to_be() -> None:
    ends = [(f"k{n}", f"%1: %2 has another domain, {n}000 bytes through memory, which fusing on "
             "would save") for n in range(1, SHOWN + 4)]  # fmt: skip
    last = f"k{SHOWN + 3}"
    told = _not_fused([*ends, ("kept", "%9: returned")], {last: "net.py:3 fc"})
    assert f"{SHOWN + 4} kernels" in told[0]
    assert told[1].startswith(f"  {last}: ") and told[1].endswith("  # net.py:3 fc")
    assert told[-2] == "  ... 3 that cost less: step.explain().unfused has all"
    assert told[-1].endswith(": kept")


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ("stored: 4096 of 8192 bytes", "stored: 4.0 KiB of 8.0 KiB"),
        ("2048 bytes read by each, not 256 to store it",
         "2.0 KiB read by each, not 256 B to store it"),
        ("has another domain: [B, 1024]", "has another domain: [B, 1024]"),
    ],
)  # fmt: skip
def test_bytes_of_reasons(note: str, told: str) -> None:
    assert sizes_told(note) == told


def test_kernels_know_their_work_and_once_profiled_their_time() -> None:
    step = make_step()
    step(*batch(4))
    with pytest.raises(InvalidState, match="was not profiled"):
        _ = step.kernels[0].ms
    profile = step.profile(*batch(4))
    rows = {r.name: r for r in profile.by("kernel")}
    for kernel in step.kernels:
        row = rows[kernel.name]
        assert kernel.ms == pytest.approx(row.ms)
        assert (kernel.flops, kernel.bytes) == (row.work.flops, row.work.bytes)


def test_memory_is_the_sum_of_its_kinds(step: CompiledFunction) -> None:
    memory = step.memory()
    assert memory.peak_bytes == sum(memory.by_kind.values())
    parameters = 4 * (6 * 5 + 5 + 5 * 3 + 3)
    assert memory.by_kind["state"] == 3 * parameters  # with momentum and gradients
    assert memory.by_kind["out"] == 4 and memory.by_kind["arg"] == 4 * 6 * 4 + 4 * 8
    assert "peak" in str(memory) and memory.rows


def test_what_a_forward_keeps_for_its_backward_counts_once() -> None:
    model = graphc.compile(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)))
    x = graphc.ones(32, 8)
    kinds = model.memory(x).by_kind
    saved, cotangent, parameters = 32 * 16, 32 * 4, 8 * 16 + 16 + 16 * 4 + 4
    assert kinds["arg"] == 4 * (32 * 8 + cotangent)
    assert kinds["out"] == 4 * (32 * 4 + saved + parameters)
    assert kinds["state"] == 4 * parameters
    model(x).sum().backward()
    assert model.memory().by_kind == kinds


def test_copies_and_results_of_routines_count() -> None:
    twice = graphc.compile(lambda x: x * 2)
    assert "copies" not in twice.memory(graphc.ones(64, 8)).by_kind
    assert "copies" not in twice.memory(graphc.ones(8, 64).T).by_kind
    gaps = graphc.ones(64, 16)[:, ::2]
    assert twice.memory(gaps).by_kind["copies"] == gaps.nbytes
    ordered = graphc.compile(lambda x: x.sort(dim=1).indices)
    assert ordered.memory(graphc.ones(64, 8)).by_kind["routine"] == 8 * 64 * 8
    rooted = graphc.compile(lambda x: graphc.linalg.cholesky(x))
    assert rooted.memory(graphc.eye(8)).by_kind["routine"] == 2 * 8 * 64  # both in float64


def test_printing_a_step_shows_its_last_graph(step: CompiledFunction) -> None:
    assert text.parse(str(step)).name == "train_step"
    assert repr(step) == "<compiled train_step>"


def test_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
    step = make_step()
    step(*batch(4))
    x, y = batch(4)
    step(x.requires_grad_(), y)
    names = sorted(p.name for p in tmp_path.iterdir())
    stages = [f"{k:02}_{stage}.gir" for k, stage in enumerate(STAGES[:-2], 1)]
    assert set(stages) <= set(names) and "02_train_step" in names
    at = STAGES.index("simplify")
    assert (tmp_path / stages[at]).read_text() == str_of_first(step, "simplify")
    difference = (tmp_path / f"{at + 1:02}.diff").read_text()
    assert difference.startswith(f"// {STAGES[at - 1]} -> simplify")
    kernels = {p.stem for p in (tmp_path / "kernels").iterdir()}
    assert kernels == {k.name for k in step.kernels}
    assert json.loads((tmp_path / "stats.json").read_text())["name"] == "train_step"
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events] == list(STAGES[:-2])


def test_processes_do_not_dump_over_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is a file's, so that another opening of it is as another process."""
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
    lock = os.open(tmp_path / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    graphc.compile(lambda x: x + 1)(graphc.ones(3))
    own = f"process_{os.getpid()}"
    assert {p.name for p in tmp_path.iterdir()} == {".lock", own}
    assert (tmp_path / own / "report.html").is_file()
    os.close(lock)


def test_names_that_are_no_text_can_be_dumped_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the names of files may be."""
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
    step = graphc.compile(lambda named: {k: v + 1 for k, v in named.items()})
    step.report(tmp_path / "page.html", {"\udc80": graphc.ones(3)})
    for name in ("page.html", "report.html"):
        assert any("\udc80" in row for row in record_of((tmp_path / name).read_text())["rows"])


def test_a_line_is_told_of_each_program_with_its_own_times() -> None:
    net = graphc.compile(graphc.nn.Linear(6, 3))
    net(batch(4)[0]).sum().backward()
    (place,) = (r.name for r in net.profile(batch(4)[0]).by("line") if r.calls)
    forward, backward = net.line(place, limit=None).split("\n\n")[1:]
    assert forward.startswith("Linear: ") and "not profiled" not in forward
    assert backward.startswith("Linear backward: not profiled")


def str_of_first(step: CompiledFunction, stage: str) -> str:
    """A stage of the first plan, which a call of its signature makes the last again."""
    step(*batch(4))
    return step.ir(stage)


def test_values_know_the_calls_that_led_to_them(step: CompiledFunction) -> None:
    (unit,) = step._units()
    graph = next(s for s in unit.stages if s.name == "autodiff").graph  # type: ignore[attr-defined]
    dots = [v for v in graph.values() if v.op is not None and v.op.name == "dot"]
    for v in dots:
        stack = unit.stack(v.where)
        assert stack[0][0] == __file__
        assert stack[0][1] == v.where.line
        assert stack[-1][2] != stack[0][2]  # outwards to whoever called the step


def test_values_say_which_stage_and_rule_made_them() -> None:
    @graphc.compile
    def doubled(x: graphc.Tensor) -> graphc.Tensor:
        return x.neg().neg() + x.t().t() * graphc.softmax(x, 1)

    doubled(graphc.ones(3, 4))
    (unit,) = doubled._units()
    stages = {s.name: s.graph for s in unit.stages if s.level == "graph"}  # type: ignore[attr-defined]
    traced = set(stages["autodiff"].values())
    made = {v.made_by for v in stages["bufferize"].values() if v not in traced}
    assert all(made), "what no stage made was traced"
    assert {name.partition(":")[0] for name in made} <= {s.name for s in PIPELINE}
    assert all(not v.made_by for v in traced)


def test_slots_say_what_they_hold(step: CompiledFunction) -> None:
    (unit,) = step._units()
    kinds = {s.name: kind for s, kind in unit.kinds(unit.program.slots)}
    assert kinds["0.weight"] == "parameter"
    assert {"argument", "parameter", "gradient", "optimizer", "result"} <= set(kinds.values())
    assert "saved" in kinds.values()


def test_plans_of_kernels_are_text(step: CompiledFunction) -> None:
    plans = {k.name: k.plan for k in step.kernels}
    assert all(text.startswith("template: ") for text in plans.values())
    assert any("tile: " in text and "panel: " in text for text in plans.values())
    assert any(text.startswith("template: loops") for text in plans.values())
