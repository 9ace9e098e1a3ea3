"""Every layer against PyTorch: names, repr, output, gradients and buffers, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.modules.image_rows import IMAGES
from tests.modules.rows import LAYERS, Row
from tests.modules.spatial_rows import SPATIAL

torch = pytest.importorskip("torch")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def pair(row: Row):
    """Our layer and PyTorch's with the same weights, both float64."""
    theirs = row.build(torch.nn).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    mine = row.build(nn).double()
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return mine, theirs


def inputs(row: Row):
    rng = np.random.default_rng(1)
    if row.bound:
        x = rng.integers(0, row.bound, row.shape)
        x.flat[:2] = row.bound - 2  # meets padding_idx
        return graphc.from_numpy(x.copy()), torch.from_numpy(x)
    x = rng.standard_normal(row.shape) * 3
    return graphc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


def check_same(row: Row, mine, theirs, x, y, compare_grads=True):
    close = {"rtol": row.rtol, "atol": 1e-11}
    out, expected = mine(x), theirs(y)
    assert tuple(out.shape) == tuple(expected.shape)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), **close)
    if not (compare_grads and expected.requires_grad):
        return
    weight = np.random.default_rng(2).standard_normal(expected.shape)
    (out * graphc.tensor(weight)).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    if x.requires_grad:
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), **close)
    for (name, p), (_, q) in zip(mine.named_parameters(), theirs.named_parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), err_msg=name, **close)


@pytest.mark.parametrize("row", [*LAYERS, *IMAGES, *SPATIAL], ids=str)
def test_layer(row: Row):
    mine, theirs = pair(row)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    check_same(row, mine, theirs, *inputs(row))
    check_same(row, mine, theirs, *inputs(row), compare_grads=False)  # buffers move twice
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(mine.get_buffer(name).numpy(), buffer.numpy(), **CLOSE)
    check_same(row, mine.eval(), theirs.eval(), *inputs(row), compare_grads=False)


@pytest.mark.parametrize("row", [*LAYERS, *IMAGES, *SPATIAL], ids=str)
def test_repr(row: Row):
    if "encoder" in row.name or "identity" in row.name:
        pytest.skip("PyTorch names a private class there")
    assert repr(row.build(nn)) == repr(row.build(torch.nn))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["linear", "conv2d", "batchnorm2d", "layernorm", "gelu", "silu"])
def test_narrow_dtypes(name: str, dtype: str):
    """Half types keep their dtype and stay near the float64 result."""
    row = next(r for r in LAYERS if r.name == name)
    mine, theirs = pair(row)
    x, y = inputs(row)
    expected = theirs(y).detach().numpy()
    kind = getattr(graphc, dtype)
    mine = mine.to(kind)
    out = mine(x.detach().to(kind))
    assert out.dtype is kind
    tolerance = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(
        out.double().detach().numpy(), expected, rtol=tolerance, atol=tolerance * 3
    )


def test_max_pool_indices():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 8)).astype(np.float32)
    values, places = nn.MaxPool2d(3, 2, 1, return_indices=True)(graphc.tensor(x))
    expected = torch.nn.MaxPool2d(3, 2, 1, return_indices=True)(torch.tensor(x))
    np.testing.assert_array_equal(values.numpy(), expected[0].numpy())
    np.testing.assert_array_equal(places.numpy(), expected[1].numpy())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("masked", ["none", "causal", "padding", "float"])
def test_multihead_attention(batch_first: bool, masked: str):
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first).double()
    mine = nn.MultiheadAttention(8, 2, batch_first=batch_first).double()
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    shapes = [(3, 5, 8), (3, 6, 8), (3, 6, 8)] if batch_first else [(5, 3, 8), (6, 3, 8), (6, 3, 8)]
    arrays = [rng.standard_normal(s) for s in shapes]
    options: dict[str, np.ndarray] = {}
    if masked == "causal":
        options["attn_mask"] = np.triu(np.ones((5, 6), bool), 1)
    if masked == "float":
        options["attn_mask"] = rng.standard_normal((5, 6))
    if masked == "padding":
        options["key_padding_mask"] = np.arange(6)[None, :] >= np.array([[6], [4], [2]])
    out, weights = mine(
        *(graphc.tensor(a) for a in arrays), **{k: graphc.tensor(v) for k, v in options.items()}
    )
    expected, expected_weights = theirs(
        *(torch.tensor(a) for a in arrays), **{k: torch.tensor(v) for k, v in options.items()}
    )
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(weights.detach().numpy(), expected_weights.detach().numpy(), **CLOSE)
