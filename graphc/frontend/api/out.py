"""`out=`: results written into tensors that the caller gives.

The functions themselves return new tensors; what `public` makes of those that are marked so
(`registry`) comes here when `out=` is given: one rule for all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphc.errors import AutogradError, DTypeMismatch, InvalidType, Untraceable, warn
from graphc.frontend.modes import modes
from graphc.frontend.operands import is_tensor
from graphc.frontend.promotion import can_cast
from graphc.frontend.tensor import Tensor, show
from graphc.ir.types import bool_, u8

# Whose one result goes to a tensor of its own dtype alone, as kernels of PyTorch's write it. Others
# cast it upwards; where there are several results none is cast.
EXACT = {
    "graphc": (
        "abs absolute addbmm addmm addmv alias_copy amax amin argmax argmin as_strided_copy "
        "baddbmm bitwise_not bmm bucketize ceil clamp clamp_max clamp_min clip cross detach_copy "
        "diag diagonal_copy dot expand_copy fix float_power floor frac gather "
        "heaviside histc index_add index_copy index_select inner inverse isneginf isposinf "
        "log_softmax logcumsumexp lu_solve masked_select matmul mm msort multinomial mv "
        "nan_to_num nanquantile narrow_copy neg negative nonzero norm ormqr permute_copy quantile "
        "renorm round scatter scatter_add searchsorted select_copy sgn sign signbit slice_copy "
        "softmax squeeze_copy t_copy take take_along_dim tensordot transpose_copy tril triu trunc "
        "unfold_copy unsqueeze_copy vdot view_copy where"
    ),
    "graphc.linalg": (
        "cholesky cross det eigvalsh inv lu_solve matmul matrix_norm multi_dot norm solve "
        "solve_triangular svdvals vecdot vector_norm"
    ),
    "graphc.special": "round",
}
FLAGS = {"any", "all"}  # whose results go to bools and bytes


def filling(function: Callable[..., Any], name: str, module: str) -> Callable[[Any, Any, Any], Any]:
    """`function` with its results in what is given as `out`, which is returned."""
    computes_in = "dtype" in inspect.signature(function).parameters
    exact = name in EXACT.get(module, "").split()

    def fill(out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        targets = _targets(name, out)
        if computes_in and not exact:
            _take_dtype(name, targets[0], kwargs)
        before, modes.autocast = modes.autocast, ()  # what is written in place is not cast
        try:
            made = function(*args, **kwargs)
        finally:
            modes.autocast = before
        flags = (bool_, u8) if name in FLAGS else None
        for target, value in zip(targets, made if isinstance(made, tuple) else (made,)):
            wanted = flags or ((value.dtype,) if exact or isinstance(made, tuple) else None)
            if wanted is not None and target.dtype not in wanted:
                kind, given = value.dtype.long_name, target.dtype.long_name
                what = f"{name}: Expected out tensor to have dtype {kind}, but got {given} instead"
                raise DTypeMismatch(what, fix=f"give it a tensor of {value.dtype}")
        return _fill(name, targets, made)

    return fill


def signature_with(function: Callable[..., Any]) -> inspect.Signature:
    """That of `function`, with `out`, as help() shows it."""
    signature = inspect.signature(function)
    option = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    own = list(signature.parameters.values())
    end = len(own) - (own[-1].kind is inspect.Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[*own[:end], option, *own[end:]])


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
    show(target, value.to(target.dtype, copy=True))
