"""Compiled modules: the same object, two programs, every change of the model seen."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import Tensor, nn, optim
from graphc.errors import InvalidState, NotAvailable
from graphc.frontend.step.compiled import CompiledFunction, CompiledModule, disable
from tests.frontend.interpreting import InterpretingBackend


class Net(nn.Module):
    """A bit of everything that can change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.scale = 1.0
        self.sizes = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.fc(x))) * self.scale * self.sizes[0]


def compiled(model: nn.Module) -> nn.Module:
    model.__dict__["_compiled"] = CompiledModule(model, InterpretingBackend())
    return model


def net() -> nn.Module:
    graphc.manual_seed(1)
    return compiled(Net())


def data(seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return graphc.from_numpy(rng.standard_normal((5, 4)).astype(np.float32))


def eager(model: nn.Module, x: Tensor) -> np.ndarray:
    """The plain answer, from a copy, so that buffers and random position stay."""
    state = graphc.get_rng_state()
    with disable():
        out = copy.deepcopy(model)(x).detach().numpy()
    graphc.set_rng_state(state)
    return out


def check(model: nn.Module, x: Tensor | None = None) -> None:
    x = data() if x is None else x
    expected = eager(model, x)
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def set_item(model: Any) -> None:
    model.sizes[0] = 3


def freeze(model: Any) -> None:
    model.fc.weight.requires_grad_(False)


def hook(model: Any) -> None:
    model.fc.register_forward_hook(lambda module, args, out: out + 1)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda m: setattr(m, "scale", 2.5),
    "list item": set_item,
    "eval": lambda m: m.eval(),
    "part eval": lambda m: m.norm.eval(),
    "hook": hook,
    "pre-hook": lambda m: m.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "submodule": lambda m: setattr(m, "fc", nn.Linear(4, 3)),
    "parameter": lambda m: setattr(m.fc, "bias", nn.Parameter(graphc.ones(3))),
    "no parameter": lambda m: setattr(m.fc, "bias", None),
    "dropout p": lambda m: setattr(m.drop, "p", 0.25),
    "frozen": freeze,
    "data": lambda m: setattr(m.fc.bias, "data", graphc.full((3,), 4.0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_seen(change: Callable[[Any], Any]) -> None:
    model = net()
    check(model)
    check(model, data(1))
    assert model.stats.programs == 1
    change(model)
    check(model)
    check(model, data(1))


def test_changes_of_values_do_not_retrace() -> None:
    model = net()
    check(model)
    model.load_state_dict(copy.deepcopy(Net().state_dict()))
    check(model)
    with graphc.no_grad():
        model.fc.weight.mul_(2)
    check(model)
    model.unused_by_forward = 7
    check(model)
    assert model.stats.programs == 1


def test_modes_flip_between_two_programs() -> None:
    model = net()
    for _ in range(3):
        check(model.train())
        check(model.eval())
    assert model.stats.programs == 2


def test_a_removed_hook_stops() -> None:
    model = net()
    check(model)
    handle = model.fc.register_forward_hook(lambda module, args, out: out * 0)
    check(model)
    handle.remove()
    check(model)


def test_training_matches_eager() -> None:
    def train(model: nn.Module) -> list[float]:
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for k in range(4):
            optimizer.zero_grad()
            loss = F.mse_loss(model(data(k)), graphc.ones(5, 3))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    graphc.manual_seed(3)
    plain = train(Net())
    graphc.manual_seed(3)
    model = compiled(Net())
    np.testing.assert_allclose(train(model), plain, rtol=1e-5)
    assert model.explain().programs == 2 and model.stats.programs == 1
    assert model.norm.num_batches_tracked.item() == 4


def test_no_grad_needs_no_backward() -> None:
    model = net()
    with graphc.no_grad():
        out = model(data())
    assert not out.requires_grad
    assert model.explain().programs == 1


def test_the_same_object_with_the_same_keys() -> None:
    plain = Net()
    keys = list(plain.state_dict())
    model = graphc.compile(plain)
    assert model is plain and list(model.state_dict()) == keys
    assert isinstance(model, Net) and "Compiled" not in repr(model)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_compiled_anew(duplicate: Callable[[Any], Any]) -> None:
    model = graphc.compile(Net())
    model.eval()
    with graphc.no_grad():
        model(data())
        twin = duplicate(model)
        np.testing.assert_array_equal(twin(data()).numpy(), model(data()).numpy())
        twin.fc.weight.mul_(0)
        assert not np.array_equal(twin(data()).numpy(), model(data()).numpy())
    assert twin.stats.programs == 1 and twin._compiled.module is twin


def test_a_module_answers_as_a_function_does() -> None:
    model = net()
    with pytest.raises(InvalidState, match="nothing is compiled yet"):
        model.explain()
    model(data())
    assert "trace" in model.stages and "%fc.weight" in model.ir("trace")
    assert model.stats.compiles == 0, "the interpreter has no kernels"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = model.nonsense


def test_parameters_are_named_by_their_path() -> None:
    model = net()

    @(lambda f: CompiledFunction(f, InterpretingBackend()))
    def step(x: Tensor) -> Tensor:
        loss = model(x).sum()
        loss.backward()
        return loss

    step(data())
    text = step.ir("trace")
    assert "state %fc.weight: f32[3,4]" in text and "state %fc.weight.grad = " in text
    assert "state %norm.running_mean = " in text


def test_missing_code_says_why() -> None:
    model = graphc.compile(nn.Linear(2, 2))
    model(graphc.ones(1, 2))
    kernel = model.kernels[0]
    assert "define" in kernel.llvm and kernel.asm
    with pytest.raises(NotAvailable, match="device is cpu"):
        _ = kernel.ptx
