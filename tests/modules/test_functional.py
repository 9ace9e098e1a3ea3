"""Corners of the functional forms: NaN and Inf, ties, randomness, argument errors, clipping."""

from __future__ import annotations

import math
from math import inf, nan
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn

torch: Any = pytest.importorskip("torch")
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 6.0, -3.0, 3.0, 1e30, -1e30, inf, -inf, nan, 88.0, -104.0]
)
CURVES = [
    "relu", "relu6", "hardtanh", "leaky_relu", "elu", "silu", "gelu", "sigmoid", "tanh",
    "softplus", "logsigmoid", "hardswish",
]  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_special_values(name: str) -> None:
    """NaN and Inf stand where PyTorch has them, in values and gradients; kinks alike."""
    mine = graphc.tensor(SPECIAL, requires_grad=True)
    theirs = torch.tensor(SPECIAL, requires_grad=True)
    y, z = getattr(F, name)(mine), getattr(torch.nn.functional, name)(theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), 1e-9, 1e-45)
    y.sum().backward()
    z.sum().backward()
    finite = np.isfinite(SPECIAL) & (np.abs(SPECIAL) < 1e20)
    np.testing.assert_allclose(mine.grad.numpy()[finite], theirs.grad.numpy()[finite], 1e-7, 1e-40)


def test_relu_in_place_writes_and_differentiates() -> None:
    x = graphc.tensor([-1.0, 2.0], requires_grad=True)
    h = x * 1.0
    out = F.relu(h, inplace=True)
    assert out is h and h.tolist() == [0.0, 2.0]
    out.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]


def test_dropout() -> None:
    graphc.manual_seed(0)
    x = graphc.ones(10_000)
    y = F.dropout(x, 0.3)
    kept = (y.numpy() != 0).mean()
    assert abs(kept - 0.7) < 0.02
    assert set(np.unique(y.numpy())) == {np.float32(0), np.float32(1 / 0.7)}
    assert F.dropout(x, 0.3, training=False) is x
    assert np.isnan(F.dropout(graphc.tensor([inf, nan]), 1.0).numpy()).all()
    assert F.dropout(x, 1.0).sum().item() == 0.0
    channels = F.dropout2d(graphc.ones(8, 16, 3, 3), 0.5).numpy()
    assert (channels.min(axis=(2, 3)) == channels.max(axis=(2, 3))).all()
    with pytest.raises(ValueError):
        nn.Dropout(1.5)


def test_dropout_takes_a_draw_also_for_zero() -> None:
    after = []
    for p in (0.0, 0.5):
        graphc.manual_seed(3)
        F.dropout(graphc.ones(4), p)
        after.append(graphc.rand(3).tolist())
    assert after[0] == after[1]


def test_batch_norm_corners() -> None:
    m = nn.BatchNorm1d(3)
    before = {k: v.tolist() for k, v in m.state_dict().items()}
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        m(graphc.ones(1, 3))
    assert {k: v.tolist() for k, v in m.state_dict().items()} == before
    assert tuple(m(graphc.ones(0, 3)).shape) == (0, 3)
    assert m.num_batches_tracked.item() == 1 and m.running_mean.tolist() == [0.0] * 3
    with pytest.raises(ValueError):
        m(graphc.ones(2, 3, 4, 5))
    with pytest.raises(ValueError):
        F.batch_norm(graphc.ones(2, 3), None, None)


def test_batch_norm_keeps_accuracy_far_from_zero() -> None:
    """mean 1000, deviation 1: a plain sum of squares would lose three of seven digits."""
    x = np.random.default_rng(0).standard_normal((64, 4, 8, 8)) + 1000
    y = nn.BatchNorm2d(4)(graphc.tensor(x.astype(np.float32))).detach().numpy()
    wide = x.astype(np.float32).astype(np.float64)
    axes = (0, 2, 3)
    expected = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(
        wide.var(axes, keepdims=True) + 1e-5
    )
    assert np.abs(y - expected).max() < 1e-4


def test_max_pool_ties_and_nan() -> None:
    x = graphc.tensor([[[[1.0, 1.0], [1.0, 1.0]]]], requires_grad=True)
    y, where = F.max_pool2d(x, 2, return_indices=True)
    y.sum().backward()
    assert where.item() == 0 and x.grad.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]
    low = graphc.full((1, 1, 3, 3), -inf)
    values, places = F.max_pool2d(low, 2, 2, 1, return_indices=True)
    expected = torch.nn.functional.max_pool2d(
        torch.full((1, 1, 3, 3), -inf), 2, 2, 1, 1, False, True
    )
    assert places.tolist() == expected[1].tolist() and values.tolist() == expected[0].tolist()
    assert np.isnan(F.max_pool2d(graphc.tensor([[[[nan, 1.0], [2.0, 3.0]]]]), 2).item())


