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
SIGNS = np.where(SHARES > 0.25, 1.0, -1.0)
LABELS = np.array([[1, 2, -1, 3], [-1, 0, 1, 2], [3, 3, 0, -1], [0, 1, 2, 3], [2, -1] * 2, [0] * 4])

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
    ("mse_loss", LOGITS, SHARES, {"weight": SHARES}),
    ("l1_loss", LOGITS, SHARES, {"weight": SHARES}),
    ("huber_loss", LOGITS, SHARES, {"weight": SHARES}),
    ("binary_cross_entropy", SHARES[:, ::-1].copy(), SHARES, {"weight": WEIGHT}),
    ("binary_cross_entropy", np.array([0.0, 1.0, 1e-30]), np.array([1.0, 0.5, 0.5]), {}),
    ("poisson_nll_loss", LOGITS, np.round(SHARES * 9), {"full": True}),
    ("poisson_nll_loss", np.exp(LOGITS), SHARES, {"log_input": False}),
    ("hinge_embedding_loss", LOGITS, SIGNS, {"margin": 0.7}),
    ("soft_margin_loss", LOGITS * 30, SIGNS, {}),
    ("multi_margin_loss", LOGITS, CLASSES.clip(0), {}),
    ("multi_margin_loss", LOGITS, CLASSES.clip(0), {"p": 2, "margin": 0.6, "weight": WEIGHT}),
    ("multi_margin_loss", LOGITS[0], np.array(2), {}),
    ("multilabel_margin_loss", LOGITS, LABELS, {}),
    ("multilabel_margin_loss", LOGITS[1], LABELS[1], {}),
    ("multilabel_soft_margin_loss", LOGITS, np.round(SHARES), {"weight": WEIGHT}),
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
    ("PoissonNLLLoss", {"full": True}, SHARES),
    ("HingeEmbeddingLoss", {}, SIGNS),
    ("SoftMarginLoss", {"reduction": "sum"}, SIGNS),
    ("MultiMarginLoss", {"p": 2, "weight": WEIGHT}, CLASSES.clip(0)),
    ("MultiLabelMarginLoss", {}, LABELS),
    ("MultiLabelSoftMarginLoss", {"weight": WEIGHT}, SHARES),
]


@pytest.mark.parametrize(("name", "options", "target"), LAYERS, ids=[r[0] for r in LAYERS])
def test_loss_layer(name: str, options: dict[str, Any], target: Any) -> None:
    mine = getattr(nn, name)(**converted(options, graphc.tensor))
    theirs = getattr(torch.nn, name)(**converted(options, torch.tensor))
    loss = mine(graphc.tensor(LOGITS), graphc.tensor(target))
    expected = theirs(torch.tensor(LOGITS), torch.tensor(target))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    assert list(mine.state_dict()) == list(theirs.state_dict())


SECOND = RNG.standard_normal((6, 4))
THIRD = RNG.standard_normal((6, 4))
RANK = np.where(RNG.random(6) < 0.5, 1.0, -1.0)

# loss layer, options, inputs
SEVERAL: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("BCELoss", {"weight": WEIGHT}, [SHARES, np.round(SHARES)]),
    ("GaussianNLLLoss", {"full": True}, [LOGITS, SECOND, SHARES]),
    ("GaussianNLLLoss", {"eps": 0.2, "reduction": "sum"}, [LOGITS, SECOND, SHARES[:, :1]]),
    ("GaussianNLLLoss", {"reduction": "none"}, [LOGITS, SECOND, SHARES[:, 0]]),
    ("MarginRankingLoss", {"margin": 0.3}, [LOGITS[:, 0], SECOND[:, 0], RANK]),
    ("CosineEmbeddingLoss", {"margin": 0.1}, [LOGITS, SECOND, RANK]),
    ("CosineEmbeddingLoss", {"reduction": "none"}, [LOGITS[0], SECOND[0], RANK[0]]),
    ("TripletMarginLoss", {}, [LOGITS, SECOND, THIRD]),
    ("TripletMarginLoss", {"p": 1, "swap": True, "margin": 3.0}, [LOGITS, SECOND, THIRD]),
    ("TripletMarginWithDistanceLoss", {"swap": True}, [LOGITS, SECOND, THIRD]),
    ("CosineSimilarity", {"dim": 0}, [LOGITS, SECOND]),
    ("PairwiseDistance", {"p": 3, "keepdim": True}, [LOGITS, SECOND]),
]


