"""Three small training steps, whole: what determinism and golden dumps are tested on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc
import graphc.nn.functional as F
from graphc import nn, optim

Step = Callable[[Any, Any], Any]


def perceptron() -> tuple[nn.Module, Any, Any]:
    net = nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 5))
    return net, graphc.randn(9, 20), graphc.randint(0, 5, (9,))


def convolution() -> tuple[nn.Module, Any, Any]:
    """Convolution, batch norm, pooling and dropout."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 20, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(180, 4),
    )  # fmt: skip
    return net, graphc.randn(5, 3, 16, 16), graphc.randint(0, 4, (5,))


def transformer() -> tuple[nn.Module, Any, Any]:
    """Embedding, layer norm and a GELU block."""
    net = nn.Sequential(
        nn.Embedding(50, 24), nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24),
        nn.LayerNorm(24), nn.Flatten(), nn.Linear(7 * 24, 3),
    )  # fmt: skip
    return net, graphc.randint(0, 50, (4, 7)), graphc.randint(0, 3, (4,))


MODELS = {"perceptron": perceptron, "convolution": convolution, "transformer": transformer}


def training(name: str) -> tuple[Any, Any, Any, nn.Module]:
    """The compiled step of a model from fixed weights, its batch, and the model."""
    graphc.manual_seed(0)
    net, x, y = MODELS[name]()
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return graphc.compile(step), x, y, net
