"""Everything once, small: the first thing to run after a change. The whole file: under 30 s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.utils.data import DataLoader, TensorDataset


def tensor(*shape: int, seed: int = 0) -> graphc.Tensor:
    return graphc.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, 5),
    )


def step_of(model: nn.Module, optimizer: optim.Optimizer):  # type: ignore[no-untyped-def]
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def trained_losses(compiled: bool, steps: int = 5) -> tuple[list[float], dict[str, graphc.Tensor]]:
    graphc.manual_seed(3)
    model = conv_net()
    step = step_of(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    step = graphc.compile(step) if compiled else step
    x, y = tensor(12, 1, 8, 8), graphc.arange(12) % 5
    return [step(x, y).item() for _ in range(steps)], model.state_dict()


def test_arrays_are_shared_with_numpy() -> None:
    array = np.zeros((2, 3), np.float32)
    t = graphc.from_numpy(array)
    t[0] += 1
    assert array.sum() == 3
    assert np.shares_memory(t.numpy(), array)


def test_gradient_of_a_gradient() -> None:
    x = graphc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (first,) = graphc.autograd.grad((x**3).sum(), x, create_graph=True)
    (second,) = graphc.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), [6, 12, 18])


def test_eager_training_learns() -> None:
    losses, _ = trained_losses(compiled=False, steps=8)
    assert losses[-1] < losses[0] / 2


def test_compiled_training_is_eager_training() -> None:
    """Batch norm, dropout, clipping, momentum and buffers, five steps long."""
    eager, eager_state = trained_losses(compiled=False)
    compiled, compiled_state = trained_losses(compiled=True)
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)
    assert list(compiled_state) == list(eager_state)
    for name, value in eager_state.items():
        np.testing.assert_allclose(
            compiled_state[name].numpy(), value.numpy(), rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_a_new_batch_size_and_learning_rate_compile_nothing() -> None:
    model = conv_net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = graphc.compile(step_of(model, optimizer))
    step(tensor(12, 1, 8, 8), graphc.arange(12) % 5)
    kernels = step.stats.kernels_compiled
    step(tensor(7, 1, 8, 8), graphc.arange(7) % 5)
    optimizer.param_groups[0]["lr"] = 0.01
    step(tensor(7, 1, 8, 8), graphc.arange(7) % 5)
    assert step.stats.compiles == 1
    assert step.stats.programs == 1
    assert step.stats.kernels_compiled == kernels


def test_a_much_smaller_batch_compiles_nothing() -> None:
    """The last batch of an epoch: 64 images, then 29, where sums are long enough to be cut."""
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Flatten())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = graphc.compile(step_of(model, optimizer))
    step(tensor(64, 1, 8, 8), graphc.arange(64) % 5)
    kernels = step.stats.kernels_compiled
    step(tensor(29, 1, 8, 8), graphc.arange(29) % 5)
    assert step.stats.kernels_compiled == kernels


def test_compiled_module_trains() -> None:
    model = graphc.compile(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    x = tensor(32, 6)
    target = x[:, :1] * 2 - 1
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_a_class_target_out_of_range_changes_nothing() -> None:
    model = nn.Linear(3, 4)
    step = graphc.compile(step_of(model, optim.SGD(model.parameters(), lr=0.1)))
    step(tensor(5, 3), graphc.tensor([0, 1, 2, 3, 0]))
    before = model.weight.detach().clone()
    with pytest.raises(IndexError, match="GC301"):
        step(tensor(5, 3), graphc.tensor([0, 1, 2, 9, 0]))
    assert graphc.equal(model.weight, before)
    step(tensor(5, 3), graphc.tensor([0, 1, 2, 3, 0]))


def test_a_python_branch_on_a_traced_value_is_refused() -> None:
    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        return x if x.sum() > 0 else -x

    with pytest.raises(graphc.errors.DataDependentBranch, match=r"test_tiny\.py"):
        step(tensor(3))


def test_loader_save_and_load(tmp_path: Path) -> None:
    data = TensorDataset(tensor(10, 2), graphc.arange(10))
    seen = [int(i) for _, y in DataLoader(data, batch_size=4, shuffle=True) for i in y]
    assert sorted(seen) == list(range(10))
    model = conv_net()
    graphc.save(model.state_dict(), tmp_path / "model.safetensors")
    other = conv_net()
    other.load_state_dict(graphc.load(tmp_path / "model.safetensors"))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert graphc.equal(a, b)
