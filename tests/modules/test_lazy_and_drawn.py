"""Lazy layers, drawn pooling windows, wrappers for one device, and attention by functions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

LAZY: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
    "LazyLinear": ((4,), (2, 3)),
    "LazyConv1d": ((4, 3), (2, 3, 8)),
    "LazyConv2d": ((4, 3, 2, 1), (2, 3, 8, 8)),
    "LazyConv3d": ((4, 2), (2, 3, 4, 4, 4)),
    "LazyConvTranspose1d": ((4, 3), (2, 3, 8)),
    "LazyConvTranspose2d": ((4, 3), (2, 3, 8, 8)),
    "LazyConvTranspose3d": ((4, 2), (2, 3, 4, 4, 4)),
    "LazyBatchNorm1d": ((), (2, 3)),
    "LazyBatchNorm2d": ((1e-3,), (2, 3, 4, 4)),
    "LazyBatchNorm3d": ((), (2, 3, 2, 2, 2)),
    "LazyInstanceNorm1d": ((1e-5, 0.1, True, True), (2, 3, 4)),
    "LazyInstanceNorm2d": ((), (2, 3, 4, 4)),
    "LazyInstanceNorm3d": ((), (2, 3, 2, 2, 2)),
}


def shown(layer: Any) -> dict[str, Any]:
    return {k: list(v.shape) for k, v in layer.state_dict().items()}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layer_becomes_its_kind(name: str) -> None:
    arguments, shape = LAZY[name]
    layer = getattr(nn, name)(*arguments)
    before = list(layer.parameters())
    layer(graphc.rand(*shape))
    assert type(layer) is getattr(nn, name[4:])
    assert all(a is b for a, b in zip(before, layer.parameters(), strict=True))
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*arguments)
    theirs(torch.rand(*shape))
    assert shown(layer) == shown(theirs)
    assert repr(layer).split("bias=")[0].rstrip(" ,)") in repr(theirs) or "Norm" in name


def test_lazy_layers_train_compiled_after_one_batch() -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1))
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)
    x = graphc.rand(8, 3)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    with pytest.raises(RuntimeError, match="LazyLinear"):
        step(x)
    net(x)
    first = step(x).item()
    assert step(x).item() < first


def test_uninitialized_parameters_say_so() -> None:
    layer = nn.LazyLinear(2)
    assert repr(layer.weight) == "<UninitializedParameter>"
    assert layer.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="shape"):
        layer.weight.shape  # noqa: B018  reading it raises
    with pytest.raises(ValueError, match="uninitialized"):
        layer.weight + 1
    layer(graphc.ones(1, 3))
    assert layer.weight.shape == (2, 3)


def test_loading_gives_lazy_layers_their_shapes() -> None:
    source, target = nn.Linear(3, 2), nn.LazyLinear(2)
    target.load_state_dict(source.state_dict())
    assert not target.has_uninitialized_params()
    x = graphc.rand(4, 3)
    assert graphc.equal(target(x), source(x)) and type(target) is nn.Linear


# ---- drawn windows -----------------------------------------------------------------------------


@pytest.mark.parametrize("rank, size, out", [(2, 9, 5), (2, 7, 1), (3, 6, 4)])
def test_fractional_max_pool_is_torchs(rank: int, size: int, out: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *(size,) * rank)).astype(np.float32)
    u = rng.random((2, 3, rank)).astype(np.float32)
    found = []
    for T in (graphc, torch):
        pool = getattr(T.nn.functional, f"fractional_max_pool{rank}d")
        given = T.tensor(x).requires_grad_()
        y, at = pool(given, 2, out, return_indices=True, _random_samples=T.tensor(u))
        (y * y).sum().backward()
        found.append((y.detach().numpy(), at.numpy(), given.grad.numpy()))
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_fractional_layers_draw_and_compile() -> None:
    layer = nn.FractionalMaxPool2d(2, output_ratio=0.6)
    x = graphc.rand(1, 2, 10, 10)
    assert graphc.compile(layer)(x).shape == layer(x).shape == (1, 2, 6, 6)
    assert nn.FractionalMaxPool3d(2, output_size=3)(graphc.rand(1, 1, 5, 5, 5)).shape[-1] == 3
    with pytest.raises(ValueError):
        nn.FractionalMaxPool2d(2)
    with pytest.raises(RuntimeError):
        nn.functional.fractional_max_pool2d(x, 3, 9)


# ---- one device --------------------------------------------------------------------------------


def test_data_parallel_hands_on() -> None:
    inner = nn.Linear(2, 2)
    outer = nn.DataParallel(inner)
    x = graphc.rand(3, 2)
    assert graphc.equal(outer(x), inner(x))
    assert list(outer.state_dict()) == ["module.weight", "module.bias"]
    assert graphc.equal(nn.parallel.data_parallel(inner, x), inner(x))
    with pytest.raises(RuntimeError):
        nn.DataParallel(inner, device_ids=[0])
    saved = dict(outer.state_dict())
    nn.modules.utils.consume_prefix_in_state_dict_if_present(saved, "module.")
    assert list(saved) == ["weight", "bias"]


def test_sync_batch_norm_is_batch_norm() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.InstanceNorm2d(2, affine=True))
    plain = copy.deepcopy(net)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert [type(m).__name__ for m in net] == ["Conv2d", "SyncBatchNorm", "InstanceNorm2d"]
    x = graphc.rand(2, 1, 6, 6)
    assert graphc.equal(net(x), plain(x))
    assert graphc.equal(net[1].running_mean, plain[1].running_mean)


def test_instance_norm_is_no_batch_norm() -> None:
    base = nn.modules.batchnorm._BatchNorm
    assert isinstance(nn.BatchNorm1d(2), base) and not isinstance(nn.InstanceNorm1d(2), base)


# ---- attention ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    flex = nn.attention.flex_attention
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 2, 5, 4)).astype(np.float32) for _ in range(3))

    def causal(b: Any, h: Any, i: Any, j: Any) -> Any:
        return i >= j

    def bias(score: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
        return score + (i - j) * 0.1

    theirs = flex_attention(
        *map(torch.tensor, (q, k, v)),
        score_mod=bias,
        block_mask=create_block_mask(causal, 2, 2, 5, 5, device="cpu", _compile=False),
    )

    def mine(q: graphc.Tensor, k: graphc.Tensor, v: graphc.Tensor) -> graphc.Tensor:
        return flex.flex_attention(
            q, k, v, score_mod=bias, block_mask=flex.create_block_mask(causal, 2, 2, 5, 5)
        )

    for function in (mine, graphc.compile(mine)):
        y = function(*map(graphc.tensor, (q, k, v)))
        np.testing.assert_allclose(y.numpy(), theirs.numpy(), atol=1e-5)
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        assert flex.create_mask(causal, None, None, 2, 2).tolist() == [
            [[[True, False], [True] * 2]]
        ]
