"""Losses that ask for a margin: between pairs, triplets, classes or labels."""

from __future__ import annotations

from collections.abc import Callable

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.checked import required
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.nn.functional.activation import log_one_plus_exp, logsigmoid
from graphc.nn.functional.arguments import legacy_reduction, reduced
from graphc.nn.functional.distance import pairwise_distance

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

Flag = bool | None


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1.

    input and target that broadcast -> [], or with reduction "none" their shape. Raises
    ShapeMismatch where they do not.
    """
    gap = (margin - input).to(input.dtype)  # PyTorch cuts it to a whole number for integers
    far = where(target != 1, gap.clamp_min(0), 0)
    near = where(target != -1, input, 0)
    return reduced(far + near, legacy_reduction(size_average, reduce, reduction))


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -t (x1 - x2) + margin); t is 1 where x1 should be the larger, else -1.

    input1, input2, target [B] -> [], or with reduction "none" [B]. Raises ShapeMismatch for
    different ranks.
    """
    if not input1.dim() == input2.dim() == target.dim():
        raise ShapeMismatch(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape}"
        )
    loss = (-target * (input1 - input2) + margin).clamp_min(0.0)
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-t x)) of targets 1 and -1.

    input and target that broadcast -> [], or with reduction "none" their shape. Raises
    ShapeMismatch where they do not.
    """
    loss = log_one_plus_exp(-target * floating(input, "soft_margin_loss"))
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos - margin) where it is -1.

    input1, input2 [B, D], target [B], or all without B -> [], or with reduction "none" [B]. Raises
    ShapeMismatch for another batch.
    """
    if target.dim() + 1 != input1.dim() or target.dim() + 1 != input2.dim():
        raise ShapeMismatch(
            f"cosine_embedding_loss: {target.dim()}D target tensor expects "
            f"{target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)}, {list(input2.shape)}."
        )
    eps = 1e-12
    dot = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cos = dot / squares.sqrt()
    near = where(target == 1, 1.0 - cos, 0.0)
    far = where(target == -1, (cos - margin).clamp_min(0.0), 0.0)
    return reduced(near + far, legacy_reduction(size_average, reduce, reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |a - p| - |a - n| + margin); `swap` takes |p - n| where it is the smaller.

    anchor, positive, negative [B, D] or [D] -> [], or with reduction "none" without D. Raises
    ShapeMismatch where they do not broadcast. Balntas et al. 2016.
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = legacy_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=distance,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with any distance (pairwise_distance by default).

    anchor, positive, negative [B, ...]; the distance of two gives [B] -> [], or with reduction
    "none" [B].
    """
    text = f"margin must be greater than 0, got {margin}"
    margin = required(margin, lambda m: (m > 0) | (m != m), text, InvalidArgument)
    if not anchor.dim() == positive.dim() == negative.dim():
        raise ShapeMismatch(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and "
            f"negative {negative.dim()}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        other = distance(positive, negative)
        far = where(other < far, other, far)
    return reduced((near - far + margin).clamp_min(0.0), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the other classes of max(0, margin - x[t] + x)^p, times the target's weight.

    input [B, C] or [C], target [B] or [] of classes, weight [C] -> [], or with reduction "none" the
    target's shape. Raises IndexOutOfRange for a class outside 0..C-1.
    """
    if p not in (1, 2):
        raise InvalidArgument("only p == 1 and p == 2 supported")
    x, index = _rows(floating(input, "multi_margin_loss")), target.reshape(-1)
    if x.shape[0] != index.shape[0] or target.dim() > 1:
        raise ShapeMismatch(f"inconsistent target size {target.shape} for input {input.spec}")
    index = P.apply("check_index", index, bound=x.shape[1], what="multi_margin_loss target")
    chosen = P.one_hot(index.unsqueeze(1), 1, x.spec.shape)
    own = where(chosen, x, 0.0).sum(1, keepdim=True)
    short = (margin - own + x).relu()  # unlike the losses above, PyTorch has no gradient at 0
    cost = where(chosen, 0.0, short if p == 1 else short * short)
    if weight is not None:
        cost = cost * where(chosen, weight.expand(x.shape), 0.0).sum(1, keepdim=True)
    loss = cost.sum(1) / x.shape[1]
    loss = loss if target.dim() else loss.reshape(())
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, 1 - x[j] + x[i]) over labels j and other classes i.

    target [B,C] or [C] lists the labels of each sample; the first -1 ends the list.

    input [B, C] or [C] -> [], or with reduction "none" [B] or []. Raises ShapeMismatch for a target
    of another shape.
    """
    if input.shape != target.shape or input.dim() > 2:
        raise ShapeMismatch(f"inconsistent target size {target.shape} for input {input.spec}")
    x, labels = _rows(floating(input, "multilabel_margin_loss")), _rows(target)
    listed = (labels < 0).long().cumsum(1) == 0
    index = where(listed, labels, 0)
    index = P.apply("check_index", index, bound=x.shape[1], what="multilabel_margin_loss target")
    wide = (*x.spec.shape, x.spec.shape[1])
    hot = P.one_hot(index.unsqueeze(2), 2, wide) & listed.unsqueeze(2)  # [B, label, class]
    own = where(hot, x.unsqueeze(1), 0.0).sum(2, keepdim=True)
    others = listed.unsqueeze(2) & ~hot.any(1, keepdim=True)
    short = (1.0 - own + x.unsqueeze(1)).relu()
    loss = where(others, short, 0.0).sum((1, 2)) / x.shape[1]
    loss = loss if input.dim() > 1 else loss.reshape(())
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over classes of the binary cross-entropy of sigmoid(x).

    input and target (0 and 1) [B, C], weight [C] -> [], or with reduction "none" [B]. Raises
    ShapeMismatch where they do not broadcast.
    """
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    axis = input.dim() - 1
    loss = loss.sum(axis) / input.shape[axis]
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def _rows(x: Tensor) -> Tensor:
    """[B,C]; one sample [C] as a batch of one, and [] as that of one class."""
    if x.dim() > 2 or x.shape[-1:] == (0,):
        raise ShapeMismatch(f"expected non-empty [B,C] or [C], got {x.spec}")
    return x if x.dim() == 2 else x.reshape(1, -1)
