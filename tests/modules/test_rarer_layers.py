"""Layers and tools that few scripts use: the adaptive softmax, pools with indices, bare modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import InvalidArgument, InvalidState, InvalidType, ShapeMismatch

torch: Any = pytest.importorskip("torch")


def pair(head_bias: bool) -> tuple[Any, Any]:
    ours = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10, 15], div_value=2.0, head_bias=head_bias)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10, 15], 2.0, head_bias)
    state = {k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize("head_bias", [False, True])
def test_adaptive_softmax(head_bias: bool) -> None:
    ours, theirs = pair(head_bias)
    x = np.random.default_rng(0).standard_normal((6, 16)).astype("f4")
    classes = np.array([0, 3, 4, 9, 14, 19])
    a, b = (T.tensor(x).requires_grad_() for T in (graphc, torch))
    mine, other = ours(a, graphc.tensor(classes)), theirs(b, torch.tensor(classes))
    np.testing.assert_allclose(mine.output.detach(), other.output.detach(), rtol=1e-5)
    mine.loss.backward()
    other.loss.backward()
    np.testing.assert_allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6)
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(ours.get_parameter(name).grad, p.grad, rtol=1e-4, atol=1e-6)
    for method in ("log_prob", "predict"):
        found = getattr(ours, method)(a).detach(), getattr(theirs, method)(b).detach()
        np.testing.assert_allclose(*found, rtol=1e-5)
    one = ours(a[0], graphc.tensor(3))
    assert one.output.shape == one.loss.shape == ()
    np.testing.assert_allclose(one.output.item(), ours(a[:1], graphc.tensor([3])).output.item())


def test_adaptive_softmax_compiled() -> None:
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0)
    x, y = graphc.randn(5, 8), graphc.tensor([0, 2, 5, 7, 11])
    step = graphc.compile(lambda x, y: model(x, y).loss)
    np.testing.assert_allclose(step(x, y).item(), model(x, y).loss.item(), rtol=1e-5)
    for call in (model, step):
        with pytest.raises(ShapeMismatch, match="Target values"):
            call(x, graphc.tensor([0, 2, 5, 7, 12]))


def test_adaptive_softmax_refuses() -> None:
    for cutoffs in ([], [3, 3], [0, 2], [5, 12], [4, 2], [1.5]):
        with pytest.raises(InvalidArgument, match="cutoffs should be"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0)
    with pytest.raises(ShapeMismatch, match="0D or 1D target"):
        model(graphc.ones(2, 8), graphc.tensor(1))
    with pytest.raises(ShapeMismatch, match="same size in the batch"):
        model(graphc.ones(2, 8), graphc.tensor([1, 2, 3]))
    before = model.head.weight.detach().clone()
    model.reset_parameters()
    assert not graphc.equal(model.head.weight, before)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ["max_pool{}d", "adaptive_max_pool{}d"])
def test_pools_with_indices(name: str, rank: int) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, *(6, 5, 7)[:rank])).astype("f4")
    called = name.format(rank) + "_with_indices"
    ours = getattr(graphc.nn.functional, called)(graphc.tensor(x), 2)
    theirs = getattr(torch.nn.functional, called)(torch.tensor(x), 2)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_skip_init() -> None:
    layer = nn.utils.skip_init(nn.Linear, 3, 4, bias=False)
    assert isinstance(layer, nn.Linear) and layer.weight.is_cpu and layer.weight.shape == (4, 3)
    assert layer.weight.requires_grad and layer.bias is None
    nn.init.ones_(layer.weight)
    assert layer(graphc.ones(2, 3)).tolist() == [[3.0] * 4] * 2
    with pytest.raises(InvalidType):
        nn.utils.skip_init(dict)
    with pytest.raises(InvalidState, match="device"):
        nn.utils.skip_init(nn.ReLU)


def test_weights_in_a_memory_format() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ConvTranspose2d(4, 2, 3)), nn.ReLU())
    weight = net[0].weight
    assert nn.utils.convert_conv2d_weight_memory_format(net, graphc.channels_last) is net
    assert net[0].weight is weight and weight.stride() == (27, 1, 9, 3)
    assert net[1][0].weight.is_contiguous(memory_format=graphc.channels_last)
    volume = nn.Conv3d(2, 3, 2)
    nn.utils.convert_conv3d_weight_memory_format(volume, graphc.channels_last_3d)
    assert volume.weight.is_contiguous(memory_format=graphc.channels_last_3d)


def test_fused_linear_weights() -> None:
    rng = np.random.default_rng(3)
    w, b, mean, scale, shift = (
        rng.standard_normal(s).astype("f4") for s in ((4, 3), (4,), (4,), (4,), (4,))
    )
    var = rng.random(4).astype("f4")
    results = []
    for T in (graphc, torch):
        t = T.tensor
        args = t(w), t(b), t(mean), t(var), 1e-5, t(scale), t(shift)
        results.append(T.nn.utils.fuse_linear_bn_weights(*args))
    for a, c in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach(), c.detach(), rtol=1e-5)
