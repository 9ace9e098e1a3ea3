"""Rarer functions of the top level: buffers, ranges, kinds, factors that fail."""

from __future__ import annotations

import numpy as np
import pytest

import graphc


def test_a_buffer_is_shared() -> None:
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    x = graphc.frombuffer(data, dtype=graphc.float32)
    x[0] = 7
    assert np.frombuffer(data, np.float32).tolist() == [7, 1, 2, 3]
    assert graphc.frombuffer(data, dtype=graphc.float32, count=1, offset=8).tolist() == [2]
    for options in ({"offset": 99}, {"count": 9}, {"offset": 1}, {"count": 0}):
        with pytest.raises(ValueError):
            graphc.frombuffer(data, dtype=graphc.float32, **options)


def test_range_has_its_end_in_it() -> None:
    assert graphc.range(1, 4).tolist() == [1, 2, 3, 4]
    assert graphc.range(0, 1, 0.5).tolist() == [0, 0.5, 1] and graphc.range(2).numel() == 3
    with pytest.raises(RuntimeError):
        graphc.range(1, 4, -1)


def test_kinds() -> None:
    x = graphc.ones(2, 3)
    assert x.is_set_to(x.view(2, 3)) and not x.is_set_to(x.clone())
    assert x.T.dim_order() == (1, 0) and graphc.is_same_size(x, x + 1)
    assert not (x.is_conj() or x.is_neg() or x.is_nested or x.is_shared() or x.is_inference())
    assert x.to_dense() is x and x.const_data_ptr() == x.data_ptr()
    assert x.new_empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert graphc.fill(x, 3).tolist() == [[3.0] * 3] * 2 and x[0, 0].item() == 1
    assert graphc.angle(graphc.tensor([-1.0, 2.0, float("nan")])).tolist()[:2] == [
        pytest.approx(np.pi),
        0,
    ]


def test_python_functions_of_elements() -> None:
    x = graphc.tensor([1.0, 2.0])
    x.apply_(lambda v: v * 3)
    x.map_(graphc.tensor([1.0, 10.0]), lambda v, w: v + w)
    x.map2_(x.clone(), x.clone(), lambda v, w, u: max(v, w, u) + 1)
    assert x.tolist() == [5.0, 17.0]
    with pytest.raises(RuntimeError):
        graphc.ones(1, requires_grad=True).mul(1).apply_(abs)


def test_in_place_functions_are_the_methods() -> None:
    x = graphc.tensor([0.5, -2.0])
    assert graphc.relu_(x) is x and graphc.exp_(x) is x
    np.testing.assert_allclose(x.numpy(), np.exp([0.5, 0.0]), rtol=1e-6)
    with pytest.raises(TypeError, match="exp_"):
        graphc.exp_(3)
    y = graphc.compile(lambda x: graphc.clamp_(x * 1, min=0.0))(graphc.tensor([-1.0, 2.0]))
    assert y.tolist() == [0.0, 2.0]


def test_what_fails_to_factor_is_told() -> None:
    bad = [[[4.0, 1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]]
    a = graphc.tensor(bad)
    for call in (graphc.linalg.cholesky_ex, graphc.compile(graphc.linalg.cholesky_ex)):
        found = call(a)
        assert found[1].tolist() == [0, 2, 1]
        assert graphc.allclose(found[0][0] @ found[0][0].mT, a[0])
    singular = graphc.tensor([[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 1.0]]])
    for call in (graphc.linalg.inv_ex, graphc.compile(graphc.linalg.inv_ex)):
        inverse, info = call(singular)
        assert info.tolist() == [2, 0] and inverse[1].tolist() == [[0.5, 0.0], [0.0, 1.0]]
    for function in ("cholesky_ex", "inv_ex"):
        with pytest.raises(RuntimeError):
            getattr(graphc.linalg, function)(singular, check_errors=True)
    with pytest.raises(RuntimeError):
        graphc.linalg.lu_factor_ex(singular, check_errors=True)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_systems_by_known_factors_are_torchs(left: bool, adjoint: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3))
    found = []
    for T in (graphc, torch):
        x, y = (T.tensor(v, requires_grad=True) for v in (a, b))
        z = T.linalg.lu_solve(*T.linalg.lu_factor(x), y, left=left, adjoint=adjoint)
        (z * z).sum().backward()
        found.append([z.detach().numpy(), x.grad.numpy(), y.grad.numpy()])
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)


def test_copies_have_memory_of_their_own() -> None:
    x = graphc.arange(6.0).reshape(2, 3)
    for y in (
        graphc.t_copy(x), graphc.select_copy(x, 0, 1), graphc.unsqueeze_copy(x, 0),
        graphc.expand_copy(x, (2, 2, 3)), graphc.diagonal_copy(x), graphc.alias_copy(x),
        graphc.view_copy(x, (3, 2)), *graphc.unbind_copy(x), *graphc.split_copy(x, 1),
        *graphc.split_with_sizes_copy(x, [1, 1]), graphc.as_strided_copy(x, (2,), (1,)),
        graphc.detach_copy(x), graphc.squeeze_copy(x), graphc.transpose_copy(x, 0, 1),
        graphc.unfold_copy(x, 1, 2, 1), graphc.narrow_copy(x, 0, 0, 1),
    ):  # fmt: skip
        assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
