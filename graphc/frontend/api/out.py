"""`out=`: results written into tensors that the caller gives.

The functions themselves return new tensors. PyTorch's namespaces also take `out=`, so the names
of a namespace that do are wrapped once, when it is made: one rule for all of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from graphc.errors import AutogradError, DTypeMismatch, InvalidType, Untraceable, warn
from graphc.frontend import inplace
from graphc.frontend.modes import modes
from graphc.frontend.operands import is_tensor
from graphc.frontend.promotion import can_cast
from graphc.frontend.tensor import Tensor

CREATION = """
    arange bernoulli empty eye full linspace logspace multinomial normal ones rand randint randn
    randperm zeros
"""
ELEMENTWISE = """
    abs absolute acos acosh add addcdiv addcmul arccos arccosh arcsin arcsinh arctan arctan2
    arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh deg2rad
    digamma div divide eq erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax
    fmin fmod frac ge greater greater_equal gt heaviside hypot isneginf isposinf le lerp less
    less_equal lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or
    logical_xor logit lt maximum minimum mul multiply nan_to_num ne neg negative not_equal pow
    rad2deg reciprocal remainder round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square
    sub subtract tan tanh true_divide trunc where xlogy
"""
REDUCTIONS = """
    all amax amin aminmax any argmax argmin bucketize cummax cummin cumprod cumsum diff histc
    kthvalue log_softmax logcumsumexp logsumexp max mean median min mode msort nanmean nanmedian
    nansum norm prod quantile searchsorted softmax sort std sum topk var
"""
SHAPES = """
    cat column_stack concat concatenate diag dstack gather hstack index_add index_copy index_select
    masked_select nonzero row_stack scatter scatter_add stack take take_along_dim tril triu vstack
"""
PRODUCTS = """
    addbmm addmm addmv addr baddbmm bmm chain_matmul cholesky cross dot ger inner inverse kron
    matmul matrix_power mm mv outer qr slogdet svd tensordot vdot
"""
MATRICES = """
    cholesky cross det eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank multi_dot norm
    pinv qr slogdet solve solve_triangular svd svdvals vecdot vector_norm
"""
SPECIALS = """
    bessel_j0 bessel_j1 chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v
    chebyshev_polynomial_w digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammainc gammaincc
    gammaln hermite_polynomial_h hermite_polynomial_he i0 i0e i1 i1e laguerre_polynomial_l
    legendre_polynomial_p log1p log_ndtr log_softmax logit logsumexp modified_bessel_i0
    modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 multigammaln ndtr ndtri polygamma psi
    round scaled_modified_bessel_k0 scaled_modified_bessel_k1 shifted_chebyshev_polynomial_t
    shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w
    sinc softmax spherical_bessel_j0 xlog1py xlogy zeta
"""
# The functions of each namespace that take it.
TORCH = (CREATION + ELEMENTWISE + REDUCTIONS + SHAPES + PRODUCTS).split()
LINALG = MATRICES.split()
SPECIAL = SPECIALS.split()
FUNCTIONAL = ["normalize"]


def accept_out(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Let these functions of a module's namespace take `out=`."""
    for name in names:
        namespace[name] = _with_out(namespace[name], name, namespace["__name__"])


def _with_out(function: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
    signature = inspect.signature(function)
    computes_in = "dtype" in signature.parameters

    @functools.wraps(function)
    def wrapped(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        targets = _targets(name, out)
        if computes_in:
            _take_dtype(name, targets[0], kwargs)
        before, modes.autocast = modes.autocast, ()  # what is written in place is not cast
        try:
            made = function(*args, **kwargs)
        finally:
            modes.autocast = before
        return _fill(name, targets, made)

    option = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    own = list(signature.parameters.values())
    end = len(own) - (own[-1].kind is inspect.Parameter.VAR_KEYWORD)
    signature = signature.replace(parameters=[*own[:end], option, *own[end:]])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]  # what help() shows
    wrapped.__module__, wrapped.__qualname__ = module, name  # where pickle finds it
    return wrapped


def _targets(name: str, out: Any) -> tuple[Tensor, ...]:
    targets = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    if not targets:
        raise InvalidType(f"{name}: out must be a tensor, got none")
    for x in targets:
        if not is_tensor(x):
            raise InvalidType(f"{name}: out must be a tensor, got {type(x).__name__}")
        if modes.grad and x.requires_grad:
            raise _not_differentiable(name)
    return targets


def _not_differentiable(name: str) -> AutogradError:
    return AutogradError(
        f"{name}(): out= is not differentiated, and one of the tensors requires grad",
        fix="leave out= away, or call inside `with graphc.no_grad():`",
    )


def _take_dtype(name: str, target: Tensor, kwargs: dict[str, Any]) -> None:
    """What takes a dtype computes in the one of `out`."""
    dtype = kwargs.setdefault("dtype", target.dtype)
    if dtype is None:
        kwargs["dtype"] = target.dtype
    elif dtype is not target.dtype:
        raise DTypeMismatch(f"{name}: dtype {dtype} is not that of out, {target.spec}")


def _fill(name: str, targets: tuple[Tensor, ...], result: Any) -> Any:
    """The results in the memory of the targets: one tensor, or a named tuple as `result` is."""
    results = result if isinstance(result, tuple) else (result,)
    if len(targets) != len(results):
        raise InvalidType(f"{name}: out must be {len(results)} tensors, got {len(targets)}")
    for target, value in zip(targets, results):
        if value.requires_grad:
            raise _not_differentiable(name)
        if not can_cast(value.dtype, target.dtype):
            raise DTypeMismatch(f"{name}: a result {value.spec} is not cast to out, {target.spec}")
    for target, value in zip(targets, results):
        if target.spec.shape == value.spec.shape:
            target.copy_(value)
        else:
            _resize(name, target, value)
    if not isinstance(result, tuple):
        return targets[0]
    return type(result)(*targets) if hasattr(result, "_fields") else targets


def _resize(name: str, target: Tensor, value: Tensor) -> None:
    if modes.trace is not None:
        raise Untraceable(f"{name}: out, {target.spec}, would become {value.spec} inside a step")
    if target.numel():
        warn(
            f"{name}: out had shape {tuple(target.shape)} and was resized to that of the result,"
            f" {tuple(value.shape)}. Give it the right shape, or no elements."
        )
    inplace.show(target, value.to(target.dtype, copy=True))
