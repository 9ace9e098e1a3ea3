"""frexp and nextafter, exact for every kind of float: against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError

torch: Any = pytest.importorskip("torch")
KINDS = ["float16", "bfloat16", "float32", "float64"]


def values(kind: str) -> Any:
    """Numbers of all exponents, the ends of the range, denormals, zeros, infinities, NaN."""
    info = torch.finfo(getattr(torch, kind))
    rng = np.random.default_rng(0)
    spread = rng.uniform(-1, 1, 300) * 2.0 ** rng.integers(-130, 127, 300)
    powers = 2.0 ** np.arange(-40, 40.0)
    none = torch.zeros(1, dtype=getattr(torch, kind))
    least = torch.nextafter(none, none + 1).item()
    ends = [info.max, info.min, info.tiny, -info.tiny, info.tiny * 0.75, least, -least]
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1.0 - info.eps / 2]
    every = np.concatenate([spread, powers, -powers, ends, odd])
    return torch.tensor(every).to(getattr(torch, kind))


def ours(x: Any) -> graphc.Tensor:
    if x.dtype is torch.bfloat16:
        return graphc.tensor(x.float().numpy()).bfloat16()
    return graphc.tensor(x.numpy())


def same(a: graphc.Tensor, b: Any) -> None:
    assert str(a.dtype)[7:] == str(b.dtype)[6:]
    mine, other = a.double().numpy(), b.double().numpy()
    np.testing.assert_array_equal(mine, other)
    known = ~np.isnan(other)
    np.testing.assert_array_equal(np.signbit(mine)[known], np.signbit(other)[known])


@pytest.mark.parametrize("kind", KINDS)
def test_frexp(kind: str) -> None:
    x = values(kind)
    theirs, mine = torch.frexp(x), graphc.frexp(ours(x))
    same(mine.mantissa, theirs.mantissa)
    finite = torch.isfinite(x).numpy()  # of others the exponent is not specified
    np.testing.assert_array_equal(mine.exponent.numpy()[finite], theirs.exponent.numpy()[finite])
    assert mine.exponent.dtype is graphc.int32


@pytest.mark.parametrize("kind", KINDS)
def test_nextafter(kind: str) -> None:
    x = values(kind)
    for y in (x.flip(0), torch.full_like(x, float("inf")), -x, x, torch.zeros_like(x)):
        same(graphc.nextafter(ours(x), ours(y)), torch.nextafter(x, y))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_compiled(kind: str) -> None:
    x = ours(values(kind))
    step = graphc.compile(lambda x, y: (graphc.nextafter(x, y), *graphc.frexp(x)))
    for a, b in zip(step(x, x.flip(0)), (x.nextafter(x.flip(0)), *x.frexp()), strict=True):
        np.testing.assert_array_equal(a.double().numpy(), b.double().numpy())


def test_gradients_and_forms() -> None:
    results = []
    for T in (graphc, torch):
        x = T.tensor([3.0, 1.0, -0.3]).requires_grad_()
        y = T.tensor([4.0, 1.0, -5.0]).requires_grad_()
        (T.nextafter(x, y) * T.tensor([1.0, 2.0, 3.0])).sum().backward()
        T.frexp(x).mantissa.sum().backward()
        results.append(x.grad.tolist())
    assert results[0] == results[1]
    x = graphc.ones(2)
    out = graphc.empty(2)
    assert graphc.nextafter(x, x * 2, out=out) is out and out.tolist() == [1 + 2.0**-23] * 2
    assert x.nextafter_(graphc.zeros(2)) is x and x.tolist() == [1 - 2.0**-24] * 2
    assert graphc.nextafter(graphc.ones(2), graphc.zeros(1).double()).dtype is graphc.float64
    for refused in (
        lambda: graphc.frexp(graphc.ones(2).int()),
        lambda: graphc.nextafter(graphc.ones(2).int(), graphc.ones(2).int()),
        lambda: graphc.nextafter(graphc.ones(2), 2.0),  # type: ignore[arg-type]
    ):
        with pytest.raises(GraphcError):
            refused()
