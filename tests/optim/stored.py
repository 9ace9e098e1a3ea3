"""Where PyTorch's optimizers are after 50 steps in float64: `python -m tests.optim.stored`.

As tests/op_table/stored.py. The gradients are drawn, the same for every row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.op_table.stored import sums, write
from tests.optim.rows import IDS, ROWS, SHAPES

FILE = Path(__file__).with_name("stored.json")


def after_fifty_steps(T: Any, name: str, options: dict[str, Any]) -> list[list[float]]:
    rng = np.random.default_rng(0)
    params = [T.nn.Parameter(T.tensor(rng.standard_normal(shape))) for shape in SHAPES]
    optimizer = getattr(T.optim, name)(params, **options)
    for _ in range(50):
        for p in params:
            p.grad = T.tensor(rng.standard_normal(tuple(p.shape)))
        optimizer.step()
    return [sums(p.detach().numpy()) for p in params]


if __name__ == "__main__":
    import torch

    write(FILE, {key: after_fifty_steps(torch, *row) for key, row in zip(IDS, ROWS)})
