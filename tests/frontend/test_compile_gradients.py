"""Gradients of compiled functions: inside a step, into `.grad`, and by a `backward()` outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import Tensor
from graphc.errors import AutogradError, InvalidState
from graphc.frontend.step.compiled import disable
from tests.frontend.interpreting import compiled, data, programs


def training(compile: bool) -> tuple[list[float], np.ndarray, np.ndarray]:
    w = data(3, 2, grad=True)

    def step(x: Tensor) -> Tensor:
        w.grad = None
        loss = ((x @ w) ** 2).mean()
        loss.backward()
        with graphc.no_grad():
            w.sub_(w.grad * 0.1)
        return loss

    f = compiled(step) if compile else step
    losses = [f(data(4, 3, seed=k)).item() for k in range(4)]
    if compile:
        assert programs(f) == 1 and f.explain().programs == 1
    return losses, w.detach().numpy(), w.grad.numpy()


def test_a_training_step_is_one_program() -> None:
    for eager, native in zip(training(False), training(True)):
        np.testing.assert_array_equal(eager, native)


def test_grad_reads_as_in_eager() -> None:
    w = data(3, grad=True)

    @compiled
    def f(x: Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    first = graphc.ones(3)
    f(first)
    held = w.grad
    f(first * 2)
    np.testing.assert_array_equal(held.numpy(), [1, 1, 1])
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2, 2])
    place = w.grad.data_ptr()
    del held
    f(first * 3)
    assert w.grad.data_ptr() == place, "a gradient nobody else holds is written in place"
    shown = w.grad.numpy()
    f(first * 4)
    np.testing.assert_array_equal(shown, [3, 3, 3])


def test_gradients_accumulate_in_place() -> None:
    w = data(3, grad=True)

    @compiled
    def f(x: Tensor) -> None:
        (w * x).sum().backward()

    x = graphc.ones(3)
    f(x)
    held = w.grad
    f(x)
    f(x)
    assert w.grad is held
    np.testing.assert_array_equal(held.numpy(), [3, 3, 3])
    w.grad = None
    f(x)
    f(x)
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2, 2])
    np.testing.assert_array_equal(held.numpy(), [3, 3, 3])
    assert programs(f) == 2


def test_zeroed_gradients_are_none() -> None:
    w = data(3, grad=True)
    w.grad = graphc.ones(3)

    @compiled
    def f(x: Tensor) -> Tensor:
        w.grad = None
        return x + w.detach()

    f(data(3))
    assert w.grad is None


def test_a_gradient_of_an_argument() -> None:
    @compiled
    def f(x: Tensor) -> Tensor:
        (x * x).sum().backward()
        return x.grad

    x = data(3, grad=True)
    out = f(x)
    assert out is x.grad
    np.testing.assert_array_equal(out.numpy(), 2 * x.detach().numpy())


def test_dropped_gradients_cannot_be_read() -> None:
    w = data(3, grad=True)

    def train(x: Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()
        with graphc.no_grad():
            w.sub_(w.grad)

    f = compiled(train, grads="drop")
    before = w.detach().numpy().copy()
    f(graphc.ones(3))
    f(graphc.ones(3))
    np.testing.assert_allclose(w.detach().numpy(), before - 2, rtol=1e-6)
    assert "w.grad" not in f.ir("trace") and programs(f) == 1
    with pytest.raises(InvalidState, match="not kept"):
        print(w.grad)
    with pytest.raises(InvalidState, match="not kept"):
        (w * 2).sum().backward()
    w.grad = None
    (w * 2).sum().backward()
    assert w.grad is not None


def test_backward_outside_runs_a_second_program() -> None:
    w = data(3, 2, grad=True)
    f = compiled(lambda x: ((x @ w).exp() * 2, x.sum()))
    x = data(4, 3, grad=True)

    def gradients(function: Any) -> list[np.ndarray]:
        w.grad = x.grad = None
        y, s = function(x)
        (y.sum() + 3 * s).backward()
        assert w.grad is not None and x.grad is not None
        return [y.detach().numpy(), w.grad.numpy(), x.grad.numpy()]

    with disable():
        eager = gradients(f)
    for _ in range(2):
        for a, b in zip(eager, gradients(f), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert programs(f) == 1 and f.explain().programs == 2


def test_backward_rules_are_eagers() -> None:
    w = data(3, grad=True)
    f = compiled(lambda x: (w * x).exp().sum())
    y = f(data(3))
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(AutogradError, match="second time"):
        y.backward()
    y = f(data(3))
    with graphc.no_grad():
        w.add_(1)
    with pytest.raises(AutogradError, match="changed"):
        y.backward()
    y = f(data(3))
    with pytest.raises(AutogradError, match="second derivative"):
        y.backward(create_graph=True)


def test_a_loss_whose_step_ran_backward_is_spent() -> None:
    w = data(3, grad=True)

    @compiled
    def f(x: Tensor) -> Tensor:
        loss = (w * x).sum()
        loss.backward()
        return loss

    loss = f(data(3))
    assert loss.requires_grad
    with pytest.raises(AutogradError, match="inside the step"):
        loss.backward()


@pytest.mark.parametrize("clears", [False, True])
def test_the_gradient_of_an_argument_adds_up_as_in_eager(clears: bool) -> None:
    def step(x: Any) -> None:
        if clears:
            x.grad = None
        (x * x).sum().backward()

    compiled = graphc.compile(step)
    mine, expected = (graphc.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    for _ in range(3):
        compiled(mine)
        step(expected)
        assert mine.grad.tolist() == expected.grad.tolist()


def test_a_history_that_would_outlive_the_step_is_refused() -> None:
    """Eager code goes back through the calls before; a compiled step would not, silently."""
    weight, total = graphc.tensor(1.0, requires_grad=True), graphc.zeros(3)

    def step() -> None:
        total.add_(weight)
        total.clone().sum().backward()

    with pytest.raises(graphc.errors.Untraceable, match="detach"):
        graphc.compile(step)()
    assert total.tolist() == [0, 0, 0] and weight.grad is None and not total.requires_grad
    step()
    step()
    assert weight.grad is not None and weight.grad.item() == 9.0


def flags_outside(wrap: Any) -> list[Any]:
    """A leaf that belongs to no module is frozen between calls."""
    w, v = data(3, grad=True), data(3, seed=1, grad=True)

    def step() -> Tensor:
        w.grad = v.grad = None
        (w * v).sum().backward()
        return w * 2.0

    run, out = wrap(step), []
    for frozen in (False, True, False):
        w.requires_grad_(not frozen)
        out += [run().requires_grad, w.grad is None, v.grad.tolist()]
    return out


def flags_inside(wrap: Any) -> list[Any]:
    """Two nets trained in turn, each frozen meanwhile, as in adversarial training."""
    w, v = data(3, grad=True), data(3, seed=1, grad=True)

    def step(x: Tensor) -> None:
        w.grad = v.grad = None
        w.requires_grad_(False)
        (w * v * x).sum().backward()
        w.requires_grad = True
        (w * x).sum().backward()

    run, out = wrap(step), []
    for k in range(3):
        run(data(3, seed=k))
        out += [w.requires_grad, w.grad.tolist(), v.grad.tolist()]
    return out


def flags_left(wrap: Any) -> list[Any]:
    """A step that leaves a flag other than it was."""
    w, v = data(3, grad=True), data(3, seed=1, grad=True)

    def step() -> None:
        (w * v).sum().backward()
        w.requires_grad_(not w.requires_grad)

    run, out = wrap(step), []
    for _ in range(5):
        run()
        out += [w.requires_grad, w.grad.tolist(), v.grad.tolist()]
    return out


def flags_before_backward(wrap: Any) -> list[Any]:
    """What has stopped to require grad by the time of backward gets no gradient."""
    w, v = data(3, grad=True), data(3, seed=1, grad=True)

    def step() -> None:
        y = (w * v).sum()
        w.requires_grad_(False)
        y.backward()
        w.requires_grad_(True)

    wrap(step)()
    return [w.grad is None, v.grad.tolist() == w.tolist()]


@pytest.mark.parametrize("script", [flags_outside, flags_inside, flags_left, flags_before_backward])
def test_requires_grad_may_change(script: Any) -> None:
    expected = script(lambda f: f)
    assert script(graphc.compile) == expected
    if script is flags_before_backward:
        assert expected == [True, True]


def test_a_flag_set_by_a_step_that_fails_is_put_back() -> None:
    w = data(3, grad=True)

    def step() -> None:
        w.requires_grad_(False)
        raise KeyError("no")

    with pytest.raises(KeyError):
        graphc.compile(step)()
    assert w.requires_grad
