"""A call like the last one: what Python does in it does not grow with the net, and whatever may
change between two calls is seen by the second."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import Untraceable
from graphc.frontend import epoch
from graphc.frontend.step.python import words
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.types import TensorSpec, f32

pytestmark = pytest.mark.usefixtures("uncollected")

FRAMES, WARM_UP = 9, 6
SCALE = {"factor": 1.0}
factor = 1.0


def doubled(x: Tensor) -> Tensor:
    return x * 2.0


class Block(nn.Module):
    """Reads a global, an attribute of its own, a dict and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return doubled(self.norm(self.linear(x))) * (factor * SCALE["factor"] * self.gain)


class Trained:
    """A net, its optimizer and a step, compiled or not, always from the same numbers."""

    def __init__(self, blocks: int = 2, compiled: bool = True) -> None:
        graphc.manual_seed(0)
        self.net = nn.Sequential(*[Block() for _ in range(blocks)])
        self.optimizer: Any = graphc.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.x = graphc.randn(8, 4)

        def step(x: Tensor) -> Tensor:
            self.optimizer.zero_grad()
            loss = (self.net(x) ** 2).mean()
            loss.backward()
            self.optimizer.step()
            return loss

        self.step: Any = graphc.compile(step) if compiled else step

    def run(self, times: int = WARM_UP) -> list[float]:
        return [self.step(self.x).item() for _ in range(times)]


def calls(function: Callable[[], object]) -> Counter[str]:
    """How many functions of Python's and of C's ran."""
    seen: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        seen[event] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return seen


@pytest.mark.skipif(words.layout() is None, reason="this interpreter keeps no versions")
def test_python_does_not_grow_with_the_net() -> None:
    counts = []
    for blocks in (1, 12):
        trained = Trained(blocks)
        trained.run()
        counts.append(calls(lambda trained=trained: trained.step(trained.x)))  # type: ignore[misc]
    assert counts[0] == counts[1]
    assert counts[0]["call"] <= FRAMES and counts[0]["c_call"] <= 2 * FRAMES


def test_other_arguments_of_the_same_kind_go_the_short_way() -> None:
    others = [graphc.randn(8, 4) for _ in range(3)]
    plain = Trained(compiled=False)
    plain.run()
    expected = [plain.step(x).item() for x in others]
    trained = Trained()
    trained.run()
    hits = trained.step._next.hits
    np.testing.assert_allclose([trained.step(x).item() for x in others], expected, rtol=1e-4)
    assert trained.step._next.hits == hits + 3


def _set_class(t: Trained) -> None:
    for block in t.net:
        block.__class__ = Louder


class Louder(Block):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 3.0


def _global(t: Trained) -> None:
    global factor
    factor = 0.5


def _group(t: Trained) -> None:
    group = dict(t.optimizer.param_groups[0])
    t.optimizer.param_groups = [type(t.optimizer.param_groups[0])(group | {"lr": 0.3})]


def _hook(t: Trained) -> None:
    t.optimizer._hooks["step_pre"].append((lambda opt, args, kwargs: opt.zero_grad(),))


def _momentum(t: Trained) -> None:
    for block in t.net:
        block.norm.__dict__["momentum"] = 0.7


def _tensor_rate(t: Trained) -> None:
    t.optimizer.param_groups[0]["lr"] = graphc.tensor(0.25)


