"""Every row traced: the graph's meaning is what eager computed, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc.frontend.eager.rows import FAST
from graphc.frontend.trace import Trace
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.verify import verify
from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples, tensors, weights


def step(row: OpRow, xs: list[graphc.Tensor], wanted: list[int]) -> list[graphc.Tensor]:
    y = row.fn(graphc, *xs)
    if not row.grad:
        return [y]
    w = graphc.tensor(weights(tuple(y.shape), 1)).to(y.dtype)
    return [y, *graphc.autograd.grad(y, [xs[k] for k in wanted], w)]


def traced(row: OpRow, arrays: list[Array]) -> tuple[Graph, list[Array]]:
    """The graph of the step, and the constants that it met as state."""
    trace = Trace()
    concrete = tensors(arrays, row.grad)
    with trace.activate():
        xs = [trace.argument(t, f"x{k}") for k, t in enumerate(concrete)]
        graph = trace.graph("step", step(row, xs, floats(arrays)))
    state = [i.storage.array for i in trace.inputs[len(arrays) :] if i.storage is not None]
    return graph, [a for a in state if a is not None]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_traced_graph_means_what_eager_computes(row: OpRow) -> None:
    arrays = samples(row, np.float32)
    eager = step(row, tensors(arrays, row.grad), floats(arrays))
    graph, state = traced(row, arrays)
    verify(graph)
    for a, b in zip(interpret(graph, *arrays, *state, rows=FAST), eager, strict=True):
        np.testing.assert_array_equal(a, b.detach().numpy())
