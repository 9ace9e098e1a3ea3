"""Values and gradients at NaN, infinities, zeros and ties beside torch's, eager and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

nan, inf = math.nan, math.inf
Data = list[Any]
ODD = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.0, -3.0]
LEFT, RIGHT = [a for a in ODD for _ in ODD], [b for _ in ODD for b in ODD]
INDEX = [[0, 0, 1, 1], [0, 1, 1, 2], [2, 2, 2, 2]]
INPUT: Data = [[1.0, nan, 2, 5], [0, 3, 0, nan], [1, 4, 5, 5]]
SOURCES: dict[str, Data] = {
    "ties": [[1.0, 2, 3, 3], [2, 2, 3, 1], [1, 1, 5, 5]],
    "zeros": [[0.0, 2, 0, 3], [2, 0, 3, 1], [0, 0, 5, 5]],
    "nan": [[nan, 2, nan, 0], [2, nan, 3, 1], [0, 0, 5, nan]],
    "inf": [[inf, 2, -inf, 3], [inf, 0, -inf, 1], [0, inf, 5, -inf]],
}
FACTORS: Data = [
    [1.0, nan, 0, 2], [nan, 3, 1, 2], [0, 0, 3, 1], [0, 1, 2, 3], [inf, 0, 1, 2], [nan, 0, 0, 1],
    [nan, nan, 0, 1], [0, 0, 0, 2], [1, 2, 3, inf], [inf, nan, 0, 1], [-inf, -inf, 2, 0],
]  # fmt: skip
POWERS: Data = [
    [-inf, -inf, 1.0, 2], [1, -inf, inf, 2], [inf, 1, inf, 2], [nan, 1, 2, 3], [1, nan, -inf, 2],
    [-inf, inf, -inf, 0], [-inf] * 4, [1, 2, 3, 4], [800, -800, 0, 799],
]  # fmt: skip
NEAR: Data = [[nan, 1.0, 2], [1, 2, 3], [0, 0, 0], [inf, 1, 2], [1, 1, 1]]
FAR: Data = [[1.0, 2, 3], [nan, nan, 2], [0, 0, 0], [1, 2, 3.5], [inf, 1, 2]]
LINES: Data = [[0.0, 0, 0], [1, 0, 2], [0, -1, 3], [nan, 0, 1], [inf, 0, 1]]

Row = tuple[Callable[..., Any], list[Data]]
ROWS: dict[str, Row] = {
    **{
        f"scatter_{mode}_{kind}_{own}": (
            lambda T, x, y, mode=mode, own=own: x.scatter_reduce(
                0, T.tensor(INDEX), y, mode, include_self=own
            ),
            [INPUT, source],
        )
        for mode in ("prod", "amax", "amin", "mean")
        for kind, source in SOURCES.items()
        for own in (True, False)
    },
    **{
        f"index_{mode}_{kind}": (
            lambda T, x, y, mode=mode: x.index_reduce(
                0, T.tensor([0, 2, 2]), y, mode, include_self=False
            ),
            [INPUT, source],
        )
        for mode in ("prod", "amax", "amin")
        for kind, source in SOURCES.items()
    },
    "prod": (lambda T, x: x.prod(1), [FACTORS]),
    "prod_of_all": (lambda T, x: x.prod(), [FACTORS]),
    **{f"prod_{k}": (lambda T, x: x.prod(), [row]) for k, row in enumerate(FACTORS)},
    **{f"cumprod_{k}": (lambda T, x, k=k: x.cumprod(k), [FACTORS]) for k in (0, 1)},
    **{
        name: (lambda T, x, y, name=name: getattr(T.special, name, getattr(T, name, None))(x, y),
               [LEFT, RIGHT])
        for name in ("logaddexp", "logaddexp2", "copysign", "xlogy", "xlog1py")
    },
    **{
        f"{name}_{v}": (lambda T, x, name=name, v=v: getattr(T.special, name)(x, v), [ODD])
        for name in ("xlogy", "xlog1py")
        for v in ODD
    },
    "xlogy_of_0": (lambda T, y: T.special.xlogy(0.0, y), [ODD]),
    **{f"copysign_{v}": (lambda T, x, v=v: T.copysign(x, v), [ODD]) for v in (-0.0, 2.0)},
    "logcumsumexp": (lambda T, x: x.logcumsumexp(1), [POWERS]),
    "entr": (lambda T, x: T.special.entr(x), [ODD]),
    **{f"cdist_{p}": (lambda T, x, y, p=p: T.cdist(x, y, p), [NEAR, FAR]) for p in (0, 1, 2, inf)},
    **{
        f"norm_{p}": (lambda T, x, p=p: x.norm(p, 1), [LINES])
        for p in (0, 0.25, 0.5, 1, 1.5, -0.5, -1)
    },
    "norm_of_all": (lambda T, x: x.norm(0.5), [LINES]),
}  # fmt: skip
COMPILED = [
    *("scatter_amax_ties_False", "scatter_prod_nan_True", "index_amin_zeros", "prod", "cumprod_1"),
    *("logaddexp", "logaddexp2", "copysign", "xlogy", "xlog1py", "logcumsumexp", "entr"),
    *("cdist_1", "cdist_inf", "norm_0.5", "norm_0"),
]


def weights(y: Any, turn: float) -> Any:
    return (1.25 + np.cos(np.arange(y.numel()) * turn)).reshape(tuple(y.shape))


def outcome(T: Any, row: Row, compiled: bool = False, dtype: str = "float64") -> list[Any]:
    """The value, and the gradients of a weighted sum of it; None of what gets none."""
    fn, data = row

    def step(*xs: Any) -> Any:
        y = fn(T, *xs)
        (y * T.tensor(weights(y, 1.7), dtype=y.dtype)).sum().backward()
        return y.detach()

    xs = [T.tensor(d, dtype=getattr(T, dtype)).requires_grad_() for d in data]
    y = (graphc.compile(step) if compiled else step)(*xs)
    return [y.numpy(), *(None if x.grad is None else x.grad.numpy() for x in xs)]


def alike(ours: list[Any], theirs: list[Any], rtol: float = 1e-6, atol: float = 1e-9) -> None:
    for a, b in zip(ours, theirs, strict=True):
        b = np.zeros_like(a) if b is None else b
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ROWS)
def test_as_torch(name: str) -> None:
    with np.errstate(all="ignore"):
        alike(outcome(graphc, ROWS[name]), outcome(torch, ROWS[name]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_as_torch(name: str) -> None:
    with np.errstate(all="ignore"):
        ours = outcome(graphc, ROWS[name], True, "float32")
        alike(ours, outcome(torch, ROWS[name], False, "float32"), 2e-4, 1e-7)


# ---- derivatives of these in turn --------------------------------------------------------------

PLAIN: Data = [[0.5, -1.5, 2.0, 0.25], [1.0, 3.0, -0.75, 1.25], [-2.0, 0.75, 1.5, -1.0]]
OTHER: Data = [[1.5, 0.5, 1.25, 2.0], [0.75, 2.5, 1.0, 3.0], [0.25, 1.75, 0.5, 2.25]]
AGAIN: dict[str, Row] = {
    "cumprod": (lambda T, x: x.cumprod(1), [PLAIN]),
    "logcumsumexp": (lambda T, x: x.logcumsumexp(1), [PLAIN]),
    "logaddexp": (lambda T, x, y: T.logaddexp(x, y), [PLAIN, OTHER]),
    "logaddexp2": (lambda T, x, y: T.logaddexp2(x, y), [PLAIN, OTHER]),
    "copysign": (lambda T, x, y: T.copysign(x, y) * x, [PLAIN, OTHER]),
    "xlogy": (lambda T, x, y: T.xlogy(x, y), [PLAIN, OTHER]),
    "xlog1py": (lambda T, x, y: T.special.xlog1py(x, y), [PLAIN, OTHER]),
    "entr": (lambda T, x: T.special.entr(x), [OTHER]),
    "norm": (lambda T, x: x.norm(0.5, 1), [PLAIN]),
    "amax": (
        lambda T, x, y: x.scatter_reduce(0, T.tensor(INDEX), y, "amax", include_self=False) * x,
        [PLAIN, OTHER],
    ),
}


def twice(T: Any, row: Row, compiled: bool) -> list[Any]:
    fn, data = row

    def step(*xs: Any) -> Any:
        y = fn(T, *xs)
        firsts = T.autograd.grad((y * T.tensor(weights(y, 1.7))).sum(), xs, create_graph=True)
        sum((g * T.tensor(weights(g, 0.9))).sum() for g in firsts).backward()

    xs = [T.tensor(d, dtype=T.float64).requires_grad_() for d in data]
    (graphc.compile(step) if compiled else step)(*xs)
    return [None if x.grad is None else x.grad.numpy() for x in xs]


@pytest.mark.parametrize("name", AGAIN)
def test_second_derivatives(name: str) -> None:
    alike(twice(graphc, AGAIN[name], False), twice(torch, AGAIN[name], False))


@pytest.mark.parametrize("name", ["cumprod", "logcumsumexp", "norm"])
def test_second_derivatives_compiled(name: str) -> None:
    alike(twice(graphc, AGAIN[name], True), twice(torch, AGAIN[name], False))


@pytest.mark.parametrize("name", ["copysign", "entr", "logaddexp", "norm"])
def test_a_write_between_is_refused(name: str) -> None:
    fn, data = AGAIN[name]
    xs = [graphc.tensor(d, dtype=graphc.float64).requires_grad_() * 1 for d in data]
    y = fn(graphc, *xs)
    xs[0].mul_(2)
    with pytest.raises(RuntimeError, match="in-place"):
        y.sum().backward()


IN_PLACE: dict[str, Callable[..., Any]] = {
    "cumprod": lambda T, y, w: y.cumprod_(0),
    "copysign": lambda T, y, w: y.copysign_(w),
    "xlogy": lambda T, y, w: y.xlogy_(w),
    "scatter": lambda T, y, w: y.scatter_reduce_(
        0, T.tensor([0, 0, 1]), w, "amax", include_self=False
    ),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    found = []
    for T in (graphc, torch):
        x, w = (T.tensor(v).requires_grad_() for v in ([1.0, 2, 3], [2.0, 3, 4]))
        IN_PLACE[name](T, x * 2, w).sum().backward()
        found.append([v.grad.numpy() for v in (x, w) if v.grad is not None])
    alike(*found)
