"""A training script as a person writes it, which type checkers read and the test runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np

import graphc
import graphc.nn.functional as F
from graphc import Tensor, nn, optim
from graphc.utils.data import DataLoader, Dataset, TensorDataset


class Net(nn.Module):
    def __init__(self, width: int, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.ModuleList([nn.Conv2d(width, width, 1) for _ in range(2)])
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(width * 16, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        for block in self.blocks:
            x = x + block(x)
        x = F.max_pool2d(x, 2) if self.training else self.pool(x)
        return self.head(x)


class Squares(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return graphc.full((1, 8, 8), float(index)), index % 10


class Scaled(nn.Module):
    """A method can be compiled, too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(graphc.ones(3))

    @graphc.compile
    def norm(self, x: Tensor, p: float = 2.0) -> Tensor:
        return (x * self.scale).norm(p)


net = Net(4)
optimizer = optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.01)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)


@graphc.compile
def train_step(x: Tensor, y: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss


@graphc.compile(dynamic=True, on_limit="raise")
def evaluate(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    with graphc.no_grad():
        logits = net(x)
        return F.cross_entropy(logits, y), (logits.argmax(dim=1) == y).float().mean()


def losses(epochs: int) -> Iterator[float]:
    data = TensorDataset(graphc.randn(32, 1, 8, 8), graphc.randint(0, 10, (32,)))
    loader = DataLoader(data, batch_size=16, shuffle=True)
    for _ in range(epochs):
        for x, y in loader:
            assert_type(x, Tensor)
            loss = train_step(x, y)
            assert_type(loss, Tensor)
            yield float(loss.item())
        schedule.step()


def kinds(x: Tensor, index: Tensor) -> None:
    """What calls of the API are to a type checker."""
    assert_type(net(x), Tensor)
    assert_type(graphc.compile(net), Net)
    assert_type(nn.Sequential(net)(x), Tensor)
    assert_type(nn.CrossEntropyLoss()(net(x), index), Tensor)
    assert_type(x.shape[0], int)
    assert_type([n for n in x.shape], list[int])
    assert_type(x.size(), graphc.Size)
    assert_type(x.sum(), Tensor)
    assert_type(x.sum(dim=1, keepdim=True), Tensor)
    assert_type(x.max(), Tensor)
    assert_type(x.max(dim=1).values, Tensor)
    assert_type(graphc.max(x, 1).indices, Tensor)
    assert_type(graphc.median(x), Tensor)
    assert_type(x.mean((2, 3)).std(), Tensor)
    assert_type(x.topk(2).indices, Tensor)
    assert_type(x[0], Tensor)
    assert_type(x[:, None, ..., 0], Tensor)
    assert_type(x[index], Tensor)
    assert_type(x == 1, Tensor)
    assert_type(1 - x @ x / 2, Tensor)
    assert_type(graphc.cat([x, x], dim=1), Tensor)
    assert_type(graphc.where(x > 0, x, 0.0), Tensor)
    assert_type(x.nonzero(as_tuple=True), tuple[Tensor, ...])
    assert_type(F.max_pool2d(x, 2, return_indices=True), tuple[Tensor, Tensor])
    assert_type(x.grad, Tensor | None)
    assert_type(x.to("cpu", graphc.float64).view(-1), Tensor)
    assert_type(net.state_dict(), dict[str, Any])
    x[0] = 1.0
    x[:, 0] += x[:, 0] * 2


def batches() -> None:
    for images, labels in DataLoader(Squares(), batch_size=4):
        assert_type(images, Tensor)
        assert_type(labels, Tensor)
    whole = DataLoader(Squares(), 8, collate_fn=lambda rows: graphc.stack([r[0] for r in rows]))
    for batch in whole:
        assert batch.shape == (8, 1, 8, 8)


def inspect(x: Tensor, y: Tensor) -> None:
    """The questions that a compiled step answers keep their types as well."""
    assert_type(train_step.ir("fuse"), str)
    assert_type(train_step.profile(x, y).by("line")[0].ms, float)
    assert_type(train_step.explain().kernels, int)
    assert_type(train_step.memory().peak_bytes, int)
    assert_type(Scaled().norm(x[0, 0, :, :3], p=1.0), Tensor)


if __name__ == "__main__":
    found = list(losses(2))
    assert len(found) == 4 and all(np.isfinite(found))
    x, y = graphc.randn(8, 1, 8, 8), graphc.randint(0, 10, (8,))
    total, right = evaluate(x, y)
    assert_type(total, Tensor)
    assert 0.0 <= right.item() <= 1.0
    kinds(graphc.randn(2, 1, 8, 8), graphc.tensor([0, 1]))
    batches()
    inspect(x, y)
