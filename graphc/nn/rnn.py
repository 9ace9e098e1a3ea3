"""Recurrent layers and their cells."""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any, ClassVar

from graphc.errors import InvalidArgument, InvalidIndex, ShapeMismatch
from graphc.frontend.api.creation import empty, zeros
from graphc.frontend.api.shapes import cat, stack
from graphc.frontend.autocast import aware
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.functional.recurrent import GATES, STEPS, State, Weights, run
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell"]


class RNNBase(Module):
    """`num_layers` recurrent layers one on the other, each in one direction or both."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        _check(mode, hidden_size, num_layers, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        for layer in range(num_layers):
            for suffix in self._suffixes():
                self._make(layer, suffix, device, dtype)
        self.reset_parameters()

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _make(self, layer: int, suffix: str, device: object, dtype: DType | None) -> None:
        rows, out = GATES[self.mode] * self.hidden_size, self.proj_size or self.hidden_size
        width = self.input_size if layer == 0 else out * len(self._suffixes())
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (out, self.hidden_size)
        for name, shape in shapes.items():
            made = Parameter(empty(shape, device=device, dtype=dtype))
            setattr(self, f"{name}_l{layer}{suffix}", made)

    def reset_parameters(self) -> None:
        bound = 1.0 / sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: the compiler lays weights out."""

    def _weights(self, layer: int, suffix: str) -> Weights:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        found = [self._parameters.get(f"{name}_l{layer}{suffix}") for name in names]
        return Weights(*found)  # type: ignore[arg-type]  # the first two are always there

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        found = []
        for layer in range(self.num_layers):
            for suffix in self._suffixes():
                found.append([w for w in self._weights(layer, suffix) if w is not None])
        return found

    # ---- running -------------------------------------------------------------------------------

    def forward(self, input: Any, hx: Any = None) -> Any:
        """x [T,B,I] (batch_first: [B,T,I]; unbatched: [T,I]) or packed -> outputs, last state.

        Outputs are [T,B,D*H] and alike; the state, and `hx`, [layers*D,B,H] (LSTM: a pair).
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.dim() not in (2, 3):
            raise InvalidArgument(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            )
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        x = x.transpose(0, 1) if batched and self.batch_first else x
        state = self._state(x, hx, batched)
        out, last = self._run(x, state, None)
        if not batched:
            return out.squeeze(1), self._handed(tuple(s.squeeze(1) for s in last))
        return (out.transpose(0, 1) if self.batch_first else out), self._handed(last)

    def _packed(self, input: PackedSequence, hx: Any) -> Any:
        x, lengths = pad_packed_sequence(input)
        state = self._state(x, hx, True)
        out, last = self._run(x, state, lengths)
        packed = pack_padded_sequence(out, lengths, enforce_sorted=False)
        restored = PackedSequence(
            packed.data, input.batch_sizes, input.sorted_indices, input.unsorted_indices
        )
        return restored, self._handed(last)

    def _handed(self, state: State) -> Any:
        return state[0] if len(state) == 1 else state

    def _run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        lasts: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for suffix in self._suffixes():
                start = tuple(s[len(lasts)] for s in state)
                weights = self._weights(layer, suffix)
                out, last = run(self.mode, x, start, weights, lengths, suffix != "")
                outs.append(out)
                lasts.append(last)
            x = outs[0] if len(outs) == 1 else cat(outs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack([last[k] for last in lasts], 0) for k in range(len(state)))

    def _state(self, x: Tensor, hx: Any, batched: bool) -> State:
        """The first state of every layer: what was given, checked, or zeros."""
        if x.shape[-1] != self.input_size:
            raise ShapeMismatch(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {x.shape[-1]}"
            )
        count, batch = self.num_layers * len(self._suffixes()), x.shape[1]
        sizes = [self.proj_size or self.hidden_size]
        sizes += [self.hidden_size] if self.mode == "LSTM" else []
        shapes = [(count, batch, n) for n in sizes]
        if not x.shape[0]:
            raise ShapeMismatch("Expected sequence length to be larger than 0 in RNN")
        if hx is None:
            return tuple(zeros(shape, dtype=x.dtype, device=x.device) for shape in shapes)
        given = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(given) != len(shapes):
            raise InvalidIndex(
                f"{self.mode} has {len(shapes)} hidden states, got {len(given)}",
                fix="pass (h_0, c_0) to an LSTM, h_0 to others",
            )
        given = given if batched else tuple(s.unsqueeze(1) for s in given)
        for k, (s, shape) in enumerate(zip(given, shapes, strict=True)):
            if tuple(s.shape) != shape:
                raise ShapeMismatch(f"Expected hidden[{k}] size {shape}, got {list(s.shape)}")
        return given

    def extra_repr(self) -> str:
        options = (
            ("proj_size", self.proj_size, 0),
            ("num_layers", self.num_layers, 1),
            ("bias", self.bias, True),
            ("batch_first", self.batch_first, False),
            ("dropout", self.dropout, 0.0),
            ("bidirectional", self.bidirectional, False),
        )
        shown = [f"{name}={value}" for name, value, default in options if value != default]
        return ", ".join([f"{self.input_size}", f"{self.hidden_size}", *shown])


def _check(mode: str, hidden: int, layers: int, dropout: float, proj_size: int) -> None:
    if not 0 <= dropout <= 1:
        raise InvalidArgument(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    if dropout > 0 and layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1",
            stacklevel=4,
        )
    if hidden <= 0 or layers <= 0:
        raise InvalidArgument("hidden_size and num_layers must be greater than zero")
    if proj_size and mode != "LSTM":
        raise InvalidArgument("proj_size argument is only supported for LSTM, not RNN or GRU")
    if proj_size < 0 or (proj_size >= hidden > 0 and proj_size):
        raise InvalidArgument("proj_size has to be a positive integer, smaller than hidden_size")


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Elman 1990.

    x [T, B, input_size] (`batch_first`: [B, T, input_size]; or [T, input_size]), h [D * num_layers,
    B, hidden_size] with D = 2 if `bidirectional`, zeros if not given -> output [T, B, D *
    hidden_size] and the last h. Raises ShapeMismatch for another input_size or state,
    InvalidArgument for another rank.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise InvalidArgument(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory; with proj_size, h is projected. See functional.recurrent.

    x [T, B, input_size] (`batch_first`: [B, T, input_size]; or [T, input_size]), h [D * num_layers,
    B, proj_size or hidden_size] with D = 2 if `bidirectional`, zeros if not given -> output [T, B,
    D * that size] and (h, c), c [D * num_layers, B, hidden_size]. Raises ShapeMismatch for another
    input_size or state, InvalidArgument for another rank. Hochreiter and Schmidhuber 1997.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(RNNBase):
    """Gated recurrent unit; see functional.recurrent.

    x [T, B, input_size] (`batch_first`: [B, T, input_size]; or [T, input_size]), h [D * num_layers,
    B, hidden_size] with D = 2 if `bidirectional`, zeros if not given -> output [T, B, D *
    hidden_size] and the last h. Raises ShapeMismatch for another input_size or state,
    InvalidArgument for another rank. Cho et al. 2014.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class _Cell(Module):
    """One step of a recurrent layer."""

    mode: ClassVar[str]
    states: ClassVar[int] = 1
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = GATES[self.mode] * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, device=device, dtype=dtype))
        self.bias_ih = Parameter(empty(rows, device=device, dtype=dtype)) if bias else None
        self.bias_hh = Parameter(empty(rows, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1.0 / sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """x [B,I] or [I], state [B,H] or [H] -> the new state alike (LSTMCell: a pair)."""
        if input.dim() not in (1, 2):
            raise InvalidArgument(
                f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if x.shape[1] != self.input_size:
            raise ShapeMismatch(
                f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}"
            )
        state = self._state(x, hx, batched)
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        product = F.linear(x, weights.input, weights.input_bias)
        new = aware("recurrent_cell", STEPS[self._mode()])(product, state, weights)
        new = new if batched else tuple(s.squeeze(0) for s in new)
        return new[0] if self.states == 1 else new

    def _mode(self) -> str:
        return self.mode

    def _state(self, x: Tensor, hx: Any, batched: bool) -> State:
        shape = (x.shape[0], self.hidden_size)
        if hx is None:
            return tuple(zeros(shape, dtype=x.dtype, device=x.device) for _ in range(self.states))
        given = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        given = given if batched else tuple(s.unsqueeze(0) for s in given)
        for s in given:
            if tuple(s.shape) != shape:
                raise ShapeMismatch(
                    f"hidden state of {type(self).__name__}: expected {shape}, got {list(s.shape)}"
                )
        return given

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else text + f", bias={self.bias}"


class RNNCell(_Cell):
    """One step of an RNN.

    x [B, input_size] or [input_size], h [B, hidden_size], zeros if not given -> h'. Raises
    ShapeMismatch for another input_size.
    """

    mode = "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise InvalidArgument(f"Unknown nonlinearity: {nonlinearity}")
        self.nonlinearity = nonlinearity

    def _mode(self) -> str:
        return f"RNN_{self.nonlinearity.upper()}"

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(_Cell):
    """One step of an LSTM.

    x [B, input_size] or [input_size], (h, c) [B, hidden_size] each, zeros if not given -> (h', c').
    Raises ShapeMismatch for another input_size.
    """

    mode, states = "LSTM", 2


class GRUCell(_Cell):
    """One step of a GRU.

    x [B, input_size] or [input_size], h [B, hidden_size], zeros if not given -> h'. Raises
    ShapeMismatch for another input_size.
    """

    mode = "GRU"
