"""Views as copies: PyTorch's values and shapes, in memory of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import ShapeMismatch

torch: Any = pytest.importorskip("torch")

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "alias": lambda T, x: T.alias_copy(x),
    "as_strided": lambda T, x: T.as_strided_copy(x, (2, 2), (1, 3), 1),
    "detach": lambda T, x: T.detach_copy(x),
    "diagonal": lambda T, x: T.diagonal_copy(x, 1),
    "expand": lambda T, x: T.expand_copy(x[:, :1], (4, 5)),
    "narrow": lambda T, x: T.narrow_copy(x, 1, 1, 2),
    "narrow_method": lambda T, x: x.narrow_copy(0, 0, 3),
    "permute": lambda T, x: T.permute_copy(x, (1, 0)),
    "select": lambda T, x: T.select_copy(x, 1, -1),
    "slice": lambda T, x: T.slice_copy(x, 1, 0, 4, 2),
    "slice_empty": lambda T, x: T.slice_copy(x, 0, 3, 1),
    "split": lambda T, x: T.split_copy(x, 3),
    "split_with_sizes": lambda T, x: T.split_with_sizes_copy(x, [1, 4], 1),
    "squeeze": lambda T, x: T.squeeze_copy(x[None]),
    "t": lambda T, x: T.t_copy(x),
    "transpose": lambda T, x: T.transpose_copy(x, 0, 1),
    "unbind": lambda T, x: T.unbind_copy(x, 1),
    "unfold": lambda T, x: T.unfold_copy(x, 1, 2, 1),
    "unsqueeze": lambda T, x: T.unsqueeze_copy(x, 1),
    "view": lambda T, x: T.view_copy(x, (5, 4)),
    "view_dtype": lambda T, x: T.view_copy(x, T.int32),
    "as_strided_scatter": lambda T, x: T.as_strided_scatter(x, x[:2, :2], (2, 2), (2, 7), 3),
}


def parts(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


@pytest.mark.parametrize("name", CALLS)
def test_copies(name: str) -> None:
    a = np.random.default_rng(0).standard_normal((4, 5)).astype("f4")
    x = graphc.tensor(a)
    ours, theirs = parts(CALLS[name](graphc, x)), parts(CALLS[name](torch, torch.tensor(a)))
    for y, z in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(y.numpy(), z.numpy())
        assert y.stride() == z.stride() and str(y.dtype)[7:] == str(z.dtype)[6:]
        y.fill_(7)
    assert np.array_equal(x.numpy(), a)


def test_gradients_pass_through_the_copy() -> None:
    x = graphc.ones(3, 4).requires_grad_()
    graphc.permute_copy(x, (1, 0))[0].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3
    assert not graphc.detach_copy(x).requires_grad
    src = graphc.full((2,), 2.0).requires_grad_()
    (graphc.as_strided_scatter(x, src, (2,), (5,)) ** 2).sum().backward()
    assert src.grad is not None and src.grad.tolist() == [4.0, 4.0]
    with pytest.raises(ShapeMismatch, match="as_strided_scatter"):
        graphc.as_strided_scatter(x, src, (3,), (1,))


def test_copies_compiled() -> None:
    step = graphc.compile(lambda x: (graphc.t_copy(x), graphc.slice_copy(x, 1, 1)))
    x = graphc.arange(6.0).reshape(2, 3)
    turned, rest = step(x)
    assert turned.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] and rest.shape == (2, 2)


def test_copies_go_where_out_says() -> None:
    x = graphc.arange(6.0).reshape(2, 3)
    for T, y in ((graphc, x), (torch, torch.tensor(x.numpy()))):
        out = T.empty(3, 2)
        assert T.t_copy(y, out=out) is out and out.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
        assert T.slice_copy(y, 1, 2, out=T.empty(0)).tolist() == [[2.0], [5.0]]
        with pytest.raises(RuntimeError, match="Expected out tensor to have dtype"):
            T.permute_copy(y, (1, 0), out=T.empty(3, 2).double())
