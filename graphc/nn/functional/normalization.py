"""Normalisations, written so that a compiler fuses each into few passes over the data.

Statistics of half types are taken in float32, and the result is rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.formats import keep_channels_last, row_by_row
from graphc.frontend.modes import no_grad
from graphc.frontend.registry import public
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.types import f32
from graphc.nn.functional.arguments import parameters, widened

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of [B,C,...] over everything else.

    In training with the batch's own statistics, which also move the running ones (variance
    unbiased); otherwise with the running ones. Raises ValueError for one value per channel.
    """
    if not training and (running_mean is None or running_var is None):
        raise InvalidArgument(
            "Expected running_mean and running_var to be defined when not training"
        )
    if input.dim() > 1:
        given = {"running_mean": running_mean, "running_var": running_var}
        given |= {"weight": weight, "bias": bias}
        parameters("batch_norm", input, input.spec.shape[1:2], **given)
    x = widened(input, "batch_norm")
    if training:
        y = _batch_norm_training(x, running_mean, running_var, weight, bias, momentum, eps)
    else:
        assert running_mean is not None and running_var is not None
        y = _moved(x, running_mean, running_var, weight, bias, eps)
    y = y.to(input.dtype)
    return row_by_row(y) if input.is_contiguous() else keep_channels_last(y, input)


def _batch_norm_training(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | Tensor,
    eps: float,
) -> Tensor:
    count = check_batch(x)
    if count == 0:
        return x * 1.0
    y, mean, var = _standardised_batch(x, weight, bias, eps)
    _update_running(running_mean, running_var, mean, var, count, momentum)
    return y


