"""Functions of layers as PyTorch's own namespace has them: as its kernels take their arguments.

Exported graphs and code that avoids modules call them: weights come first or flags have no default,
and numbers stand for words, such as a mode. What they compute is what `nn.functional` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc.errors import ShapeMismatch
from graphc.frontend.inplace import inplace
from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional import recurrent
from graphc.nn.functional.arguments import parameters, widened
from graphc.nn.numbered_losses import word

__all__ = [
    "adaptive_max_pool1d",
    "affine_grid_generator",
    "alpha_dropout",
    "alpha_dropout_",
    "batch_norm",
    "celu_",
    "constant_pad_nd",
    "conv_tbc",
    "convolution",
    "dropout_",
    "embedding",
    "embedding_renorm_",
    "feature_alpha_dropout",
    "feature_alpha_dropout_",
    "feature_dropout",
    "feature_dropout_",
    "grid_sampler",
    "grid_sampler_2d",
    "grid_sampler_3d",
    "gru_cell",
    "instance_norm",
    "lstm_cell",
    "max_pool1d_with_indices",
    "native_batch_norm",
    "native_channel_shuffle",
    "native_dropout",
    "native_group_norm",
    "native_layer_norm",
    "rnn_relu_cell",
    "rnn_tanh_cell",
    "rrelu_",
    "selu_",
    "threshold_",
]

MODES = ("bilinear", "nearest", "bicubic")
EDGES = ("zeros", "border", "reflection")
Three = tuple[Tensor, Tensor, Tensor]
Pair = tuple[Tensor, Tensor]


# ---- normalisations ------------------------------------------------------------------------------


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.batch_norm` of [B, C, ...], weight and bias [C] first; `cudnn_enabled` changes
    nothing here."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.instance_norm` of [B, C, ...], weight and bias [C] first."""
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Three:
    """`batch_norm` and, in training, the mean and 1 / deviation of each channel, [C]; else [0]."""
    out = batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, False)
    x = widened(input.detach(), "native_batch_norm")
    if not training:
        return out, x.new_empty(0), x.new_empty(0)
    axes = (0, *range(2, x.dim()))
    mean = x.mean(axes)
    shape = (1, -1, *(1,) * (x.dim() - 2))
    centred = x - mean.reshape(shape)
    return out, mean, ((centred * centred).mean(axes) + eps).rsqrt()


def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Three:
    """`layer_norm`, and of each slice the mean and 1 / deviation, [..., 1], without gradient."""
    out = F.layer_norm(input, normalized_shape, weight, bias, eps)
    axes = tuple(range(input.dim() - len(normalized_shape), input.dim()))
    mean, rstd = _moments(widened(input.detach(), "native_layer_norm"), axes, eps)
    return out, mean, rstd


