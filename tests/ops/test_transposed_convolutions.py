"""Gradients of transposed convolutions: PyTorch's, and made without products with the zeros that
spread the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc

CASES = [  # of one dimension: input, kernel, stride, padding, output padding, dilation, groups
    (7, 3, 2, 1, 1, 1, 1),
    (7, 4, 2, 1, 0, 1, 1),
    (5, 3, 3, 0, 2, 2, 1),
    (6, 2, 3, 0, 0, 1, 2),
    (6, 3, 1, 2, 0, 1, 2),
    (7, 3, 2, 3, 0, 1, 1),  # more padding than the window reaches: what it cuts has no gradient
    (7, 2, 3, 4, 0, 1, 1),
    (1, 4, 4, 0, 0, 1, 1),
]


def gradients(T: Any, case: tuple[int, ...], dims: int, x: Any, w: Any, g: Any) -> list[Any]:
    """Of the input and the weight, and of the sum of their squares."""
    _, _, stride, padding, output_padding, dilation, groups = case
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    function = getattr(T.nn.functional, f"conv_transpose{dims}d")
    y = function(x, w, None, stride, padding, output_padding, groups, dilation)
    first = T.autograd.grad(y, (x, w), g, create_graph=True)
    second = T.autograd.grad(sum((d * d).sum() for d in first), (x, w))
    return [*first, *second]


@pytest.mark.parametrize(
    ("case", "dims"), [*((c, n) for c in CASES for n in (1, 2)), (CASES[0], 3), (CASES[5], 3)]
)
def test_gradients_are_pytorchs(case: tuple[int, ...], dims: int) -> None:
    torch = pytest.importorskip("torch")
    size, kernel, stride, padding, output_padding, dilation, groups = case
    out = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    rng = np.random.default_rng(0)
    shapes = [
        (2, 4, *[size] * dims),
        (4, 6 // groups, *[kernel] * dims),
        (2, 6, *[out] * dims),
    ]
    arrays = [rng.standard_normal(s) for s in shapes]
    want = gradients(torch, case, dims, *map(torch.from_numpy, arrays))
    compiled = graphc.compile(lambda *a: gradients(graphc, case, dims, *a))
    ours = [graphc.from_numpy(a) for a in arrays]
    found = gradients(graphc, case, dims, *ours) + (compiled(*ours) if dims == 2 else [])
    for a, b in zip(found, want * 2):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-9, 1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_inputs_gradient_is_a_strided_convolution(dims: int) -> None:
    """As many products as forward: not those of each place between the inputs."""
    rng = np.random.default_rng(0)
    x = graphc.from_numpy(rng.standard_normal((2, 16, *[6] * dims), np.float32))
    w = graphc.from_numpy(rng.standard_normal((16, 16, *[4] * dims), np.float32))
    g = graphc.from_numpy(rng.standard_normal((2, 16, *[12] * dims), np.float32))
    function = getattr(graphc.nn.functional, f"conv_transpose{dims}d")

    @graphc.compile
    def backward(x: Any, w: Any, g: Any) -> Any:
        x = x.detach().requires_grad_()
        return graphc.autograd.grad(function(x, w, None, 2, 1), x, g)[0]

    backward(x, w, g)
    flops = sum(r.work.flops for r in backward.profile(x, w, g).by("launch"))
    assert flops <= 2 * 2 * 16 * 16 * 4**dims * 6**dims * 1.1
