"""Whatever the compiler prints parses back: small steps, random functions, routines, the nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import Tensor
from graphc._higher_order_ops import scan, while_loop
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


W = graphc.arange(16.0).reshape(4, 4).requires_grad_()


def _learned(x: Tensor) -> Tensor:
    y = scan(lambda c, a: ((c @ W + a).tanh(), c * a), graphc.zeros(4), x)[1]
    y.sum().backward()
    return y


def _scan_in_scan(x: Tensor) -> Any:
    def trip(c: Tensor, a: Tensor) -> Any:
        return scan(lambda d, b: (d * b + 0.0, d + b), c, graphc.stack([a, a + 1]))[0], c

    return scan(trip, graphc.zeros(4), x)


def _while(x: Tensor) -> Any:
    more = (lambda k, y: (k < 5) & (y.sum() < 9), lambda k, y: (k + 1, (y @ W).tanh() + y))
    twice = (lambda k, y: k < 2, lambda k, y: (k + 1, y * 2))
    zero = graphc.tensor(0)
    return while_loop(*more, (zero, x)), while_loop(*twice, (zero, x))


def _recurrent(kind: str) -> Callable[[Tensor], Any]:
    net = getattr(graphc.nn, kind)(4, 3, num_layers=2, batch_first=True)

    def learned(x: Tensor) -> Tensor:
        y = net(x[None])[0]
        y.sum().backward()
        return y

    return learned


LOOPS: dict[str, Callable[[Tensor], Any]] = {
    "a scan and its gradient": _learned,
    "a scan in a scan": _scan_in_scan,
    "two whiles": _while,
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU"),
}


@pytest.mark.parametrize("what", LOOPS)
def test_loops(what: str) -> None:
    """Which share constants with the graph around them, and whose kernels have names of their own
    beside those of trips within trips."""
    assert not reading_back.of_function(LOOPS[what], (graphc.ones(5, 4),))


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
