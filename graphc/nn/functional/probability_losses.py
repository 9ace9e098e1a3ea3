"""Losses of predicted distributions: Bernoulli, Poisson and Gaussian."""

from __future__ import annotations

from math import log, pi

from graphc.errors import InvalidArgument, InvalidState
from graphc.frontend.api.elementwise import where
from graphc.frontend.checked import checked
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.nn.functional.arguments import legacy_reduction, reduced

__all__ = ["binary_cross_entropy", "gaussian_nll_loss", "poisson_nll_loss"]

Flag = bool | None
# The least p (1 - p) that PyTorch divides by in the gradient: 1e-12, rounded to float32.
LEAST_SPREAD = 9.999999960041972e-13
LEAST_LOG = -100.0  # PyTorch's bound of log(0), which keeps the loss finite


@whole("binary_cross_entropy")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, with each log at least -100.

    input and target of one shape -> [], or with reduction "none" that shape. Raises InvalidArgument
    for different shapes, InvalidState for an input that is not in [0, 1].
    """
    if input.shape != target.shape:
        raise InvalidArgument(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    floating(input, "binary_cross_entropy")
    input, target = _checked("input", input), _checked("target", target)
    x, spread = input.detach(), input.detach() * (1.0 - input.detach())
    inside = spread > LEAST_SPREAD
    # At 0 and 1 the logs are cut off, and the derivative is the one that PyTorch gives there.
    edge = _cut_off(x, target) + (x - target).detach() / LEAST_SPREAD * (input - x)
    loss = where(inside, _cut_off(where(inside, input, 0.5), target), edge)
    loss = loss if weight is None else loss * weight
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def _checked(name: str, p: Tensor) -> Tensor:
    return checked(
        p,
        (p >= 0) & (p <= 1),
        f"all elements of {name} should be between 0 and 1",
        InvalidState,
        fix="binary_cross_entropy_with_logits takes values before the sigmoid",
    )


def _cut_off(p: Tensor, target: Tensor) -> Tensor:
    no = (1.0 - p).log().clamp_min(LEAST_LOG)
    return (target - 1.0) * no - target * p.log().clamp_min(LEAST_LOG)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Flag = None,
    eps: float = 1e-8,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - t x of log rates x (or r - t log(r + eps)); `full` adds Stirling's log t!.

    input (log rates with `log_input`) and target that broadcast -> [], or with reduction "none"
    their shape. Raises ShapeMismatch where they do not.
    """
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        safe = where(target > 1, target, 1.0)
        stirling = safe * safe.log() - safe + 0.5 * (safe * (2 * pi)).log()
        loss = loss + where(target > 1, stirling, 0.0)
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps), whose gradient ignores the bound.

    input, target [B, ...], var of that shape, without the last dimension or with 1 there -> [], or
    with reduction "none" the input's shape. Raises InvalidArgument for a negative variance. Nix and
    Weigend 1994.
    """
    spread = var if isinstance(var, Tensor) else input.new_full((), float(var))
    if spread.shape != input.shape and spread.dim():
        if input.shape[:-1] == spread.shape:
            spread = spread.unsqueeze(-1)
        elif input.dim() != spread.dim() or any(
            m not in (1, n) for n, m in zip(input.shape, spread.shape)
        ):
            raise InvalidArgument("var is of incorrect size")
    negative = floating(spread, "gaussian_nll_loss") < 0
    spread = checked(spread, ~negative, "var has negative entry/entries", InvalidArgument)
    spread = spread + (spread.clamp_min(eps) - spread).detach()
    d = input - target
    loss = 0.5 * (spread.log() + d * d / spread)
    return reduced(loss + 0.5 * log(2 * pi) if full else loss, reduction)
