"""Losses with PyTorch's signatures, reductions and checks."""

from __future__ import annotations

from graphc.errors import DTypeMismatch, InvalidArgument, RefusedArgument, ShapeMismatch, warn
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.special import xlogy
from graphc.frontend.checked import required
from graphc.frontend.hostvalue import is_surely
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.types import i64, u8
from graphc.nn.functional.activation import log_one_plus_exp, log_softmax
from graphc.nn.functional.arguments import legacy_reduction, reduced, widened

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

Flag = bool | None


@whole("nll_loss")
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    ignore_index: int = -100,
    reduce: Flag = None,
    reduction: str = "mean",
    label_smoothing: float | Tensor = 0.0,
) -> Tensor:
    """Negative log likelihood of the softmax of logits [B,C,...], [C].

    target: classes [B,...] (i64 or u8) or probabilities of the logits' shape. A class outside
    0..C-1 other than ignore_index raises IndexOutOfRange. The mean is over the weights of the
    targets that count, so it is NaN if none does.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    label_smoothing = check_smoothing(label_smoothing)
    axis = _class_axis(input)
    logp = log_softmax(widened(input, "cross_entropy"), axis)
    if target.dtype.is_floating_point:
        if ignore_index >= 0:
            raise DTypeMismatch("ignore_index is not supported for floating point target")
        loss = _soft_cross_entropy(logp, target, weight, label_smoothing, axis, reduction)
    else:
        loss = _nll(logp, target, weight, ignore_index, label_smoothing, axis, reduction)
    return loss.to(input.dtype)


def check_smoothing(share: float | Tensor) -> float | Tensor:
    """share, which has to be a part of 1."""
    got = "" if isinstance(share, Tensor) else f". Got: {share}"
    text = f"label_smoothing must be between 0.0 and 1.0{got}"
    return required(share, lambda s: (s >= 0) & (s <= 1), text, RefusedArgument)  # type: ignore[no-any-return]


@whole("nll_loss")
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    ignore_index: int = -100,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log probability [B,C,...] of each target class; see cross_entropy.

    input [B, C, ...] or [C], target [B, ...] or [] of classes, weight [C] -> [], or with reduction
    "none" the target's shape. Raises IndexOutOfRange for a class outside 0..C-1 other than
    ignore_index, InvalidArgument for another reduction.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    axis = _class_axis(input)
    loss = _nll(widened(input, "nll_loss"), target, weight, ignore_index, 0.0, axis, reduction)
    return loss.to(input.dtype)


def _class_axis(input: Tensor) -> int:
    if input.dim() == 0:
        raise ShapeMismatch("the input needs a dimension of classes, got a 0-d tensor")
    return 0 if input.dim() == 1 else 1


def _nll(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    smoothing: float | Tensor,
    axis: int,
    reduction: str,
) -> Tensor:
    _check_classes(logp, target, weight, axis)
    classes = logp.shape[axis]
    target = target.to(i64)
    counted = target != ignore_index
    index = P.apply(
        "check_index", where(counted, target, 0), bound=classes, what="cross_entropy target"
    )
    chosen = P.one_hot(index.unsqueeze(axis), axis, logp.spec.shape)
    # A sum of wheres, not a gather: elementwise, it fuses with the softmax and its gradient.
    loss: Tensor = -where(chosen, logp, 0.0).sum(axis)
    share = counted.to(logp.dtype)
    if weight is not None:
        spread = _along(weight.to(logp.dtype), logp, axis)
        share = share * where(chosen, spread.expand(logp.shape), 0.0).sum(axis)
    loss = where(counted, loss * share, 0.0) if weight is not None else where(counted, loss, 0.0)
    if isinstance(smoothing, Tensor) or not is_surely(smoothing, 0):
        spread_loss = -(logp if weight is None else logp * spread).sum(axis)
        even = where(counted, spread_loss, 0.0)
        loss = loss * (1 - smoothing) + even * (smoothing / classes)
    if reduction == "mean":
        mean: Tensor = loss.sum() / share.sum()
        return mean
    return reduced(loss, reduction)


def _check_classes(logp: Tensor, target: Tensor, weight: Tensor | None, axis: int) -> None:
    if target.dtype not in (i64, u8):
        raise DTypeMismatch(
            f"expected scalar type Long or Byte but found {target.spec} as class targets",
            fix="convert the targets with .long()",
        )
    shape = (*logp.shape[:axis], *logp.shape[axis + 1 :])
    if axis and target.shape[:1] != logp.shape[:1]:
        raise InvalidArgument(
            f"Expected input batch_size ({logp.shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.dim() else 'none'})."
        )
    if tuple(target.shape) != shape:
        given = tuple(target.shape)
        ones = [k for k, n in enumerate(given) if n == 1 and given[:k] + given[k + 1 :] == shape]
        raise ShapeMismatch(
            f"Expected target size {list(shape)}, got {list(target.shape)}",
            why="there is one class number for each position of the logits beside their classes",
            fix=f"use target.squeeze({ones[-1]})" if ones else "",
        )
    if weight is not None and tuple(weight.shape) != (logp.shape[axis],):
        raise ShapeMismatch(
            f"weight tensor should be defined either for all {logp.shape[axis]} classes or no "
            f"classes but got weight tensor of shape: {list(weight.shape)}"
        )


def _soft_cross_entropy(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    smoothing: float | Tensor,
    axis: int,
    reduction: str,
) -> Tensor:
    if target.shape != logp.shape:
        raise ShapeMismatch(
            f"class targets must be int64 or uint8, and probabilities of the logits' shape "
            f"{list(logp.shape)}; got {target.spec}",
            why="floating targets are probabilities of the classes, not their numbers",
            fix="for class numbers pass target.long()",
        )
    target = target.to(logp.dtype)
    if isinstance(smoothing, Tensor) or not is_surely(smoothing, 0):
        target = target * (1 - smoothing) + smoothing / logp.shape[axis]
    terms = logp * target if weight is None else logp * target * _along(weight, logp, axis)
    loss = -terms.sum(axis)
    if reduction == "mean":
        return loss.sum() / loss.numel() if loss.numel() else loss.mean()
    return reduced(loss, reduction)


def _along(weight: Tensor, x: Tensor, axis: int) -> Tensor:
    """A vector of classes as a tensor that broadcasts along `axis` of x."""
    return weight.reshape([-1 if k == axis else 1 for k in range(x.dim())])


def _pair(input: Tensor, target: Tensor, name: str) -> Tensor:
    """input - target, with PyTorch's warning where their shapes differ."""
    if input.shape != target.shape:
        warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) in {name}. This will likely lead to incorrect results due to "
            "broadcasting. Please ensure they have the same size."
        )
    return input - target


def weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """A loss per element, each times its weight; the mean is over the weights."""
    if weight is None:
        return reduced(loss, reduction)
    if weight.shape != loss.shape:
        raise InvalidArgument(f"Inputs and weight must have the same size, got {weight.spec}")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


@whole("mse_loss")
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared difference.

    input and target of one shape -> [], or with reduction "none" that shape. Shapes that broadcast
    give a warning; others raise ShapeMismatch. `weight` multiplies each element.
    """
    if not target.dtype.is_floating_point:
        floating(input, "mse_loss")
    d = _pair(input, target, "mse_loss")
    return weighted(d * d, weight, legacy_reduction(size_average, reduce, reduction))


@whole("l1_loss")
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute difference; gradient 0 where the two are equal.

    input and target of one shape -> [], or with reduction "none" that shape. Shapes that broadcast
    give a warning; others raise ShapeMismatch. `weight` multiplies each element.
    """
    d = _pair(input, target, "l1_loss")
    return weighted(d.abs(), weight, legacy_reduction(size_average, reduce, reduction))


@whole("huber_loss")
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Half the square of differences below delta, linear above.

    input and target of one shape -> [], or with reduction "none" that shape. Shapes that broadcast
    give a warning; others raise ShapeMismatch. `weight` multiplies each element. Huber 1964.
    """
    text = "huber_loss needs a delta above 0"
    delta = required(delta, lambda a: a > 0, text, RefusedArgument)
    d = floating(_pair(input, target, "huber_loss"), "huber_loss")
    size = d.abs()
    far = size >= delta
    near = where(far, 0.0, d)  # so that an infinite difference has a derivative
    loss = where(far, (size - 0.5 * delta) * delta, near * near * 0.5)
    return reduced(loss if weight is None else loss * weight, reduction)


@whole("smooth_l1_loss")
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """huber_loss / beta; plain l1_loss for beta = 0.

    input and target of one shape -> [], or with reduction "none" that shape. Shapes that broadcast
    give a warning; others raise ShapeMismatch. `weight` multiplies each element. Girshick 2015.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    text = "smooth_l1_loss does not support negative values for beta"
    beta = required(beta, lambda a: a >= 0, text, RefusedArgument)
    if is_surely(beta, 0):
        return l1_loss(input, target, reduction=reduction)
    d = floating(_pair(input, target, "smooth_l1_loss"), "smooth_l1_loss")
    size = d.abs()
    far = size >= beta
    near = where(far, 0.0, d)
    return reduced(where(far, size - 0.5 * beta, near * near * (0.5 / beta)), reduction)


@whole("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), finite for any logit.

    input and target of one shape -> [], or with reduction "none" that shape. weight and pos_weight
    broadcast with it. Raises InvalidArgument for different shapes.
    """
    if input.shape != target.shape:
        raise InvalidArgument(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    x = widened(input, "binary_cross_entropy_with_logits")
    cost = log_one_plus_exp(-x)  # -log sigmoid(x)
    if pos_weight is not None:
        cost = cost * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * x + cost
    loss = loss if weight is None else loss * weight
    return reduced(loss.to(input.dtype), legacy_reduction(size_average, reduce, reduction))


@whole("kl_div")
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log target - input), input being log probabilities.

    input and target of one shape -> [], or with reduction "none" that shape. "batchmean" divides by
    B. Raises ShapeMismatch where the shapes do not broadcast.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = _divergence(floating(input, "kl_div"), floating(target, "kl_div"), log_target)
    if reduction == "batchmean":
        return loss.sum() / (input.shape[0] if input.dim() else 1)
    return reduced(loss, reduction)


def _divergence(input: Tensor, target: Tensor, log_target: bool) -> Tensor:
    if log_target:
        return target.exp() * (target - input)
    return xlogy(target, target) - target * input  # 0 log 0 is 0; of negative targets NaN
