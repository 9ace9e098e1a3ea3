"""Small nets and data, the same numbers in graphc and in PyTorch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def data(T: Any, *shape: int, seed: int = 0) -> Any:
    return T.tensor(np.random.default_rng(seed).standard_normal(shape))


def labels(T: Any, n: int, classes: int) -> Any:
    return T.tensor(np.arange(n) * 7 % classes)


def filled(module: Any, T: Any) -> Any:
    """The module in float64, with weights that follow from their number and shape alone."""
    module.double()
    with T.no_grad():
        for k, p in enumerate(module.parameters()):
            p.copy_(data(T, *p.shape, seed=100 + k) * 0.3)
    return module


def mlp(T: Any, *sizes: int) -> Any:
    """Linear layers with tanh between."""
    layers = []
    for a, b in pairwise(sizes):
        layers += [T.nn.Linear(a, b), T.nn.Tanh()]
    return filled(T.nn.Sequential(*layers[:-1]), T)
