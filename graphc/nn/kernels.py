"""Functions of layers as PyTorch's own namespace has them: as its kernels take their arguments.

Exported graphs and code that avoids modules call them: weights come first or flags have no default,
and numbers stand for words: a reduction, a mode. What they compute is what `nn.functional` does.
A reduction that is not given is none, as PyTorch's binding has it, whatever its schema says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.inplace import inplace
from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional import recurrent
from graphc.nn.functional.arguments import parameters, widened

__all__ = [
    "adaptive_max_pool1d",
    "affine_grid_generator",
    "alpha_dropout",
    "alpha_dropout_",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "celu_",
    "constant_pad_nd",
    "conv_tbc",
    "convolution",
    "cosine_embedding_loss",
    "ctc_loss",
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
    "hinge_embedding_loss",
    "instance_norm",
    "kl_div",
    "lstm_cell",
    "margin_ranking_loss",
    "max_pool1d_with_indices",
    "native_batch_norm",
    "native_channel_shuffle",
    "native_dropout",
    "native_group_norm",
    "native_layer_norm",
    "poisson_nll_loss",
    "rnn_relu_cell",
    "rnn_tanh_cell",
    "rrelu_",
    "selu_",
    "threshold_",
    "triplet_margin_loss",
]

REDUCTIONS = ("none", "mean", "sum")
MODES = ("bilinear", "nearest", "bicubic")
EDGES = ("zeros", "border", "reflection")
Three = tuple[Tensor, Tensor, Tensor]
Pair = tuple[Tensor, Tensor]


def word(words: Sequence[str], number: int, what: str) -> str:
    """What a number stands for."""
    if not 0 <= number < len(words):
        raise InvalidArgument(f"{number} is not a valid value for {what}")
    return words[number]


def reduction_of(number: int) -> str:
    return word(REDUCTIONS, number, "reduction")


# ---- losses --------------------------------------------------------------------------------------


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
    """1 - cosine where the target is 1, what it exceeds the margin by where -1."""
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
    """Minus the log probability of all alignments; reduction 0, 1, 2: none, mean, sum."""
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
    """Minus the log likelihood of counts; reduction 0, 1, 2: none, mean, sum."""
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
    """max(0, |a - p| - |a - n| + margin); reduction 0, 1, 2: none, mean, sum."""
    how = reduction_of(reduction)
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=how)


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
    """`nn.functional.batch_norm`, weight and bias first. `cudnn_enabled` changes nothing here."""
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
    """`nn.functional.instance_norm`, weight and bias first."""
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
    """`batch_norm` and, in training, the mean and 1 / deviation of each channel; else empty."""
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
    """The convolution, or transposed one, of as many dimensions as the weight has beside two."""
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
    """`max_pool1d`, and where each element stood in its row (int64)."""
    return F.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Any:
    """`nn.functional.adaptive_max_pool1d`, and where each element stood in its row (int64)."""
    return F.adaptive_max_pool1d(input, output_size, True)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """`pad` with a number; pairs of widths count from the last dimension."""
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
    """`channel_shuffle`."""
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
    """Shorten, in place, the rows at the indices that are longer than `max_norm`."""
    F.embedding(indices, input.detach(), None, max_norm, norm_type)
    return input


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps mean and variance."""
    return F.alpha_dropout(input, p, train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` of whole channels."""
    return F.feature_alpha_dropout(input, p, train)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout of whole channels of [B, C, ...]."""
    if input.dim() < 2:
        raise ShapeMismatch(f"feature_dropout: at least 2 dimensions are expected, {input.spec}")
    flat = F.dropout2d(input.reshape(*input.shape[:2], -1, 1), p, train)
    return flat.reshape(input.shape)


def native_dropout(input: Tensor, p: float, train: bool | None) -> Pair:
    """`dropout`, and which elements were kept."""
    ones = input.new_ones(input.shape)
    kept = F.dropout(ones, p, train is not False)
    return input * kept, kept != 0


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    write = inplace(function)

    @wraps(function)
    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(input, *args, **kwargs)

    written.__name__ = written.__qualname__ = name
    written.__doc__ = f"`{name[:-1]}`, written into its input."
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
