"""A test of values that only raises is part of a compiled step: each call makes it, before anything
is written, and raises what the user's code says.

PYTEST_DONT_REWRITE: the asserts of the steps are to be those of Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import Tensor, nn
from graphc.errors import DataDependentBranch

X = [1.0, 2.0, 3.0]
NAN = float("nan")


def asserts(x: Tensor) -> Any:
    assert (x > 0).all(), "not positive"
    return x * 2


def asserts_bare(x: Tensor) -> Any:
    assert not (x <= 0).any()
    return x * 2


def raises(x: Tensor) -> Any:
    if x is not None and x.min() <= 0:
        raise ValueError(f"down to {x.min():.1f}, {x.min().item()}, {x.tolist()}")
    return x * 2


def either(x: Tensor) -> Any:
    if (x <= 0).any() or x.sum() != x.sum():
        raise KeyError("which")
    return x * 2


def in_else(x: Tensor) -> Any:
    if x.min().item() > 0:
        y = x * 2
    else:
        raise ArithmeticError("no" if x.sum() > 100 else "yes")
    return y


def finite(x: Tensor) -> Any:
    loss = x.log().sum().item()
    if not math.isfinite(loss):
        raise FloatingPointError(f"Loss is {loss}, stopping")
    return x * 2


def counted(x: Tensor) -> Any:
    wrong = int((x <= 0).sum())
    if wrong > 0.5:
        raise IndexError(f"{wrong} are wrong")
    return x * 2


def by_torch(x: Tensor) -> Any:
    graphc._assert((x > 0).all(), "not positive")
    return x * 2


def in_a_loop(x: Tensor) -> Any:
    for k in range(x.shape[0]):
        if x[k] <= 0:
            raise ValueError(f"the {k}-th")
    return x * 2


STEPS: list[Callable[[Tensor], Any]] = [
    asserts, asserts_bare, raises, either, in_else, finite, counted, by_torch, in_a_loop,
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_the_error_is_that_of_eager_code(step: Any) -> None:
    compiled = graphc.compile(step)
    for values in (X, [4.0, 5.0, 6.0], X):
        assert graphc.equal(compiled(graphc.tensor(values)), graphc.tensor(values) * 2)
    for values in ([1.0, -1.5, 2.0], [0.0, -2.0, -3.0]):
        with pytest.raises(Exception) as eager:  # whatever it is
            step(graphc.tensor(values))
        for _ in range(2):
            with pytest.raises(type(eager.value)) as e:
                compiled(graphc.tensor(values))
            assert str(e.value) == str(eager.value) and e.value.__cause__ is None
            assert e.traceback[-1].name == eager.traceback[-1].name
    assert graphc.equal(compiled(graphc.tensor(X)), graphc.tensor(X) * 2)
    assert compiled.stats.programs == 1


def test_nothing_has_changed_when_it_fails() -> None:
    """As the eager step would not promise: it raises after its optimizer has run."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    opt = graphc.optim.Adam(net.parameters())
    seen: list[float] = []

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        opt.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        opt.step()
        seen.append(loss.item())
        for p in net.parameters():
            if not p.isfinite().all():
                raise RuntimeError("weights are lost")
        return loss

    x = graphc.arange(8.0).reshape(4, 2)
    step(x)
    step(x)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(RuntimeError, match="weights are lost"):
        step(x * NAN)
    for k, v in net.state_dict().items():
        assert graphc.equal(v, before[k]), k
    assert len(seen) == 2
    step(x)
    assert len(seen) == 3 and step.stats.programs == 1


def test_the_first_of_two_tests_raises() -> None:
    @graphc.compile
    def step(x: Tensor) -> Tensor:
        assert x.sum() < 100, "first"
        y = (x * 2 + 1).relu()
        assert y.sum() < 100, "second"
        return y

    step(graphc.ones(3))
    with pytest.raises(AssertionError, match="first"):
        step(graphc.ones(3) * 1000)
    with pytest.raises(AssertionError, match="second"):
        step(graphc.ones(3) * 30)


def test_a_backward_after_the_call_comes_after_the_test() -> None:
    net = graphc.compile(lambda x: asserts(x).sum())
    x = graphc.tensor(X, requires_grad=True)
    net(x).backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2]
    with pytest.raises(AssertionError):
        net(-x)


def test_a_compiled_modules_test_raises_too() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return asserts(x)

    net = Net()
    net.compile()
    net(graphc.tensor(X))
    with pytest.raises(AssertionError, match="not positive"):
        net(-graphc.tensor(X))


def test_any_batch_is_tested_by_one_program() -> None:
    step = graphc.compile(raises)
    for n in (2, 3, 5):
        step(graphc.ones(n))
        with pytest.raises(ValueError, match=r"down to -1\.0"):
            step(-graphc.ones(n))
    assert step.stats.programs == 1


def test_an_error_that_the_step_catches_is_no_test() -> None:
    @graphc.compile
    def step(x: Tensor) -> Tensor:
        try:
            assert x.sum() > 0
        except AssertionError:
            return -x
        return x

    assert step(graphc.ones(2)).tolist() == [1, 1]
    with pytest.raises(DataDependentBranch, match=r"test 1 of the step.*came out False"):
        step(-graphc.ones(2))


REFUSED: dict[str, Callable[[Tensor], Any]] = {}


def refused(f: Callable[[Tensor], Any]) -> None:
    REFUSED[f.__name__] = f


@refused
def two_ways(x: Tensor) -> Any:
    if x.sum() > 0:
        return x
    return -x


@refused
def raises_after_an_act(x: Tensor) -> Any:
    if x.sum() > 0:
        x = -x
        raise ValueError
    return x


@refused
def raises_perhaps(x: Tensor) -> Any:
    if x.sum() > 0:
        if graphc.is_grad_enabled():
            raise ValueError
        return x
    return -x


@refused
def chooses(x: Tensor) -> Any:
    return x if x.sum() > 0 else -x


@refused
def of_a_number_that_no_tensor_tells(x: Tensor) -> Any:
    if math.gamma(x.sum().item()) > 2:
        raise ValueError
    return x


@refused
def many_elements(x: Tensor) -> Any:
    assert x > 0
    return x


@pytest.mark.parametrize("name", REFUSED)
def test_a_test_with_two_ways_on_is_refused(name: str) -> None:
    with pytest.raises((DataDependentBranch, ValueError)) as e:
        graphc.compile(REFUSED[name])(graphc.ones(2))
    assert isinstance(e.value, DataDependentBranch) or name == "many_elements"
