"""Second and third derivatives of products at zeros, against the products written out."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest

import graphc

ZEROS = {
    "none": (),
    "one": ((1, 2),),
    "two": ((1, 2), (1, 0)),
    "all": tuple((1, k) for k in range(5)),
}
PLACES = [0, 2, 2, 1, 1, 0]


def written_out(xs: list[Any]) -> Any:
    return reduce(lambda a, b: a * b, xs)


def scattered(x: Any, src: Any) -> Any:
    index = graphc.tensor(PLACES)[:, None].expand(6, 5)
    return x.scatter_reduce(0, index, src, "prod")


def scattered_out(x: Any, src: Any) -> Any:
    rows = [
        written_out([x[k], *(src[j] for j, place in enumerate(PLACES) if place == k)])
        for k in range(3)
    ]
    return graphc.stack(rows)


FORMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "row": (lambda x, _: x.prod(1), lambda x, _: written_out([x[:, k] for k in range(5)])),
    "column": (lambda x, _: x.prod(0), lambda x, _: written_out([x[k] for k in range(3)])),
    "all": (lambda x, _: x.prod(), lambda x, _: written_out([*x.reshape(-1)])),
    "single": (lambda x, _: x[:, :1].prod(1), lambda x, _: x[:, 0]),
    "running": (lambda x, _: x.cumprod(1)[:, -1], lambda x, _: x.prod(1)),
    "scatter": (scattered, scattered_out),
}


def derivatives(f: Callable[..., Any], x: Any, src: Any) -> list[Any]:
    found, y = [], f(x, src)
    s = (y * (1 + graphc.arange(y.numel()).reshape(y.shape).double()).cos()).sum()
    for k in range(3):
        grads = [
            graphc.zeros_like(t) if g is None else g
            for t, g in zip(
                (x, src), graphc.autograd.grad(s, (x, src), create_graph=True, allow_unused=True)
            )
        ]
        found += [g.detach() for g in grads]
        s = sum(
            (g * (k + 1.5 + graphc.arange(g.numel()).reshape(g.shape).double()).sin()).sum()
            for g in grads
        )
        if not s.requires_grad:
            break
    return found


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("form", FORMS)
def test_derivatives_are_those_of_the_product_written_out(
    form: str, zeros: str, compiled: bool
) -> None:
    generator = graphc.Generator().manual_seed(3)
    x, src = (graphc.randn(n, 5, generator=generator, dtype=graphc.float64) for n in (3, 6))
    for place in ZEROS[zeros]:
        x[place] = 0.0
        if form == "scatter" and zeros != "all":
            src[place] = 0.0
    x.requires_grad_(), src.requires_grad_()
    f, plain = FORMS[form]
    run = graphc.compile(derivatives) if compiled else derivatives
    for got, want in zip(run(f, x, src), derivatives(plain, x, src)):
        assert graphc.allclose(got, want, rtol=1e-9, atol=1e-12)