@whole("native_batch_norm")
def _standardised_batch(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and of each channel the mean and the variance, which have no gradient here."""
    axes = (0, *range(2, x.dim()))
    count = x.numel() // x.shape[1]
    # One pass over the data: sums of differences to one element of the channel, which keep their
    # accuracy where the mean is far larger than the deviation (plain sums of squares do not).
    origin = _first_of_channel(x.detach())
    d = x - _channels(origin, x)
    s1 = P.sum(d, axes) / count
    s2 = P.sum(d * d, axes) / count
    var = P.apply("relu", s2 - s1 * s1)
    mean = (origin + s1).detach()
    scale = (var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -s1 * scale
    shift = shift if bias is None else shift + bias
    return d * _channels(scale, x) + _channels(shift, x), mean, var.detach()


@whole("native_batch_norm")
def _moved(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    scale = (var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    shift = shift if bias is None else shift + bias
    return x * _channels(scale, x) + _channels(shift, x)


def check_batch(x: Tensor) -> int:
    """Values per channel of a training batch; ValueError for one."""
    channels = x.shape[1]
    count = x.numel() // channels if channels else 0
    if count == 1:
        raise InvalidArgument(
            f"Expected more than 1 value per channel when training, got input size {x.shape}",
            why="the variance of one value is not defined",
            fix="use a larger batch, or eval()",
        )
    return count


def _first_of_channel(x: Tensor) -> Tensor:
    """[B,C,...] -> [C]: the first element of each channel."""
    start = (0,) * x.dim()
    stop = (1, x.shape[1], *(1,) * (x.dim() - 2))
    return P.reshape(P.slice(x, start, stop), (x.shape[1],))


def _channels(v: Tensor, x: Tensor) -> Tensor:
    """[C] as a tensor that broadcasts along dimension 1 of x."""
    return P.reshape(v, (1, v.shape[0], *(1,) * (x.dim() - 2)))


@no_grad()
def _update_running(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    var: Tensor,
    count: int,
    momentum: float | Tensor,
) -> None:
    if running_mean is not None:
        running_mean.copy_(running_mean * (1 - momentum) + mean.detach() * momentum)
    if running_var is not None:
        unbiased = var.detach() * (count / (count - 1))
        running_var.copy_(running_var * (1 - momentum) + unbiased * momentum)


@whole("native_layer_norm", rows=True)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each slice over the trailing dimensions `normalized_shape`."""
    axes = _trailing(input, normalized_shape, "layer_norm")
    shape = input.spec.shape[-len(axes) :]
    parameters("layer_norm", input, shape, weight=weight, bias=bias)
    y = _standardised(widened(input, "layer_norm"), axes, eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return row_by_row(y.to(input.dtype))


@whole("rms_norm")
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root mean square over the trailing dimensions `normalized_shape`."""
    axes = _trailing(input, normalized_shape, "rms_norm")
    if weight is not None and weight.spec.shape != tuple(normalized_shape):
        raise ShapeMismatch(f"rms_norm: the weight {weight.spec} is not of {normalized_shape}")
    x = widened(input, "rms_norm")
    epsilon = _EPSILON[x.dtype.name] if eps is None else eps
    y = x * ((x * x).mean(dim=axes, keepdim=True) + epsilon).rsqrt()
    y = y if weight is None else y * weight
    return y.to(input.dtype)


_EPSILON = {"f32": 2.0**-23, "f64": 2.0**-52}


@whole("native_group_norm")
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise [B,C,...] over each sample's groups of C / num_groups channels."""
    if input.dim() < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise ShapeMismatch(
            f"Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    parameters("group_norm", input, input.spec.shape[1:2], weight=weight, bias=bias)
    x = widened(input, "group_norm")
    d = x - _mean_of_groups(x, num_groups)
    y = d * (_mean_of_groups(d * d, num_groups) + eps).rsqrt()
    y = y if weight is None else y * _channels(weight, y)
    y = y if bias is None else y + _channels(bias, y)
    return keep_channels_last(y.to(input.dtype), input)


def _mean_of_groups(x: Tensor, groups: int) -> Tensor:
    """[B,C,...] -> [B,C,1...]: each channel's mean over its group.

    Sums of channels first: so x may lie with its channels innermost, as convolutions leave it.
    """
    batch, channels, *places = x.shape
    sums = P.sum(x, tuple(range(2, x.dim()))) if places else x
    members = channels // groups
    total = P.sum(P.reshape(sums, (batch, groups, members)), (2,))
    mean = P.reshape(total / (members * prod(places)), (batch, groups, 1))
    each = P.expand(mean, (batch, groups, members))
    return P.reshape(each, (batch, channels, *(1 for _ in places)))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample of [B,C,...] over the rest.

    With the sample's own statistics, whose mean over the batch moves the running ones if they are
    given; or, without `use_input_stats`, with the running ones.
    """
    if input.dim() < 2:
        raise ShapeMismatch(f"instance_norm: expected at least 2 dimensions, got {input.spec}")
    if not use_input_stats:
        as_read = f32 if input.dtype.is_half else input.dtype  # PyTorch takes them of any
        mean, var = (s if s is None else s.to(as_read) for s in (running_mean, running_var))
        return batch_norm(input, mean, var, weight, bias, False, momentum, eps)
    count = prod(input.shape[2:])
    if count == 1:
        raise InvalidArgument(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )
    if running_mean is not None or running_var is not None:
        x = widened(input.detach(), "instance_norm")
        axes = tuple(range(2, x.dim()))
        mean = x.mean(dim=axes, keepdim=True)
        var = ((x - mean) ** 2).mean(dim=(0, *axes))
        _update_running(running_mean, running_var, mean.mean(0).reshape(-1), var, count, momentum)
    return row_by_row(group_norm(input, input.shape[1], weight, bias, eps))


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by (k + alpha * mean of squares over `size` channels)^beta. Krizhevsky et al. 2012.

    x [B, C, ...], which stays.
    """
    if input.dim() < 3:
        raise InvalidArgument(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    none = (0,) * (input.dim() - 2)
    squares = P.pad(input * input, (0, size // 2, *none), (0, (size - 1) // 2, *none))
    windows: Tensor = P.apply("unfold", squares, axis=1, size=size, step=1, dilation=1)
    return input / (windows.mean(dim=-1) * alpha + k) ** beta


@public(out=True)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps) along `dim`. The shape stays."""
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) over `axes`: two passes, and rows stay in registers."""
    d = x - x.mean(dim=axes, keepdim=True)
    return d * ((d * d).mean(dim=axes, keepdim=True) + eps).rsqrt()


def _trailing(input: Tensor, shape: Sequence[int], name: str) -> tuple[int, ...]:
    """The axes that `shape` names; it must be the input's last dimensions."""
    wanted = tuple(shape)
    if not wanted or tuple(input.shape[-len(wanted) :]) != wanted:
        raise ShapeMismatch(
            f"Given normalized_shape={list(wanted)}, expected input with shape "
            f"[*, {', '.join(map(str, wanted))}], but got input of size{list(input.shape)}",
            why=f"{name} normalises the input's last dimensions",
            fix="make normalized_shape those dimensions",
        )
    return tuple(range(input.dim() - len(wanted), input.dim()))
