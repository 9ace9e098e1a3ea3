"""The faster ways that `reference` takes with large arrays equal the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir import reference
from graphc.ir.types import DTYPES, Array

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def large(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Noise with ties, and for floats special values among it."""
    x = rng.integers(-3, 4, shape).astype(np.float64)
    if DTYPES[dtype].is_floating_point:
        x = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), x)
    with np.errstate(invalid="ignore"):
        return x.astype(DTYPES[dtype].numpy)


def assert_same(got: Array, want: Array) -> None:
    """Equal to the bit, NaN's payload and zero's sign included."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_on_bits(dtype: str, rng: np.random.Generator) -> None:
    shape = (70, 80)
    x, y = large(rng, dtype, shape), large(rng, dtype, shape)
    condition = rng.random(shape) < 0.5
    zero, one = np.zeros((), x.dtype), np.ones((), x.dtype)
    for a, b in ((x, y), (x, zero), (zero, y), (x, one), (one, y)):
        assert_same(reference.where(condition, a, b), np.where(condition, a, b))
    strided = reference.where(condition[::-1, ::2], x[:, ::2], y.T[:70, :40].copy()[:, ::1])
    assert_same(strided, np.where(condition[::-1, ::2], x[:, ::2], y.T[:70, :40]))


@pytest.mark.parametrize("dtype", ["f32", "f64", "i64"])
def test_relu_on_bits(dtype: str, rng: np.random.Generator) -> None:
    x = large(rng, dtype, (70, 80))
    assert_same(reference.relu(x), np.where(x < 0, np.zeros((), x.dtype), x))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["f32", "i64", "bool"])
def test_argmax_of_short_rows(dtype: str, axis: int, rng: np.random.Generator) -> None:
    shape = [30, 40, 20]
    shape[axis] = 9
    x = large(rng, dtype, tuple(shape))
    assert_same(reference.argmax(x, axis=axis), np.argmax(x, axis))
    x = np.where(x != x, np.ones((), x.dtype), x)
    assert_same(reference.argmax(x, axis=axis), np.argmax(x, axis))


@pytest.mark.parametrize("shape", [(900, 3, 2), (300, 1, 17), (5000, 1), (40, 40, 2, 2, 2)])
def test_row_major_of_short_axes(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = large(rng, "f32", shape[::-1]).transpose()
    got = reference.row_major(x)
    assert got.flags.c_contiguous
    assert_same(got, np.ascontiguousarray(x))


def test_fold_with_short_axes_behind(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 30, 3, 2, 4))
    got = reference.fold(x, axis=1, length=62, step=2, dilation=1)
    want = np.zeros((20, 62, 3, 2))
    for place, tap in np.ndindex(30, 4):
        want[:, place * 2 + tap] += x[:, place, ..., tap]
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("shape", [(20, 30, 3, 2, 4), (2, 1, 3), (30, 40, 1), (0, 5, 2)])
def test_fold_of_windows_side_by_side(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape)
    step = shape[-1]
    got = reference.fold(x, axis=1, length=shape[1] * step, step=step, dilation=1)
    assert not np.may_share_memory(got, x)
    for place, tap in np.ndindex(shape[1], step):
        np.testing.assert_array_equal(got[:, place * step + tap], x[:, place, ..., tap])


def test_one_place_in_each_row(rng: np.random.Generator) -> None:
    x = rng.standard_normal((70, 80, 5))
    index = rng.integers(0, 5, (70, 80, 1))
    taken = np.take_along_axis(x, index, -1)
    assert_same(reference.take_along(x, index.astype(np.uint8), axis=2), taken)
    put = np.where(np.arange(5) == index, taken, 0.0)
    assert_same(reference.put_along(taken, index, axis=2, length=x.shape[2]), put)
    with pytest.raises(IndexError):
        reference.take_along(x, index + 1, axis=2)
