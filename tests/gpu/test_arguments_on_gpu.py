"""Arguments of a compiled step on a GPU that are dense, but not row-major: read as they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.runtime.cuda.place import CudaPlace

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU, or with `pytest -m gpu` on one that is there."""


def made(*shape: int) -> Any:
    n = int(np.prod(shape))
    return ((graphc.arange(float(n)) * 7 % 11 - 5) / 4).reshape(shape)


def last(*shape: int) -> Any:
    return made(*shape).to(memory_format=graphc.channels_last).cuda()


def equal(a: Any, b: Any) -> bool:
    return a.stride() == b.stride() and graphc.allclose(a.cpu(), b.cpu(), atol=1e-5)


def test_a_convolution_of_channels_last_images_copies_nothing(copies: list[Any]) -> None:
    w = made(4, 4, 3, 3).cuda()
    step = graphc.compile(lambda x: F.conv2d(x, w, padding=1).relu())
    with graphc.assert_max_compiles(1):
        for n in (2, 3, 2, 2, 2):
            x = last(n, 4, 5, 5)
            wanted = F.conv2d(x.cpu(), w.cpu(), padding=1).relu()
            assert equal(step(x), wanted)
    assert not copies
    part = last(2, 8, 5, 5)[:, ::2]
    assert equal(step(part), F.conv2d(part.cpu(), w.cpu(), padding=1).relu()) and copies


def test_a_written_argument_and_views_of_it(copies: list[Any]) -> None:
    def written(x: Any) -> Any:
        x.add_(1.0)
        x[:, 1:3].mul_(2.0)
        return x.relu(), x.permute(0, 2, 3, 1)

    step, x = graphc.compile(written), last(2, 4, 3, 3)
    y = x.cpu()
    for _ in range(3):
        (a, turned), (b, _) = step(x), written(y)
        assert equal(a, b) and equal(x, y) and turned.is_contiguous()
    assert not copies


def test_gradients_for_such_an_argument(copies: list[Any]) -> None:
    def loss(x: Any, w: Any) -> Any:
        return (F.conv2d(x, w).sigmoid() * x[:, :1, 1:-1, 1:-1]).sum()

    step, w = graphc.compile(loss), made(3, 4, 3, 3)
    for _ in range(2):
        x = last(2, 4, 5, 5).requires_grad_()
        y = x.detach().cpu().requires_grad_()
        step(x, w.cuda()).backward()
        loss(y, w).backward()
        assert graphc.allclose(x.grad.cpu(), y.grad, atol=1e-5)
    assert not copies


def test_memory_that_is_not_aligned_is_copied(copies: list[Any]) -> None:
    step, whole = graphc.compile(lambda x: x * 2 + 1), last(3, 1, 3, 3)
    base = made(37).cuda()
    x = base[1:].reshape(2, 3, 3, 2).permute(0, 3, 1, 2)
    assert equal(step(x), x.cpu() * 2 + 1) and copies
    assert equal(step(whole), whole.cpu() * 2 + 1)


# ---- eager operations --------------------------------------------------------------------------


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What eager operations copy before they read it."""
    found: list[Any] = []
    real = CudaPlace.row_major

    def noted(self: CudaPlace, array: Any) -> Any:
        out = real(self, array)
        if out is not array:
            found.append(array.shape)
        return out

    monkeypatch.setattr(CudaPlace, "row_major", noted)
    return found


EAGER: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a bias": lambda x, y, i: x + x[0],
    "a product of two that are turned": lambda x, y, i: y.T @ x.T,
    "two orders": lambda x, y, i: x + x.T.contiguous().T,
    "sums": lambda x, y, i: (x.T.sum(0), x.T.sum(), x[0].expand(4, 6).sum()),
    "a convolution of images that lie channels last": lambda x, y, i: F.conv2d(
        i, i.reshape(-1)[:108].reshape(3, 4, 3, 3).to(memory_format=graphc.channels_last)
    ),
    "normalised": lambda x, y, i: (
        F.layer_norm(x.T, (4,)), F.batch_norm(i, None, None, training=True)
    ),
    "attention between turned heads": lambda x, y, i: F.scaled_dot_product_attention(
        *[i.transpose(1, 2)] * 3
    ),
    "taken and put together": lambda x, y, i: (
        x.T[graphc.tensor([0, 5]).to(x.device)],
        graphc.cat([x.T, x.T]), x.T.sort(0)[0], x.T.argmax(1),
    ),
    "repeated along one, turned along others": lambda x, y, i: x.T[:, None].expand(6, 3, 4) * 2,
    "one element": lambda x, y, i: x[:1, :1].expand(4, 6) * x,
}  # fmt: skip


@pytest.mark.parametrize("name", EAGER)
def test_eager_operations_read_what_is_dense_as_it_lies(name: str, moved: list[Any]) -> None:
    x, y, i = made(4, 6), made(6, 5), last(2, 4, 5, 5)
    got, want = EAGER[name](x.cuda(), y.cuda(), i), EAGER[name](x, y, i.cpu())
    for a, b in zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]:
        assert equal(a, b)
    assert not moved


def test_eager_operations_copy_what_has_gaps(moved: list[Any]) -> None:
    x = made(4, 6)
    assert equal(x.cuda()[:, 1:4] * 2, x[:, 1:4] * 2) and moved == [(4, 3)]
