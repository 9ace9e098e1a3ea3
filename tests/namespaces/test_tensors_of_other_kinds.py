"""Sparse tensors, transforms, windows, resized and reinterpreted memory, drawn counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def both(call: Callable[[Any], Any]) -> tuple[Array, Array]:
    torch = pytest.importorskip("torch")
    mine, theirs = (np.asarray(call(T).detach().numpy()) for T in (graphc, torch))
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
    return mine, theirs


# ---- windows -----------------------------------------------------------------------------------

WINDOWS: dict[str, dict[str, Any]] = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "exponential": {"tau": 2.0},
    "gaussian": {"std": 1.5}, "general_cosine": {"a": [0.4, 0.5, 0.1]},
    "general_hamming": {"alpha": 0.6}, "hamming": {}, "hann": {}, "kaiser": {"beta": 8.0},
    "nuttall": {},
}  # fmt: skip


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_torchs(name: str, sym: bool) -> None:
    options = {**WINDOWS[name], "sym": sym}
    for size in (0, 1, 2, 7, 8):
        mine, theirs = both(
            lambda T, n=size: getattr(T.signal.windows, name)(n, **options, dtype=T.float64)
        )
        np.testing.assert_allclose(mine, theirs, atol=1e-12, err_msg=str(size))


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hann", "kaiser"])
def test_older_names_of_windows(name: str) -> None:
    for periodic in (True, False):
        mine, theirs = both(lambda T, p=periodic: getattr(T, f"{name}_window")(9, p))
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_windows_refuse() -> None:
    with pytest.raises(ValueError):
        graphc.signal.windows.hann(-1)
    with pytest.raises(ValueError):
        graphc.signal.windows.gaussian(4, std=0.0)
    with pytest.raises(ValueError):
        graphc.signal.windows.hann(4, dtype=graphc.int64)


# ---- transforms --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies_and_shifts(n: int) -> None:
    x = RNG.random((n, 3))
    for call in (
        lambda T: T.fft.fftfreq(n, 0.5),
        lambda T: T.fft.rfftfreq(n),
        lambda T: T.fft.fftshift(T.tensor(x)),
        lambda T: T.fft.ifftshift(T.tensor(x), 0),
    ):
        np.testing.assert_allclose(*both(call))


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("n", [None, 3, 8, 11])
def test_real_transforms_of_real_spectra(n: int | None, norm: str | None) -> None:
    x = RNG.random((2, 5))
    for name in ("irfft", "hfft"):
        np.testing.assert_allclose(
            *both(lambda T, f=name: getattr(T.fft, f)(T.tensor(x), n, norm=norm)), atol=1e-12
        )


@pytest.mark.parametrize("name", ["rfft", "fft", "ifft", "fft2", "rfftn"])
def test_complex_results_are_refused(name: str) -> None:
    with pytest.raises(NotImplementedError, match="complex"):
        getattr(graphc.fft, name)(graphc.ones(4, 4))


def test_the_namespace_holds_its_functions_alone() -> None:
    names = {name for name in vars(graphc.fft) if not name.startswith("_")}
    assert names == set(graphc.fft.__all__)


# ---- sparse ------------------------------------------------------------------------------------

INDICES = [[0, 2, 0, 0], [1, 0, 1, 2]]
VALUES = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_tensors_are_torchs() -> None:
    dense = RNG.random((3, 2)).astype(np.float32)
    for call in (
        lambda T: T.sparse_coo_tensor(INDICES, VALUES, (3, 3)).to_dense(),
        lambda T: T.sparse_coo_tensor(INDICES, VALUES).to_dense(),
        lambda T: T.sparse_coo_tensor(INDICES, VALUES, (3, 3)).coalesce().indices(),
        lambda T: T.sparse_coo_tensor(INDICES, VALUES, (3, 3)).coalesce().values(),
        lambda T: T.sparse.mm(T.sparse_coo_tensor(INDICES, VALUES, (3, 3)), T.tensor(dense)),
        lambda T: T.spmm(T.sparse_coo_tensor(INDICES, VALUES, (3, 3)), T.tensor(dense)),
        lambda T: T.sparse_coo_tensor(INDICES, VALUES, (3, 3)).t() @ T.tensor(dense),
        lambda T: T.sparse_coo_tensor(INDICES, VALUES, (3, 3)) @ T.tensor(dense[:, 0]),
        lambda T: T.tensor([[0.0, 1], [2, 0]]).to_sparse().values(),
    ):
        np.testing.assert_allclose(*both(call), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_products_have_gradients_eager_and_compiled() -> None:
    torch = pytest.importorskip("torch")
    index = np.array(INDICES)
    dense = RNG.random((3, 2))

    def loss(T: Any, values: Any, x: Any) -> Any:
        adjacency = T.sparse_coo_tensor(T.tensor(index), values, (3, 3))
        return (T.sparse.mm(adjacency, x) ** 2).sum()

    found = []
    for T in (torch, graphc):
        for function in (loss, graphc.compile(loss))[: 1 + (T is graphc)]:
            v = T.tensor(VALUES, dtype=T.float64, requires_grad=True)
            x = T.tensor(dense, requires_grad=True)
            function(T, v, x).backward()
            found.append((v.grad.numpy(), x.grad.numpy()))
    for mine in found[1:]:
        for a, b in zip(mine, found[0]):
            np.testing.assert_allclose(a, b)


def test_sparse_refusals() -> None:
    s = graphc.sparse_coo_tensor(INDICES, VALUES, (3, 3))
    with pytest.raises(RuntimeError, match="coalesce"):
        s.values()
    with pytest.raises(RuntimeError):
        graphc.sparse_coo_tensor([[5], [0]], [1.0], (3, 3))
    with pytest.raises(RuntimeError):
        graphc.spmm(s, graphc.ones(4, 2))
    assert graphc.sparse.sum(s).item() == 10
    assert graphc.sparse.sum(s, 0).tolist() == [2, 4, 4]


# ---- memory ------------------------------------------------------------------------------------


def test_view_as_another_dtype_shares_memory() -> None:
    x = RNG.random((2, 4)).astype(np.float32)
    for name in ("int32", "int64", "uint8", "float64", "float16"):
        mine, theirs = both(lambda T, d=name: T.tensor(x).view(getattr(T, d)))
        assert mine.tobytes() == theirs.tobytes()
    y = graphc.zeros(2)
    y.view(graphc.int32)[0] = 1065353216
    assert y.tolist() == [1, 0]
    assert y.view(2, 1).shape == (2, 1)


def test_view_as_another_dtype_refuses() -> None:
    for call in (
        lambda x: x[:, :3].view(graphc.float64),
        lambda x: x.t().view(graphc.float64),
        lambda x: x.view(graphc.complex64),
        lambda x: graphc.compile(lambda x: x.view(graphc.int32))(x),
    ):
        with pytest.raises(RuntimeError):
            call(graphc.ones(2, 4))


def test_resize() -> None:
    x = graphc.arange(6)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]] and x.shape == (2, 2)
    assert x.resize_as_(graphc.ones(3, 2)).numel() == 6
    with pytest.raises(RuntimeError):
        graphc.ones(2, requires_grad=True).resize_(3)


def test_untyped_storage_tells_who_shares() -> None:
    x = graphc.ones(4)
    view, other = x[2:], graphc.ones(4)
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() == x.data_ptr()
    assert other.untyped_storage().data_ptr() != x.data_ptr()
    assert view.untyped_storage().nbytes() == 16


def test_empty_strided() -> None:
    x = graphc.empty_strided((2, 3), (1, 2))
    assert x.shape == (2, 3) and x.stride() == (1, 2)
    with pytest.raises(RuntimeError):
        graphc.empty_strided((2,), (1, 2))


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_index_reduce_is_torchs(reduce: str, include: bool) -> None:
    x, y = RNG.random((4, 3)), RNG.random((5, 3))

    def call(T: Any) -> Any:
        index = T.tensor([0, 2, 0, 3, 2])
        return T.tensor(x).index_reduce(0, index, T.tensor(y), reduce, include_self=include)

    np.testing.assert_allclose(*both(call))


# ---- counts ------------------------------------------------------------------------------------


def test_poisson_numbers_follow_their_law() -> None:
    rates = graphc.tensor([0.0, 0.3, 4.0, 9.9, 10.0, 80.0, 3000.0]).double()
    given = rates.expand(40_000, 7)
    for draw in (graphc.poisson, graphc.compile(lambda r: graphc.poisson(r))):
        x = draw(given)
        bound = 5 * (rates / 40_000).sqrt()
        assert ((x.mean(0) - rates).abs() <= bound).all()
        np.testing.assert_allclose(x.var(0).numpy(), rates.numpy(), rtol=0.05)
        assert (x == x.floor()).all() and x.dtype is graphc.float64
    zero, one = (x[:, 1] == 0).double().mean(), (x[:, 1] == 1).double().mean()
    assert abs(zero.item() - np.exp(-0.3)) < 0.01
    assert abs(one.item() - 0.3 * np.exp(-0.3)) < 0.01
    with pytest.raises(RuntimeError):
        graphc.poisson(graphc.tensor([-1.0]))


# ---- matrices ----------------------------------------------------------------------------------

MATRICES: dict[str, Callable[[Any, Any], Any]] = {
    "matrix_exp": lambda T, x: T.linalg.matrix_exp(x),
    "matrix_exp_large": lambda T, x: T.matrix_exp(x * 30 - 90 * T.eye(4, dtype=x.dtype)),
    "lu_p": lambda T, x: T.linalg.lu(x)[0],
    "lu_l": lambda T, x: T.linalg.lu(x).L,
    "lu_u": lambda T, x: T.linalg.lu(x[:, :3]).U,
    "lu_wide": lambda T, x: T.linalg.lu(x[:, :2]).L,
    "householder": lambda T, x: T.linalg.householder_product(x[..., :3], x[..., 0, :3]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_functions_of_matrices_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    x, found = RNG.standard_normal((2, 4, 4)), []
    compiled = graphc.compile(lambda x: MATRICES[name](graphc, x))
    for T in (torch, graphc, None):
        given = (T or graphc).tensor(x).requires_grad_()
        y = compiled(given) if T is None else MATRICES[name](T, given)
        if y.requires_grad:
            (y * y).sum().backward()
        gradient = np.zeros(1) if given.grad is None else given.grad.numpy()
        found.append((y.detach().numpy(), gradient))
    for mine in found[1:]:
        for a, b in zip(mine, found[0]):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_eigenvalues_where_they_are_real() -> None:
    x = graphc.tensor([[2.0, 1.0], [0.0, 3.0]]).double()
    values, vectors = graphc.linalg.eig(x)
    assert graphc.allclose(x @ vectors, vectors * values)
    assert sorted(graphc.linalg.eigvals(x).tolist()) == [2, 3]
    with pytest.raises(RuntimeError, match="complex"):
        graphc.linalg.eig(graphc.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    with pytest.raises(NotImplementedError):
        graphc.linalg.eig(x.requires_grad_())
