"""torch.special's functions: values and gradients as PyTorch's or mpmath's, eager and compiled."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import graphc
from graphc import special

Array = np.ndarray[Any, Any]
LINE = np.concatenate([np.linspace(-60, 60, 241), 10.0 ** np.arange(-8, 4), [0.0]])
RIGHT = np.concatenate([np.linspace(0.05, 60, 200), 10.0 ** np.arange(-8, 3)])
UNIT = np.linspace(-1.2, 1.5, 23)
SHAPES = np.exp(np.random.default_rng(0).uniform(-6, 7, 200))
PLACES = SHAPES * np.exp(np.random.default_rng(1).uniform(-1, 1, 200) / np.sqrt(1 + SHAPES))

ROWS: dict[str, tuple[Any, ...]] = {
    **{name: (LINE,) for name in ("i0", "i0e", "i1", "i1e", "ndtr", "log_ndtr", "erfcx")},
    **{name: (LINE,) for name in ("entr", "expit", "spherical_bessel_j0", "sinc", "exp2")},
    "modified_bessel_i0": (LINE,),
    "modified_bessel_i1": (LINE,),
    **{f"{scaled}modified_bessel_k{n}": (RIGHT,) for scaled in ("", "scaled_") for n in (0, 1)},
    "ndtri": (np.concatenate([np.linspace(0, 1, 101), 10.0 ** -np.arange(1, 300, 7.0)]),),
    "gammaln": (RIGHT,),
    "psi": (RIGHT[:180],),
    "multigammaln": (np.linspace(2.1, 9, 5), 3),
    "zeta": (np.linspace(1.1, 30, 50), np.linspace(0.1, 9, 50)),
    "xlog1py": (np.array([0, 1.0, 2, 0, -1]), np.array([-1.0, -1, 3, np.nan, -1])),
    "xlogy": (np.array([0, 1.0]), np.array([0.0, 2])),
    "gammainc": (SHAPES, PLACES),
    "gammaincc": (SHAPES, PLACES),
    **{
        f"{shift}chebyshev_polynomial_{kind}": (UNIT, 5)
        for shift in ("", "shifted_")
        for kind in "tuvw"
    },
    "hermite_polynomial_h": (UNIT, 6),
    "hermite_polynomial_he": (UNIT, 7),
    "laguerre_polynomial_l": (UNIT, 4),
    "legendre_polynomial_p": (UNIT, 8),
}


def called(T: Any, name: str, arguments: tuple[Any, ...]) -> Array:
    given = [T.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    return np.asarray(getattr(T.special, name)(*given).numpy())


@pytest.mark.parametrize("name", ROWS)
def test_values_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = (called(T, name, ROWS[name]) for T in (graphc, torch))
    rtol = 1e-8 if "inc" in name else 2e-12  # PyTorch's own error in these
    np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-13)


EDGES = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(
    "name", ["i0e", "i1e", "entr", "ndtri", "log_ndtr", "erfcx", "modified_bessel_k0", "i0", "i1"]
)
def test_edges_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = (called(T, name, (EDGES,)) for T in (graphc, torch))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_edges_of_the_incomplete_gamma_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    a, x = (v.ravel() for v in np.meshgrid([0, 1, 2.5, np.inf], EDGES[[0, 2, 3, 4]]))
    for name in ("gammainc", "gammaincc"):
        mine, theirs = (called(T, name, (a, x)) for T in (graphc, torch))
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, err_msg=str((a, x)))


@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions_are_exact(order: int) -> None:
    """PyTorch's own are good to 1e-7 only."""
    x = np.array([-7.0, 0.0, 1e-5, 5.6, 39.9, 40.1, 700.0])
    found = called(graphc, f"bessel_j{order}", (x,))
    exact = [float(mpmath.besselj(order, v)) for v in x]
    np.testing.assert_allclose(found, exact, atol=2e-14)


@pytest.mark.parametrize("a, x", [(22.05, 15.77), (1e-3, 1e-3), (300.0, 250.0), (0.3, 2.0)])
def test_the_incomplete_gamma_is_exact(a: float, x: float) -> None:
    low = float(mpmath.gammainc(a, 0, x, regularized=True))
    high = float(mpmath.gammainc(a, x, regularized=True))
    given = (np.array([a]), np.array([x]))
    assert called(graphc, "gammainc", given)[0] == pytest.approx(low, rel=1e-11)
    assert called(graphc, "gammaincc", given)[0] == pytest.approx(high, rel=1e-11)


GRADIENTS = {
    "i0e": 1.7, "i1": -2.0, "erfcx": 1.3, "log_ndtr": -7.0, "ndtri": 0.1, "ndtr": 0.4,
    "entr": 0.6, "i0": 3.0, "i1e": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for T in (graphc, torch):
        x = T.tensor([GRADIENTS[name]], dtype=T.float64, requires_grad=True)
        getattr(T.special, name)(x).sum().backward()
        found.append(x.grad.item())
    assert found[0] == pytest.approx(found[1], rel=1e-10)


def test_compiled_and_in_single_precision() -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(0.1, 9, 20).astype(np.float32)

    def f(x: graphc.Tensor) -> graphc.Tensor:
        return special.gammainc(x, x) + special.i0e(x) + special.log_ndtr(x) + special.erfcx(x)

    t = torch.tensor(x)
    s = torch.special
    wanted = s.gammainc(t, t) + s.i0e(t) + s.log_ndtr(t) + s.erfcx(t)
    y = graphc.compile(f)(graphc.tensor(x))
    assert y.dtype is graphc.float32
    np.testing.assert_allclose(y.numpy(), wanted.numpy(), rtol=1e-6)


def test_integers_become_floats_and_out_is_taken() -> None:
    x = graphc.tensor([1, 2])
    y = graphc.empty(2)
    assert special.i0(x, out=y) is y
    assert special.entr(x).dtype is graphc.float32
    assert graphc.i0(x).tolist() == y.tolist()
    z = x.float()  # PyTorch has no integers here
    assert graphc.igamma(z, z).tolist() == special.gammainc(z, z).tolist()


def test_degrees_are_one_number() -> None:
    with pytest.raises(NotImplementedError, match="degree"):
        special.legendre_polynomial_p(graphc.ones(2), graphc.tensor([1, 2]))
    with pytest.raises(NotImplementedError, match=r"1\.5"):
        special.legendre_polynomial_p(graphc.ones(2), 1.5)


def test_zeta_between_its_poles_is_of_whole_x() -> None:
    for f in (special.zeta, graphc.compile(special.zeta)):
        assert f(graphc.tensor([2.0, 2.5]), graphc.tensor([-1.0, 1.0]))[0].item() == float("inf")
        assert f(graphc.tensor([2.5]), graphc.tensor([-1.5])).isnan().all()
        found = f(graphc.tensor([2.0, 3.0]), graphc.tensor([-1.5, -0.5])).numpy()
        ahead = special.zeta(graphc.tensor([2.0, 3.0]), graphc.tensor([0.5, 0.5])).numpy()
        np.testing.assert_allclose(found - ahead, [4 + 4 / 9, -8.0], 1e-6)