@pytest.mark.parametrize(
    ("name", "options", "inputs"), SEVERAL, ids=[f"{r[0]}-{k}" for k, r in enumerate(SEVERAL)]
)
def test_loss_of_several_inputs(name: str, options: Any, inputs: Any) -> None:
    mine = getattr(nn, name)(**converted(options, graphc.tensor))
    theirs = getattr(torch.nn, name)(**converted(options, torch.tensor))
    ours = [graphc.tensor(x, requires_grad=k < 2) for k, x in enumerate(inputs)]
    others = [torch.tensor(x, requires_grad=k < 2) for k, x in enumerate(inputs)]
    loss, expected = mine(*ours), theirs(*others)
    np.testing.assert_allclose(loss.detach().numpy(), expected.detach().numpy(), 1e-10, 1e-12)
    assert repr(mine) == repr(theirs)
    loss.sum().backward(), expected.sum().backward()
    for x, y in zip(ours[:2], others[:2]):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), 1e-9, 1e-12)
    compiled = graphc.compile(lambda *given: mine(*given).detach())
    np.testing.assert_allclose(compiled(*ours).numpy(), expected.detach().numpy(), 1e-10, 1e-12)


CTC: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    ("rows", {}, [[1, 2, 2], [3, 1, 0], [2, 9, 9]], [7, 5, 4], [3, 2, 1]),
    ("one_row", {"reduction": "sum"}, [1, 2, 2, 3, 1, 2], [7, 5, 4], [3, 2, 1]),
    (
        "blank",
        {"blank": 3, "reduction": "none"},
        [[1, 2, 2], [0, 1, 0], [2, 2, 2]],
        [7] * 3,
        [3] * 3,
    ),
    ("too_long", {"zero_infinity": True}, [[1, 1, 1], [1, 2, 3], [2, 2, 2]], [4, 7, 2], [3] * 3),
    ("nothing", {}, [[1, 2, 2], [3, 1, 0], [2, 2, 2]], [7, 5, 4], [3, 0, 1]),
]


@pytest.mark.parametrize("row", CTC, ids=[r[0] for r in CTC])
@pytest.mark.parametrize("compiled", [False, True])
def test_ctc(row: Any, compiled: bool) -> None:
    _, options, targets, inputs, lengths = row
    logits = np.random.default_rng(5).standard_normal((7, 3, 4))
    x = graphc.tensor(logits, requires_grad=True)
    y = torch.tensor(logits, requires_grad=True)
    labels = np.minimum(np.array(targets), 3) if row[0] != "rows" else np.array(targets)

    def loss_of(x: Any) -> Any:
        logp = F.log_softmax(x, 2)
        given = logp, graphc.tensor(labels), inputs, lengths
        loss = F.ctc_loss(*given, **options) if compiled else nn.CTCLoss(**options)(*given)
        loss.sum().backward()
        return loss.detach()

    loss = (graphc.compile(loss_of) if compiled else loss_of)(x)
    expected = torch.nn.CTCLoss(**options)(
        torch.log_softmax(y, 2), torch.tensor(labels), torch.tensor(inputs), torch.tensor(lengths)
    )
    expected.sum().backward()
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), 1e-10)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), 1e-8, 1e-10)


def test_the_gradient_of_ctc_is_that_of_its_value() -> None:
    """Of log_probs that no log_softmax made, by central differences in float64."""
    given = np.log(np.random.default_rng(3).uniform(0.1, 1.0, (5, 2, 4)))

    def loss(x: Any) -> Any:
        return F.ctc_loss(x, graphc.tensor([[1, 2, 2], [3, 1, 0]]), [5, 4], [3, 2], reduction="sum")

    x = graphc.tensor(given, requires_grad=True)
    loss(x).backward()
    for at in np.ndindex(given.shape):
        step = np.zeros_like(given)
        step[at] = 1e-6
        low, high = (loss(graphc.tensor(given + sign * step)).item() for sign in (-1, 1))
        assert x.grad[at].item() == pytest.approx((high - low) / 2e-6, abs=1e-7)


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
