"""Recurrent layers, cells and packed sequences against PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

torch: Any = pytest.importorskip("torch")
X = np.random.default_rng(0).standard_normal((5, 3, 4))  # [T,B,I]

ROWS: list[tuple[str, Callable[[Any], Any]]] = [
    ("rnn", lambda nn: nn.RNN(4, 6)),
    ("rnn_relu", lambda nn: nn.RNN(4, 6, 2, "relu", bias=False)),
    ("rnn_both", lambda nn: nn.RNN(4, 3, bidirectional=True)),
    ("lstm", lambda nn: nn.LSTM(4, 6)),
    ("lstm_deep", lambda nn: nn.LSTM(4, 5, 2, bidirectional=True)),
    ("lstm_projected", lambda nn: nn.LSTM(4, 6, 2, proj_size=3)),
    ("gru", lambda nn: nn.GRU(4, 6)),
    ("gru_deep", lambda nn: nn.GRU(4, 5, 2, bias=False, bidirectional=True)),
]
CELLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("rnn_cell", lambda nn: nn.RNNCell(4, 6)),
    ("rnn_cell_relu", lambda nn: nn.RNNCell(4, 6, bias=False, nonlinearity="relu")),
    ("lstm_cell", lambda nn: nn.LSTMCell(4, 6)),
    ("gru_cell", lambda nn: nn.GRUCell(4, 6)),
]
IDS = [r[0] for r in ROWS]


def pair(build: Callable[[Any], Any]) -> tuple[Any, Any]:
    theirs = build(torch.nn).double()
    mine = build(nn).double()
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    assert list(mine.state_dict()) == list(theirs.state_dict()) and repr(mine) == repr(theirs)
    return mine, theirs


def flat(out: Any) -> list[Any]:
    """Outputs and states in one list."""
    if isinstance(out, tuple | list):
        return [x for part in out for x in flat(part)]
    return [out]


def check(mine: Any, theirs: Any, outs: Any, expected: Any) -> None:
    """Equal results, and equal gradients of their weighted sum."""
    total, other = 0.0, 0.0
    for k, (a, b) in enumerate(zip(flat(outs), flat(expected), strict=True)):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-9, 1e-12)
        w = np.random.default_rng(k).standard_normal(b.shape)
        total = (a * graphc.tensor(w)).sum() + total
        other = (b * torch.tensor(w)).sum() + other
    total.backward(), other.backward()
    for (name, p), q in zip(mine.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), 1e-8, 1e-11, err_msg=name)


@pytest.mark.parametrize(("name", "build"), ROWS, ids=IDS)
def test_layer(name: str, build: Any) -> None:
    mine, theirs = pair(build)
    check(mine, theirs, mine(graphc.tensor(X)), theirs(torch.tensor(X)))


@pytest.mark.parametrize(("name", "build"), ROWS[2:], ids=IDS[2:])
def test_layer_compiled(name: str, build: Any) -> None:
    mine, theirs = pair(build)
    forward = graphc.compile(lambda x: mine(x))
    check(mine, theirs, forward(graphc.tensor(X)), theirs(torch.tensor(X)))
    assert forward.stats.programs == 1


@pytest.mark.parametrize(("name", "build"), ROWS, ids=IDS)
def test_state_unbatched_and_batch_first(name: str, build: Any) -> None:
    mine, theirs = pair(build)
    given = [s.detach() for s in flat(theirs(torch.tensor(X))[1])]
    ours = tuple(graphc.tensor(s.numpy()) for s in given)
    ours, state = (ours[0], given[0]) if len(ours) == 1 else (ours, tuple(given))
    check(mine, theirs, mine(graphc.tensor(X), ours), theirs(torch.tensor(X), state))
    mine.zero_grad(), theirs.zero_grad()
    check(mine, theirs, mine(graphc.tensor(X[:, 0])), theirs(torch.tensor(X[:, 0])))
    mine.zero_grad(), theirs.zero_grad()
    mine.batch_first = theirs.batch_first = True
    check(mine, theirs, mine(graphc.tensor(X)), theirs(torch.tensor(X)))


@pytest.mark.parametrize(("name", "build"), ROWS, ids=IDS)
def test_packed(name: str, build: Any) -> None:
    mine, theirs = pair(build)
    results = []
    for T, m in ((graphc, mine), (torch, theirs)):
        U = T.nn.utils.rnn
        packed = U.pack_padded_sequence(T.tensor(X), [2, 5, 3], enforce_sorted=False)
        assert isinstance(packed, U.PackedSequence)
        out, state = m(packed)
        padded, lengths = U.pad_packed_sequence(out, padding_value=-1.0)
        assert lengths.tolist() == [2, 5, 3]
        results.append((padded, state))
    check(mine, theirs, *results)


@pytest.mark.parametrize(("name", "build"), CELLS, ids=[r[0] for r in CELLS])
def test_cell(name: str, build: Any) -> None:
    mine, theirs = pair(build)
    first = mine(graphc.tensor(X[0])), theirs(torch.tensor(X[0]))
    check(mine, theirs, mine(graphc.tensor(X[1]), first[0]), theirs(torch.tensor(X[1]), first[1]))
    check(mine, theirs, mine(graphc.tensor(X[0, 0])), theirs(torch.tensor(X[0, 0])))


def test_dropout_between_layers() -> None:
    layer = nn.LSTM(4, 6, 2, dropout=0.9)
    x = graphc.tensor(X).float()
    assert not layer(x)[0].equal(layer(x)[0])
    layer.eval()
    assert layer(x)[0].equal(layer(x)[0])
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        nn.GRU(4, 6, dropout=0.5)


def test_sequences_of_different_lengths() -> None:
    parts = [np.arange(n, dtype=np.float32) + 1 for n in (3, 1, 2)]
    for T in (graphc, torch):
        U = T.nn.utils.rnn
        given = [T.tensor(p) for p in parts]
        padded = U.pad_sequence(given, True, -1.0)
        assert padded.tolist() == [[1, 2, 3], [1, -1, -1], [1, 2, -1]]
        left = U.pad_sequence(given, padding_value=9.0, padding_side="left")
        assert left.tolist() == [[1, 9, 9], [2, 9, 1], [3, 1, 2]]
        assert [x.tolist() for x in U.unpad_sequence(padded, T.tensor([3, 1, 2]), True)][2] == [
            1,
            2,
        ]
        packed = U.pack_sequence(given, enforce_sorted=False)
        assert packed.data.tolist() == [1, 1, 1, 2, 2, 3]
        assert packed.batch_sizes.tolist() == [3, 2, 1]
        assert packed.sorted_indices.tolist() == [0, 2, 1]
        assert [x.tolist() for x in U.unpack_sequence(packed)] == [p.tolist() for p in parts]


def test_packing_inside_a_compiled_step() -> None:
    """The lengths of a call are known while it is traced; other lengths are traced anew."""
    net, rnn = nn.LSTM(3, 4, bidirectional=True, batch_first=True), nn.utils.rnn

    def step(x: Any, lengths: list[int]) -> Any:
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, (last, _) = net(packed)
        padded, counts = rnn.pad_packed_sequence(out, batch_first=True)
        net.zero_grad()
        (padded.square().sum() + last.sum()).backward()
        return padded.detach(), counts

    run = graphc.compile(step)
    rng = np.random.default_rng(0)
    for k, lengths in enumerate(([5, 2, 4], [5, 2, 4], [1, 3, 3])):
        x = graphc.tensor(rng.standard_normal((3, 5, 3)).astype(np.float32))
        mine, counts = run(x, lengths)
        grads = [p.grad.numpy().copy() for p in net.parameters()]
        expected, _ = step(x, lengths)
        assert counts.tolist() == lengths and run.stats.programs == 1 + (k == 2)
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
        for g, p in zip(grads, net.parameters()):
            np.testing.assert_allclose(g, p.grad.numpy(), rtol=1e-4, atol=1e-5)


ERRORS: list[tuple[str, Any, type[Exception]]] = [
    ("rank", lambda T: T.nn.LSTM(4, 6)(T.zeros(1, 2, 3, 4)), ValueError),
    ("input", lambda T: T.nn.GRU(4, 6)(T.zeros(2, 3, 5)), RuntimeError),
    ("hidden", lambda T: T.nn.RNN(4, 6)(T.zeros(2, 3, 4), T.zeros(1, 2, 6)), RuntimeError),
    ("size", lambda T: T.nn.GRU(4, 0), ValueError),
    ("dropout", lambda T: T.nn.GRU(4, 2, 2, dropout=1.5), ValueError),
    ("proj", lambda T: T.nn.LSTM(4, 2, proj_size=2), ValueError),
    ("nonlinearity", lambda T: T.nn.RNN(4, 2, nonlinearity="sin"), ValueError),
    ("cell", lambda T: T.nn.GRUCell(4, 2)(T.zeros(1, 2, 4)), ValueError),
    ("cell_input", lambda T: T.nn.GRUCell(4, 2)(T.zeros(2, 5)), RuntimeError),
    (
        "unsorted",
        lambda T: T.nn.utils.rnn.pack_padded_sequence(T.zeros(3, 2), [1, 2]),
        RuntimeError,
    ),
    ("empty", lambda T: T.nn.utils.rnn.pack_padded_sequence(T.zeros(3, 2), [1, 0]), RuntimeError),
]


@pytest.mark.parametrize(("name", "call", "error"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, call: Any, error: type[Exception]) -> None:
    for T in (graphc, torch):
        with pytest.raises(error):
            call(T)
