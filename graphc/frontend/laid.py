"""Inputs that lie in memory in another order than row-major, as programs read them: as they are.

Such an input is declared with its dimensions in their memory order, and the graph sees it through a
transpose; what is written to it is turned back.
"""

from __future__ import annotations

from graphc.frontend.views import inverse
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.ops import OPS
from graphc.ir.types import Array, Shape, TensorSpec


def declared(builder: Builder, name: str, spec: TensorSpec, order: Shape) -> tuple[Value, Value]:
    """An input of type `spec` that lies in `order`, () for row-major, and how the graph sees it."""
    if not order:
        value = builder.input(name, spec)
        return value, value
    value = builder.input(name, TensorSpec(spec.dtype, tuple(spec.shape[k] for k in order)))
    return value, P.transpose(value, inverse(order))


def turned(value: Value, order: Shape) -> Value:
    """The elements as they lie in `order`."""
    if not order:
        return value
    if value.op is OPS["transpose"] and value.attrs["perm"] == inverse(order):
        return value.args[0]
    with value.builder.at(value.where):
        return P.transpose(value, order)


def as_lying(array: Array, order: Shape) -> Array:
    """An array with its dimensions in memory order, over the same memory."""
    return array.transpose(order) if order else array
