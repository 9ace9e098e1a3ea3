"""A process that compiles what an earlier one has compiled runs no pass and no LLVM."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc import nn
from graphc.errors import FileFormatError
from graphc.frontend.step import native_backend as compiling
from graphc.frontend.step.native_backend import NativeBackend
from graphc.ir import records
from graphc.passes import known, stored
from graphc.passes.pipeline import compile_graph
from graphc.runtime.disk_cache import HEADER
from tests.steps import MODELS


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Each call is the start of a process: its backend knows nothing but the disk."""
    monkeypatch.setenv("GRAPHC_VERIFY", "0")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))

    def start() -> None:
        backend = NativeBackend()
        monkeypatch.setattr(compiling, "native", lambda: backend)

    start()
    return start


def trained(kind: str, steps: int = 2) -> tuple[Any, list[float], list[Any]]:
    graphc.manual_seed(3)
    net, x, y = MODELS[kind]()
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(x, y).item() for _ in range(steps)]
    return step, losses, [p.detach().numpy().tobytes() for p in net.parameters()]


def no_passes(*args: Any, **named: Any) -> Any:
    raise AssertionError("a pass was run")


@pytest.mark.parametrize("kind", MODELS)
def test_a_warm_start_lowers_and_compiles_nothing(
    kind: str, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, losses, weights = trained(kind)
    assert cold.stats.programs_found == 0 and cold.stats.kernels_compiled > 0
    fresh()
    monkeypatch.setattr(known, "compile_graph", no_passes)
    warm, again, same = trained(kind)
    assert (warm.stats.programs_found, warm.stats.kernels_compiled) == (1, 0)
    assert again == losses and same == weights
    assert warm.memory().peak_bytes == cold.memory().peak_bytes
    assert [k.text for k in warm.kernels] == [k.text for k in cold.kernels]
    assert warm.explain().unfused == cold.explain().unfused


def test_a_warm_step_shows_all_its_stages(fresh: Callable[[], None]) -> None:
    cold, *_ = trained("convolution")
    fresh()
    warm, *_ = trained("convolution")
    assert warm.stats.programs_found == 1 and warm.stages == cold.stages
    for stage in warm.stages:
        heads = [s.ir(stage).split("\n", 1) for s in (cold, warm)]
        assert heads[0][1] == heads[1][1], stage  # the first line tells milliseconds
    changes = [s.diff("trace", "layout").split("\n", 1)[1] for s in (cold, warm)]
    assert changes[0] == changes[1]
    assert set(warm.stats.ms) == set(cold.stats.ms)


def test_other_sizes_of_a_warm_step_run_no_pass(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(x: graphc.Tensor) -> graphc.Tensor:
        return (x.softmax(-1) / x.shape[0]).sum(0)

    first = graphc.compile(rows)
    want = [first(graphc.ones(n, 6)).tolist() for n in (5, 9)]
    fresh()
    monkeypatch.setattr(known, "compile_graph", no_passes)
    warm = graphc.compile(rows)
    assert [warm(graphc.ones(n, 6)).tolist() for n in (5, 9)] == want
    assert warm.stats.programs_found == 1 and warm.stats.compiles == 1


def test_gradients_of_a_warm_module(fresh: Callable[[], None]) -> None:
    def once() -> tuple[Any, list[Any]]:
        graphc.manual_seed(1)
        net = graphc.compile(nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2)))
        net(graphc.ones(3, 6)).square().sum().backward()
        return net, [p.grad.tolist() for p in net.parameters()]  # type: ignore[union-attr]

    _, want = once()
    fresh()
    net, got = once()
    assert got == want
    assert [u.found for u in net._compiled._units()] == [True, True]  # forward and backward


def test_what_a_warm_start_depends_on(fresh: Callable[[], None]) -> None:
    """Another constant, line, switch or size seen is another program."""

    def scaled(by: float) -> int:
        step = graphc.compile(lambda x: x @ x.T * by + (x.sum() / 3.0))
        step(graphc.ones(4, 4))
        return step.stats.programs_found

    assert scaled(2.0) == 0
    fresh()
    assert scaled(2.0) == 1
    fresh()
    assert scaled(2.5) == 0


def test_precision_is_part_of_what_finds_a_program(fresh: Callable[[], None]) -> None:
    x, weight = graphc.ones(2, 16, 12, 12), graphc.ones(16, 16, 3, 3)

    def found() -> int:
        step = graphc.compile(lambda x, w: nn.functional.conv2d(x, w, padding=1))
        step(x, weight)
        return step.stats.programs_found

    assert found() == 0
    fresh()
    graphc.set_float32_matmul_precision("highest")  # `tests/conftest.py` puts it back
    assert found() == 0
    graphc.set_float32_matmul_precision("medium")
    fresh()
    assert found() == 1


