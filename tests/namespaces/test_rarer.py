"""Rarer functions of the top level: buffers, ranges, kinds, and the edges of others."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

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
    assert graphc.is_same_size(x, x + 1) and not graphc.is_conj(x)
    assert x.to_dense() is x and graphc.real(x) is x and x.conj() is x
    assert graphc.fill(x, 3).tolist() == [[3.0] * 3] * 2 and x[0, 0].item() == 1


def test_split_has_another_keyword_as_a_method() -> None:
    x = graphc.arange(6).reshape(2, 3)
    assert [tuple(y.shape) for y in x.split(split_size=[1, 2], dim=1)] == [(2, 1), (2, 2)]
    assert len(graphc.split(x, split_size_or_sections=1)) == 2


def test_in_place_functions_are_the_methods() -> None:
    x = graphc.tensor([0.5, -2.0])
    assert graphc.relu_(x) is x and graphc.exp_(x) is x
    np.testing.assert_allclose(x.numpy(), np.exp([0.5, 0.0]), rtol=1e-6)
    with pytest.raises(TypeError, match="exp_"):
        graphc.exp_(3)
    y = graphc.compile(lambda x: graphc.clamp_(x * 1, min=0.0))(graphc.tensor([-1.0, 2.0]))
    assert y.tolist() == [0.0, 2.0]


SYSTEM = [2.0, 1, 0, 3, -1, 2, 1, 0.5, 0, 1, 4, 1, 2, 0, 1, 5]
EDGES: dict[str, Callable[[Any], Any]] = {
    "gcd_least": lambda T: T.gcd(T.tensor([-128, 0], dtype=T.int8), T.tensor(-128, dtype=T.int8)),
    "lcm_types": lambda T: T.lcm(T.tensor([[-12], [30]], dtype=T.int8), T.tensor([18, -4])),
    "lcm_large": lambda T: T.lcm(T.tensor([2**40 + 1]), T.tensor([2**41 - 1])),
    "vander_none": lambda T: T.vander(T.tensor([1, 2, 3]), 0),
    "vander_bool": lambda T: T.vander(T.tensor([True, False])),
    "gradient_int": lambda T: T.gradient(T.tensor([1, 4, 2, 8]), edge_order=2)[0],
    "gradient_no_step": lambda T: T.gradient(T.tensor([1.0, 4.0, 2.0, 8.0]), spacing=0.0)[0],
    "histogram_of_nothing": lambda T: T.histogram(T.zeros(0), 3)[1],
    "histogram_of_one_value": lambda T: T.histogram(T.full((4,), 2.0), 3)[1],
    "histogram_nan": lambda T: T.histogram(T.tensor([nan, 1.0, inf]), 3, range=(0.0, 2.0))[0],
    "histogram_equal_edges": lambda T: T.histogram(
        T.tensor([0.0, 0.5, 1.0, 1.0]), T.tensor([0.0, 0.0, 1.0])
    )[0],
    "renorm_nan": lambda T: T.renorm(T.tensor([[nan, 1.0], [1.0, 1.0]]), 2, 0, 1.0),
    "cumulative_trapezoid_of_nothing": lambda T: T.cumulative_trapezoid(T.ones(0)),
    "cholesky_inverse_of_a_full_matrix": lambda T: T.cholesky_inverse(
        T.tensor([[2.0, 1.0], [7.0, 3.0]]), upper=True
    ),
    "tensorinv": lambda T: T.linalg.tensorinv((T.eye(4) + 0.1).reshape(2, 2, 4)),
    "tensorsolve": lambda T: T.linalg.tensorsolve(
        T.tensor(SYSTEM).reshape(2, 2, 2, 2), T.arange(4.0).reshape(2, 2), dims=(0, 2)
    ),
    "sum_to_size_0d": lambda T: T.ones(2, 3).sum_to_size(()),
    "fill_cuts": lambda T: T.fill(T.zeros(2, dtype=T.int64), T.tensor(2.7)),
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    "gradient_twice": lambda T: T.gradient(T.ones(3, 3), dim=(0, 0)),
    "gradient_u8": lambda T: T.gradient(T.ones(3, dtype=T.uint8)),
    "histogram_nan": lambda T: T.histogram(T.tensor([nan, 1.0]), 3),
    "histogram_half": lambda T: T.histogram(T.ones(3).half(), 3),
    "histogram_dtypes": lambda T: T.histogram(T.ones(3), T.ones(3, dtype=T.float64)),
    "linalg_vander_one": lambda T: T.linalg.vander(T.ones(3), N=1),
    "gcd_shapes": lambda T: T.gcd(T.ones(2, dtype=T.int64), T.ones(3, dtype=T.int64)),
    "cholesky_shapes": lambda T: T.cholesky_solve(T.ones(4, 2), T.eye(3)),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_are_torchs(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    mine, theirs = (EDGES[name](T) for T in (graphc, torch))
    assert tuple(mine.shape) == tuple(theirs.shape)
    assert str(mine.numpy().dtype) == str(theirs.numpy().dtype)
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_by_torch(name: str) -> None:
    with pytest.raises(RuntimeError):
        REFUSED[name](graphc)


NAMED: dict[str, Callable[[Any, Any], Any]] = {
    "split_with_sizes": lambda T, x: (T.split_with_sizes(x, [1, 3], 1), x.split_with_sizes([2])),
    "unsafe_chunk": lambda T, x: (T.unsafe_chunk(x, 3, dim=1), x.unsafe_chunk(2)),
    "unsafe_split": lambda T, x: (T.unsafe_split(x, 3, 1), x.unsafe_split(1, dim=0)),
    "unsafe_with_sizes": lambda T, x: (
        T.unsafe_split_with_sizes(x, [1, 3], 1), x.unsafe_split_with_sizes([2])
    ),
    "late_signs": lambda T, x: (T.is_neg(x), x.is_neg(), [T.resolve_neg(x), x.resolve_neg()]),
    "places": lambda T, x: (T.is_distributed(x), x.is_distributed(), T.get_device(x)),
}  # fmt: skip


def _plain(x: Any) -> Any:
    return (
        [_plain(y) for y in x] if isinstance(x, tuple | list) else getattr(x, "tolist", lambda: x)()
    )


@pytest.mark.parametrize("name", NAMED)
def test_names_give_what_pytorchs_do(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    ours, theirs = (NAMED[name](T, T.arange(8).reshape(2, 4)) for T in (graphc, torch))
    assert _plain(ours) == _plain(theirs)
    if name != "places" and name != "late_signs":
        traced = graphc.compile(lambda x: NAMED[name](graphc, x))(graphc.arange(8).reshape(2, 4))
        assert _plain(traced) == _plain(theirs)
    for pieces in ours[0] if isinstance(ours[0], tuple) else ():
        pieces.add_(1)  # views, which may be written