CHANGES: dict[str, Callable[[Trained], object]] = {
    "a rate": lambda t: t.optimizer.param_groups[0].update(lr=0.5),
    "a rate past the group": lambda t: dict.__setitem__(t.optimizer.param_groups[0], "lr", 0.5),
    "a rate that is a tensor": _tensor_rate,
    "the groups": _group,
    "a hook past the optimizer": _hook,
    "momentum": lambda t: setattr(t.net[0].norm, "momentum", 0.5),
    "momentum past the module": _momentum,
    "an attribute": lambda t: setattr(t.net[1], "gain", 0.25),
    "an attribute past the module": lambda t: t.net[1].__dict__.update(gain=0.25),
    "an item": lambda t: SCALE.update(factor=0.5),
    "a global": _global,
    "a function's code": lambda t: setattr(doubled, "__code__", (lambda x: x * 5.0).__code__),
    "a method": lambda t: setattr(Block, "forward", lambda self, x: self.linear(x)),
    "a class": _set_class,
    "the mode": lambda t: t.net.eval(),
    "a flag": lambda t: t.net[0].linear.weight.requires_grad_(False),
    "memory": lambda t: setattr(t.net[0].linear.weight, "data", graphc.ones(4, 4)),
    "elements": lambda t: t.net[0].linear.weight.data.fill_(0.5),
    "a gradient": lambda t: setattr(t.net[0].linear.weight, "grad", graphc.ones(4, 4)),
    "the argument": lambda t: t.x.mul_(2.0),
    "another shape": lambda t: setattr(t, "x", t.x[:6].clone()),
    "a view": lambda t: setattr(t, "x", t.x.flip(0).t().contiguous().t()),
}


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Globals and classes as they were, after each test."""
    monkeypatch.setitem(globals(), "factor", 1.0)
    monkeypatch.setitem(SCALE, "factor", 1.0)
    monkeypatch.setattr(doubled, "__code__", doubled.__code__)
    monkeypatch.setattr(Block, "forward", Block.forward)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(name: str) -> None:
    trained = Trained()
    losses = trained.run()
    assert trained.step._next is not None, "the last calls were like each other"
    CHANGES[name](trained)
    losses += trained.run(3)
    versions = [p._version for p in trained.net.parameters()]

    with pytest.MonkeyPatch.context() as undone:
        undone.setitem(globals(), "factor", 1.0)
        undone.setitem(SCALE, "factor", 1.0)
        undone.setattr(doubled, "__code__", ORIGINAL[0])
        undone.setattr(Block, "forward", ORIGINAL[1])
        plain = Trained(compiled=False)
        expected = plain.run()
        CHANGES[name](plain)
        expected += plain.run(3)
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    assert versions == [p._version for p in plain.net.parameters()]


ORIGINAL: Any = doubled.__code__, Block.forward


def test_modes_are_seen() -> None:
    trained = Trained()
    trained.run()
    with graphc.autograd.detect_anomaly(), pytest.raises(graphc.errors.Untraceable):
        trained.run(1)
    forward = graphc.compile(lambda x: trained.net(x).sum())
    assert [forward(trained.x).requires_grad for _ in range(5)] == [True] * 5
    with graphc.no_grad():
        assert not forward(trained.x).requires_grad
    assert forward(trained.x).requires_grad


def test_versions_rise_whoever_runs() -> None:
    """Two plans take turns over the same parameters: each call of one is one write."""
    trained = Trained()
    other = graphc.randn(6, 4)
    weight = trained.net[0].linear.weight
    trained.run(2)
    before = weight._version
    for x in [trained.x, trained.x, other, other, trained.x, other, trained.x, trained.x]:
        trained.step(x)
        before += 1
        assert weight._version == before
    with graphc.no_grad():
        weight.mul_(1.0)
    assert weight._version == before + 1
    trained.run(1)
    assert weight._version == before + 2


def test_a_failed_call_changes_nothing() -> None:
    table = graphc.randn(5, 3)
    calls = graphc.zeros(())

    @graphc.compile
    def step(k: Tensor) -> Tensor:
        calls.add_(1)
        return table[k]

    for _ in range(WARM_UP):
        step(graphc.tensor([1, 2]))
    version = calls._version
    with pytest.raises(IndexError):
        step(graphc.tensor([1, 7]))
    assert (calls.item(), calls._version) == (WARM_UP, version)
    assert step(graphc.tensor([3, 4])).tolist() == table[3:].tolist()


def test_random_numbers_go_on() -> None:
    graphc.manual_seed(3)
    step = graphc.compile(lambda x: nn.functional.dropout(x, 0.5))
    results = [step(graphc.ones(64)).tolist() for _ in range(WARM_UP + 3)]
    graphc.manual_seed(3)
    with graphc.disable():
        assert results == [step(graphc.ones(64)).tolist() for _ in range(WARM_UP + 3)]


def test_a_counter_is_no_reason_to_prepare_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """State that each call changes is asked for, not watched."""

    class Counting:
        steps = 0

        def __init__(self) -> None:
            self.seen = 0

    counting = Counting()
    taken: list[int] = []
    take = words.Words.take

    def counted(self: words.Words, *args: Any) -> None:
        taken.append(1)
        take(self, *args)

    monkeypatch.setattr(words.Words, "take", counted)

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        counting.seen += 1
        return x * 2

    for _ in range(100):
        step(graphc.ones(3))
    assert counting.seen == 100
    assert len(taken) < 10


def test_epochs_move_together() -> None:
    for name in ("modules", "hooks", "functions", "groups", "places"):
        before = epoch.moved
        getattr(epoch, f"{name}_changed")()
        assert epoch.moved == before + 1


@pytest.mark.skipif(sys.version_info[:2] not in words.KEEPS_VERSIONS, reason="as it says")
def test_words_are_found_where_versions_are_kept() -> None:
    assert words.layout() is not None


def test_other_threads_run_their_programs_meanwhile() -> None:
    """Prepared calls and backwards take turns: they share the threads and the arena."""
    trained = Trained()
    trained.run()
    x = graphc.randn(300, 64)
    net: Any = graphc.compile(nn.Linear(64, 64))
    expected = net(x).square().sum()
    expected.backward()
    gradient = net.weight.grad.numpy().copy()
    failed: list[BaseException] = []

    def backwards() -> None:
        try:
            for _ in range(60):
                net.weight.grad = None
                net(x).square().sum().backward()
                np.testing.assert_array_equal(net.weight.grad.numpy(), gradient)
        except BaseException as e:
            failed.append(e)

    other = threading.Thread(target=backwards)
    other.start()
    while other.is_alive():
        trained.step(trained.x)
    other.join()
    assert not failed, failed


def test_a_prepared_step_makes_results_as_others_do() -> None:
    array, spec = np.zeros(3, np.float32), TensorSpec(f32, (3,))
    one, other = Storage(array, spec), Storage.plain(array, spec)
    for name in Storage.__slots__:
        if name != "__weakref__":
            assert getattr(one, name) is getattr(other, name), name


def test_a_prepared_call_is_not_taken_where_modes_differ() -> None:
    trained = Trained()
    trained.run()
    assert trained.step._next is not None
    with graphc.autograd.detect_anomaly(), pytest.raises(Untraceable, match="anomaly detection"):
        trained.step(trained.x)
