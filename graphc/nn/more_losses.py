"""Loss layers of margins, distances and distributions; losses.py has the plain ones."""

from __future__ import annotations

from collections.abc import Callable

from graphc.errors import InvalidArgument
from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional.ctc import Lengths
from graphc.nn.losses import Flag, Loss, WeightedLoss
from graphc.nn.module import Module

__all__ = [
    "BCELoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "PairwiseDistance",
    "PoissonNLLLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class CosineSimilarity(Module):
    """Cosine of the angle between vectors along `dim`.

    x1, x2 [..., D, ...], which broadcast -> [...] without `dim`. Raises ShapeMismatch where they do
    not.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """p-norm of the difference of vectors.

    x1, x2 [..., D], which broadcast -> [...], or [..., 1] with `keepdim`. Raises ShapeMismatch
    where they do not.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class BCELoss(WeightedLoss):
    """Binary cross-entropy of probabilities.

    input and target of one shape -> [] ("none": that shape). Raises InvalidArgument for different
    shapes, InvalidState for an input that is not in [0, 1].
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + e^(-t x)) of targets 1 and -1.

    input and target of one shape -> [] ("none": that shape). Raises ShapeMismatch where they do not
    broadcast.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """A margin between each label of a sample and every other class.

    input [B, C] or [C], target of that shape: labels, of which the first -1 ends the list -> []
    ("none": [B]). Raises ShapeMismatch for another shape.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(WeightedLoss):
    """Mean over classes of the binary cross-entropy of logits.

    input and target (0 and 1) [B, C], weight [C] -> [] ("none": [B]). Raises ShapeMismatch where
    they do not broadcast.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(WeightedLoss):
    """A margin between the target class and every other one.

    input [B, C] or [C], target [B] or [] of classes, weight [C] -> [] ("none": [B]). Raises
    IndexOutOfRange for a class outside 0..C-1.
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise InvalidArgument("only p == 1 and p == 2 supported")
        if weight is not None and weight.dim() != 1:
            raise InvalidArgument("weight must be None or a 1-d tensor of classes")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class PoissonNLLLoss(Loss):
    """Negative log likelihood of counts with Poisson rates.

    input (log rates with `log_input`) and target of one shape, or that broadcast -> [] ("none":
    that shape). Raises ShapeMismatch where they do not.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Flag = None,
        eps: float = 1e-8,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Loss):
    """Negative log likelihood under Gaussians of predicted mean and variance.

    input, target [B, ...], var of that shape, without the last dimension or with 1 there -> []
    ("none": the input's shape). Raises InvalidArgument for a negative variance. Nix and Weigend
    1994.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class _MarginLoss(Loss):
    """A loss with a margin before the flags."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class HingeEmbeddingLoss(_MarginLoss):
    """x for similar pairs, max(0, margin - x) for others.

    input and target (1 and -1) of one shape -> [] ("none": that shape). Raises ShapeMismatch where
    they do not broadcast.
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_MarginLoss):
    """max(0, -t (x1 - x2) + margin).

    x1, x2 and t (1 where x1 should be larger, else -1) [B] -> [] ("none": [B]). Raises
    ShapeMismatch for different ranks.
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cos for similar pairs, max(0, cos - margin) for others.

    x1, x2 [B, D], target [B] of 1 and -1, or without B -> [] ("none": [B]). Raises ShapeMismatch
    for another batch.
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class TripletMarginLoss(Loss):
    """max(0, |a - p| - |a - n| + margin).

    anchor, positive, negative [B, D] or [D] -> [] ("none": [B] or []). Raises ShapeMismatch where
    they do not broadcast. Balntas et al. 2016.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise InvalidArgument(f"margin must be greater than 0, got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(Loss):
    """TripletMarginLoss with any distance.

    anchor, positive, negative [B, ...]; `distance_function` gives [B] of two of them -> [] ("none":
    [B]).
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise InvalidArgument(f"margin must be greater than 0, got {margin}")
        self.distance_function = distance_function or PairwiseDistance()
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CTCLoss(Loss):
    """Connectionist temporal classification; see functional.ctc_loss.

    log_probs [T, B, C] or [T, C], targets [B, S] or all in one row, lengths [B] -> [] ("none":
    [B]). Graves et al. 2006.
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths
    ) -> Tensor:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
