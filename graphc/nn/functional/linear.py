"""linear, bilinear, embedding and one_hot: PyTorch's arguments read into primitives."""

from __future__ import annotations

from graphc.errors import DTypeMismatch, InvalidArgument, ShapeMismatch, Untraceable
from graphc.frontend import primitives as P
from graphc.frontend.elementwise import where
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64

__all__ = ["bilinear", "embedding", "linear", "one_hot"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K], weight [N, K], bias [N] -> [..., N]. Raises ShapeMismatch if the Ks differ."""
    if not weight.dim():
        raise ShapeMismatch(f"linear: the weight must have 1 or 2 dimensions, got {weight.type}")
    if weight.dim() == 1:
        total = (input * weight).sum(-1)
        return total if bias is None else total + bias
    *lead, k = input.shape if input.dim() else (0,)
    if k != weight.shape[1]:
        rows = input.numel() // max(k, 1)
        raise ShapeMismatch(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and "
            f"{weight.shape[1]}x{weight.shape[0]})",
            why=f"linear of an input {input.type} with a weight {weight.type}",
            fix="make the input's last dimension the layer's in_features",
        )
    rows = 1
    for n in lead:
        rows *= n
    x = P.reshape(input, (rows, k))
    y: Tensor = P.apply("dot", x, weight, batch=(), contract=((1, 1),))
    if bias is not None:
        y = y + bias
    return P.reshape(y, (*lead, weight.shape[0]))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 [..., I], x2 [..., J], weight [O,I,J] -> x1 W x2 [..., O]."""
    if input1.shape[:-1] != input2.shape[:-1] or weight.dim() != 3:
        raise ShapeMismatch(
            f"bilinear: inputs {input1.type} and {input2.type} must agree but for their last "
            f"dimension, and the weight {weight.type} have three"
        )
    o, i, j = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (i, j):
        raise ShapeMismatch(f"bilinear of {input1.type} and {input2.type} by weight {weight.type}")
    rows = linear(input1, weight.permute(0, 2, 1).reshape(o * j, i))
    y = (rows.reshape(*input1.shape[:-1], o, j) * input2.unsqueeze(-2)).sum(-1)
    return y if bias is None else y + bias


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

    An index outside 0..V-1 raises IndexOutOfRange; the row `padding_idx` gets no gradient.
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Untraceable(
            "embedding: max_norm, scale_grad_by_freq and sparse are not supported",
            why="they change the weight or its gradient in ways a step program does not have",
            fix="leave them at their defaults",
        )
    if input.dtype.is_floating_point or input.dtype.category == 0:
        raise DTypeMismatch(
            f"Expected tensor for argument 'indices' to have an integer dtype, got {input.type}"
        )
    if weight.dim() != 2:
        raise ShapeMismatch(f"embedding: 'weight' must be 2-D, got {weight.type}")
    rows = weight.shape[0]
    index = P.apply("check_index", input, bound=rows, what="embedding index")
    out: Tensor = P.apply("gather", weight, index, axis=0)
    if padding_idx is None:
        return out
    if not -rows <= padding_idx < rows:
        raise InvalidArgument("Padding_idx must be within num_embeddings")
    padded = (input == padding_idx % rows).unsqueeze(-1)
    return where(padded, out.detach(), out)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Indices [...] -> i64 [..., num_classes]; -1 takes the largest index plus one."""
    if tensor.dtype is not i64:
        raise DTypeMismatch(
            f"one_hot is only applicable to index tensor of type int64, got {tensor.type}"
        )
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    checked = P.apply("check_index", tensor, bound=num_classes, what="one_hot index")
    hot: Tensor = P.one_hot(checked.unsqueeze(-1), tensor.dim(), (*tensor.shape, num_classes))
    return hot.to(i64)
