"""Divisors and multiples of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.errors import DTypeNotImplemented
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["gcd", "lcm"]


def _of_whole(name: str, x: Tensor, y: Tensor) -> Tensor:
    dtype = result_type(x, y)
    if dtype.is_floating_point or dtype is bool_:
        what = f"{name} is of whole numbers, got {x.spec} and {y.spec}"
        raise DTypeNotImplemented(what, fix="use x.long()")
    shape = broadcast_shapes(x.spec.shape, y.spec.shape)
    x, y = (broadcast_to(P.cast(t, dtype), shape) for t in (x, y))
    return x.emit(OPS[name], x, y)


@public(method=True, inplace=True, out=True, tensors=2)
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, not negative; of 0 and 0 it is 0."""
    return _of_whole("gcd", input, other)


@public(method=True, inplace=True, out=True, tensors=2)
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, not negative; 0 where one of them is 0."""
    return _of_whole("lcm", input, other)
