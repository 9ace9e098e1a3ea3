"""Normalisation layers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import empty, ones, tensor, zeros
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, Shape, f32, f64, i64
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.functional.normalization import check_batch
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class _NormBase(Module):
    """Normalises each channel over the batch, and keeps running statistics."""

    _version = 2
    ranks: ClassVar[tuple[int, ...]]
    run_time_scalars = frozenset({"momentum"})
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter(empty(num_features, device=device, dtype=dtype)) if affine else None
        shift = Parameter(empty(num_features, device=device, dtype=dtype))
        self.bias = shift if affine and bias else None
        tracks = track_running_stats
        self.register_buffer(
            "running_mean", zeros(num_features, device=device, dtype=dtype) if tracks else None
        )
        self.register_buffer(
            "running_var", ones(num_features, device=device, dtype=dtype) if tracks else None
        )
        self.register_buffer("num_batches_tracked", tensor(0, dtype=i64) if tracks else None)
        self.reset_parameters()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *notes: Any,
    ) -> None:
        """State saved without versions, or before batches were counted, needs no count."""
        key = f"{prefix}num_batches_tracked"
        count = self.num_batches_tracked
        if (local_metadata.get("version") or 1) < 2 and count is not None:
            state_dict = {key: count.detach(), **state_dict}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *notes)

    def reset_running_stats(self) -> None:
        for name, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            buffer = self._buffers[name]
            if buffer is not None:
                buffer.fill_(start)

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in self.ranks:
            wanted = " or ".join(f"{r}D" for r in self.ranks)
            raise InvalidArgument(f"expected {wanted} input (got {input.dim()}D input)")
        if input.shape[1] != self.num_features:
            raise ShapeMismatch(
                f"expected {self.num_features} channels, got input of shape {list(input.shape)}"
            )
        kept = not self.training or self.track_running_stats
        training = self.training or (self.running_mean is None and self.running_var is None)
        if training:
            check_batch(input)  # before the counter moves
        return F.batch_norm(
            input,
            self.running_mean if kept else None,
            self.running_var if kept else None,
            self.weight,
            self.bias,
            training,
            self._count_batch() if self.training and kept else 0.0,
            self.eps,
        )

    def _count_batch(self) -> float | Tensor:
        """Count this batch; the weight of its statistics in the running ones."""
        count = self.num_batches_tracked
        if count is not None:
            with no_grad():
                count.add_(1)
        if self.momentum is None:
            return 1.0 / count.to(self._wide()) if count is not None else 0.0
        return self._rate()

    def _rate(self) -> float | Tensor:
        """The momentum, read at each call of a compiled step."""
        if tracing.active() is None:
            return self._momentum()
        dtype = self._wide()
        get = self._number("momentum", self._momentum)
        return tracing.host_scalar(get, dtype, "momentum", ("momentum", id(self)))

    def _wide(self) -> DType:
        """In what to compute with the running statistics."""
        mean = self.running_mean
        return f64 if mean is not None and mean.dtype is f64 else f32

    def _momentum(self) -> float:
        return float(self.momentum or 0.0)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """The three of them, for isinstance."""


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of [B,C] or [B,C,L].

    The shape stays. weight and bias [C] if `affine`; running_mean and running_var [C], moved by
    `momentum` in training if `track_running_stats`. Raises InvalidArgument for another rank or one
    value per channel in training, ShapeMismatch for other channels. Ioffe and Szegedy 2015.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of [B,C,H,W].

    The shape stays. weight and bias [C] if `affine`; running_mean and running_var [C], moved by
    `momentum` in training if `track_running_stats`. Raises InvalidArgument for another rank or one
    value per channel in training, ShapeMismatch for other channels. Ioffe and Szegedy 2015.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of [B,C,D,H,W].

    The shape stays. weight and bias [C] if `affine`; running_mean and running_var [C], moved by
    `momentum` in training if `track_running_stats`. Raises InvalidArgument for another rank or one
    value per channel in training, ShapeMismatch for other channels. Ioffe and Szegedy 2015.
    """

    ranks = (5,)


class _InstanceNorm(_NormBase):
    """Normalises each channel of each sample; unbatched inputs too."""

    ranks: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        tracks = track_running_stats
        super().__init__(num_features, eps, momentum, affine, tracks, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in self.ranks:
            wanted = " or ".join(f"{r}D" for r in self.ranks)
            raise InvalidArgument(f"expected {wanted} input (got {input.dim()}D input)")
        unbatched = input.dim() == self.ranks[0]
        x = input.unsqueeze(0) if unbatched else input
        if x.shape[1] != self.num_features:
            self._wrong_channels(x.shape[1], 0 if unbatched else 1)
        own = self.training or not self.track_running_stats
        y = F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            own,
            self._rate() if self.training and self.track_running_stats else 0.0,
            self.eps,
        )
        return y.squeeze(0) if unbatched else y

    def _wrong_channels(self, channels: int, dim: int) -> None:
        """An error where there are weights or statistics; otherwise the number is only a note."""
        text = (
            f"expected input's size at dim={dim} to match num_features ({self.num_features}), but "
            f"got: {channels}."
        )
        if self.affine or self.track_running_stats:
            raise InvalidArgument(text)
        warnings.warn(f"{text} It is not used, as affine=False", stacklevel=3)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of [B,C,L] or [C,L].

    The shape stays. weight and bias [C] if `affine`. Raises InvalidArgument for another rank, or
    other channels than num_features if they matter. Ulyanov et al. 2016.
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of [B,C,H,W] or [C,H,W].

    The shape stays. weight and bias [C] if `affine`. Raises InvalidArgument for another rank, or
    other channels than num_features if they matter. Ulyanov et al. 2016.
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of [B,C,D,H,W] or [C,D,H,W].

    The shape stays. weight and bias [C] if `affine`. Raises InvalidArgument for another rank, or
    other channels than num_features if they matter. Ulyanov et al. 2016.
    """

    ranks = (4, 5)


class LocalResponseNorm(Module):
    """Divides by a power of the mean square over neighbouring channels.

    x [B, C, ...], which stays. Raises InvalidArgument for fewer than 3 dimensions. Krizhevsky et
    al. 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LayerNorm(Module):
    """Normalises the last dimensions, `normalized_shape`.

    x [..., *normalized_shape], which stays; weight and bias [*normalized_shape]. Raises
    ShapeMismatch for other last dimensions. Ba et al. 2016.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape, affine = self.normalized_shape, elementwise_affine
        self.weight = Parameter(ones(shape, device=device, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(shape, device=device, dtype=dtype)) if affine and bias else None

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides by the root mean square over the last dimensions.

    x [..., *normalized_shape], which stays; weight [*normalized_shape]. Raises ShapeMismatch for
    other last dimensions. Zhang and Sennrich 2019.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        made = ones(self.normalized_shape, device=device, dtype=dtype)
        self.weight = Parameter(made) if elementwise_affine else None

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, None)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Normalises each sample's groups of channels of [B,C,...].

    The shape stays; weight and bias [C]. Raises InvalidArgument where num_groups does not divide C,
    ShapeMismatch for other channels. Wu and He 2018.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise InvalidArgument("num_channels must be divisible by num_groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight = Parameter(ones(num_channels, device=device, dtype=dtype)) if affine else None
        shift = Parameter(zeros(num_channels, device=device, dtype=dtype))
        self.bias = shift if affine and bias else None

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


def _shape(sizes: int | Sequence[int]) -> Shape:
    return (sizes,) if isinstance(sizes, int) else tuple(sizes)


def _reset_affine(weight: Parameter | None, bias: Parameter | None) -> None:
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)
