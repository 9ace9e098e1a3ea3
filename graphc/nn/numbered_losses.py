"""Losses in PyTorch's own namespace, whose reduction is a number: 0, 1, 2 are none, mean, sum.

What they compute is what `nn.functional` does. A reduction that is not given is none, as PyTorch's
binding has it, whatever its schema says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F

__all__ = [
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "ctc_loss",
    "hinge_embedding_loss",
    "kl_div",
    "margin_ranking_loss",
    "poisson_nll_loss",
    "triplet_margin_loss",
]

REDUCTIONS = ("none", "mean", "sum")


def word(words: Sequence[str], number: int, what: str) -> str:
    """What a number stands for."""
    if not 0 <= number < len(words):
        raise InvalidArgument(f"{number} is not a valid value for {what}")
    return words[number]


def reduction_of(number: int) -> str:
    return word(REDUCTIONS, number, "reduction")


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """The loss of logits against targets in 0..1; reduction 0, 1, 2: none, mean, sum."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=reduction_of(reduction), pos_weight=pos_weight
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """1 - cosine where the target is 1, what it exceeds the margin by where -1.

    input1, input2 [B, D], target [B] -> [B]; reduction 0, 1, 2: none, mean, sum.
    """
    how = reduction_of(reduction)
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=how)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of all alignments; reduction 0, 1, 2: none, mean, sum.

    log_probs [T, B, C], targets [B, S] -> [B].
    """
    how = reduction_of(reduction)
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0
) -> Tensor:
    """The distance where the target is 1, what it falls short of the margin by where -1."""
    how = reduction_of(reduction)
    return F.hinge_embedding_loss(input, target, margin, reduction=how)


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False
) -> Tensor:
    """target * (log target - input); reduction 0, 1, 2: none, mean, sum."""
    how = reduction_of(reduction)
    return F.kl_div(input, target, reduction=how, log_target=log_target)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """max(0, margin - target * (x1 - x2)); reduction 0, 1, 2: none, mean, sum."""
    how = reduction_of(reduction)
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=how)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """Minus the log likelihood of counts, of one shape; reduction 0, 1, 2: none, mean, sum."""
    how = reduction_of(reduction)
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=how)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """max(0, |a - p| - |a - n| + margin); reduction 0, 1, 2: none, mean, sum. [B, D] -> [B]."""
    how = reduction_of(reduction)
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=how)
