"""What a call of a plan would read, as copies: for those who compute it in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.frontend import places
from graphc.frontend.laid import as_lying
from graphc.frontend.step.plan import Plan
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.step.sources import OldGradient, WrittenArgument
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph
from graphc.ir.types import Array, Shape


def inputs_of(plan: Plan, graph: Graph, leaves: Sequence[Tensor]) -> list[Array]:
    """Copies of what a call with these arguments would read, in the order of the graph's inputs."""
    args, states, numbers = iter(plan.args), iter(plan.states), iter(plan.getters)
    found: list[Any] = []
    for v, role in zip(graph.inputs, graph.roles, strict=True):
        if role == "arg":
            leaf, _, order = next(args)
            found.append(_lying(leaves[leaf], order))
        elif role == "scalar":
            found.append(np.asarray(next(numbers)(), v.spec.dtype.numpy))
        else:
            state = next(states)
            if isinstance(state, Storage):
                found.append(state.array)
            elif isinstance(state, Standing):
                found.append(state.value().array)
            elif isinstance(state, WrittenArgument):
                found.append(_lying(leaves[state.arg], state.order))
            elif isinstance(state, OldGradient) and state.tensor._grad is not None:
                found.append(state.tensor._grad.array)
            else:
                found.append(np.zeros(v.spec.shape, v.spec.dtype.numpy))
    return [np.array(places.on_host(a)) for a in found]


def _lying(x: Tensor, order: Shape) -> Array:
    assert x.array is not None
    return as_lying(x.array, order)
