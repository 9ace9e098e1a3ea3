"""LU factors, and decompositions that tell of failure by a number: as PyTorch's, in a step too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import LinAlgError

RNG = np.random.default_rng(5)
MATRICES = RNG.standard_normal((2, 4, 4))
POSITIVE = MATRICES @ np.swapaxes(MATRICES, -1, -2) + np.eye(4)
RIGHT = RNG.standard_normal((2, 4, 3))

WHOLE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "lu_factor": lambda T, x, b: T.linalg.lu_factor(x),
    "lu": lambda T, x, b: T.lu(x),
    "lu with infos": lambda T, x, b: tuple(T.lu(x, get_infos=True)),
    "lu_factor tall": lambda T, x, b: T.linalg.lu_factor_ex(x[:, :, :2]),
    "lu_factor wide": lambda T, x, b: T.linalg.lu_factor_ex(x[:, 1:]),
    "lu_unpack": lambda T, x, b: T.lu_unpack(*T.linalg.lu_factor(x)),
    "lu_unpack tall": lambda T, x, b: T.lu_unpack(*T.linalg.lu_factor(x[:, :, :2])),
    "lu_unpack data": lambda T, x, b: T.lu_unpack(*T.linalg.lu_factor(x), unpack_pivots=False)[1:],
    "lu_unpack pivots": lambda T, x, b: T.lu_unpack(*T.linalg.lu_factor(x), unpack_data=False).P,
    "lu_solve": lambda T, x, b: T.linalg.lu_solve(*T.linalg.lu_factor(x), b),
    "lu_solve adjoint": lambda T, x, b: T.linalg.lu_solve(*T.linalg.lu_factor(x), b, adjoint=True),
    "lu_solve right": lambda T, x, b: T.linalg.lu_solve(*T.linalg.lu_factor(x), b.mT, left=False),
    "lu_solve right adjoint": lambda T, x, b: T.linalg.lu_solve(
        *T.linalg.lu_factor(x), b.mT, left=False, adjoint=True
    ),
    "lu_solve one right side": lambda T, x, b: T.linalg.lu_solve(*T.linalg.lu_factor(x), b[0]),
    "lu_solve one matrix": lambda T, x, b: T.linalg.lu_solve(*T.linalg.lu_factor(x[0]), b),
    "inv_ex": lambda T, x, b: T.linalg.inv_ex(x),
    "solve_ex": lambda T, x, b: T.linalg.solve_ex(x, b),
    "solve_ex of vectors": lambda T, x, b: T.linalg.solve_ex(x, b[..., 0]),
    "solve_ex right": lambda T, x, b: T.linalg.solve_ex(x, b.mT, left=False),
    "solve_ex of one": lambda T, x, b: T.linalg.solve_ex(x[0], b, check_errors=True),
    "cholesky_ex": lambda T, x, b: T.linalg.cholesky_ex(x),
    "cholesky_ex upper": lambda T, x, b: T.linalg.cholesky_ex(x, upper=True, check_errors=True),
}


def parts(result: Any) -> list[Any]:
    return [*result] if isinstance(result, tuple) else [result]


def compared(mine: Any, theirs: Any) -> None:
    for a, b in zip(parts(mine), parts(theirs), strict=True):
        assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-9)


@pytest.mark.filterwarnings("ignore:torch.lu is deprecated")
@pytest.mark.parametrize("name", WHOLE)
def test_results_and_gradients_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    compiled: Any = graphc.compile(lambda x, b: WHOLE[name](graphc, x, b))
    found = []
    for T in (torch, graphc, None):
        x, b = ((T or graphc).tensor(a).requires_grad_() for a in (POSITIVE, RIGHT))
        y = compiled(x, b) if T is None else WHOLE[name](T, x, b)
        real = [p for p in parts(y) if p.requires_grad]
        if real:
            sum((p * p).sum() for p in real).backward()
        zero = (T or graphc).zeros(1)
        found.append((y, [zero if p.grad is None else p.grad for p in (x, b)]))
    theirs, *ours = found
    for mine in ours:
        named = type(theirs[0]).__name__
        assert type(mine[0]).__name__ == named
        assert getattr(mine[0], "_fields", ()) == getattr(theirs[0], "__match_args__", ())
        compared(mine[0], theirs[0])
        for a, b in zip(mine[1], theirs[1]):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-8)


FAILING: dict[str, Callable[[Any, Any], Any]] = {
    "inv_ex": lambda T, x: T.linalg.inv_ex(x),
    "solve_ex": lambda T, x: T.linalg.solve_ex(x, T.ones_like(x)),
    "lu_factor_ex": lambda T, x: T.linalg.lu_factor_ex(x),
    "cholesky_ex": lambda T, x: T.linalg.cholesky_ex(x),
}
BATCH = [
    [[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]],
    [[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 3.0]],
    [[4.0, 2.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 0.0]],
    [[0.0] * 3] * 3,
]


@pytest.mark.parametrize("name", FAILING)
def test_a_number_tells_which_of_a_batch_has_none(name: str) -> None:
    """What has a result has it, what has none has a number; PyTorch leaves open what else."""
    torch = pytest.importorskip("torch")
    theirs = FAILING[name](torch, torch.tensor(BATCH))
    for f in (FAILING[name], graphc.compile(FAILING[name])):
        got = f(graphc, graphc.tensor(BATCH))
        assert got.info.tolist() == theirs.info.tolist() and got.info.dtype is graphc.int32
        np.testing.assert_allclose(got[0][0].numpy(), theirs[0][0].numpy(), rtol=1e-5, atol=1e-6)
        assert not graphc.isfinite(got[0][1:3]).all() or name == "lu_factor_ex"


CHECKED: dict[str, Callable[[Any], Any]] = {
    "lu_factor": lambda x: graphc.linalg.lu_factor(x),
    "lu_factor_ex": lambda x: graphc.linalg.lu_factor_ex(x, check_errors=True),
    "inv_ex": lambda x: graphc.linalg.inv_ex(x, check_errors=True),
    "solve_ex": lambda x: graphc.linalg.solve_ex(x, x, check_errors=True),
    "cholesky_ex": lambda x: graphc.linalg.cholesky_ex(x, check_errors=True),
}


@pytest.mark.parametrize("name", CHECKED)
def test_errors_that_are_asked_for(name: str) -> None:
    for f in (CHECKED[name], graphc.compile(CHECKED[name])):
        f(graphc.tensor(BATCH[:1]))
        with pytest.raises(LinAlgError, match=rf"linalg\.{name}: the matrix is"):
            f(graphc.tensor(BATCH[:2]))


def test_arguments_that_do_not_fit() -> None:
    x = graphc.eye(3)
    LU, pivots = graphc.linalg.lu_factor(x)
    assert graphc.equal(x.lu_solve(LU, pivots), graphc.lu_solve(x, LU, pivots))
    for wrong in (
        lambda: graphc.linalg.lu_solve(LU, pivots.long(), x),
        lambda: graphc.linalg.lu_solve(LU, pivots[:2], x),
        lambda: graphc.linalg.lu_solve(LU, pivots, graphc.ones(2, 2)),
        lambda: graphc.linalg.lu_solve(LU, pivots, x.double()),
        lambda: graphc.linalg.lu_solve(LU, pivots, graphc.ones(3)),
        lambda: graphc.lu_unpack(LU, pivots.long()),
        lambda: graphc.linalg.inv_ex(graphc.ones(2, 3)),
        lambda: graphc.linalg.lu_factor(x, pivot=False),
    ):
        with pytest.raises(RuntimeError):
            wrong()


def test_assert_async() -> None:
    def step(x: Any) -> Any:
        graphc._assert_async((x > 0).all(), "not positive")
        return x * 2

    for f in (step, graphc.compile(step)):
        assert f(graphc.ones(2)).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="not positive"):
            f(graphc.tensor([1.0, -1.0]))
    with pytest.raises(RuntimeError, match="single nonzero value, but got zero"):
        graphc._assert_async(graphc.zeros(()))
    with pytest.raises(RuntimeError, match="ambiguous"):
        graphc._assert_async(graphc.ones(2))
    with pytest.raises(TypeError):
        graphc._assert_async(True)


def test_what_linalg_has_not_is_refused_by_name() -> None:
    for namespace in (graphc.linalg, graphc.special, graphc.nn.functional, graphc.fft):
        with pytest.raises(AttributeError, match=r"no attribute 'ldl_factor' \[GC009\]"):
            _ = namespace.ldl_factor
        assert not hasattr(namespace, "ldl_solve")
