"""Loss layers."""

from __future__ import annotations

from graphc.errors import InvalidArgument
from graphc.frontend import trace as tracing
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f32, f64
from graphc.nn import functional as F
from graphc.nn.functional.arguments import legacy_reduction
from graphc.nn.functional.losses import check_smoothing
from graphc.nn.module import Module

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]

Flag = bool | None


class Loss(Module):
    """A loss with a `reduction`."""

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = legacy_reduction(size_average, reduce, reduction)


class MSELoss(Loss):
    """Squared difference.

    input and target of one shape -> [] ("none": that shape). Shapes that broadcast give a warning;
    others raise ShapeMismatch.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """Absolute difference.

    input and target of one shape -> [] ("none": that shape). Shapes that broadcast give a warning;
    others raise ShapeMismatch. The gradient is 0 where the two are equal.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """Half the square of small differences, absolute value of large ones.

    input and target of one shape -> [] ("none": that shape). Shapes that broadcast give a warning;
    others raise ShapeMismatch. Girshick 2015.
    """

    def __init__(
        self,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """Half the square of small differences, linear above delta.

    input and target of one shape -> [] ("none": that shape). Shapes that broadcast give a warning;
    others raise ShapeMismatch. Huber 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(Loss):
    """target * (log target - input), input being log probabilities.

    input and target of one shape -> [] ("none": that shape). "batchmean" divides by B, as the
    definition does; "mean" by all elements. Raises ShapeMismatch where the shapes do not broadcast.
    """

    def __init__(
        self,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class WeightedLoss(Loss):
    """A loss with a weight per class, held as a buffer."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class BCEWithLogitsLoss(WeightedLoss):
    """Binary cross-entropy of logits.

    input and target of one shape -> [] ("none": that shape). Raises InvalidArgument for different
    shapes. pos_weight [C] weighs what is 1.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class NLLLoss(WeightedLoss):
    """Minus the log probability of each target class.

    input [B, C, ...] or [C] of log probabilities, target [B, ...] or [] of classes -> [] ("none":
    the target's shape). Raises IndexOutOfRange for a class outside 0..C-1.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Flag = None,
        ignore_index: int = -100,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class CrossEntropyLoss(WeightedLoss):
    """Negative log likelihood of the softmax of logits; see functional.cross_entropy.

    input [B, C, ...] or [C], target [B, ...] or [] of classes, or of the input's shape of
    probabilities -> [] ("none": the classes' shape). Raises IndexOutOfRange for a class outside
    0..C-1, InvalidArgument for another batch, ShapeMismatch for float classes.
    """

    run_time_scalars = frozenset({"label_smoothing"})

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Flag = None,
        ignore_index: int = -100,
        reduce: Flag = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise InvalidArgument(
                f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
            )
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def _smoothing(self) -> float:
        check_smoothing(self.label_smoothing)
        return float(self.label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        smoothing: float | Tensor = self.label_smoothing
        smooths = tracing.guard(self._number("label_smoothing", lambda: self.label_smoothing != 0))
        if smooths and tracing.active() is not None:
            key = ("label_smoothing", id(self))
            get = self._number("label_smoothing", self._smoothing)
            dtype = f64 if input.dtype is f64 else f32
            smoothing = tracing.host_scalar(get, dtype, "label_smoothing", key)
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=smoothing,
        )
