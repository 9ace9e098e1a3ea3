"""Whatever the compiler prints parses back: small steps, random functions, routines, the nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import Tensor
from graphc.errors import GraphcError
from tests import reading_back
from tests.fuzz import sources
from tests.steps import MODELS, training
from tests.targets import CPU
from tests.test_benchmarks_nets import nets, small

FUNCTIONS = range(40)


@pytest.mark.parametrize("name", MODELS)
def test_small_steps(name: str) -> None:
    step, x, y, _ = training(name)
    assert not reading_back.of_function(step.__wrapped__, (x, y))


@pytest.mark.parametrize("seed", FUNCTIONS)
def test_random_functions(seed: int) -> None:
    s = sources.write(seed)
    states = {n: graphc.tensor(a, requires_grad=n in s.grad) for n, a in s.states.items()}
    scope: dict[str, Any] = {"graphc": graphc, "F": graphc.nn.functional, **states}
    exec(s.text(), scope)
    args = [graphc.tensor(a, requires_grad=n in s.grad) for n, a in s.arguments.items()]
    try:
        graph = reading_back.traced(scope["f"], args)
    except GraphcError:
        return  # it ends in a line that raises
    assert not reading_back.of_compiled(reading_back.compile_graph(graph, CPU))


@pytest.mark.parametrize("name", nets.NETS)
def test_benchmark_nets(name: str) -> None:
    net = small(name)
    model = net.build(graphc)
    optimizer = nets.OPTIMIZERS[net.optimizer](graphc, model.parameters(), net.lr)
    args = [graphc.from_numpy(a) for a in net.data()]
    assert not reading_back.of_function(nets.train_step(graphc, model, optimizer), args)


def _rows(x: Tensor) -> Tensor:
    return (graphc.arange(12) * 5 % 7).reshape(3, 4)


ROUTINES: dict[str, Callable[[Tensor], Any]] = {
    "attributes that are words": lambda x: x.scatter_reduce(1, _rows(x) % 4, x, reduce="amax"),
    "truth values": lambda x: x.sort(1, descending=True),
    "shapes": lambda x: x.scatter(1, _rows(x) % 4, x),
    "numbers": lambda x: graphc.searchsorted(x, x, right=True),
    "none": lambda x: graphc.linalg.svd(x),
}  # fmt: skip


@pytest.mark.parametrize("what", ROUTINES)
def test_attributes_of_routines(what: str) -> None:
    x = graphc.arange(12.0).reshape(3, 4)
    assert not reading_back.of_function(ROUTINES[what], (x,))


def test_labels_hold_no_delimiters_of_the_text() -> None:
    key = "a key: (odd) {1} # = ,"

    def f(given: dict[str, Tensor]) -> Tensor:
        return given[key] + 1

    assert not reading_back.of_function(f, ({key: graphc.ones(3)},))