def test_bounds_are_checked_in_a_warm_start(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, losses, _ = trained("perceptron")
    fresh()
    monkeypatch.setenv("GRAPHC_CHECK_BOUNDS", "1")
    warm, again, _ = trained("perceptron")
    assert warm.stats.programs_found == 1 and warm.stats.kernels_compiled > 0
    assert again == losses


@pytest.mark.parametrize("harm", ["cut", "flipped", "foreign"])
def test_a_damaged_program_is_made_anew(
    harm: str, fresh: Callable[[], None], tmp_path: Path
) -> None:
    _, losses, _ = trained("perceptron")
    for file in (tmp_path / "cache").iterdir():
        data = bytearray(file.read_bytes())
        if harm == "cut":
            del data[len(data) // 2 :]
        elif harm == "flipped":
            data[-9] ^= 4
        else:
            data[HEADER.size :] = b"?" * (len(data) - HEADER.size)
        file.write_bytes(data)
    fresh()
    warm, again, _ = trained("perceptron")
    assert warm.stats.programs_found == 0 and warm.stats.kernels_compiled > 0
    assert again == losses
    fresh()
    assert trained("perceptron")[0].stats.programs_found == 1


def test_bytes_that_pass_the_checksum_and_are_no_schedule(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (b"", b"[]", records.written(("a",)), records.written(7)):
        monkeypatch.setattr(known, "stored", lambda *_, data=data: data)
        trained("perceptron", 1)
        fresh()
        assert trained("perceptron", 1)[0].stats.programs_found == 0


def test_threads_at_once(fresh: Callable[[], None]) -> None:
    def rows() -> tuple[Any, Any]:
        step = graphc.compile(lambda x: (x @ x.T).softmax(-1).sum(0))
        return step(graphc.ones(5, 7)).tolist(), step.stats.programs_found

    want, _ = rows()
    fresh()
    found: list[tuple[Any, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(rows())) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [(want, 1)] * 3


PROCESS = """
import graphc
@graphc.compile
def step(x):
    return (x @ x.T).softmax(-1).sum(0)
print(step(graphc.ones(5, 7)).tolist(), step.stats.programs_found)
"""


def test_processes_at_once_and_after(tmp_path: Path) -> None:
    """Two that start together both are right; a third finds the program."""
    (script := tmp_path / "script.py").write_text(PROCESS)
    command = [sys.executable, str(script)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=120)[0].rsplit(" ", 1)[0] for p in both]
    third = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    values, found = third.stdout.rsplit(" ", 1)
    assert said == [values, values] and found.strip() == "1"


# ---- what is stored ----------------------------------------------------------------------------


def test_records_keep_every_bit_of_numbers() -> None:
    values = (0, -0.0, 0.0, True, 1, 1.0, float("inf"), 2**70, "x\n\u20ac", None, (), ((),))
    back = records.read(records.written(values), {})
    assert repr(back) == repr(values)
    assert repr(records.read(records.written((float("nan"),)), {})) == "(nan,)"


def test_records_refuse_what_they_do_not_know() -> None:
    with pytest.raises(TypeError, match="object"):
        records.written((object(),))
    rows = (b'["x",[99,0]]', b"[[0,5]]", b'[[5,"x"]]', b'["x",[2,0,0,0]]')
    for data in (b"", b"[2]", b"[1,[1]]", *(b"[2,%b]" % row for row in rows)):
        with pytest.raises(FileFormatError):
            records.read(data, {})


def test_equal_graphs_of_two_traces_have_one_key() -> None:
    profile = compiling.native().profile

    def traced(scale: float) -> Any:
        step = graphc.compile(lambda x: x.exp() * scale)
        step(graphc.ones(3))
        return step._units()[0].stages[0].graph  # type: ignore[attr-defined]

    one, two, other = (stored.key_of(traced(s), profile) for s in (2.0, 2.0, 3.0))
    assert one == two != other


def test_a_schedule_is_what_was_stored_of_it(fresh: Callable[[], None]) -> None:
    step, *_ = trained("transformer", 1)
    graph = step._units()[0].stages[0].graph
    profile = compiling.native().profile
    schedule = compile_graph(graph, profile).schedule
    data = stored.stored(schedule, graph)
    stored.check_stored(data, schedule, graph)
    assert data is not None and stored.stored(stored.restored(data, graph, profile), graph) == data
