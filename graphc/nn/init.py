"""In-place initialisers, with PyTorch's names and distributions (not its random values)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from math import ceil, erf, prod, sqrt
from typing import Concatenate, ParamSpec

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import empty
from graphc.frontend.api.creation import eye as identity
from graphc.frontend.api.linalg import qr
from graphc.frontend.api.random import Generator, randperm
from graphc.frontend.checked import required
from graphc.frontend.hostvalue import of_numbers
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.operands import floating
from graphc.frontend.overriding import entered, overridden
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f32, f64
from graphc.nn.old_names import old_name

P = ParamSpec("P")
NARROWEST = 1e-9  # part of a normal distribution that is drawn from alone


def _quiet(
    fill: Callable[Concatenate[Tensor, P], None],
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Run an initialiser without recording it, and return the tensor."""

    @wraps(fill)
    def initialise(tensor: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if entered and modes.functions:
            return overridden(initialise, (tensor, *args), kwargs)  # type: ignore[no-any-return]
        with no_grad():
            fill(tensor, *args, **kwargs)
        return tensor

    return initialise  # type: ignore[return-value]  # wraps gives `tensor` a name


@_quiet
def constant_(tensor: Tensor, val: float) -> None:
    """Fill with a number, outside autograd. Of any shape."""
    tensor.fill_(val)


@_quiet
def zeros_(tensor: Tensor) -> None:
    """Fill with zeros, outside autograd."""
    tensor.fill_(0)


@_quiet
def ones_(tensor: Tensor) -> None:
    """Fill with ones, outside autograd."""
    tensor.fill_(1)


@_quiet
def eye_(tensor: Tensor) -> None:
    """The identity matrix. [N, M]."""
    if tensor.dim() != 2:
        raise InvalidArgument("Only tensors with 2 dimensions are supported")
    tensor.copy_(identity(*tensor.shape, dtype=tensor.dtype))


@_quiet
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> None:
    """Fill uniformly from [a, b), outside autograd. Of any shape."""
    tensor.uniform_(a, b, generator=generator)


@_quiet
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> None:
    """Fill normally, of this mean and standard deviation, outside autograd. Of any shape."""
    tensor.normal_(mean, std, generator=generator)


_no_grad_uniform_, _no_grad_normal_ = uniform_, normal_  # as libraries call them


@_quiet
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> None:
    """Normal numbers conditioned on [a, b]: the inverse of their distribution, of uniform ones."""
    text = f"trunc_normal_ needs a < b, got {a} and {b}"
    required(b - a, lambda width: width > 0, text, InvalidArgument)
    low, high = (of_numbers(erf, (bound - mean) / std / sqrt(2)) for bound in (a, b))
    part = high - low
    share = f"{part / 2:.2g}" if isinstance(part, float) else "too small a part"
    text = f"trunc_normal_: [{a}, {b}] holds only {share} of the distribution"
    fix = "choose a mean and std nearer to the interval: float64 tells few numbers of it apart"
    required(part, lambda part: part >= NARROWEST, text, InvalidArgument, fix=fix)
    x = empty(*tensor.shape, dtype=f64, device=tensor.device)
    x = x.uniform_(low, high, generator=generator).erfinv() * (std * sqrt(2)) + mean
    floating(tensor, "trunc_normal_").copy_(x.clamp(a, b))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much a nonlinearity shrinks the deviation of normal numbers."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise InvalidArgument(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


_GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "sigmoid"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    "tanh": 5.0 / 3,
    "relu": sqrt(2.0),
    "selu": 3.0 / 4,
}


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise InvalidArgument(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


@_quiet
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> None:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out).

    [out, in, *window]: fans are in and out times the window.
    """
    bound = sqrt(3.0) * gain * sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    tensor.uniform_(-bound, bound, generator=generator)


@_quiet
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> None:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out).

    [out, in, *window]: fans are in and out times the window.
    """
    std = gain * sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    tensor.normal_(0.0, std, generator=generator)


@_quiet
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> None:
    """Uniform with variance gain^2 / fan.

    [out, in, *window]: fans are in and out times the window.
    """
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return
    bound = sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    tensor.uniform_(-bound, bound, generator=generator)


@_quiet
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> None:
    """Normal with variance gain^2 / fan.

    [out, in, *window]: fans are in and out times the window.
    """
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return
    tensor.normal_(0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator=generator)


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """The one that `mode` says, "fan_in" or "fan_out"."""
    if mode not in ("fan_in", "fan_out"):
        raise InvalidArgument(f"Mode {mode} not supported, please use one of fan_in, fan_out")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / sqrt(_calculate_correct_fan(tensor, mode))


@_quiet
def dirac_(tensor: Tensor, groups: int = 1) -> None:
    """Convolution weights [O,I,...] that hand each group's channels through: 1 at the centre.

    [out, in, *window].
    """
    if tensor.dim() not in (3, 4, 5):
        raise InvalidArgument("Only tensors with 3, 4, or 5 dimensions are supported")
    out, into, *field = tensor.shape
    if out % groups:
        raise InvalidArgument("dim 0 must be divisible by groups")
    tensor.fill_(0)
    centre = tuple(n // 2 for n in field)
    for group in range(groups):
        for k in range(min(out // groups, into)):
            tensor[(group * (out // groups) + k, k, *centre)].fill_(1)


@_quiet
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> None:
    """A (semi-)orthogonal matrix times gain; further dimensions count as columns.

    From the QR factors of normal numbers, with signs that make it uniform (Saxe et al. 2013).

    [N, ...], as [N, M].
    """
    if tensor.dim() < 2:
        raise InvalidArgument("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    wide = f64 if tensor.dtype is f64 else f32
    flat = empty(rows, columns, dtype=wide).normal_(0.0, 1.0, generator=generator)
    q, r = qr(flat.t() if rows < columns else flat)
    q = q * r.diagonal().sign()
    q = q.t() if rows < columns else q
    tensor.copy_((q * gain).reshape(tensor.shape).to(tensor.dtype))


@_quiet
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> None:
    """Normal numbers, of which each column has a share `sparsity` set to zero (Martens 2010).

    [N, M].
    """
    if tensor.dim() != 2:
        raise InvalidArgument("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = ceil(sparsity * rows)
    tensor.normal_(0.0, std, generator=generator)
    for column in range(columns):
        tensor[randperm(rows, generator=generator)[:zeros], column] = 0


def uniform_bias_(bias: Tensor | None, fan_in: int) -> None:
    """The bias that goes with kaiming_uniform_(a=sqrt(5)): within 1 / sqrt(fan_in)."""
    if bias is not None and fan_in > 0:
        bound = 1.0 / sqrt(fan_in)
        uniform_(bias, -bound, bound)


uniform = old_name("nn.init.uniform", uniform_)
normal = old_name("nn.init.normal", normal_)
constant = old_name("nn.init.constant", constant_)
eye = old_name("nn.init.eye", eye_)
dirac = old_name("nn.init.dirac", dirac_)
xavier_uniform = old_name("nn.init.xavier_uniform", xavier_uniform_)
xavier_normal = old_name("nn.init.xavier_normal", xavier_normal_)
kaiming_uniform = old_name("nn.init.kaiming_uniform", kaiming_uniform_)
kaiming_normal = old_name("nn.init.kaiming_normal", kaiming_normal_)
orthogonal = old_name("nn.init.orthogonal", orthogonal_)
sparse = old_name("nn.init.sparse", sparse_)
