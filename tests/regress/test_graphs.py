"""Graphs that were once compiled wrong, or not at all: one file each, its first line saying why.

A graph that the fuzzer shrinks and prints can be put here as it is. Integers among the inputs are
1 and 2, so that they may serve as indices and divisors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphc.ir import text
from graphc.ir.types import Array, TensorSpec
from tests.fuzz import checks

FILES = sorted(Path(__file__).parent.glob("*.gir"))


def sample(rng: np.random.Generator, spec: TensorSpec) -> Array:
    if spec.dtype.is_floating_point:
        return np.asarray(rng.standard_normal(spec.shape), np.float64).astype(spec.dtype.numpy)
    return rng.integers(1, 3, spec.shape).astype(spec.dtype.numpy)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_graph(file: Path) -> None:
    graph = text.parse(file.read_text())
    rng = np.random.default_rng(0)
    inputs = [sample(rng, v.spec) for v in graph.inputs]
    every = [checks.plan, checks.interpreted, checks.native, checks.same_bits]
    for check in [*every, *map(checks.without, checks.OPTIONAL)]:
        assert not check(graph, inputs)
