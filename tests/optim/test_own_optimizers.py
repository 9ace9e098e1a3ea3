"""Optimizers that a user writes: eager as in PyTorch, and in a compiled step as eager."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")


def corrected(T: Any) -> Any:
    """Slots made at the first step, with a Python counter."""

    class Own(T.optim.Optimizer):  # type: ignore[misc, name-defined]  # of the library under test
        def __init__(self, params: Any, lr: float = 0.1, beta: float = 0.9) -> None:
            super().__init__(params, {"lr": lr, "beta": beta})

        @T.no_grad()  # type: ignore[untyped-decorator]  # as above
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"], state["m"] = 0, T.zeros_like(p)
                    state["step"] += 1
                    state["m"].mul_(group["beta"]).add_(p.grad, alpha=1 - group["beta"])
                    right = 1 - group["beta"] ** state["step"]
                    p.add_(state["m"] / right, alpha=-group["lr"])

    return Own


def rebound(T: Any) -> Any:
    """Slots replaced by new tensors, and read after that; an entry that is no parameter's."""

    class Own(T.optim.Optimizer):  # type: ignore[misc, name-defined]  # of the library under test
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})

        def step(self) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    before = self.state[p].get("m", T.zeros_like(p))
                    self.state[p]["m"] = 0.5 * before + p.grad.data
                    p.data.sub_(group["lr"] * (self.state[p]["m"] + 0.1 * before))
            self.state["signs"] = [g["lr"] > 0 for g in self.param_groups]

    return Own


def run(T: Any, make: Any, wrap: Any) -> tuple[list[Any], Any]:
    p = T.nn.Parameter(T.tensor([1.0, 2.0]))
    more = [T.nn.Parameter(T.ones(1)) for _ in range(40)]
    opt = make(T)([{"params": [p, *more]}, {"params": [T.nn.Parameter(T.ones(1))], "lr": 0.2}])

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = ((p * x).sum() + sum(q.sum() for g in opt.param_groups for q in g["params"])) ** 2
        loss.backward()
        opt.step()
        return loss

    call, out = wrap(step), []
    for k in range(7):
        out.append(call(T.tensor([0.01 * k, 0.02])).item())
        if k == 2:
            kept = copy.deepcopy(opt.state_dict())
        if k == 3:
            opt.param_groups[0]["lr"] = 1e-3
        if k == 4:
            opt.load_state_dict(kept)
    out += [p.tolist(), opt.state[p]["m"].tolist(), opt.state[p].get("step", 0)]
    return out, [*opt.state_dict()["state"]], call


@pytest.mark.parametrize("make", [corrected, rebound])
def test_own_optimizer(make: Any) -> None:
    expected, keys, _ = run(torch, make, lambda f: f)
    for wrap in (lambda f: f, graphc.compile):
        found, own_keys, call = run(graphc, make, wrap)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)
        assert own_keys == keys
    if make is rebound:  # first slots, slots that are there, another rate
        assert call.stats.programs == 3


def test_a_step_that_fails_leaves_an_own_optimizer_as_it_was() -> None:
    p = graphc.nn.Parameter(graphc.ones(2))
    opt = rebound(graphc)([p])

    def step() -> None:
        (p * p).sum().backward()
        opt.step()
        raise KeyError("no")

    with pytest.raises(KeyError):
        graphc.compile(step)()
    assert not opt.state and p.tolist() == [1, 1] and p.grad is None


def test_one_that_wraps_another_and_was_never_initialised() -> None:
    class Wrapper(graphc.optim.Optimizer):
        def __init__(self, inner: graphc.optim.Optimizer) -> None:
            self.inner = inner

        @property
        def param_groups(self) -> Any:
            return self.inner.param_groups

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.inner.zero_grad(set_to_none)

        def step(self, closure: Any = None) -> Any:
            return self.inner.step(closure)

    p = graphc.nn.Parameter(graphc.ones(2))
    opt = Wrapper(graphc.optim.SGD([p], lr=0.5))

    def step() -> graphc.Tensor:
        opt.zero_grad()
        loss = p.sum()
        loss.backward()
        opt.step()
        return loss

    compiled = graphc.compile(step)
    assert [float(f()) for f in (step, step, compiled, compiled)] == [2, 1, 0, -1]


def test_a_count_that_its_group_holds_as_a_tensor() -> None:
    class Counting(graphc.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 0.1})

        @graphc.no_grad()
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                if "step" not in group:
                    group["step"] = graphc.tensor(0.0)
                group["step"].add_(1)
                for p in group["params"]:
                    assert p.grad is not None
                    p.add_(p.grad / group["step"], alpha=-group["lr"])

    def losses(compiled: bool) -> list[float]:
        p = graphc.nn.Parameter(graphc.ones(2))
        opt = Counting([p])

        def step() -> graphc.Tensor:
            opt.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            opt.step()
            return loss

        run = graphc.compile(step) if compiled else step
        found = [float(run()) for _ in range(4)]
        assert opt.param_groups[0]["step"].tolist() == 4
        return found

    np.testing.assert_allclose(losses(compiled=True), losses(compiled=False), rtol=1e-6)
