"""Compiled steps keep state in an order of their own; a script must not notice."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn as nn
from graphc.frontend import epoch
from graphc.frontend.storage import running
from graphc.frontend.tensor import Tensor

Step = Callable[[], Tensor]
LABELS = [0, 1, 2, 3]


class Trained:
    """A small convolutional net, and its step."""

    def __init__(self, compiled: bool = True) -> None:
        graphc.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten())
        self.w: Any = self.net[2].weight
        self.optimizer = graphc.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.x = graphc.randn(4, 3, 6, 6)
        self.step: Step = graphc.compile(self.eager) if compiled else self.eager

    def eager(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(self.x), graphc.tensor(LABELS))
        loss.backward()
        self.optimizer.step()
        return loss

    @property
    def momentum(self) -> Tensor:
        out: Tensor = self.optimizer.state[self.w]["momentum_buffer"]
        return out


def packed(x: Tensor | None) -> bool:
    """Whether the memory lies in another order than row-major."""
    assert x is not None and x.array is not None
    return not x.array.flags.c_contiguous


@pytest.fixture
def trained() -> Trained:
    """After two compiled steps, its weights packed."""
    out = Trained()
    out.step()
    out.step()
    assert packed(out.w) and packed(out.w.grad) and packed(out.momentum)
    return out


LOOKS: dict[str, Callable[[Tensor], object]] = {
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten().data_ptr() == x.data_ptr(),
    "contiguous": lambda x: x.is_contiguous() and x.contiguous() is x,
    "stride": lambda x: (x.stride(), x.stride(0)),
    "numpy": lambda x: x.detach().numpy().strides,
    "asarray": lambda x: np.asarray(x.detach()).flags.c_contiguous,
    "transposed": lambda x: x.transpose(0, 1).stride(),
    "part": lambda x: x[1:, 0].stride(),
    "data": lambda x: x.data.view(-1, 3),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)).stride(),
    "deepcopy": lambda x: copy.deepcopy(x).stride(),
    "clone": lambda x: x.detach().clone().stride(),
}


@pytest.mark.parametrize("what", ["weight", "grad", "momentum"])
@pytest.mark.parametrize("look", LOOKS)
def test_looks_row_major(trained: Trained, look: str, what: str) -> None:
    x = {"weight": trained.w, "grad": trained.w.grad, "momentum": trained.momentum}[what]
    plain = graphc.tensor(x.tolist())
    seen, expected = LOOKS[look](x), LOOKS[look](plain)
    if isinstance(seen, Tensor) and isinstance(expected, Tensor):
        seen, expected = (seen.tolist(), seen.stride()), (expected.tolist(), expected.stride())
    assert seen == expected
    assert type(trained.step().item()) is float


def test_packs_again_after_a_look(trained: Trained) -> None:
    assert trained.w.is_contiguous() and not packed(trained.w)
    trained.step()
    assert packed(trained.w)


def test_nobody_looks_nothing_moves(trained: Trained) -> None:
    held = [x for p in trained.net.parameters() for x in (p, p.grad)] + [trained.momentum]
    before, moves = [x.array for x in held], epoch.places
    places = [id(a) for a in before]
    del before
    for _ in range(10):
        trained.step()
    assert [id(x.array) for x in held] == places and epoch.places == moves


def test_reading_values_moves_nothing(trained: Trained) -> None:
    place, moves = id(trained.w.array), epoch.places
    for _ in range(3):
        trained.step()
        assert trained.w.sum().item() == pytest.approx(float(np.sum(trained.w.tolist())), abs=1e-5)
        state = trained.net.state_dict()
        assert state["2.weight"].tolist() == trained.w.tolist() and repr(trained.w)
        with graphc.no_grad():
            trained.w.mul_(0.5)
    assert id(trained.w.array) == place and epoch.places == moves


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    "take",
    [
        lambda w: w.data.view(-1),
        lambda w: w.detach().numpy().reshape(-1),
        lambda w: w.detach().permute(1, 2, 3, 0)[0].unbind(0)[0],
        lambda w: w.data,
    ],
    ids=["view", "numpy", "part", "data"],
)
def test_what_is_taken_follows(take: Callable[[Tensor], Any], before: bool) -> None:
    trained = Trained()
    taken = take(trained.w) if before else None
    trained.step()
    trained.step()
    taken = take(trained.w) if taken is None else taken
    for _ in range(3):
        old = np.array(taken.tolist())
        trained.step()
        assert taken.tolist() == take(trained.w.clone()).tolist() and (old != taken.tolist()).any()
    with graphc.no_grad():
        taken[...] = 0
    assert not np.any(take(trained.w).tolist())
    other = Trained(compiled=False)
    other.net.load_state_dict(trained.net.state_dict())
    forward = nn.functional.cross_entropy(other.net(trained.x), graphc.tensor(LABELS))
    assert trained.step().item() == pytest.approx(forward.item(), rel=1e-5)


def test_packs_again_once_a_view_is_gone(trained: Trained) -> None:
    view = trained.w.data.view(-1)
    trained.step()
    assert not packed(trained.w)
    del view
    trained.step()
    assert packed(trained.w)


def test_a_held_state_dict_costs_nothing(trained: Trained) -> None:
    state = trained.net.state_dict()
    trained.step()
    assert packed(trained.w) and state["2.weight"].tolist() == trained.w.tolist()
    assert state["2.weight"].view(-1).tolist() == trained.w.flatten().tolist()
    assert state["2.weight"].stride() == trained.w.stride() == (72, 9, 3, 1)
    assert state["2.weight"].data_ptr() == trained.w.data_ptr()


def test_state_dict_round_trip(trained: Trained) -> None:
    other = Trained()
    other.net.load_state_dict(trained.net.state_dict())
    slots = copy.deepcopy(trained.optimizer.state_dict())  # which are taken as they are
    other.optimizer.load_state_dict(slots)
    copied, read = copy.deepcopy(trained.net), pickle.loads(pickle.dumps(trained.net))
    losses = [trained.step().item() for _ in range(3)]
    assert losses == [other.step().item() for _ in range(3)]
    for net in (copied, read):
        assert net[2].weight.is_contiguous() and not packed(net[2].weight)
        assert net(trained.x).shape == (4, 16)


def test_eager_and_compiled_steps_in_turn() -> None:
    trained, plain = Trained(), Trained(compiled=False)
    losses = []
    for step in [trained.step, trained.step, trained.eager, trained.step, trained.eager] * 2:
        losses.append(step().item())
        assert trained.w.view(-1).shape == (288,)
    np.testing.assert_allclose(losses, [plain.step().item() for _ in losses], 1e-4, 1e-6)


def test_two_programs_of_one_state() -> None:
    trained, plain = Trained(), Trained(compiled=False)
    forward = graphc.compile(lambda x: trained.net(x).sum())
    for _ in range(3):
        trained.step()
        plain.step()
        trained.w.view(-1)
        for _ in range(2):
            expected = plain.net(trained.x).sum().item()
            assert forward(trained.x).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_memory_stays_while_a_program_runs(trained: Trained) -> None:
    place = id(trained.w.array)
    running.programs += 1
    try:
        assert trained.w.detach().tolist() == trained.w.tolist()
        assert trained.w.stride() != (72, 9, 3, 1) and id(trained.w.array) == place
    finally:
        running.programs -= 1
    assert trained.w.stride() == (72, 9, 3, 1)


def test_looks_from_another_thread(trained: Trained) -> None:
    losses, failures = [], []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                assert trained.w.detach().numpy().shape == (4, 8, 3, 3)
            except BaseException as e:
                failures.append(e)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    other = threading.Thread(target=look)
    other.start()
    try:
        losses = [trained.step().item() for _ in range(100)]
    finally:
        done.set()
        other.join()
        sys.setswitchinterval(interval)
    alone = Trained()
    expected = [alone.step().item() for _ in range(102)]
    assert not failures and losses == expected[2:]


def test_slots_that_a_step_loads_are_laid_as_it_wants_them() -> None:
    """Or copied at each call, where somebody has a view of them; never where a copy was."""
    plain, trained, viewed = Trained(compiled=False), Trained(), Trained()
    plain.step()
    for other in (trained, viewed):
        other.net.load_state_dict(plain.net.state_dict())
        other.optimizer.load_state_dict(copy.deepcopy(plain.optimizer.state_dict()))
    views = [s["momentum_buffer"].view(-1) for s in viewed.optimizer.state.values()]
    for _ in range(6):
        loss = plain.step().item()
        assert all(abs(t.step().item() - loss) < 1e-5 for t in (trained, viewed))
    assert packed(trained.momentum) and not packed(viewed.momentum)
    for view, slots in zip(views, viewed.optimizer.state.values(), strict=True):
        assert view.tolist() == slots["momentum_buffer"].flatten().tolist()


def test_a_tensor_that_stands_in_a_place_and_lies_otherwise_is_read_as_it_is() -> None:
    """Also by calls that find the one that the last call found."""
    holder = SimpleNamespace(w=graphc.randn(4, 8, 3, 3))
    x = graphc.randn(2, 8, 6, 6)

    @graphc.compile
    def step() -> Tensor:
        return nn.functional.conv2d(x, holder.w).sum()

    for k in range(12):
        if k < 4:
            holder.w = graphc.randn(4, 8, 3, 3)
        graphc.randn(512).tolist()  # takes what memory was given back
        expected = nn.functional.conv2d(x, holder.w).sum()
        assert abs(step().item() - expected.item()) < 1e-2
