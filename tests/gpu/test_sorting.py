"""Sorting on a GPU: a kernel where rows fit in registers, else the host, as `explain` says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.ir.meaning.sorting import argsort
from graphc.ir.types import FROM_NUMPY

pytest.importorskip("triton")

from graphc.codegen_gpu.routine import LONGEST
from graphc.runtime.cuda import device


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU."""


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Many are equal; floats have both zeros, infinities and NaNs of both signs."""
    r = np.random.default_rng(sum(shape))
    whole = r.integers(-4, 5, shape)
    if dtype == "bool":
        return whole > 0
    if dtype == "u8":
        return np.abs(whole).astype(np.uint8)
    kinds = {d.name: n for n, d in FROM_NUMPY.items()}
    x = whole.astype(kinds[dtype])
    if x.dtype.kind in "iu":
        return x
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-40, 2.5], np.float32)
    return np.where(r.random(shape) < 0.5, r.choice(odd, shape), x).astype(x.dtype)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i32", "i16", "i8", "u8", "bool"])
def test_argsort_is_the_hosts(dtype: str, descending: bool) -> None:
    x = numbers(dtype, (3, 37, 2))
    got = graphc.from_numpy(x).to("cuda").argsort(1, descending).cpu().numpy()
    assert np.array_equal(got, argsort(x, axis=1, descending=descending))


@pytest.mark.parametrize("shape", [(1,), (5, 1), (2, 64), (300, 3), (0, 4), (4, 0), (2, 2, 9)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = numbers("f32", shape)
    for axis in range(len(shape)):
        got = graphc.from_numpy(x).to("cuda").argsort(axis).cpu().numpy()
        assert np.array_equal(got, argsort(x, axis=axis, descending=False)), axis


@pytest.mark.parametrize(("length", "hosted"), [(40, False), (LONGEST + 1, True)])
def test_a_step_sorts_on_the_device_where_rows_are_short(length: int, hosted: bool) -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        best = x.topk(3, 1)
        return best.values * 2, best.indices, x.sort(1).values.sum(0)

    for rows in (2, 5):
        x = graphc.from_numpy(numbers("i32", (rows, length)).astype(np.float32))
        want = (x.topk(3, 1).values * 2, x.topk(3, 1).indices, x.sort(1).values.sum(0))
        for a, b in zip(step(x.to("cuda")), want, strict=True):
            assert np.array_equal(a.cpu().numpy(), b.numpy())
    assert step.stats.programs == 1
    told = step.explain().callbacks
    assert bool(told) == hosted and all("argsort" in row for row in told)


def test_short_rows_leave_the_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    step = graphc.compile(lambda x: x.sort(0).values)
    x = graphc.rand(9, 4).to("cuda")
    want = np.sort(x.cpu().numpy(), 0)
    step(x)
    driver = device.current().driver
    with monkeypatch.context() as patch:
        for name in ("MemcpyDtoHAsync", "StreamSynchronize"):
            patch.setattr(driver, name, lambda *a: pytest.fail("the host waits"))
        got = step(x)
    assert np.array_equal(got.cpu().numpy(), want)


def test_the_length_of_a_row_may_be_unknown() -> None:
    step = graphc.compile(lambda x: x.argsort(0))
    for n in (7, 12, 7, 1, LONGEST + 5):
        x = numbers("f32", (n, 2))
        got = step(graphc.from_numpy(x).to("cuda")).cpu().numpy()
        assert np.array_equal(got, argsort(x, axis=0, descending=False))
    assert step.stats.programs == 1
