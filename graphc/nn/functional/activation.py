"""Activations. Kinks and NaN follow PyTorch: relu'(0) = 0, relu'(NaN) = 1, clamps pass NaN on."""

from __future__ import annotations

from math import pi, sqrt

from graphc.errors import DTypeMismatch, InvalidArgument, RefusedArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.api.random import rand
from graphc.frontend.checked import ordered, required
from graphc.frontend.modes import drawing
from graphc.frontend.operands import floating, numeric
from graphc.frontend.promotion import held
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.types import DType, f64, u8
from graphc.nn.functional.arguments import parameters, widened, written

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@whole("relu")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); NaN stays NaN.

    Shapes: any, which stays.
    """
    return written(input, P.apply("relu", numeric(input, "relu")), inplace)


def relu_(input: Tensor) -> Tensor:
    """`relu`, written into input.

    Shapes: any, which stays.
    """
    return relu(input, inplace=True)


@whole("hardtanh")
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """clamp(x, min_val, max_val), but with gradient 0 at the bounds themselves, and at NaN.

    Shapes: any, which stays.
    """
    text = "min_val cannot be greater than max_val"
    min_val, max_val = ordered(min_val, max_val, text, InvalidArgument)
    if input.dtype is u8 and min_val < 0:
        raise DTypeMismatch(f"hardtanh of unsigned numbers, {input.spec}, from {min_val} on")
    inside = (numeric(input, "hardtanh") > min_val) & (input < max_val)
    y = where(inside, input, input.detach().clamp(min_val, max_val))
    return written(input, y.to(input.dtype), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    Shapes: any, which stays.
    """
    return hardtanh(input, 0.0, 6.0, inplace)


@whole("hardsigmoid")
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """clamp(x + 3, 0, 6) / 6.

    Shapes: any, which stays.
    """
    return written(input, relu6(floating(input, "hardsigmoid") + 3.0) / 6.0, inplace)


