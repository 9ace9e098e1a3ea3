"""Losses against PyTorch: values, gradients, options and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn

torch: Any = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((6, 4)) * 3
IMAGES = RNG.standard_normal((2, 4, 3, 2))
CLASSES = np.array([0, 3, 1, -100, 2, 2])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25])
SHARES = RNG.dirichlet(np.ones(4), 6)

# loss, input, target, options
ROWS: list[tuple[str, Any, Any, dict[str, Any]]] = [
    ("cross_entropy", LOGITS, CLASSES, {}),
    ("cross_entropy", LOGITS, CLASSES, {"weight": WEIGHT}),
    ("cross_entropy", LOGITS, CLASSES, {"label_smoothing": 0.1}),
    ("cross_entropy", LOGITS, CLASSES, {"label_smoothing": 0.1, "weight": WEIGHT}),
    ("cross_entropy", LOGITS, np.array([0, 3, 1, 2, 2, 2]), {"ignore_index": 2}),
    ("cross_entropy", LOGITS, np.full(6, -100), {}),
    ("cross_entropy", LOGITS[0], np.array(2), {}),
    ("cross_entropy", IMAGES, RNG.integers(0, 4, (2, 3, 2)), {"weight": WEIGHT}),
    ("cross_entropy", LOGITS, SHARES, {}),
    ("cross_entropy", LOGITS, SHARES, {"weight": WEIGHT, "label_smoothing": 0.2}),
    ("nll_loss", LOGITS, CLASSES, {"weight": WEIGHT}),
    ("nll_loss", LOGITS, CLASSES.clip(0).astype(np.uint8), {}),
    ("mse_loss", LOGITS, SHARES, {}),
    ("l1_loss", LOGITS, SHARES, {}),
    ("smooth_l1_loss", LOGITS, SHARES, {"beta": 0.7}),
    ("smooth_l1_loss", LOGITS, SHARES, {"beta": 0.0}),
    ("huber_loss", LOGITS, SHARES, {"delta": 0.7}),
    ("binary_cross_entropy_with_logits", LOGITS, SHARES, {}),
    ("binary_cross_entropy_with_logits", LOGITS * 0, SHARES, {}),
    ("binary_cross_entropy_with_logits", LOGITS * 99, SHARES, {"pos_weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", LOGITS, SHARES, {"weight": WEIGHT}),
    ("kl_div", LOGITS, SHARES, {}),
    ("kl_div", LOGITS, np.log(SHARES), {"log_target": True}),
]


def converted(options: dict[str, Any], make: Any) -> dict[str, Any]:
    return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("row", ROWS, ids=[f"{r[0]}-{k}" for k, r in enumerate(ROWS)])
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_loss(row: Any, reduction: str) -> None:
    name, x, target, options = row
    mine = graphc.tensor(x, requires_grad=True)
    theirs = torch.tensor(x, requires_grad=True)
    loss = getattr(F, name)(
        mine, graphc.tensor(target), reduction=reduction, **converted(options, graphc.tensor)
    )
    expected = getattr(torch.nn.functional, name)(
        theirs, torch.tensor(target), reduction=reduction, **converted(options, torch.tensor)
    )
    np.testing.assert_allclose(loss.detach().numpy(), expected.detach().numpy(), 1e-10, 1e-12)
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), 1e-10, 1e-12)


LAYERS: list[tuple[str, dict[str, Any], Any]] = [
    ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.1}, CLASSES),
    ("NLLLoss", {"ignore_index": 3}, CLASSES.clip(0)),
    ("MSELoss", {"reduction": "sum"}, SHARES),
    ("L1Loss", {}, SHARES),
    ("SmoothL1Loss", {"beta": 2.0}, SHARES),
    ("HuberLoss", {"delta": 2.0}, SHARES),
    ("BCEWithLogitsLoss", {"pos_weight": WEIGHT}, SHARES),
    ("KLDivLoss", {"reduction": "batchmean"}, SHARES),
]


@pytest.mark.parametrize(("name", "options", "target"), LAYERS, ids=[r[0] for r in LAYERS])
def test_loss_layer(name: str, options: dict[str, Any], target: Any) -> None:
    mine = getattr(nn, name)(**converted(options, graphc.tensor))
    theirs = getattr(torch.nn, name)(**converted(options, torch.tensor))
    loss = mine(graphc.tensor(LOGITS), graphc.tensor(target))
    expected = theirs(torch.tensor(LOGITS), torch.tensor(target))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    assert list(mine.state_dict()) == list(theirs.state_dict())


X = graphc.zeros(3, 4)
ERRORS: list[tuple[str, Any, type[Exception]]] = [
    ("int32", lambda: F.cross_entropy(X, graphc.zeros(3, dtype=graphc.int32)), RuntimeError),
    ("batch", lambda: F.cross_entropy(X, graphc.zeros(2, dtype=graphc.int64)), ValueError),
    ("shape", lambda: F.cross_entropy(X, graphc.zeros(3, 2, dtype=graphc.int64)), RuntimeError),
    ("high", lambda: F.cross_entropy(X, graphc.full((3,), 4)), IndexError),
    ("low", lambda: F.cross_entropy(X, graphc.full((3,), -1)), IndexError),
    ("smoothing", lambda: nn.CrossEntropyLoss(label_smoothing=1.5), ValueError),
    ("reduction", lambda: F.mse_loss(X, X, reduction="average"), ValueError),
    ("weight", lambda: F.cross_entropy(X, graphc.full((3,), 1), graphc.ones(3)), RuntimeError),
    ("logits", lambda: F.binary_cross_entropy_with_logits(X, graphc.ones(3)), ValueError),
]


@pytest.mark.parametrize(("name", "call", "error"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_different_sizes_warn() -> None:
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(graphc.zeros(3, 1), graphc.zeros(3))


def test_half_losses_are_computed_wide_and_rounded_once() -> None:
    x = graphc.tensor(LOGITS).half()
    loss = F.cross_entropy(x, graphc.tensor(CLASSES))
    wide = F.cross_entropy(x.float(), graphc.tensor(CLASSES))
    assert loss.dtype is graphc.float16 and loss.item() == wide.half().item()
