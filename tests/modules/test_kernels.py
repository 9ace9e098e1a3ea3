"""Layers' functions in the root namespace, with the arguments that PyTorch's kernels have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError, InvalidArgument, ShapeMismatch

torch: Any = pytest.importorskip("torch")

Call = Callable[..., Any]
CALLS: dict[str, Call] = {
    "bce_logits": lambda T, x, y, v: T.binary_cross_entropy_with_logits(x, y.sigmoid(), None, v, 2),
    "cosine": lambda T, x, y, v: T.cosine_embedding_loss(x, y, T.ones(4), 0.1),
    "kl_unreduced": lambda T, x, y, v: T.kl_div(x, y),
    "ranking_unreduced": lambda T, x, y, v: T.margin_ranking_loss(x, y, T.ones(4, 6)),
    "cosine_none": lambda T, x, y, v: T.cosine_embedding_loss(x, y, -T.ones(4), -0.5, 0),
    "hinge": lambda T, x, y, v: T.hinge_embedding_loss(x, y.sign(), 2.0, 1),
    "kl": lambda T, x, y, v: T.kl_div(x, y, 0, log_target=True),
    "ranking": lambda T, x, y, v: T.margin_ranking_loss(x, y, T.ones(4, 6), 0.3, 2),
    "poisson": lambda T, x, y, v: T.poisson_nll_loss(x, y.abs(), True, False, 1e-8, 1),
    "triplet": lambda T, x, y, v: T.triplet_margin_loss(x, y, x + y, 1.0, 2.0, 1e-6, True, 0),
    "ctc": lambda T, x, y, v: T.ctc_loss(
        x.log_softmax(-1).unsqueeze(1), T.tensor([[1, 2]]), [4], [2], 0, 2
    ),
    "batch_norm": lambda T, x, y, v: T.batch_norm(
        x, v, None, T.zeros(6), T.ones(6), False, 0.1, 1e-5, False
    ),
    "instance_norm": lambda T, x, y, v: T.instance_norm(
        x.unsqueeze(0), v[:4], None, None, None, True, 0.1, 1e-5, False
    ),
    "native_batch_norm": lambda T, x, y, v: T.native_batch_norm(
        x, v, v, None, None, True, 0.1, 1e-5
    ),
    "native_layer_norm": lambda T, x, y, v: T.native_layer_norm(x, [6], v, None, 1e-5),
    "native_group_norm": lambda T, x, y, v: T.native_group_norm(
        x.reshape(2, 6, 2), v, v, 2, 6, 2, 3, 1e-5
    ),
    "convolution": lambda T, x, y, v: T.convolution(
        x[None], y[:, :4, None], v[:4], [1], [1], [1], False, [0], 1
    ),
    "convolution_turned": lambda T, x, y, v: T.convolution(
        x[None], y[:, :4, None], None, [2], [0], [1], True, [1], 1
    ),
    "conv_tbc": lambda T, x, y, v: T.conv_tbc(x[:, None], y.reshape(2, 6, 2), v[:2], 1),
    "max_pool": lambda T, x, y, v: T.max_pool1d_with_indices(x, 2, 1),
    "adaptive_max_pool": lambda T, x, y, v: T.adaptive_max_pool1d(x, 4),
    "constant_pad": lambda T, x, y, v: T.constant_pad_nd(x, [1, -2], 3.0),
    "grid_sampler": lambda T, x, y, v: T.grid_sampler(
        x[None, None], y.tanh().reshape(1, 3, 4, 2), 0, 1, False
    ),
    "grid_sampler_2d": lambda T, x, y, v: T.grid_sampler_2d(
        x[None, None], y.tanh().reshape(1, 3, 4, 2), 2, 2, True
    ),
    "grid_sampler_3d": lambda T, x, y, v: T.grid_sampler_3d(
        x.reshape(1, 1, 2, 3, 4), y.tanh().reshape(1, 2, 2, 2, 3), 0, 0, True
    ),
    "affine_grid": lambda T, x, y, v: T.affine_grid_generator(
        x[0].reshape(1, 2, 3), [1, 1, 3, 3], False
    ),
    "channel_shuffle": lambda T, x, y, v: T.native_channel_shuffle(x.reshape(1, 4, 3, 2), 2),
    "embedding": lambda T, x, y, v: T.embedding(x, T.tensor([[0, 3], [1, 1]])),
    "lstm_cell": lambda T, x, y, v: T.lstm_cell(
        x, (y[:, :3], y[:, 3:]), T.cat([x, y, x]), T.cat([y, x, y])[:, :3], T.cat([v, v])
    ),
    "gru_cell": lambda T, x, y, v: T.gru_cell(
        x, y[:, :2], T.cat([x, y[:2]]), T.cat([y, x[:2]])[:, :2], v, v
    ),
    "tanh_cell": lambda T, x, y, v: T.rnn_tanh_cell(x, y[:, :4], y, x[:, :4], v[:4], None),
    "relu_cell": lambda T, x, y, v: T.rnn_relu_cell(x, y[:, :4], y, x[:, :4]),
    "native_dropout": lambda T, x, y, v: T.native_dropout(x, 0.5, False),
    "alpha_dropout": lambda T, x, y, v: T.alpha_dropout(x, 0.5, False),
    "feature_alpha_dropout": lambda T, x, y, v: T.feature_alpha_dropout(x, 0.5, False),
    "feature_dropout": lambda T, x, y, v: T.feature_dropout(x, 0.5, False),
    "celu_": lambda T, x, y, v: T.celu_(x.clone(), 0.5),
    "selu_": lambda T, x, y, v: T.selu_(x.clone()),
    "rrelu_": lambda T, x, y, v: T.rrelu_(x.clone(), 0.2, 0.4),
    "threshold_": lambda T, x, y, v: T.threshold_(x.clone(), 0.1, 7.0),
    "dropout_": lambda T, x, y, v: T.dropout_(x.clone(), 0.3, False),
    "alpha_dropout_": lambda T, x, y, v: T.alpha_dropout_(x.clone(), 0.3, False),
    "feature_dropout_": lambda T, x, y, v: T.feature_dropout_(x.clone(), 0.3, False),
    "feature_alpha_dropout_": lambda T, x, y, v: T.feature_alpha_dropout_(x.clone(), 0.3, False),
}


def inputs(T: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(s).astype("f4") for s in ((4, 6), (4, 6), (6,))]
    return [T.tensor(a) for a in arrays]


def all_of(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


def agree(ours: Any, theirs: Any) -> None:
    for a, b in zip(all_of(ours), all_of(theirs), strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6, equal_nan=True
        )


@pytest.mark.parametrize("name", CALLS)
def test_as_pytorchs(name: str) -> None:
    agree(CALLS[name](graphc, *inputs(graphc)), CALLS[name](torch, *inputs(torch)))


@pytest.mark.parametrize("name", ["lstm_cell", "gru_cell", "native_layer_norm", "convolution"])
def test_gradients_eager_and_compiled(name: str) -> None:
    def gradients(T: Any) -> tuple[Any, ...]:
        def function(*args: Any) -> Any:
            leaves = [a.detach().requires_grad_() for a in args]
            loss = sum((o * o).sum() for o in all_of(CALLS[name](T, *leaves)))
            loss = loss + sum(0.5 * a.sum() for a in leaves)
            return tuple(T.autograd.grad(loss, leaves))

        eager = function(*inputs(T))
        if T is graphc:
            for a, b in zip(graphc.compile(function)(*inputs(T)), eager, strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
        return eager  # type: ignore[no-any-return]  # of either library

    for a, b in zip(gradients(graphc), gradients(torch), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_dropout_keeps_what_its_mask_says() -> None:
    x = graphc.ones(50, 40)
    out, kept = graphc.native_dropout(x, 0.25, True)
    assert graphc.equal(out, kept / 0.75) and 0.6 < kept.float().mean().item() < 0.9
    channels = graphc.feature_dropout(x.reshape(10, 20, 10), 0.5, True)
    assert (channels == channels[:, :, :1]).all() and {0.0, 2.0} == set(channels.unique().tolist())
    assert graphc.dropout_(x, 0.5, True) is x and (x == 0).any()


def test_renormalised_rows() -> None:
    weight = graphc.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
    assert graphc.embedding_renorm_(weight, graphc.tensor([0, 1]), 1.0, 2.0) is weight
    np.testing.assert_allclose(weight.numpy(), [[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]], rtol=1e-4)


def test_refused() -> None:
    x = graphc.ones(2, 3)
    with pytest.raises(InvalidArgument, match="3 is not a valid value for reduction"):
        graphc.kl_div(x, x, 3)
    with pytest.raises(ShapeMismatch, match="a recurrent cell: state"):
        graphc.rnn_tanh_cell(x, graphc.ones(1, 2), graphc.ones(2, 3), graphc.ones(2, 2))
    with pytest.raises(GraphcError):
        graphc.selu_(graphc.ones(2).requires_grad_())
    with pytest.raises(ShapeMismatch):
        graphc.convolution(x, x, None, [1], [0], [1], False, [0], 1)
