"""Gradients of a compiled step are looked at only if a `.grad` was read or set since the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.frontend.step.plan import Plan
from graphc.frontend.tensor import Tensor

Step = Callable[[Tensor], Tensor]


def stepped(w: Tensor) -> Step:
    """A step that leaves the gradient 2*w*x and changes w."""

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        w.grad = None
        loss = (w * w * x).sum()
        loss.backward()
        with graphc.no_grad():
            w.add_(1)
        return loss

    return step


@pytest.fixture
def w() -> Tensor:
    return graphc.zeros(3).requires_grad_()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one for each gradient looked at."""
    seen: list[Any] = []
    real = Plan._gradient

    def counted(self: Plan, *args: Any) -> Tensor:
        seen.append(args)
        return real(self, *args)

    monkeypatch.setattr(Plan, "_gradient", counted)
    return seen


def gradient(w: Tensor) -> list[float]:
    assert w.grad is not None
    out: list[float] = w.grad.tolist()
    return out


def test_no_work_while_nobody_looks(w: Tensor, looks: list[Any]) -> None:
    step, x = stepped(w), graphc.ones(3)
    for _ in range(4):
        step(x)
    looks.clear()
    for _ in range(10):
        step(x)
    assert not looks
    assert gradient(w) == [26.0] * 3
    step(x)
    assert len(looks) == 1 and gradient(w) == [28.0] * 3


def test_a_held_gradient_is_not_written(w: Tensor) -> None:
    step, x = stepped(w), graphc.ones(3)
    for _ in range(4):
        step(x)
    held = w.grad
    assert held is not None
    memory = held.numpy()
    for _ in range(4):
        step(x)
    assert held.tolist() == memory.tolist() == [6.0] * 3 and gradient(w) == [14.0] * 3


def test_memory_is_used_again_unless_numpy_shows_a_part_of_it(w: Tensor) -> None:
    step, x = stepped(w), graphc.ones(3)
    places = []
    for _ in range(4):
        step(x)
        assert w.grad is not None
        places.append(w.grad.data_ptr())
    assert len(set(places)) == 1
    part = w.grad.numpy()[:2]
    for _ in range(4):
        step(x)
    assert part.tolist() == [6.0] * 2 and gradient(w) == [14.0] * 3


def test_a_gradient_set_to_none_comes_back(w: Tensor) -> None:
    step, x = stepped(w), graphc.ones(3)
    for k in range(6):
        step(x)
        assert gradient(w) == [2.0 * k] * 3
        w.grad = None


def test_a_gradient_set_to_another_is_replaced(w: Tensor) -> None:
    step, x = stepped(w), graphc.ones(3)
    for _ in range(4):
        step(x)
    w.grad = other = graphc.full((3,), 7.0)
    step(x)
    step(x)
    assert gradient(w) == [10.0] * 3 and other.tolist() == [7.0] * 3


def test_two_plans_of_one_step(w: Tensor) -> None:
    step = stepped(w)
    sizes = [graphc.ones(3), graphc.ones(2, 3)]
    for k in range(12):
        x = sizes[k // 3 % 2]
        step(x)
        if k % 2:
            assert gradient(w) == [2.0 * k * (1 if x is sizes[0] else 2)] * 3


def test_two_steps_of_one_weight(w: Tensor) -> None:
    steps, x = [stepped(w), stepped(w)], graphc.ones(3)
    held = []
    for k in range(12):
        steps[k // 3 % 2](x)
        if k % 4 == 3:
            assert w.grad is not None
            held.append((w.grad, [2.0 * k] * 3))
    assert all(g.tolist() == expected for g, expected in held)


def test_two_steps_in_turn_and_one_look(w: Tensor) -> None:
    steps, x = [stepped(w), stepped(w)], graphc.ones(3)
    for k in [0, 1, 0, 0, 0, 1, 1, 1, 0]:  # tracing, too, is a look
        steps[k](x)
    assert gradient(w) == [16.0] * 3


def test_eager_steps_between(w: Tensor) -> None:
    step, x = stepped(w), graphc.ones(3)
    for k in range(6):
        step(x)
        if k % 3 == 2:
            (w * x).sum().backward()
            step(x)
            with graphc.no_grad():
                w.sub_(1)
    assert gradient(w) == [12.0] * 3


def test_a_step_that_failed_gives_its_gradient_later(w: Tensor) -> None:
    table = graphc.ones(2)

    @graphc.compile
    def step(at: Tensor) -> None:
        w.grad = None
        (w * table[at]).sum().backward()
        with graphc.no_grad():
            w.add_(1)

    inside, outside = graphc.tensor([0, 1, 0]), graphc.tensor([0, 5, 0])
    step(inside)
    w.grad = None
    for _ in range(2):
        with pytest.raises(IndexError):
            step(outside)
        assert w._grad is None  # `.grad` would be a look
    step(inside)
    assert gradient(w) == [1.0] * 3


def test_a_returned_gradient_is_the_users(w: Tensor) -> None:
    @graphc.compile
    def step(x: Tensor) -> Tensor | None:
        w.grad = None
        (w * w * x).sum().backward()
        with graphc.no_grad():
            w.add_(1)
        return w.grad

    made = [step(graphc.ones(3)) for _ in range(4)]
    assert [g.tolist() for g in made if g is not None] == [[2.0 * k] * 3 for k in range(4)]
    del made
    for _ in range(4):  # and dropped each time
        step(graphc.ones(3))
    assert gradient(w) == [14.0] * 3