def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Three:
    """`group_norm` of [N, C, ...] with HxW places, and mean and 1 / deviation [N, group]."""
    if input.numel() != N * C * HxW or input.spec.shape[:2] != (N, C):
        raise ShapeMismatch(f"native_group_norm: {input.spec} is not {N} of {C} with {HxW} places")
    out = F.group_norm(input, group, weight, bias, eps)
    rows = widened(input.detach(), "native_group_norm").reshape(N, group, C // group * HxW)
    mean, rstd = _moments(rows, (2,), eps)
    return out, mean.reshape(N, group), rstd.reshape(N, group)


def _moments(x: Tensor, axes: tuple[int, ...], eps: float) -> Pair:
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    return mean, ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()


# ---- convolutions, pooling, images ---------------------------------------------------------------


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """The convolution, or transposed one, of as many dimensions as the weight has beside two.

    input [B, C, ...], weight [O, C / groups, ...] or transposed [C, O / groups, ...], bias [O].
    """
    rank = weight.dim() - 2
    if rank not in FORWARD:
        raise ShapeMismatch(f"convolution: a weight of 3 to 5 dimensions, got {weight.spec}")
    if transposed:
        turned = BACKWARD[rank]
        return turned(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return FORWARD[rank](input, weight, bias, stride, padding, dilation, groups)


FORWARD: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BACKWARD: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """conv1d of [T, B, C], by a weight [K, C, O] -> [T', B, O]."""
    if input.dim() != 3 or weight.dim() != 3 or bias.dim() != 1:
        what = f"{input.spec}, {weight.spec} and {bias.spec}"
        raise ShapeMismatch(f"conv_tbc: [T, B, C], [K, C, O] and [O] are expected, got {what}")
    y = F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return y.permute(2, 0, 1).contiguous()


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """`max_pool1d` of [B, C, L] or [C, L], and where each element stood in its row (int64)."""
    return F.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Any:
    """`nn.functional.adaptive_max_pool1d`, and where each element stood in its row (int64).

    [B, C, L] or [C, L] -> two of [..., output_size].
    """
    return F.adaptive_max_pool1d(input, output_size, True)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """`pad` with a number; pairs of widths count from the last dimension, which they lengthen.

    [..., N] -> [..., before + N + after].
    """
    return F.pad(input, pad, "constant", value)


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sample`: modes 0, 1, 2: bilinear, nearest, bicubic; edges: zeros, border, reflection.

    [B, C, H, W] at [B, P, Q, 2], or with one dimension more.
    """
    mode = word(MODES, interpolation_mode, "interpolation_mode")
    edge = word(EDGES, padding_mode, "padding_mode")
    return F.grid_sample(input, grid, mode, edge, align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`affine_grid`: [B, 2, 3] for a size [B, C, P, Q] -> [B, P, Q, 2], or of volumes."""
    return F.affine_grid(theta, size, align_corners)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`channel_shuffle` of [B, C, ...], C in groups."""
    return F.channel_shuffle(input, groups)


# ---- embedding, dropout, activations in place ----------------------------------------------------


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of weight [V, D] at the indices; -1: no row is padding."""
    padding_row = None if padding_idx < 0 else padding_idx
    return F.embedding(
        indices, weight, padding_row, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse
    )


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Shorten, in place, the rows at the indices, of input [V, D], to at most `max_norm`."""
    F.embedding(indices, input.detach(), None, max_norm, norm_type)
    return input


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps mean and variance. The shape stays."""
    return F.alpha_dropout(input, p, train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` of whole channels of [B, C, ...]."""
    return F.feature_alpha_dropout(input, p, train)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout of whole channels of [B, C, ...]."""
    if input.dim() < 2:
        raise ShapeMismatch(f"feature_dropout: at least 2 dimensions are expected, {input.spec}")
    flat = F.dropout2d(input.reshape(*input.shape[:2], -1, 1), p, train)
    return flat.reshape(input.shape)


def native_dropout(input: Tensor, p: float, train: bool | None) -> Pair:
    """`dropout`, and of the same shape which elements were kept."""
    ones = input.new_ones(input.shape)
    kept = F.dropout(ones, p, train is not False)
    return input * kept, kept != 0


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    write = inplace(function)

    @wraps(function)
    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(input, *args, **kwargs)

    written.__name__ = written.__qualname__ = name
    written.__doc__ = f"`{name[:-1]}`, written into its input, whose shape stays."
    written.__module__ = __name__
    return written


dropout_ = _in_place("dropout_", F.dropout)
alpha_dropout_ = _in_place("alpha_dropout_", alpha_dropout)
feature_alpha_dropout_ = _in_place("feature_alpha_dropout_", feature_alpha_dropout)
feature_dropout_ = _in_place("feature_dropout_", feature_dropout)
celu_ = _in_place("celu_", F.celu)
selu_ = _in_place("selu_", F.selu)
rrelu_ = _in_place("rrelu_", F.rrelu)
threshold_ = _in_place("threshold_", F.threshold)


# ---- recurrent cells -----------------------------------------------------------------------------


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Pair:
    """One step: [B, I] and (h, c), both [B, H], by [4H, I] and [4H, H] -> the new h and c."""
    h, c = _stepped(recurrent.lstm_step, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step: [B, I] and h [B, H] by [3H, I] and [3H, H] -> the new h."""
    return _stepped(recurrent.gru_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step: [B, I] and h [B, H] by [H, I] and [H, H] -> the new h, a tanh."""
    return _stepped(recurrent.tanh_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step: [B, I] and h [B, H] by [H, I] and [H, H] -> the new h, a relu."""
    return _stepped(recurrent.relu_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def _stepped(
    step: recurrent.Step,
    input: Tensor,
    state: recurrent.State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> recurrent.State:
    parameters("a recurrent cell", input, None, weight=w_ih, bias=b_ih, hidden_weight=w_hh)
    rows, width = input.spec.shape[:1], w_hh.spec.shape[1:]
    for s in state:
        if s.spec.shape != (*rows, *width):
            raise ShapeMismatch(f"a recurrent cell: state {s.spec} for {input.spec}, {w_hh.spec}")
    x = F.linear(input, w_ih, b_ih)
    return step(x, state, recurrent.Weights(w_ih, w_hh, b_ih, b_hh))