def test_scaled_dot_product_attention() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, n, 4)) for n in (5, 6, 6))
    mask = rng.random((5, 6)) > 0.3
    mask[:, 0] = True
    for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"scale": 0.1}):
        mine = F.scaled_dot_product_attention(
            *(graphc.tensor(a) for a in (q, k, v)),
            **{n: graphc.tensor(o) if n == "attn_mask" else o for n, o in options.items()},
        )
        theirs = torch.nn.functional.scaled_dot_product_attention(
            *(torch.tensor(a) for a in (q, k, v)),
            **{n: torch.tensor(o) if n == "attn_mask" else o for n, o in options.items()},
        )
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), 1e-9)


def test_one_hot_and_pad() -> None:
    index = graphc.tensor([[0, 2], [1, 2]])
    assert F.one_hot(index).tolist() == np.eye(3, dtype=int)[index.numpy()].tolist()
    assert tuple(F.one_hot(index, 5).shape) == (2, 2, 5)
    with pytest.raises(IndexError):
        F.one_hot(index, 2)
    x = np.arange(12.0).reshape(3, 4)
    for widths in ((1, 2), (1, 0, 2, 1), (-1, 1), (0, 0, -1, -1)):
        mine = F.pad(graphc.tensor(x), widths, value=7.0).numpy()
        theirs = torch.nn.functional.pad(torch.tensor(x), widths, value=7.0).numpy()
        np.testing.assert_array_equal(mine, theirs)


ERRORS: list[tuple[str, Any, type[Exception]]] = [
    ("linear", lambda: nn.Linear(3, 2)(graphc.ones(2, 4)), RuntimeError),
    ("conv_channels", lambda: nn.Conv2d(3, 2, 3)(graphc.ones(1, 4, 8, 8)), RuntimeError),
    ("conv_rank", lambda: nn.Conv2d(3, 2, 3)(graphc.ones(3, 8)), RuntimeError),
    ("conv_small", lambda: nn.Conv2d(3, 2, 5)(graphc.ones(1, 3, 3, 3)), RuntimeError),
    ("conv_dtype", lambda: nn.Conv2d(3, 2, 3)(graphc.ones(1, 3, 8, 8).double()), RuntimeError),
    ("conv_groups", lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError),
    ("conv_same", lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), ValueError),
    ("conv_mode", lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), ValueError),
    ("embedding", lambda: nn.Embedding(3, 2)(graphc.tensor([3])), IndexError),
    ("embedding_negative", lambda: nn.Embedding(3, 2)(graphc.tensor([-1])), IndexError),
    ("embedding_float", lambda: nn.Embedding(3, 2)(graphc.ones(2)), RuntimeError),
    ("padding_idx", lambda: nn.Embedding(3, 2, padding_idx=3), ValueError),
    ("group_norm", lambda: nn.GroupNorm(2, 3), ValueError),
    ("layer_norm", lambda: nn.LayerNorm(3)(graphc.ones(2, 4)), RuntimeError),
    ("max_pool_pad", lambda: F.max_pool2d(graphc.ones(1, 1, 4, 4), 2, padding=2), RuntimeError),
    ("max_pool_big", lambda: F.max_pool2d(graphc.ones(1, 1, 2, 2), 3), RuntimeError),
    ("gelu", lambda: F.gelu(graphc.ones(2), "fast"), ValueError),
    ("heads", lambda: nn.MultiheadAttention(8, 3), ValueError),
]


@pytest.mark.parametrize(("name", "call", "error"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm(norm_type: float, max_norm: float) -> None:
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(s) for s in ((3, 4), (5,), ())]
    mine = [nn.Parameter(graphc.zeros(g.shape).double()) for g in grads]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape).double()) for g in grads]
    for p, q, g in zip(mine, theirs, grads):
        p.grad, q.grad = graphc.tensor(g), torch.tensor(g)
    unused = nn.Parameter(graphc.ones(1))
    total = nn.utils.clip_grad_norm_([*mine, unused], max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    for p, q in zip(mine, theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), 1e-12)


def test_clip_corners() -> None:
    p, q = nn.Parameter(graphc.ones(2)), nn.Parameter(graphc.ones(2))
    p.grad, q.grad = graphc.tensor([nan, 1.0]), graphc.ones(2)
    nn.utils.clip_grad_norm_([p, q], 1.0)
    assert np.isnan(p.grad.numpy()).all() and np.isnan(q.grad.numpy()).all()
    with pytest.raises(RuntimeError):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    q.grad = graphc.tensor([-3.0, 0.2])
    nn.utils.clip_grad_value_(q, 0.5)
    np.testing.assert_allclose(q.grad.numpy(), [-0.5, 0.2], 1e-6)
    vector = nn.utils.parameters_to_vector([p, q])
    nn.utils.vector_to_parameters(vector * 2, [p, q])
    assert p.tolist() == [2.0, 2.0] and tuple(vector.shape) == (4,)


