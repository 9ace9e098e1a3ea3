"""Less common arguments of layers and functions: as in PyTorch, eager and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

Call = Any  # (library, its nn.functional, an input [1, 2, 8, 7] or [5, 3, 8]) -> tensors
IMAGES: dict[str, Call] = {
    "smooth_half": lambda T, F, x: F.interpolate(
        x, scale_factor=0.5, mode="bilinear", antialias=True
    ),
    "smooth_sizes": lambda T, F, x: F.interpolate(x, (5, 13), mode="bicubic", antialias=True),
    "smooth_corners": lambda T, F, x: F.interpolate(
        x, (5, 13), mode="bicubic", antialias=True, align_corners=True
    ),
    "smooth_same": lambda T, F, x: F.interpolate(x, (8, 7), mode="bilinear", antialias=True),
    "smooth_factors": lambda T, F, x: F.interpolate(
        x, None, (0.3, 1.7), "bilinear", recompute_scale_factor=True, antialias=True
    ),
    "old_nearest": lambda T, F, x: F.upsample_nearest(x, scale_factor=2),
    "old_bilinear": lambda T, F, x: F.upsample_bilinear(x, size=(3, 3)),
}
REFUSED: dict[str, tuple[type[Exception], Call]] = {
    "antialias_1d": (
        ValueError,
        lambda T, F: F.interpolate(T.ones(1, 2, 8), 4, mode="linear", antialias=True),
    ),
    "bce_input": (
        RuntimeError,
        lambda T, F: F.binary_cross_entropy(T.tensor([1.5]), T.tensor([1.0])),
    ),
    "bce_target": (
        RuntimeError,
        lambda T, F: F.binary_cross_entropy(T.tensor([0.5]), T.tensor([2.0])),
    ),
    "gaussian_var": (
        ValueError,
        lambda T, F: F.gaussian_nll_loss(T.ones(2), T.ones(2), -T.ones(2)),
    ),
    "ignored_probabilities": (
        RuntimeError,
        lambda T, F: F.cross_entropy(T.ones(2, 3), T.ones(2, 3), ignore_index=1),
    ),
    "hardtanh_bounds": (ValueError, lambda T, F: F.hardtanh(T.ones(2), 1, 0)),
    "no_sequences": (RuntimeError, lambda T, F: T.nn.utils.rnn.pad_sequence([])),
    "lstm_one_state": (
        IndexError,
        lambda T, F: T.nn.LSTM(3, 4)(T.ones(5, 2, 3), T.ones(1, 2, 4)),
    ),
    "no_steps": (RuntimeError, lambda T, F: T.nn.GRU(3, 4)(T.ones(0, 2, 3))),
    "channels": (RuntimeError, lambda T, F: T.nn.BatchNorm1d(3)(T.ones(2, 4))),
    "dropout1d": (RuntimeError, lambda T, F: T.nn.Dropout1d(0.5)(T.ones(2, 3, 4, 4))),
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", IMAGES)
def test_resized(name: str) -> None:
    values = np.random.default_rng(0).standard_normal((1, 2, 8, 7)).astype(np.float32)
    found = []
    for T, wrap in ((torch, lambda f: f), (graphc, lambda f: f), (graphc, graphc.compile)):
        x = T.tensor(values, requires_grad=True)
        out = wrap(lambda x, T=T: IMAGES[name](T, T.nn.functional, x))(x)
        (out * out).sum().backward()
        found.append((out.detach().numpy(), x.grad.numpy()))
    for mine in found[1:]:
        for a, b in zip(mine, found[0]):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    kind, call = REFUSED[name]
    for T in (graphc, torch):
        with pytest.raises(kind):
            call(T, T.nn.functional)


def test_integers_stay_integers_and_masks_are_no_integers() -> None:
    for T in (graphc, torch):
        assert T.nn.functional.relu6(T.tensor([-3, 4, 9])).tolist() == [0, 4, 6]
        assert not T.nn.functional.relu6(T.tensor([1])).dtype.is_floating_point
    x = graphc.ones(5, 3, 8)
    with pytest.raises(RuntimeError, match=r"mask.bool\(\)"):
        graphc.nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=graphc.ones(5, 5).long())


def test_packed_sequences_convert() -> None:
    shown = []
    for T in (graphc, torch):
        rnn = T.nn.utils.rnn
        p = rnn.pack_sequence([T.ones(3, 2), T.ones(2, 2)])
        dtypes = [q.data.dtype for q in (p.double(), p.half(), p.float(), p.long(), p.int())]
        shown.append([str(d).rpartition(".")[2] for d in dtypes])
        shown[-1] += [p.cpu() is p, p.to(T.float32) is p, p.is_cuda, p.is_pinned()]
        shown[-1] += rnn.invert_permutation(T.tensor([2, 0, 1])).tolist()
    assert shown[0] == shown[1]


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
def test_what_older_code_reads() -> None:
    shown = []
    for T in (graphc, torch):
        nn, log = T.nn, []
        m = nn.Tanh()
        m.register_backward_hook(lambda m, gi, go, log=log: log.append((gi[0] * 1, go[0].item())))
        x = T.zeros(1, requires_grad=True)
        (m(x) * 3).sum().backward()
        slope, cell = nn.PReLU(2, 0.1), nn.GRUCell(2, 3)
        with T.no_grad():
            slope.weight.fill_(7.0)
            cell.weight_hh.fill_(7.0)
        slope.reset_parameters(), cell.reset_parameters()
        shown.append([nn.Conv2d(1, 2, 3).transposed, nn.ConvTranspose1d(1, 2, 3).transposed])
        shown[-1] += [repr(nn.Hardswish(True)), slope.weight.tolist(), slope.init]
        shown[-1] += [bool(cell.weight_hh.abs().max() <= 3**-0.5), log[0][0].item(), log[0][1]]
    assert shown[0] == shown[1]


def test_clipping_by_its_old_name() -> None:
    for T in (graphc, torch):
        p = T.nn.Parameter(T.ones(4))
        p.grad = T.ones(4)
        with pytest.warns(FutureWarning, match="clip_grad_norm_"):
            assert T.nn.utils.clip_grad_norm([p], 1.0).item() == 2.0
        assert p.grad.tolist() == pytest.approx([0.5] * 4)
