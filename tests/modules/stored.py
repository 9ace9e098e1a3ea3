"""What PyTorch's layers compute in float64 for every row: `python -m tests.modules.stored`.

As tests/op_table/stored.py, with parameters and inputs drawn by name.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.modules.image_rows import IMAGES
from tests.modules.rows import LAYERS, Row
from tests.modules.spatial_rows import SPATIAL
from tests.op_table.stored import Facts, sums, write

FILE = Path(__file__).with_name("stored.json")
ROWS = [*LAYERS, *IMAGES, *SPATIAL]


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def facts(T: Any, row: Row) -> Facts:
    """Output, gradients and buffers after one training call of the row's layer."""
    layer = row.build(T.nn).double()
    with T.no_grad():
        for name, p in layer.named_parameters():
            p.copy_(T.tensor(draw(f"{row.name}.{name}", tuple(p.shape))))
    if row.bound:
        x = T.tensor(np.random.default_rng(1).integers(0, row.bound, row.shape))
    else:
        x = T.tensor(draw(row.name, row.shape) * 3, requires_grad=True)
    y = layer(x)
    found: Facts = {"shape": list(y.shape), "value": sums(y.detach().numpy())}
    if y.requires_grad:
        (y * T.tensor(draw("weights", tuple(y.shape)))).sum().backward()
        leaves = [*([x] if x.requires_grad else []), *layer.parameters()]
        found["gradients"] = [sums(p.grad.numpy()) for p in leaves]
    found["buffers"] = [sums(b.double().numpy()) for b in layer.buffers()]
    return found


if __name__ == "__main__":
    import torch

    rows = {row.name: facts(torch, row) for row in ROWS}
    write(FILE, dict(sorted(rows.items())))