INITS: list[tuple[str, Any, float, float]] = [
    ("uniform", lambda t: nn.init.uniform_(t, -1, 3), 1.0, 4 / 12**0.5),
    ("normal", lambda t: nn.init.normal_(t, 1.0, 0.5), 1.0, 0.5),
    ("kaiming_uniform", lambda t: nn.init.kaiming_uniform_(t, a=5**0.5), 0.0, (1 / 3 / 200) ** 0.5),
    ("kaiming_normal", lambda t: nn.init.kaiming_normal_(t, mode="fan_out"), 0.0, (2 / 300) ** 0.5),
    ("xavier_uniform", lambda t: nn.init.xavier_uniform_(t), 0.0, (2 / 500) ** 0.5),
    ("xavier_normal", lambda t: nn.init.xavier_normal_(t, gain=2.0), 0.0, 2 * (2 / 500) ** 0.5),
    ("trunc_normal", lambda t: nn.init.trunc_normal_(t), 0.0, 0.8796),
    ("constant", lambda t: nn.init.constant_(t, 2.5), 2.5, 0.0),
]


@pytest.mark.parametrize(("name", "fill", "mean", "std"), INITS, ids=[i[0] for i in INITS])
def test_init(name: str, fill: Any, mean: float, std: float) -> None:
    graphc.manual_seed(1)
    p = nn.Parameter(graphc.zeros(300, 200))
    assert fill(p) is p and p.requires_grad
    values = p.detach().numpy().astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=0.02 * max(std, 0.01))
    assert values.std() == pytest.approx(std, rel=0.01, abs=1e-9)
    assert nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.2
    )


@pytest.mark.parametrize("a, b", [(-2.0, 2.0), (-1.0, 3.5), (2.0, math.inf)])
def test_a_truncated_normal_is_drawn_alike_in_a_step(a: float, b: float) -> None:
    def drawn(x: Any) -> Any:
        return nn.init.trunc_normal_(x, 0.5, 1.5, a, b)

    found = []
    for f in (drawn, graphc.compile(drawn)):
        graphc.manual_seed(2)
        found.append([f(graphc.zeros(200, 100)) for _ in range(2)])
    assert all(graphc.equal(x, y) for x, y in zip(*found)) and not graphc.equal(*found[0])
    x = found[0][0].double()
    low, high = ((bound - 0.5) / 1.5 for bound in (a, b))
    share, left, right = (
        (math.erf(high / 2**0.5) - math.erf(low / 2**0.5)) / 2,
        *(math.exp(-z * z / 2) / (2 * math.pi) ** 0.5 for z in (low, high)),
    )
    assert x.mean().item() == pytest.approx(0.5 + 1.5 * (left - right) / share, abs=0.03)
    assert a <= x.min().item() and x.max().item() <= b
    with pytest.raises(NotImplementedError, match="floating"):
        nn.init.trunc_normal_(graphc.zeros(3, dtype=graphc.int64))
    with pytest.raises(ValueError, match="holds only"):
        nn.init.trunc_normal_(graphc.zeros(3), 0.0, 1.0, 8.0, 9.0)


def test_eye_is_the_identity() -> None:
    p = nn.Parameter(graphc.ones(2, 3))
    assert nn.init.eye_(p) is p and p.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_embedding_from_pretrained_is_frozen_unless_told_otherwise() -> None:
    rows = graphc.arange(6.0).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(rows)
    assert layer(graphc.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


IN_PLACE: dict[str, Any] = {
    "celu_": (0.7,), "elu_": (0.7,), "selu_": (), "relu_": (), "leaky_relu_": (0.2,),
    "hardtanh_": (-0.5, 0.5), "threshold_": (0.1, 3.0), "rrelu_": (0.2, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms(name: str) -> None:
    x = np.random.default_rng(0).standard_normal(7)
    results = []
    for T in (graphc, torch):
        leaf = T.tensor(x, requires_grad=True)
        inside = leaf * 1
        out = getattr(T.nn.functional, name)(inside, *IN_PLACE[name])
        assert out is inside
        (out * out).sum().backward()
        results.append((inside.detach().numpy(), leaf.grad.numpy()))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6, atol=1e-12)


def test_gumbel_softmax_draws_by_probability() -> None:
    """Hard samples are one-hot, as often as the probability; soft gradients reach the logits."""
    graphc.manual_seed(0)
    logits = graphc.tensor([2.0, 0.0, -1.0], requires_grad=True)
    rows = F.gumbel_softmax(logits.expand(4000, 3), tau=0.5, hard=True)
    assert sorted(set(rows.detach().round().flatten().tolist())) == [0.0, 1.0]
    np.testing.assert_allclose(rows.detach().sum(1).numpy(), 1.0, 1e-6)
    np.testing.assert_allclose(rows.detach().mean(0).numpy(), logits.softmax(0).tolist(), atol=0.03)
    (rows[:, 0].sum()).backward()
    assert logits.grad is not None and float(logits.grad[0]) > 0
    soft = F.gumbel_softmax(logits, tau=2.0)
    assert float(soft.min()) > 0 and abs(float(soft.sum()) - 1) < 1e-6