@whole("hardswish")
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x clamp(x + 3, 0, 6) / 6.

    Shapes: any, which stays.
    """
    return written(input, floating(input, "hardswish") * hardsigmoid(input), inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, written into input.

    Shapes: any, which stays.
    """
    return hardtanh(input, min_val, max_val, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, written into input.

    Shapes: any, which stays.
    """
    return leaky_relu(input, negative_slope, inplace=True)


@whole("leaky_relu")
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Shapes: any, which stays.
    """
    scaled = floating(input, "leaky_relu") * held(negative_slope, input.dtype)
    return written(input, where(input > 0, input, scaled), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with one learned slope, or one per channel (dimension 1).

    x [B, C, ...], weight [1] or [C] -> x's shape. Raises ShapeMismatch for another weight. He et
    al. 2015.
    """
    if weight.dim() > 1:
        raise ShapeMismatch(f"prelu: the weight must be a scalar or a vector, got {weight.spec}")
    parameters("prelu", floating(input, "prelu"), None, weight=weight)
    count, channels = weight.numel(), input.shape[1] if input.dim() > 1 else 1
    if count not in (1, channels):
        what = f"prelu: {count} weights for {channels} channels of {input.spec}"
        raise ShapeMismatch(what, fix="give one weight, or one for each channel")
    if count == 1:
        weight = weight.reshape(())
    else:
        weight = weight.reshape(1, -1, *(1 for _ in range(input.dim() - 2)))
    return where(input > 0, input, input * weight)


@whole("elu")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha * (e^x - 1) below.

    Shapes: any, which stays.
    """
    # The inner where keeps exp from overflowing on the branch not taken: 0 * inf would be NaN.
    below = where(floating(input, "elu") > 0, 0.0, input)
    alpha = held(alpha, input.dtype)
    y = where(input > 0, input, below.expm1() * alpha)
    return written(input, y, inplace)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, written into input.

    Shapes: any, which stays.
    """
    return elu(input, alpha, inplace=True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha * (e^(x / alpha) - 1) below. Barron 2017.

    Shapes: any, which stays. Raises InvalidArgument for alpha 0.
    """
    text = "ZeroDivisionError: alpha cannot be 0 for CELU"
    alpha = required(alpha, lambda a: a != 0, text, InvalidArgument)
    below = where(floating(input, "celu") > 0, 0.0, input)
    alpha = held(alpha, input.dtype)
    return written(input, where(input > 0, input, (below / alpha).expm1() * alpha), inplace)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, written into input.

    Shapes: any, which stays.
    """
    return celu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu`, written into input.

    Shapes: any, which stays.
    """
    return selu(input, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold`, written into input.

    Shapes: any, which stays.
    """
    return written(input, _above(input, threshold, value), True)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """`rrelu`, written into input.

    Shapes: any, which stays.
    """
    return rrelu(input, lower, upper, training, inplace=True)


@whole("elu")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu scaled so that activations keep mean 0 and variance 1. Klambauer et al. 2017.

    Shapes: any, which stays.
    """
    below = where(floating(input, "selu") > 0, 0.0, input)
    y = where(input > 0, input, below.expm1() * SELU_ALPHA) * SELU_SCALE
    return written(input, y, inplace)


@whole("glu")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second.

    x [..., 2N, ...] -> [..., N, ...]. Raises ShapeMismatch where the dimension is odd, InvalidIndex
    where there is none. Dauphin et al. 2016.
    """
    if input.dim() == 0:
        raise ShapeMismatch("glu does not support 0-dimensional tensors")
    if input.shape[dim] % 2:
        raise ShapeMismatch(
            f"Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}"
        )
    a, b = floating(input, "glu").chunk(2, dim)
    return a * b.sigmoid()


@whole("mish")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)). Misra 2019.

    Shapes: any, which stays.
    """
    x = widened(input, "mish")
    return written(input, (x * log_one_plus_exp(x).tanh()).to(input.dtype), inplace)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    Shapes: any, which stays.
    """
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    Shapes: any, which stays.
    """
    return input - input.tanh()


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0; NaN stays NaN.

    Shapes: any, which stays.
    """
    lambd = held(lambd, floating(input, "hardshrink").dtype)
    inside = (input >= -lambd) & (input <= lambd)
    return where(inside, 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x drawn towards 0 by lambd; 0 where |x| <= lambd.

    Shapes: any, which stays. Raises RuntimeError where lambd is negative.
    """
    text = f"lambda must be greater or equal to 0, but found to be {lambd}."
    lambd = required(lambd, lambda a: a >= 0, text, ShapeMismatch)
    lambd = held(lambd, floating(input, "softshrink").dtype)
    inside = (input >= -lambd) & (input <= lambd)
    return where(inside, input * 0.0, where(input > lambd, input - lambd, input + lambd))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it exceeds the threshold, else `value`; NaN stays NaN.

    Shapes: any, which stays.
    """
    return written(input, _above(input, threshold, value), inplace)


def _above(x: Tensor, threshold: float, value: float) -> Tensor:
    if not numeric(x, "threshold").dtype.is_floating_point:  # the result, too, is of integers
        threshold, value = int(threshold), int(value)
    return where(x <= held(threshold, x.dtype), value, x)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """leaky_relu with slopes drawn from [lower, upper] in training, else their mean.

    Shapes: any, which stays.
    """
    text = f"lower must not exceed upper, got {lower} and {upper}"
    lower, upper = ordered(lower, upper, text, RefusedArgument)
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    floating(input, "rrelu")
    slope = rand(input.spec.shape, dtype=input.dtype, device=input.device) * (upper - lower) + lower
    return written(input, where(input > 0, input, input * slope), inplace)


@drawing
def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample near one-hot of the distribution of logits; `hard`: one-hot, with soft gradients.

    Jang et al. 2016.

    Shapes: any, which stays; shares along `dim` sum to 1.
    """
    uniform = rand(logits.spec.shape, dtype=logits.dtype, device=logits.device)
    noise = -(-(1.0 - uniform).log()).log()
    soft = ((logits + noise) / tau).softmax(dim, dtype=f64).to(logits.dtype)  # in any order of sums
    if not hard:
        return soft
    axis = dim % logits.dim()
    chosen = P.one_hot(soft.argmax(axis, keepdim=True), axis, logits.spec.shape).to(soft.dtype)
    return chosen - soft.detach() + soft


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x)); integers become floats.

    Shapes: any, which stays.
    """
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent; integers become floats.

    Shapes: any, which stays.
    """
    return input.tanh()


@whole("silu")
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x); NaN at -inf, as in PyTorch.

    Shapes: any, which stays.
    """
    x = widened(input, "silu")
    return written(input, (x * x.sigmoid()).to(input.dtype), inplace)


@whole("gelu")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), with Phi by erfc: accurate in relative terms for negative x too.

    Shapes: any, which stays. `approximate="tanh"` takes the formula of Hendrycks and Gimpel 2016.
    Raises InvalidArgument for another word.
    """
    x = widened(input, "gelu")
    if approximate == "none":
        y = x * (x * -sqrt(0.5)).erfc() * 0.5
    elif approximate == "tanh":
        y = x * 0.5 * ((x + x * x * x * 0.044715) * sqrt(2 / pi)).tanh().add(1.0)
    else:
        raise RefusedArgument(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return y.to(input.dtype)


@whole("softplus")
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, and x itself where beta x exceeds `threshold`.

    Shapes: any, which stays.
    """
    x = widened(input, "softplus")
    beta, threshold = held(beta, x.dtype), held(threshold, x.dtype)
    smooth = log_one_plus_exp(x * beta) / beta
    return where(x * beta > threshold, x, smooth).to(input.dtype)


@whole("log_sigmoid")
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)) without overflow, computed at least in float32.

    Shapes: any, which stays.
    """
    x = widened(input, "logsigmoid")
    return row_by_row((-log_one_plus_exp(-x)).to(input.dtype))


def log_one_plus_exp(z: Tensor) -> Tensor:
    """log(1 + e^z) without overflow, exact in its gradient everywhere (1/2 at 0)."""
    # max(z, 0) + log1p(exp(-|z|)), spelled by one `where` so that no kink of abs or max shows.
    above = z > 0
    return where(above, z, 0.0) + where(above, -z, z).exp().log1p()


@whole("softmax")
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """e^x / sum(e^x) along `dim`, shifted by the maximum.

    Shapes: any, which stays; computed and given in `dtype` if there is one. Raises InvalidIndex
    where x has no such dimension.
    """
    return input.softmax(_dim(input, dim), dtype=dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """`softmax` of -x along `dim`: the smallest gets the largest share.

    Shapes: any, which stays. Raises InvalidIndex where x has no such dimension.
    """
    return softmax(-input, dim, dtype=dtype)


@whole("log_softmax")
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """x - log(sum(e^x)) along `dim`, shifted by the maximum.

    Shapes: any, which stays; computed and given in `dtype` if there is one. Raises InvalidIndex
    where x has no such dimension.
    """
    return input.log_softmax(_dim(input, dim), dtype=dtype)


def _dim(input: Tensor, dim: int | None) -> int:
    """PyTorch's implicit choice where `dim` is left out."""
    if dim is not None:
        return dim
    return 0 if input.dim() in (0, 1, 3) else 1
