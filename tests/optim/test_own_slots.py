"""Slots that a user's own optimizer counts, replaces, swaps and reads elsewhere: few programs, and
the values of eager PyTorch whoever puts something else there between two calls."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")
Update = Callable[[Any, Any, Any, Any], None]  # of the library, a group, a parameter and its slots


def corrected(T: Any, group: Any, p: Any, slots: Any) -> None:
    """Adam's, with a counter for each parameter."""
    if len(slots) == 0:
        slots["step"], slots["m"], slots["v"] = 0, T.zeros_like(p), T.zeros_like(p)
    slots["step"] += 1
    slots["m"].mul_(0.9).add_(p.grad, alpha=0.1)
    slots["v"].mul_(0.99).addcmul_(p.grad, p.grad, value=0.01)
    right, root = 1 - 0.9 ** slots["step"], (1 - 0.99 ** slots["step"]) ** 0.5
    p.addcdiv_(slots["m"], (slots["v"].sqrt() / root).add_(1e-8), value=-group["lr"] / right)


def counted_in_the_group(T: Any, group: Any, p: Any, slots: Any) -> None:
    group.setdefault("seen", 0)
    group["seen"] += 1
    slots["m"] = p.grad * 0.1 + slots.get("m", 0.0)
    p.sub_(slots["m"] * (group["lr"] / group["seen"]))


def branching(T: Any, group: Any, p: Any, slots: Any) -> None:
    """A counter that also decides."""
    slots.setdefault("step", 0)
    slots["step"] += 1
    p.sub_(p.grad * (group["lr"] if slots["step"] > 3 else group["lr"] / slots["step"]))


def swapped(T: Any, group: Any, p: Any, slots: Any) -> None:
    if not slots:
        slots.update(m=T.zeros_like(p), v=T.ones_like(p))
    slots["m"], slots["v"] = slots["v"], slots["m"] * 0.5 + p.grad
    p.sub_(group["lr"] * (slots["m"] + 0.1 * slots["v"]))


def emptied(T: Any, group: Any, p: Any, slots: Any) -> None:
    """A slot of every other call."""
    if "m" in slots:
        p.sub_(group["lr"] * slots.pop("m"))
    else:
        slots["m"] = p.grad * 0.5
        p.sub_(group["lr"] * p.grad)


def once_an_alias(T: Any, group: Any, p: Any, slots: Any) -> None:
    """The slot is the parameter's own memory at first."""
    if "old" not in slots:
        slots["old"] = p.data
    else:
        slots["old"] = p.data.clone()
    p.sub_(group["lr"] * p.grad)
    p.add_(slots["old"] * 0.01)


def in_a_plain_dict(T: Any, group: Any, p: Any, slots: Any) -> None:
    if "step" not in slots:
        slots["step"] = 0
    slots["step"] += 1
    slots["m"] = 0.5 * slots.get("m", 0.0) + p.grad
    p.sub_(group["lr"] * slots["m"] / slots["step"])


UPDATES: dict[Update, int] = {
    corrected: 2, in_a_plain_dict: 3, counted_in_the_group: 2, branching: 3, swapped: 8,
    emptied: 4, once_an_alias: 4,
}  # fmt: skip


def own(T: Any, update: Update) -> Any:
    class Own(T.optim.Optimizer):  # type: ignore[misc, name-defined]  # of the library under test
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})

        @T.no_grad()  # type: ignore[untyped-decorator]  # as above
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if update is in_a_plain_dict and p not in self.state:
                        self.state[p] = {"step": 0, "m": T.zeros_like(p)}
                    update(T, group, p, self.state[p])

    return Own


def trained(T: Any, update: Update, wrap: Any, between: Any, calls: int = 8) -> tuple[Any, Any]:
    """What each call returns, then the parameters and slots; and the step."""
    params = [T.nn.Parameter(T.tensor([1.0, -2.0, 3.0])), T.nn.Parameter(T.ones(2, 2))]
    optimizer = own(T, update)(params)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = ((params[0] * x).sum() + params[1].sum()) ** 2 * 0.01
        loss.backward()
        optimizer.step()
        return loss

    call, out = wrap(step), []
    for k in range(calls):
        out.append(call(T.tensor([0.1 * k, 0.2, 0.3])).item())
        if between is not None:
            between(T, optimizer, params, k)
    slots = [optimizer.state[p] for p in params]
    out += [x.tolist() for x in params]
    out += [x.tolist() if hasattr(x, "tolist") else x for s in slots for x in s.values()]
    return out, call


def check(update: Update, between: Any = None) -> Any:
    expected, _ = trained(torch, update, lambda f: f, between)
    found, call = trained(graphc, update, graphc.compile, between)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return call.stats


@pytest.mark.parametrize("update", UPDATES, ids=lambda f: f.__name__)
def test_programs_and_values(update: Update) -> None:
    assert check(update).programs <= UPDATES[update]


