"""What PyTorch computes in float64 for every row of the table: `python -m tests.op_table.stored`.

Kept in stored.json for machines without PyTorch: of each value and gradient the shape, the dtype
and two sums weighted by random numbers, which another value does not have by chance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples, weights

FILE = Path(__file__).with_name("stored.json")
Facts = dict[str, Any]


def sums(values: Array) -> list[float]:
    """Two weighted sums, and the sum of the magnitudes that went into them."""
    flat = np.nan_to_num(values.astype(np.float64).reshape(-1))
    parts = [float(flat @ weights(flat.shape, seed)) for seed in (2, 3)]
    return [*parts, float(np.abs(flat).sum())]


def facts(T: Any, row: OpRow) -> Facts:
    """What `row` gives over the namespace T in float64, and its gradients."""
    arrays = samples(row, "float64")
    inputs = [T.tensor(a) for a in arrays]
    for k in floats(arrays) if row.grad else []:
        inputs[k].requires_grad_()
    y = row.fn(T, *inputs)
    value = y.detach().numpy()
    found: Facts = {"dtype": str(value.dtype), "shape": list(value.shape), "value": sums(value)}
    if row.grad:
        y.backward(T.tensor(weights(tuple(y.shape), 1)).to(y.dtype))
        found["gradients"] = [sums(inputs[k].grad.numpy()) for k in floats(arrays)]
    return found


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def write(file: Path, rows: dict[str, Any]) -> None:
    """A line for each row, so that a change shows which."""
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    import torch

    rows = {row.name: facts(torch, row) for row in TABLE}
    write(FILE, dict(sorted(rows.items())))
