"""Arguments of a compiled step on a GPU that are dense, but not row-major: read as they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F

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