def meddled(T: Any, optimizer: Any, params: Any, k: int) -> None:
    """Numbers set, tensors replaced, filled and given to two slots."""
    slots = optimizer.state[params[0]]
    if k == 2:
        slots.update({key: 7 for key in slots if key == "step"})
    if k == 3:
        slots.update({key: T.full((3,), 0.5) for key in ("m", "v", "old") if key in slots})
    if k == 4:
        for key in ("m", "v"):
            if key in slots:
                slots[key].fill_(0.25)
    if k == 5 and "v" in slots:
        slots["m"] = slots["v"]
    if k == 6:
        optimizer.state.clear()


@pytest.mark.parametrize("update", UPDATES, ids=lambda f: f.__name__)
def test_someone_else_changes_the_slots(update: Update) -> None:
    check(update, meddled)


def sharpness_aware(T: Any) -> Any:
    class Own(T.optim.Optimizer):  # type: ignore[misc, name-defined]  # of the library under test
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"rho": 0.05})
            self.base = T.optim.SGD(self.param_groups, lr=0.1, momentum=0.9)
            self.param_groups = self.base.param_groups

        @T.no_grad()  # type: ignore[untyped-decorator]  # as above
        def first_step(self) -> None:
            for p in (p for group in self.param_groups for p in group["params"]):
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * self.param_groups[0]["rho"])
            self.zero_grad()

        @T.no_grad()  # type: ignore[untyped-decorator]  # as above
        def second_step(self) -> None:
            for p in (p for group in self.param_groups for p in group["params"]):
                p.data = self.state[p]["old_p"]
            self.base.step()
            self.zero_grad()

    return Own


@pytest.mark.parametrize("meddles", [False, True])
def test_weights_that_a_first_step_saves_for_a_second(meddles: bool) -> None:
    def run(T: Any, wrap: Any) -> tuple[list[Any], Any]:
        p = T.nn.Parameter(T.tensor([1.0, -2.0, 3.0]))
        optimizer = sharpness_aware(T)([p])

        def step(x: Any) -> Any:
            loss = ((p * x).sum() - 1) ** 2
            loss.backward()
            optimizer.first_step()
            (((p * x).sum() - 1) ** 2).backward()
            optimizer.second_step()
            return loss

        call, out = wrap(step), []
        for k in range(7):
            out.append(call(T.tensor([0.1 * k, 0.2, 0.3])).item())
            if meddles and k in (2, 4):
                optimizer.state[p]["old_p"] = T.zeros(3)
        return [*out, p.tolist()], call

    expected, _ = run(torch, lambda f: f)
    found, call = run(graphc, graphc.compile)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert call.stats.programs <= 2


def test_slots_that_are_saved_copied_and_loaded_between_calls() -> None:
    def run(T: Any, wrap: Any) -> list[Any]:
        p = T.nn.Parameter(T.tensor([1.0, -2.0, 3.0]))
        optimizer = own(T, in_a_plain_dict)([p])

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            ((p * x).sum() ** 2).backward()
            optimizer.step()

        call, out, saved = wrap(step), [], {}
        for k in range(14):
            call(T.tensor([0.1 * k, 0.2, 0.3]))
            if k == 4:
                saved = optimizer.state_dict()
                out.append(copy.deepcopy(optimizer).state_dict()["state"][0]["m"])
            if k == 6:
                out.append(pickle.loads(pickle.dumps(optimizer.state_dict()))["state"][0]["m"])
            if k == 8:
                out.append(saved["state"][0]["m"])
                optimizer.load_state_dict(saved)
            if k == 10:
                optimizer.state.clear()
        return [x.tolist() for x in (*out, p, optimizer.state[p]["m"])]

    for a, b in zip(run(graphc, graphc.compile), run(torch, lambda f: f), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_slot_that_is_replaced_is_returned_as_it_was() -> None:
    p = graphc.nn.Parameter(graphc.ones(2))
    optimizer = own(graphc, swapped)([p])

    def step() -> Any:
        old = optimizer.state[p].get("kept")
        optimizer.state[p]["kept"] = p.detach() * 2
        return old

    call = graphc.compile(step)
    assert call() is None
    for _ in range(4):
        before = optimizer.state[p]["kept"]
        assert call() is before
        assert optimizer.state[p]["kept"] is not before
    assert call.stats.programs <= 2


def test_a_slot_that_somebody_kept_stays_as_it_was() -> None:
    """What was kept of each call: whole, seen through a view, and as NumPy."""

    def run(T: Any, wrap: Any) -> tuple[list[Any], Any]:
        p = T.nn.Parameter(T.tensor([1.0, -2.0, 3.0]))
        optimizer = own(T, in_a_plain_dict)([p])

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            ((p * x).sum() ** 2).backward()
            optimizer.step()

        call, kept = wrap(step), []
        for k in range(8):
            call(T.tensor([0.1 * k, 0.2, 0.3]))
            m = optimizer.state[p]["m"]
            if k in (2, 3, 4):
                kept += [m, m[1:], m.numpy()]
        return [x.tolist() for x in (*kept, p, optimizer.state[p]["m"])], call

    expected, _ = run(torch, lambda f: f)
    found, call = run(graphc, graphc.compile)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert call.stats.programs <= 3
