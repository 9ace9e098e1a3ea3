"""Sketched decompositions, reflectors, triangular systems by their older names, norms of slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError, InvalidArgument, ShapeMismatch

torch: Any = pytest.importorskip("torch")


def low_rank(*shape: int, rank: int = 3) -> Any:
    rng = np.random.default_rng(sum(shape))
    *lead, n, k = shape
    return rng.standard_normal((*lead, n, rank)) @ rng.standard_normal((*lead, rank, k))


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (2, 9, 6)])
def test_svd_lowrank(shape: tuple[int, ...]) -> None:
    a = low_rank(*shape)
    u, s, v = graphc.svd_lowrank(graphc.tensor(a), q=4)
    assert u.shape == (*shape[:-1], 4) and v.shape == (*shape[:-2], shape[-1], 4)
    np.testing.assert_allclose((u * s.unsqueeze(-2)) @ v.mT, a, atol=1e-9)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a)[1][..., :4], atol=1e-9)
    shift = graphc.ones(1, shape[-1]).double()
    _, moved, _ = graphc.svd_lowrank(graphc.tensor(a), 5, M=shift)
    np.testing.assert_allclose(moved.numpy(), np.linalg.svd(a - 1)[1][..., :5], atol=1e-9)


def test_pca_lowrank() -> None:
    a = low_rank(15, 6)
    u, s, v = graphc.pca_lowrank(graphc.tensor(a))
    tu, ts, tv = torch.pca_lowrank(torch.tensor(a))
    assert u.shape == tuple(tu.shape) and v.shape == tuple(tv.shape)
    np.testing.assert_allclose(s.numpy(), ts.numpy(), atol=1e-9)
    _, s, _ = graphc.pca_lowrank(graphc.tensor(a), 3, center=False)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a)[1][:3], atol=1e-9)
    for wrong in ({"q": 7}, {"q": -1}, {"niter": -1}):
        with pytest.raises(InvalidArgument, match="non-negative"):
            graphc.pca_lowrank(graphc.tensor(a), **wrong)


def test_svd_lowrank_compiled_has_gradients() -> None:
    x = graphc.tensor(low_rank(6, 5)).requires_grad_()

    def energy(x: graphc.Tensor) -> graphc.Tensor:
        graphc.manual_seed(0)
        (g,) = graphc.autograd.grad((graphc.svd_lowrank(x, 3)[1] ** 2).sum(), x)
        return g

    np.testing.assert_allclose(energy(x).numpy(), 2 * x.detach().numpy(), atol=1e-8)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
def test_reflectors(left: bool, transpose: bool) -> None:
    rng = np.random.default_rng(0)
    packed, tau = torch.geqrf(torch.tensor(rng.standard_normal((5, 3))))
    other = rng.standard_normal((5, 4) if left else (4, 5))
    theirs = torch.ormqr(packed, tau, torch.tensor(other), left, transpose)
    given = graphc.tensor(packed.numpy()), graphc.tensor(tau.numpy())
    ours = graphc.ormqr(*given, graphc.tensor(other), left, transpose)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)
    np.testing.assert_allclose(graphc.orgqr(*given), torch.orgqr(packed, tau), atol=1e-12)
    with pytest.raises(ShapeMismatch):
        graphc.ormqr(*given, graphc.ones(3, 3).double(), left)


@pytest.mark.parametrize("flags", [(), (False,), (True, True), (False, True, True)])
def test_triangular_solve(flags: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 3, 3)) + 3 * np.eye(3), rng.standard_normal((2, 3, 2))
    theirs = torch.triangular_solve(torch.tensor(b), torch.tensor(a), *flags)
    ours = graphc.triangular_solve(graphc.tensor(b), graphc.tensor(a), *flags)
    np.testing.assert_allclose(ours.solution, theirs.solution, atol=1e-12)
    np.testing.assert_array_equal(ours.cloned_coefficient, theirs.cloned_coefficient)


@pytest.mark.parametrize("dim", [-1, 0, 1, 2])
def test_norm_except_dim(dim: int) -> None:
    a = np.random.default_rng(2).standard_normal((3, 4, 2)).astype("f4")
    ours, theirs = (T.norm_except_dim(T.tensor(a), 2, dim) for T in (graphc, torch))
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_refused() -> None:
    with pytest.raises(GraphcError):
        graphc.svd_lowrank(graphc.ones(3))
    with pytest.raises(ShapeMismatch, match="square"):
        graphc.triangular_solve(graphc.ones(2, 1), graphc.ones(2, 3))
