"""One step of the recurrent cells, and their run over a sequence.

All steps' input products are one matrix product; only the products with the state are taken step
by step, by a scan: in a compiled step a loop whose body is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphc.frontend.api.creation import arange
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.shapes import stack
from graphc.frontend.autocast import aware
from graphc.frontend.modes import modes
from graphc.frontend.step.control import scan
from graphc.frontend.tensor import Tensor
from graphc.frontend.unstacked import unstacked
from graphc.frontend.walked import Cell, walk
from graphc.frontend.whole import whole
from graphc.nn.functional.activation import relu
from graphc.nn.functional.linear import linear

State = tuple[Tensor, ...]  # h, and for an LSTM c
Step = Callable[[Tensor, State, "Weights"], State]


class Weights(NamedTuple):
    """What one direction of one layer multiplies by; `project` [P,H] makes h of an LSTM smaller."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    project: Tensor | None = None


def tanh_step(x: Tensor, state: State, w: Weights) -> State:
    """h' = tanh(x + W h + b); x is the input's product, bias included."""
    return (_tanh_cell(x, state[0], w.hidden, w.hidden_bias),)


@whole("rnn_tanh_cell")
def _tanh_cell(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _tanh(x, linear(h, weight, bias), h)[0]


def relu_step(x: Tensor, state: State, w: Weights) -> State:
    return _relu(x, linear(state[0], w.hidden, w.hidden_bias), state[0])


def lstm_step(x: Tensor, state: State, w: Weights) -> State:
    """Hochreiter and Schmidhuber 1997, with a forget gate; gates in the order i, f, g, o."""
    h, c = state
    if modes.trace is None:
        h, c = unstacked(_lstm_cell(x, h, c, w.hidden, w.hidden_bias))
    else:
        h, c = _lstm_gates(x, h, c, w.hidden, w.hidden_bias)
    return (h if w.project is None else linear(h, w.project)), c


def _lstm_gates(
    x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _lstm(x, linear(h, weight, bias), h, c)


@whole("lstm_cell")
def _lstm_cell(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Both as one tensor [2,...]: a whole function has one result."""
    return stack(_lstm_gates(x, h, c, weight, bias))


def gru_step(x: Tensor, state: State, w: Weights) -> State:
    """Cho et al. 2014, with the reset gate behind the product; gates in the order r, z, n."""
    return (_gru_cell(x, state[0], w.hidden, w.hidden_bias),)


@whole("gru_cell")
def _gru_cell(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _gru(x, linear(h, weight, bias), h)[0]


# ---- of the products with the input and with the state, and the states: the new states ----------


def _tanh(x: Tensor, product: Tensor, h: Tensor) -> tuple[Tensor]:
    return ((x + product).tanh(),)


def _relu(x: Tensor, product: Tensor, h: Tensor) -> tuple[Tensor]:
    return (relu(x + product),)


def _lstm(x: Tensor, product: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (x + product).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(x: Tensor, product: Tensor, h: Tensor) -> tuple[Tensor]:
    r, z, n = x.chunk(3, -1)
    hr, hz, hn = product.chunk(3, -1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return (n + z * (h - n),)


CELLS: dict[Step, tuple[str, Cell]] = {
    tanh_step: ("rnn_tanh", _tanh),
    relu_step: ("rnn_relu", _relu),
    lstm_step: ("lstm", _lstm),
    gru_step: ("gru", _gru),
}
STEPS: dict[str, Step] = {
    "RNN_TANH": tanh_step,
    "RNN_RELU": relu_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def run(
    mode: str, x: Tensor, state: State, w: Weights, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """x [T,B,I] through one layer in one direction -> h of each step [T,B,H], the last state.

    With `lengths` [B], a sequence's state stands still past its end, and its outputs there are 0.
    """
    name = "gru" if mode == "GRU" else "lstm" if mode == "LSTM" else "rnn"
    return aware(name, _run)(STEPS[mode], x, state, w, lengths, reverse)


def _run(
    step: Step, x: Tensor, state: State, w: Weights, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    bias = w.input_bias
    if step is not gru_step and bias is not None and w.hidden_bias is not None:
        bias, w = bias + w.hidden_bias, w._replace(hidden_bias=None)  # once, not in each step
    products = linear(x, w.input, bias)
    if lengths is None:
        return _without_lengths(step, products, state, w, reverse)

    def within(state: State, now: tuple[Tensor, Tensor]) -> tuple[State, Tensor]:
        inside = (lengths > now[1]).unsqueeze(1)
        new = step(now[0], state, w)
        kept = tuple(where(inside, a, b) for a, b in zip(new, state))
        return kept, where(inside, new[0], 0.0)

    times = arange(x.shape[0], device=x.device)
    last, outputs = scan(within, state, (products, times), reverse=reverse)
    return outputs, last


def _without_lengths(
    step: Step, products: Tensor, state: State, w: Weights, reverse: bool
) -> tuple[Tensor, State]:
    def written(
        products: Tensor, state: State, hidden: Tensor, bias: Tensor | None, reverse: bool
    ) -> tuple[Tensor, State]:
        now = w._replace(hidden=hidden, hidden_bias=bias)

        def trip(state: State, product: Tensor) -> tuple[State, Tensor]:
            new = step(product, state, now)
            return new, new[0]

        last, outputs = scan(trip, state, products, reverse=reverse)
        return outputs, last

    if w.project is not None:
        return written(products, state, w.hidden, w.hidden_bias, reverse)
    name, cell = CELLS[step]
    return walk(name, cell, written, products, state, w.hidden, w.hidden_bias, reverse)
