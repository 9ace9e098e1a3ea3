"""A transformer over texts of every batch and length: two compiles, then none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import graphc

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import nets

PAIRS = [(1 + k * 7 % 6, 3 + k * 11 % 37) for k in range(40)]  # (batch, length), all different
CHECKED = (0, 1, 7, 20, 39)  # where the loss is compared with eager's


def batch(size: int, length: int) -> tuple[graphc.Tensor, graphc.Tensor]:
    rng = np.random.default_rng(100 * size + length)
    tokens = rng.integers(0, nets.VOCABULARY, (size, length))
    return graphc.from_numpy(tokens), graphc.from_numpy(rng.integers(0, 2, size))


def test_forty_pairs_of_batch_and_length_compile_twice() -> None:
    assert len(set(PAIRS)) == 40
    model = nets.NETS["tinybert"].build(graphc)
    nets.load_weights(graphc, model)

    def loss_of(tokens: graphc.Tensor, labels: graphc.Tensor) -> graphc.Tensor:
        return graphc.nn.functional.cross_entropy(model(tokens), labels)

    @graphc.compile
    def step(tokens: graphc.Tensor, labels: graphc.Tensor) -> graphc.Tensor:
        for p in model.parameters():
            p.grad = None
        loss = loss_of(tokens, labels)
        loss.backward()
        return loss

    for k, pair in enumerate(PAIRS):
        loss = step(*batch(*pair))
        if k in CHECKED:
            np.testing.assert_allclose(loss.item(), loss_of(*batch(*pair)).item(), rtol=1e-5)
    assert step.stats.compiles <= 2
    seen = step.stats.kernels_compiled
    step(*batch(6, 40))
    assert step.stats.kernels_compiled == seen
