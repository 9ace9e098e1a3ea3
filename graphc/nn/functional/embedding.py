"""embedding, embedding_bag and one_hot: rows looked up, alone or in bags."""

from __future__ import annotations

from math import inf
from typing import Any

from graphc.errors import DTypeMismatch, InvalidArgument, ShapeMismatch, Unsupported, Untraceable
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.function import Function
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import data_sized
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64
from graphc.nn.functional.arguments import parameters

__all__ = ["embedding", "embedding_bag", "one_hot"]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight [V, D] at integer indices [...] -> [..., D].

    An index outside 0..V-1 raises IndexOutOfRange; the row `padding_idx` gets no gradient. With
    max_norm, rows looked up that are longer are first shortened in place. With
    scale_grad_by_freq, a row's gradient is divided by how often it is looked up.
    """
    _check(input, sparse)
    if weight.dim() != 2:
        raise ShapeMismatch(f"embedding: 'weight' must be 2-D, got {weight.spec}")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise InvalidArgument("Padding_idx must be within num_embeddings")
    index = P.apply("check_index", input, bound=rows, what="embedding index")
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    out = _looked_up(weight, index, scale_grad_by_freq)
    if padding_idx is None:
        return out
    padded = (input == padding_idx % rows).unsqueeze(-1)
    return where(padded, out.detach(), out)


def _check(index: Tensor, sparse: bool) -> None:
    if sparse:
        raise Untraceable(
            "embedding: sparse gradients are not supported",
            why="a step program's gradients are dense",
            fix="leave sparse=False",
        )
    if index.dtype.is_floating_point or index.dtype.category == 0:
        raise DTypeMismatch(
            f"Expected tensor for argument 'indices' to have an integer dtype, got {index.spec}",
            fix="convert the ids: ids.long()",
        )


@no_grad()
def _shorten(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale those rows of weight that are looked up and longer than max_norm."""
    norms = weight.norm(norm_type, 1, keepdim=True)
    long = (_frequency(weight, index) > 0).unsqueeze(1) & (norms > max_norm)
    weight.copy_(where(long, weight * (max_norm / (norms + 1e-7)), weight))


def _frequency(weight: Tensor, index: Tensor) -> Tensor:
    """How often each row of weight is looked up [V]."""
    flat = index.reshape(-1).to(i64)
    zeros = weight.detach().new_zeros(weight.shape[0])
    return zeros.index_add(0, flat, zeros.new_ones(flat.shape[0]))


def _looked_up(weight: Tensor, index: Tensor, scale_grad_by_freq: bool) -> Tensor:
    out: Tensor = P.apply("gather", weight, index, axis=0)
    if not scale_grad_by_freq:
        return out
    counts = P.apply("gather", _frequency(weight, index), index, axis=0)
    scaled: Tensor = _DivideGradient.apply(out, counts.unsqueeze(-1))
    return scaled


class _DivideGradient(Function):
    """Its input; the gradient is divided."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, divisor: Tensor) -> Tensor:
        ctx.save_for_backward(divisor)
        return x * 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] / ctx.saved_tensors[0], None


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or max of the rows of weight [V, D] in each bag -> [B, D].

    Indices are [B, N], or [n] with the bags' starts as offsets [B] (include_last_offset: [B+1]).
    Rows of padding_idx stand in no bag; an empty bag gives zeros. per_sample_weights, of the
    input's shape, multiply the rows of a sum.
    """
    _check(input, sparse)
    _check_bags(input, offsets, mode, scale_grad_by_freq, per_sample_weights, include_last_offset)
    parameters("embedding_bag", weight, None, per_sample_weights=per_sample_weights)
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise InvalidArgument("padding_idx must be within the number of embeddings")
    index = P.apply("check_index", input, bound=rows, what="embedding index")
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    out = _looked_up(weight, index, scale_grad_by_freq)
    if per_sample_weights is not None:
        out = out * per_sample_weights.unsqueeze(-1)
    padded = None if padding_idx is None else (input == padding_idx % rows).unsqueeze(-1)
    if offsets is None:
        return _fixed_bags(out, padded, mode)
    return _bags(out, padded, offsets[:-1] if include_last_offset else offsets, mode)


def _check_bags(
    input: Tensor,
    offsets: Tensor | None,
    mode: str,
    scale_grad_by_freq: bool,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
) -> None:
    if mode not in ("sum", "mean", "max"):
        raise InvalidArgument("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise InvalidArgument("max mode does not support scaling the gradient by the frequency")
    if input.dim() not in (1, 2):
        raise InvalidArgument(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if input.dim() == 2 and offsets is not None:
        raise InvalidArgument(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
            "fixed length sequences"
        )
    if input.dim() == 1 and offsets is None:
        raise InvalidArgument("offsets has to be a 1D Tensor but got None")
    if offsets is not None and offsets.dim() != 1:
        raise InvalidArgument("offsets has to be a 1D Tensor")
    if include_last_offset and offsets is not None and not offsets.shape[0]:
        raise ShapeMismatch("include_last_offset: number of offsets should be at least 1")
    if per_sample_weights is None:
        return
    if per_sample_weights.shape != input.shape:
        raise InvalidArgument(
            f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not "
            f"None, then it must have the same shape as the input ({list(input.shape)})"
        )
    if mode != "sum":
        raise Unsupported(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )


def _fixed_bags(rows: Tensor, padded: Tensor | None, mode: str) -> Tensor:
    """rows [B,N,D], each bag of N."""
    if not rows.shape[1]:
        return rows.sum(1)
    if mode == "max":
        if padded is None:
            return rows.amax(1)
        top = where(padded, -inf, rows).amax(1)
        return where(padded.all(1), 0.0, top)
    if padded is None:
        return rows.sum(1) if mode == "sum" else rows.mean(1)
    total = where(padded, 0.0, rows).sum(1)
    return total if mode == "sum" else total / (~padded).sum(1).clamp_min(1).to(rows.dtype)


def _bags(rows: Tensor, padded: Tensor | None, offsets: Tensor, mode: str) -> Tensor:
    """rows [n,D], a bag from each offset to the next."""
    n, width = rows.shape
    offsets = offsets.to(i64)
    count = offsets.shape[0]
    marks = offsets.new_zeros(n + 1).index_add(0, offsets, offsets.new_ones(count))
    bag = marks.cumsum(0)[:n] - 1
    present = rows.detach().new_ones(n) if padded is None else (~padded[:, 0]).to(rows.dtype)
    sizes = present.new_zeros(count).index_add(0, bag, present).unsqueeze(1)
    blank = rows.detach().new_zeros(count, width)
    if mode == "max":
        kept = rows if padded is None else where(padded, -inf, rows)
        places = bag.unsqueeze(1).expand(n, width)
        top = blank.scatter_reduce(0, places, kept, "amax", include_self=False)
        return where(sizes > 0, top, 0.0)
    total = blank.index_add(0, bag, rows if padded is None else where(padded, 0.0, rows))
    return total if mode == "sum" else total / sizes.clamp_min(1)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Indices [...] -> i64 [..., num_classes]; -1 takes the largest index plus one."""
    if tensor.dtype is not i64:
        raise DTypeMismatch(
            f"one_hot is only applicable to index tensor of type int64, got {tensor.spec}"
        )
    if num_classes == -1:
        num_classes = int(data_sized(tensor, "one_hot()", "pass num_classes").max()) + 1
    checked = P.apply("check_index", tensor, bound=num_classes, what="one_hot index")
    hot: Tensor = P.one_hot(checked.unsqueeze(-1), tensor.dim(), (*tensor.shape, num_classes))
    return hot.to(i64)
