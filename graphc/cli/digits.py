"""A small conv net on scikit-learn's handwritten digits, written against a namespace `T`.

`T` is `graphc`, or `torch` where the demo compares: the code between is what a person would write
for either. The images are 1,797 real scans of 8x8 pixels (UCI, Alpaydin and Kaynak 1998).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.ir.types import Array

Namespace = Any  # the module `graphc` or `torch`
BATCH = 64
TEST_SIZE = 360
SEED = 0


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [N,1,8,8] f32 with mean 0 and deviation 1, and labels [N] i64, split once for all."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


@dataclass(slots=True)
class Run:
    """What one training run left behind."""

    losses: list[float] = field(default_factory=list)  # mean over each epoch
    accuracies: list[float] = field(default_factory=list)  # on the test images, by epoch
    step_ms: list[float] = field(default_factory=list)
    first_step_ms: float = 0.0


def load() -> Digits:
    from sklearn.datasets import load_digits  # only the demo extra installs scikit-learn

    raw = load_digits()
    x = raw.images.astype(np.float32)[:, None]
    x = (x - x.mean()) / x.std()
    y = raw.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(x))
    train, test = order[TEST_SIZE:], order[:TEST_SIZE]
    return Digits(x[train], y[train], x[test], y[test])


def net(T: Namespace) -> Any:
    nn, F = T.nn, T.nn.functional

    class Net(nn.Module):  # type: ignore[misc, name-defined]  # T is known at run time only
        """Two blocks of convolution, batch norm, ReLU and pooling; dropout; a linear head."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
            self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
            self.drop, self.fc = nn.Dropout(0.2), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
            x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
            return self.fc(self.drop(x.flatten(1)))

    return Net()


def make_step(T: Namespace, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    def train_step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = T.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        T.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss

    return train_step


def train(
    T: Namespace,
    data: Digits,
    initial: dict[str, Array],
    epochs: int,
    transform: Callable[[Any], Any],
    tick: Callable[[], object],
) -> tuple[Run, Any]:
    """Train from the weights `initial`; `transform` may compile the step. Returns it as well."""
    T.manual_seed(SEED)
    model = net(T)
    model.load_state_dict({name: T.from_numpy(a.copy()) for name, a in initial.items()})
    optimizer = T.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = T.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    step = transform(make_step(T, model, optimizer))
    run = Run()
    for epoch in range(epochs):
        model.train()
        run.losses.append(one_epoch(T, data, epoch, step, run, tick))
        run.accuracies.append(accuracy(T, model, data))
        schedule.step()
    run.first_step_ms = run.step_ms[0]
    return run, step


def one_epoch(
    T: Namespace, data: Digits, epoch: int, step: Any, run: Run, tick: Callable[[], object]
) -> float:
    """Every image once, in an order that depends on the epoch alone; returns the mean loss."""
    order = np.random.default_rng([SEED, epoch]).permutation(len(data.train_x))
    total = 0.0
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        x, y = T.from_numpy(data.train_x[index]), T.from_numpy(data.train_y[index])
        began = time.perf_counter()
        loss = step(x, y)
        run.step_ms.append((time.perf_counter() - began) * 1e3)
        total += loss.item() * len(index)
        tick()
    return total / len(order)


def accuracy(T: Namespace, model: Any, data: Digits) -> float:
    model.eval()
    with T.no_grad():
        guess = model(T.from_numpy(data.test_x)).argmax(1)
        return float((guess == T.from_numpy(data.test_y)).sum().item()) / len(data.test_y)
