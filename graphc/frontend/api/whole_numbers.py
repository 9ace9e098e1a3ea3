"""Divisors and multiples of whole numbers, by Euclid's algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.errors import DTypeMismatch
from graphc.frontend.api import elementwise as E
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["gcd", "lcm"]

STEPS = {1: 12, 2: 23, 4: 46, 8: 92}  # Fibonacci's numbers take the most: by bytes


def _whole(name: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dtype = result_type(x, y)
    if dtype.is_floating_point or dtype is bool_:
        what = f"{name} is of whole numbers, got {x.spec} and {y.spec}"
        raise DTypeMismatch(what, fix="use x.long()")
    shape = broadcast_shapes(x.spec.shape, y.spec.shape)
    return (broadcast_to(P.cast(x, dtype), shape), broadcast_to(P.cast(y, dtype), shape))


@public(method=True, inplace=True, out=True, tensors=2)
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, not negative; of 0 and 0 it is 0."""
    x, y = _whole("gcd", input, other)
    x, y = E.abs(x), E.abs(y)
    for _ in range(STEPS[x.dtype.itemsize]):
        rest = E.remainder(x, E.where(y == 0, 1, y))
        x, y = E.where(y == 0, x, y), E.where(y == 0, y, rest)
    return x


@public(method=True, inplace=True, out=True, tensors=2)
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, not negative; 0 where one of them is 0."""
    x, y = _whole("lcm", input, other)
    divisor = gcd(x, y)
    found = E.abs(E.div(x, E.where(divisor == 0, 1, divisor), rounding_mode="floor") * y)
    return P.cast(E.where(divisor == 0, 0, found), x.dtype)
