"""Convolutions and their transposes over one to three spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import InvalidArgument, ShapeMismatch, Unsupported
from graphc.frontend import primitives as P
from graphc.frontend.api.formats import keep_channels_last
from graphc.frontend.operands import floating_or_i64
from graphc.frontend.switches import as_written
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.types import Shape
from graphc.nn.functional.arguments import Sizes, parameters, per_dim

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

Pairs = tuple[tuple[int, int], ...]


@whole("convolution")
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
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@whole("convolution")
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
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@whole("convolution")
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """x [B,C,D,H,W] or [C,D,H,W], weight [O,C/groups,Q,R,S]; see conv2d."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


@whole("convolution")
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """x [B,C,L] or [C,L], weight [C,O/groups,K]; see conv_transpose2d."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@whole("convolution")
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of conv2d with respect to its input, as an operation of its own.

    x [B,C,H,W] or [C,H,W], weight [C,O/groups,R,S], bias [O] -> [B,O,P,Q] or [O,P,Q] with
    P = (H-1)*stride - 2*padding + dilation*(R-1) + output_padding + 1; dtype of x.
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@whole("convolution")
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """x [B,C,D,H,W] or [C,D,H,W], weight [C,O/groups,Q,R,S]; see conv_transpose2d."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _conv(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    x = _batched(rank, input, weight, f"conv{rank}d")
    if groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise _channels_differ(x, weight, groups, weight.shape[1] * groups)
    _check_bias(rank, x, bias, weight.shape[0])
    steps = _positive(stride, rank, "stride")
    dilations = _positive(dilation, rank, "dilation")
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
        **_sum(),
    )
    y = y if bias is None else y + bias.reshape(1, -1, *(1,) * rank)
    return keep_channels_last(y, x, weight) if x is input else y.squeeze(0)


def _transposed(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    floating_or_i64(input, f"conv_transpose{rank}d")
    x = _batched(rank, input, weight, f"conv_transpose{rank}d")
    if groups < 1 or x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise _channels_differ(x, weight, groups, weight.shape[0])
    _check_bias(rank, x, bias, weight.shape[1] * groups)
    steps, dilations = _positive(stride, rank, "stride"), _positive(dilation, rank, "dilation")
    extra = per_dim(output_padding, rank, "output_padding")
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, dilations)):
        raise ShapeMismatch(
            "output padding must be smaller than either stride or dilation, but got "
            f"output_padding: {extra}, stride: {steps}, dilation: {dilations}"
        )
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], dilations)]
    widths = per_dim(padding, rank, "padding")
    if min(*widths, *extra) < 0:
        raise ShapeMismatch(f"negative padding is not supported: {widths}, output_padding {extra}")
    y: Tensor = P.apply(
        "conv",
        x,
        _turned(weight, groups),
        stride=(1,) * rank,
        padding=tuple((max(r - p, 0), max(r - p + e, 0)) for r, p, e in zip(reach, widths, extra)),
        lhs_dilation=steps,
        rhs_dilation=dilations,
        groups=groups,
        batch_groups=1,
        **_sum(),
    )
    for k, (r, p, e) in enumerate(zip(reach, widths, extra)):  # more padding than reach crops
        low, high = max(p - r, 0), max(p - r - e, 0)
        if low or high:
            y = y.narrow(2 + k, low, max(y.shape[2 + k] - low - high, 0))
    if min(y.shape[2:]) < 1:
        raise ShapeMismatch(f"Calculated output size of conv_transpose is too small: {y.spec}")
    y = y if bias is None else y + bias.reshape(1, -1, *(1,) * rank)
    return keep_channels_last(y, x, weight) if x is input else y.squeeze(0)


def _sum() -> dict[str, int]:
    """How the sum of products may be computed: as back ends like, or as written."""
    return {"winograd": 0} if as_written() else {}


def _turned(weight: Tensor, groups: int) -> Tensor:
    """[C,O/groups,*K] -> [O,C/groups,*K], flipped: the filters of the convolution it transposes."""
    c, o, *k = weight.shape
    split = weight.reshape(groups, c // groups, o, *k).transpose(1, 2)
    return P.flip(split.reshape(groups * o, c // groups, *k), tuple(range(2, 2 + len(k))))


def _check_bias(rank: int, x: Tensor, bias: Tensor | None, channels: int) -> None:
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeMismatch(
            f"expected bias to be 1-dimensional with {channels} elements, but got {bias.spec}"
        )
    parameters(f"conv{rank}d", x, None, bias=bias)


def _positive(value: Sizes, rank: int, name: str) -> Shape:
    sizes = per_dim(value, rank, name)
    if min(sizes) < 1:
        raise ShapeMismatch(f"non-positive {name} is not supported: {sizes}")
    return sizes


def _batched(rank: int, input: Tensor, weight: Tensor, name: str) -> Tensor:
    if weight.dim() != rank + 2:
        raise ShapeMismatch(f"{name}: weight must be {rank + 2}-dimensional, got {weight.spec}")
    if input.dim() not in (rank + 1, rank + 2):
        raise ShapeMismatch(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )
    if input.dtype.category == 0:
        raise Unsupported(f"{name} of bool tensors, {input.spec}", fix="use input.float()")
    if 0 in weight.shape[:1] or 0 in input.shape[-rank:]:
        raise ShapeMismatch(f"{name}: the batch and the channels may be empty, not {input.spec}")
    return input if input.dim() == rank + 2 else input.unsqueeze(0)


def _channels_differ(x: Tensor, weight: Tensor, groups: int, wanted: int) -> ShapeMismatch:
    return ShapeMismatch(
        f"Given groups={groups}, weight of size {list(weight.shape)}, expected input "
        f"{list(x.shape)} to have {wanted} channels, but got {x.shape[1]} channels instead",
        why="each of the groups reads its own share of the input's channels",
        fix="give the layer the input's number of channels as in_channels",
    )


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
            raise ShapeMismatch("padding='same' is not supported for strided convolutions")
        return same_padding(kernel, dilation)
    if isinstance(padding, str):
        raise ShapeMismatch(f"Invalid padding string {padding!r}, should be 'valid' or 'same'")
    widths = per_dim(padding, len(kernel), "padding")
    if min(widths, default=0) < 0:
        raise ShapeMismatch(f"negative padding is not supported: {widths}")
    return tuple((w, w) for w in widths)


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> Pairs:
    """What keeps the extent at stride 1; the odd one goes after."""
    spans = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return tuple((s // 2, s - s // 2) for s in spans)


def output_padding_for(
    input: Shape,
    output: Sequence[int],
    kernel: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
) -> Shape:
    """The output_padding with which a transposed convolution gives the extents `output`."""
    rank = len(kernel)
    wanted = tuple(output)[-rank:]
    least = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, s, p, d, k in zip(input[-rank:], stride, padding, dilation, kernel)
    ]
    if len(output) not in (rank, rank + 2) or any(
        not a <= n < a + s for n, a, s in zip(wanted, least, stride)
    ):
        most = [a + s - 1 for a, s in zip(least, stride)]
        raise InvalidArgument(
            f"requested an output size of {tuple(output)}, but valid sizes range from {least} to "
            f"{most} (for an input of {tuple(input[-rank:])})"
        )
    return tuple(n - a for n, a in zip(wanted, least))
