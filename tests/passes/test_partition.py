"""The split computes what the joint graph does, saves little, and never saves what is free."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from graphc.ir import sugar as P
from graphc.ir import types as T
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.interpret import interpret
from graphc.ir.types import TensorSpec
from graphc.ir.verify import verify
from graphc.passes.partition import partition

N = TensorSpec(T.f32, (8, 8))


def joint(write_state: bool = False) -> tuple[Graph, Value]:
    """y = tanh(x @ w) * exp(x @ w) + w; gradients of x and w; optionally w <- 2 w."""
    b = Builder()
    x, w, g = (b.input(n, N, Where()) for n in "xwg")
    z = P.apply("dot", x, w, batch=(), contract=((1, 0),))
    t, e = P.apply("tanh", z), P.apply("exp", z)
    y = t * e + w
    dz = g * e * (1.0 - t * t + t)
    dx = P.apply("dot", dz, w, batch=(), contract=((1, 1),))
    dw = P.apply("dot", x, dz, batch=(), contract=((0, 0),)) + g
    outs: tuple[Value, ...] = (y, w * 2.0, dx, dw) if write_state else (y, dx, dw)
    targets = (None, w, None, None) if write_state else (None, None, None)
    return Graph("f", (x, w, g), ("arg", "state", "arg"), outs, targets), g


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((8, 8), np.float32) for _ in range(3)]


def check(graph: Graph, g: Value) -> list[str]:
    split = partition(graph, 2, [g])
    verify(split.forward)
    verify(split.backward)
    x, w, seed = arrays()
    wanted = interpret(graph, x, w, seed)
    got = interpret(split.forward, x, w)
    primal = len(graph.outs) - 2
    made = dict(zip(split.forward.outs[primal:], got[primal:]))
    known = dict(zip(split.forward.inputs, (x, w)))
    back = interpret(split.backward, *(made.get(v, known.get(v)) for v in split.saved), seed)
    for a, b in zip(wanted, [*got[:primal], *back], strict=True):
        assert np.array_equal(a, b)
    return [v.op.name if v.op else v.name for v in split.saved]


def test_saves_the_product_and_computes_its_maps_again() -> None:
    assert sorted(check(*joint())) == ["%w", "%x", "dot"]


def test_a_state_that_the_forward_writes_is_saved_as_it_was() -> None:
    graph, g = joint(write_state=True)
    assert sorted(check(graph, g)) == ["%w", "%x", "dot"]
    split = partition(graph, 2, [g])
    roles = dict(zip((v.name for v in split.saved), split.backward.roles))
    assert roles["%w"] == "arg", "a copy: the state itself is overwritten by then"
    assert graph.inputs[1] in split.forward.outs


def test_gradients_that_need_nothing_save_nothing() -> None:
    b = Builder()
    x, g = b.input("x", N, Where()), b.input("g", N, Where())
    graph = Graph("f", (x, g), ("arg", "arg"), (x + x, g + g), (None, None))
    split = partition(graph, 1, [g])
    assert split.saved == () and len(split.backward.inputs) == 1


def test_a_part_is_the_whole_for_what_arrives_alone() -> None:
    """y = x * w and z = tanh(x) + v: the gradients of x, w and v, of either output or both."""
    b = Builder()
    x, w, v, gy, gz = (b.input(n, N, Where()) for n in ("x", "w", "v", "gy", "gz"))
    t = P.apply("tanh", x)
    outs = (x * w, t + v, gy * w + gz * (1.0 - t * t), gy * x, gz * 1.0)
    graph = Graph("f", (x, w, v, gy, gz), ("arg",) * 5, outs, (None,) * 5)
    split = partition(graph, 3, [gy, gz])
    given = dict(zip(("%x", "%w", "%v", "%gy", "%gz"), (*arrays(), *arrays()[:2])))

    def run(slots: frozenset[int]) -> dict[int, np.ndarray]:
        part = split.part(slots)
        verify(part.graph)
        assert split.part(slots) is part
        assert [split.backward.inputs[k].name for k in part.inputs] == [
            v.name for v in part.graph.inputs
        ]
        results = interpret(part.graph, *(given[v.name] for v in part.graph.inputs))
        return dict(zip(part.outs, results, strict=True))

    tanh = np.tanh(given["%x"])
    of_y = {0: given["%gy"] * given["%w"], 1: given["%gy"] * given["%x"]}
    of_z = {0: given["%gz"] * (1 - tanh * tanh), 2: given["%gz"]}
    both = {**of_y, **of_z, 0: of_y[0] + of_z[0]}
    for slots, wanted in (({0}, of_y), ({1}, of_z), ({0, 1}, both)):
        got = run(frozenset(slots))
        assert got.keys() == wanted.keys()
        for k, array in wanted.items():
            np.testing.assert_allclose(got[k], array, rtol=1e-6)
    assert split.part(frozenset({0, 1})).graph is split.backward
    assert "%v" not in [v.name for v in split.part(frozenset({0})).graph.inputs]


def test_what_cuts_flows_is_imported_by_the_first_cut() -> None:
    code = "import sys, graphc; sys.exit('networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
