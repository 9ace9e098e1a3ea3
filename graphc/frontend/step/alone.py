"""A program run on memory of its own, bound to nothing of the user's: for what compares stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from graphc.frontend.places import HOST, DevicePlace, Place, arranged
from graphc.frontend.step.native import Native
from graphc.ir.graph import Graph
from graphc.ir.types import Array


def run_alone(
    graph: Graph, native: Native, inputs: Sequence[Array], place: Place = HOST
) -> list[Array]:
    """The outputs, as arrays of the host, of a program of `place` on copies of `inputs`."""
    pairs = list(zip(graph.inputs, graph.roles, inputs, strict=True))
    given = {v: _there(a, place) for v, role, a in pairs if role != "scalar"}
    given |= {v: arranged(given[v], o) for v, o in zip(graph.states(), native.orders, strict=True)}
    args = [given[v] for v, role, _ in pairs if role == "arg"]
    scalars = [a.item() for _, role, a in pairs if role == "scalar"]
    free = [
        place.empty(v.spec.shape, v.spec.dtype.numpy)
        for v, t in zip(graph.outs, graph.targets) if t is None
    ]  # fmt: skip
    native.bind_state([place.address(given[v]) for v in graph.states()])
    native.run(list(map(place.address, args)), list(map(place.address, free)), scalars)
    results = iter(free)
    return [_back(next(results) if t is None else given[t], place) for t in graph.targets]


def _there(array: Array, place: Place) -> Array:
    if place is HOST:
        return np.array(array, order="C")
    made = place.empty(array.shape, array.dtype)
    cast(DevicePlace, place).upload(made, array, wait=True)
    return made


def _back(array: Array, place: Place) -> Array:
    return array if place is HOST else cast(DevicePlace, place).download(array)
