"""linear, conv, embedding, one_hot and pad: PyTorch's arguments read into primitives."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import DTypeMismatch, InvalidArgument, InvalidType, ShapeMismatch, Untraceable
from graphc.frontend import primitives as P
from graphc.frontend.elementwise import where
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64
from graphc.nn.functional.arguments import Sizes, per_dim

__all__ = ["conv1d", "conv2d", "embedding", "linear", "one_hot", "pad"]

Pairs = tuple[tuple[int, int], ...]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K], weight [N, K], bias [N] -> [..., N]. Raises ShapeMismatch if the Ks differ."""
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


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """x [B,C,L] or [C,L], weight [O,C/groups,K] -> [B,O,P] or [O,P]; see conv2d."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, rank=1)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images with filters.

    x [B,C,H,W] or [C,H,W], weight [O,C/groups,R,S], bias [O] -> [B,O,P,Q] or [O,P,Q] with
    P = (H + 2*padding - dilation*(R-1) - 1) // stride + 1; dtype of x. `padding` may be "same"
    (stride 1) or "valid". Raises ShapeMismatch if channels differ or the kernel does not fit.
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, rank=2)


def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    groups: int,
    rank: int,
) -> Tensor:
    name = f"conv{rank}d"
    if input.dim() not in (rank + 1, rank + 2):
        raise ShapeMismatch(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )
    x = input if input.dim() == rank + 2 else input.unsqueeze(0)
    if groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise ShapeMismatch(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input "
            f"{list(x.shape)} to have {weight.shape[1] * groups} channels, but got {x.shape[1]} "
            "channels instead",
            why="each of the groups reads its own share of the input's channels",
            fix="give the layer the input's number of channels as in_channels",
        )
    steps = per_dim(stride, rank, "stride")
    dilations = per_dim(dilation, rank, "dilation")
    y: Tensor = P.apply(
        "conv",
        x,
        weight,
        stride=steps,
        padding=_padding(padding, weight.shape[2:], steps, dilations),
        lhs_dilation=(1,) * rank,
        rhs_dilation=dilations,
        groups=groups,
        batch_groups=1,
    )
    if bias is not None:
        y = y + bias.reshape(1, -1, *(1,) * rank)
    return y if x is input else y.squeeze(0)


def _padding(
    padding: str | Sizes,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Pairs:
    """Zeros before and after each spatial dimension."""
    if padding == "valid":
        return tuple((0, 0) for _ in kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise InvalidArgument("padding='same' is not supported for strided convolutions")
        spans = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((s // 2, s - s // 2) for s in spans)
    if isinstance(padding, str):
        raise InvalidArgument(f"Invalid padding string {padding!r}, should be 'valid' or 'same'")
    widths = per_dim(padding, len(kernel), "padding")
    if min(widths, default=0) < 0:
        raise InvalidArgument(f"negative padding is not supported: {widths}")
    return tuple((w, w) for w in widths)


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


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Grow the last dimensions: `pad` is (low, high) of the last, then of the one before, ..."""
    if mode != "constant":
        raise InvalidArgument(f"pad mode {mode!r} is not supported", fix='use mode="constant"')
    if len(pad) % 2 or len(pad) > 2 * input.dim():
        raise InvalidType(f"pad must hold a pair for each of at most {input.dim()} dimensions")
    rank = input.dim()
    pairs = [(0, 0)] * (rank - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    for axis, (low, high) in enumerate(pairs):
        kept = input.shape[axis] + min(low, 0) + min(high, 0)
        input = input.narrow(axis, max(-low, 0), kept) if min(low, high) < 0 else input
    before = tuple(max(a, 0) for a, _ in pairs)
    after = tuple(max(b, 0) for _, b in pairs)
    return P.pad(input, before, after, value or 0.0)
