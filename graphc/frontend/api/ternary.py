"""Elementwise functions of three operands: between bounds, between ends, sums of products."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeMismatch, DTypeNotImplemented, InvalidState, ShapeMismatch
from graphc.frontend.api.elementwise import abs, add, mul, of_old, sub, where
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.api.logic import le, logical_and, lt
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.hostvalue import HostValue, is_surely, is_undecided
from graphc.frontend.operands import (
    Operand,
    broadcast_to,
    check_tensors,
    floating,
    is_tensor,
)
from graphc.frontend.promotion import held, result_type
from graphc.frontend.registry import pointwise, public
from graphc.frontend.whole import whole
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, TensorSpec, bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "addcdiv",
    "addcmul",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "lerp",
    "masked_fill",
]


@public(method=True, inplace=True, out=True, tensors=1)
@whole("clamp")
def clamp(input: Tensor, min: Operand = None, max: Operand = None) -> Tensor:
    """Between the bounds; a bound itself passes the gradient, NaN stays and passes none, min > max
    gives max."""
    if min is None and max is None:
        raise InvalidState("clamp needs a min or a max")
    bounds = [b for b in (min, max) if b is not None]
    dtype = result_type(input, *bounds)
    if dtype is bool_ and (len(bounds) == 2 or not is_tensor(bounds[0])):
        raise DTypeNotImplemented(f"clamp is not defined for bools, got {input.spec}")
    if any(is_tensor(b) or is_undecided(b) or b != b for b in bounds):
        return _clamp_by_tensors(input, *(_as_tensor(b, input, dtype) for b in (min, max)))
    input = P.cast(input, dtype)
    edges = [(held(b, dtype), order) for b, order in ((min, 1), (max, -1)) if b is not None]
    out = input.detach()
    for edge, order in edges:
        out = out.emit(OPS["where"], out.emit(OPS["lt"], *(out, edge)[::order]), edge, out)
    if not input.requires_grad:
        return out
    inside = reduce(logical_and, (le(*(edge, input)[::order]) for edge, order in edges))
    return where(inside, input, out)


def _as_tensor(bound: Operand, like: Tensor, dtype: DType) -> Tensor | None:
    if bound is None or is_tensor(bound):
        return bound  # type: ignore[no-any-return]  # Operand is Any
    return like.full(held(bound, dtype), TensorSpec(dtype, ()))


def _clamp_by_tensors(x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """A NaN bound gives NaN. On a tie x has the gradient, and equal bounds have none."""
    if low is not None:
        if high is not None and low.requires_grad:
            low = where(lt(low, high), low, low.detach())
        x = where(le(low, x), x, where(lt(x, low), low, add(x, low).detach()))
    if high is not None:
        x = where(le(x, high), x, where(lt(high, x), high, add(x, high).detach()))
    return x


@public(method=True, inplace=True, out=True, tensors=1)
def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """x, but at least `min`, a number or a tensor that broadcasts."""
    return clamp(input, min=min)


@public(method=True, inplace=True, out=True, tensors=1)
def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """x, but at most `max`, a number or a tensor that broadcasts."""
    return clamp(input, max=max)


@pointwise
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """x + weight * (end - x), counted from the nearer end, so that it is exact at both."""
    if input.dtype is not end.dtype:
        raise DTypeMismatch(f"lerp from {input.spec} to {end.spec}: dtypes differ")
    gap = sub(end, floating(input, "lerp"))
    if is_tensor(weight) and weight.dtype is not input.dtype:
        raise DTypeMismatch(f"lerp of {input.spec} by weights {weight.spec}: dtypes differ")
    weight = weight if is_tensor(weight) else held(weight, input.dtype)
    near = weight.as_tensor() if isinstance(weight, HostValue) else weight
    if not is_tensor(near):
        small = -0.5 < weight < 0.5
        return add(input, mul(gap, weight)) if small else sub(end, mul(gap, 1 - weight))
    forth, back = add(input, mul(gap, weight)), sub(end, mul(gap, 1 - weight))
    return where(lt(abs(near), 0.5), forth, back)


@pointwise
def addcmul(
    input: Tensor, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
) -> Tensor:
    """input + value * tensor1 * tensor2; the value is cut to a whole number beside integers.
    addcmul(input, value, tensor1, tensor2) is the order of old."""
    if last is not None:
        (tensor1, tensor2), value = (tensor2, last), of_old("addcmul", last, tensor1)[1]
    check_tensors("addcmul", input, tensor1, tensor2)
    dtype = result_type(input, tensor1, tensor2)
    if dtype is bool_:
        raise DTypeNotImplemented("addcmul is not defined for bools")
    value = held(value, dtype)
    product: Tensor = P.cast(tensor1, dtype) * P.cast(tensor2, dtype)
    return input + (product if is_surely(value, 1) else product * value)


@pointwise
def addcdiv(
    input: Tensor, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
) -> Tensor:
    """input + value * tensor1 / tensor2; refused for integers alone. addcdiv(input, value,
    tensor1, tensor2) is the order of old."""
    if last is not None:
        (tensor1, tensor2), value = (tensor2, last), of_old("addcdiv", last, tensor1)[1]
    check_tensors("addcdiv", input, tensor1, tensor2)
    if not result_type(tensor1, tensor2).is_floating_point:
        raise DTypeMismatch(
            f"addcdiv divides integers: {tensor1.spec} by {tensor2.spec}",
            fix="cast to a float, or use div(rounding_mode='trunc')",
        )
    dtype = result_type(input, tensor1, tensor2)
    quotient: Tensor = P.cast(tensor1, dtype) / P.cast(tensor2, dtype)
    value = held(value, dtype)
    return input + (quotient if is_surely(value, 1) else quotient * value)


@public(method=True, inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`value` where `mask` holds, in input's dtype. Shapes that broadcast."""
    if mask.dtype is not bool_:
        raise DTypeMismatch(f"masked_fill needs a bool mask, got {mask.spec}")
    if is_tensor(value) and value.spec.shape:
        raise ShapeMismatch(f"masked_fill: the value {value.spec} must be a number or 0-d")
    filler = P.cast(value, input.dtype) if is_tensor(value) else held(value, input.dtype)
    shape = broadcast_shapes(input.spec.shape, mask.spec.shape)
    if is_tensor(filler):
        return row_by_row(where(mask, filler, input))
    input = broadcast_to(input, shape)
    return row_by_row(input.emit(OPS["where"], broadcast_to(mask, shape), filler, input))


clip = clamp
