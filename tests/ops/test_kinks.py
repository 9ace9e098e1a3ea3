"""Values and gradients at kinks, ties, zeros, degenerate and empty inputs: as torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

Data = list[Any]
ZEROS: Data = [[0.0, -1.0, 1.0, -0.0], [2.0, -2.0, 0.5, 1.0], [1.0, 1.0, 0.0, -1.5]]
TIES: Data = [[0.0, 1.0, -1.0, 2.0], [2.0, 1.0, 0.5, -1.0], [-1.0, 1.0, 0.0, -0.0]]
NOTHING: Data = [[0.0, 0.0], [0.0, 0.0]]
ORTHOGONAL: Data = [[0.6, 0.8], [-0.8, 0.6]]
TALL: Data = [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]
WIDE: Data = [[1.0, -1.0, 0.5], [2.0, 0.25, 3.0]]
RANK_ONE: Data = [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]
ORDERS = (0, 0.5, 1, 1.5, 2, 2.5, 3, -1, -2.5, float("inf"), -float("inf"))

LOW: Data = [[-float("inf")] * 7 + [1.0], [-float("inf")] * 8, [1.0] + [-float("inf")] * 7]

Row = tuple[Callable[..., Any], Data]
ROWS: dict[str, Row] = {
    **{f"norm_{p}": (lambda T, x, p=p: x.norm(p), [ZEROS]) for p in ORDERS},
    **{
        f"vector_norm_{p}": (lambda T, x, p=p: T.linalg.vector_norm(x, p, dim=1), [ZEROS])
        for p in ORDERS
    },
    **{f"norm_of_zeros_{p}": (lambda T, x, p=p: x.norm(p, 0), [NOTHING]) for p in ORDERS if p > 0},
    **{
        f"pdist_{p}": (lambda T, x, p=p: T.nn.functional.pdist(x, p), [ZEROS])
        for p in ORDERS
        if p >= 0
    },
    **{f"cdist_{p}": (lambda T, x, y, p=p: T.cdist(x, y, p), [ZEROS, TIES]) for p in ORDERS[:7]},
    "cdist_inf": (lambda T, x, y: T.cdist(x, y, float("inf")), [ZEROS, TIES]),
    "normalize_half": (lambda T, x: T.nn.functional.normalize(x, 0.5), [TIES]),
    **{
        f"pinv_{name}": (lambda T, x: T.linalg.pinv(x), [data])
        for name, data in {"orthogonal": ORTHOGONAL, "tall": TALL, "wide": WIDE}.items()
    },
    "pinv_rank_one": (lambda T, x: T.linalg.pinv(x, rtol=1e-6), [RANK_ONE]),
    "pinverse": (lambda T, x: x.pinverse(), [WIDE]),
    **{
        f"matrix_power_{n}": (lambda T, x, n=n: T.linalg.matrix_power(x, n), [ORTHOGONAL])
        for n in (-3, -1, 0, 1, 2)
    },
    "eigh": (lambda T, x: T.linalg.eigh(x).eigenvalues, [[[2.0, 1.0], [1.0, 3.0]]]),
    "copysign": (lambda T, x, y: T.copysign(x, y), [ZEROS, TIES]),
    "copysign_of_sign": (lambda T, y: T.copysign(T.ones_like(y).detach(), y), [TIES]),
    "clamp_tensors": (lambda T, x, a, b: T.clamp(x, a, b), [ZEROS, TIES, ZEROS]),
    "clamp_min_tensor": (lambda T, x, y: T.clamp_min(x, y), [ZEROS, TIES]),
    "clamp_max_tensor": (lambda T, x, y: x.clamp_max(y), [ZEROS, TIES]),
    "acosh": (lambda T, x: T.acosh(x), [ZEROS]),
    "logit": (lambda T, x: T.logit(x), [[0.0, 1.0, 0.5, -1.0, 2.0]]),
    "logaddexp": (lambda T, x, y: T.logaddexp(x, y), [ZEROS, TIES]),
    "kl_div": (lambda T, x: T.nn.functional.kl_div(x, x.detach(), reduction="sum"), [ZEROS]),
    "multi_margin": (
        lambda T, x: T.nn.functional.multi_margin_loss(x, T.tensor([0, 2, 1])),
        [ZEROS],
    ),
    "multilabel_margin": (
        lambda T, x: T.nn.functional.multilabel_margin_loss(x, T.tensor([[0, 2, -1, 0]] * 3)),
        [ZEROS],
    ),
    "soft_margin_wide": (
        lambda T, x, y: T.nn.functional.multilabel_soft_margin_loss(x[0], y),
        [ZEROS, TIES],
    ),
    "gather_nothing": (lambda T, x: x.gather(1, T.zeros(0, dtype=T.int64)), [ZEROS]),
    "scatter_nothing": (lambda T, x: x.scatter(0, T.zeros(0, dtype=T.int64), 2.0), [ZEROS]),
    "gather_0d": (lambda T, x: x.sum().gather(-1, T.tensor(0)), [ZEROS]),
    "gather_smaller": (lambda T, x: x.gather(-2, T.tensor([[2, 0]])), [ZEROS]),
    "take_along_negative": (
        lambda T, x: T.take_along_dim(x, T.tensor([[-1], [0], [-4]]), 1),
        [ZEROS],
    ),
    "index_fill_negative": (lambda T, x: x.index_fill(-1, T.tensor([-1, 0]), 2.0), [ZEROS]),
    "index_fill_0d": (lambda T, x: x.sum().index_fill(0, T.tensor(0), 2.0), [ZEROS]),
    "tensordot_lists": (lambda T, x, y: T.tensordot(x, y, ([-1, 0], [1, 0])), [ZEROS, TIES]),
    "tensordot_tensor": (lambda T, x, y: T.tensordot(x, y.mT, T.tensor(1)), [ZEROS, TIES]),
    "tensordot_none": (lambda T, x, y: T.tensordot(x, y, 0), [ZEROS, TIES]),
    "max_pool1d_low": (lambda T, x: T.nn.functional.max_pool1d(x, 4, 2, 2), [LOW]),
    "max_pool1d_low_dilated": (lambda T, x: T.nn.functional.max_pool1d(x, 3, 1, 1, 2), [LOW]),
    "max_pool2d_low": (lambda T, x: T.nn.functional.max_pool2d(x[None], 3, 2, 1), [LOW]),
    "max_pool2d_low_rows": (
        lambda T, x: T.nn.functional.max_pool2d(x.mT[None], (4, 3), (2, 1), (2, 0), 1, True),
        [LOW],
    ),
    "max_pool2d_low_behind": (
        lambda T, x: T.nn.functional.max_pool2d(T.nn.functional.leaky_relu(x)[None], 3, 2, 1),
        [LOW],
    ),
}
POOLS = [name for name in ROWS if name.startswith("max_pool")]
COMPILED = ["norm_0.5", "pinv_wide", "clamp_tensors", "copysign", "kl_div", *POOLS]


def outcome(T: Any, row: Row, compiled: bool = False) -> list[Any]:
    """The value and the gradient of a weighted sum of it; None of what gets none."""
    fn, data = row

    def step(*xs: Any) -> Any:
        y = fn(T, *xs)
        w = T.tensor(np.cos(np.arange(y.numel()) * 1.7).reshape(tuple(y.shape)))
        (y * w).sum().backward()
        return y.detach()

    xs = [T.tensor(d, dtype=T.float64).requires_grad_() for d in data]
    y = (graphc.compile(step) if compiled else step)(*xs)
    return [y.numpy(), *(None if x.grad is None else x.grad.numpy() for x in xs)]


def alike(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        b = np.zeros_like(a) if b is None else b
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ROWS)
def test_as_torch(name: str) -> None:
    with np.errstate(all="ignore"):
        alike(outcome(graphc, ROWS[name]), outcome(torch, ROWS[name]))


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_as_torch(name: str) -> None:
    with np.errstate(all="ignore"):
        alike(outcome(graphc, ROWS[name], compiled=True), outcome(torch, ROWS[name]))


# ---- in place ----------------------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("ReLU", "ReLU6", "SiLU", "Hardswish", "Mish", "Hardsigmoid", "Hardtanh"), ()),
    **dict.fromkeys(("SELU", "ELU", "CELU", "LeakyReLU", "RReLU"), ()),
    "Threshold": (0.1, 0.2),
}
BEFORE: dict[str, Callable[[Any], Any]] = {
    "mul": lambda x: x * 2,
    "square": lambda x: x.square(),  # reads what it was given
    "exp": lambda x: x.exp(),  # reads what it gave, which is overwritten
    "row": lambda x: (x * 2)[0],
    "flat": lambda x: (x * 2).view(-1),
}


def trained(T: Any, name: str, before: str, compiled: bool) -> Any:
    """The gradient through an activation that overwrites its input; None where it is refused."""
    act = getattr(T.nn, name)(*ACTIVATIONS[name], inplace=True).eval()

    def step(x: Any) -> Any:
        y = act(BEFORE[before](x))
        return (y * y).sum()

    x = T.tensor(np.linspace(-2, 2, 12).reshape(3, 4)).requires_grad_()
    try:
        (graphc.compile(step) if compiled else step)(x).backward()
    except RuntimeError:
        return None
    return x.grad.numpy()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_in_place_activations_train_where_torchs_do(name: str, before: str) -> None:
    ours, theirs = trained(graphc, name, before, False), trained(torch, name, before, False)
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["SiLU", "Hardswish", "Mish", "Hardsigmoid"])
def test_in_place_activations_train_compiled(name: str) -> None:
    ours, theirs = trained(graphc, name, "mul", True), trained(torch, name, "mul", False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


def gated(T: Any, compiled: bool) -> list[Any]:
    """Squeeze and excitation as in EfficientNet: x *= gate(x)."""
    weight = T.tensor(np.cos(np.arange(16.0)).reshape(4, 4)).requires_grad_()

    def step(x: Any) -> Any:
        h = T.nn.functional.silu(x @ weight, inplace=True)
        gate = T.nn.functional.hardsigmoid(h.mean(0, keepdim=True) @ weight, inplace=True)
        h *= gate
        return h.square().sum()

    x = T.tensor(np.linspace(-2, 2, 12).reshape(3, 4)).requires_grad_()
    (graphc.compile(step) if compiled else step)(x).backward()
    return [x.grad.numpy(), weight.grad.numpy()]


@pytest.mark.parametrize("compiled", [False, True])
def test_gates_in_place(compiled: bool) -> None:
    alike(gated(graphc, compiled), gated(torch, False))
