"""Questions about a tensor's kind and memory, and what is trivial for real numbers on one host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend.api import creation, logic
from graphc.frontend.api import elementwise as E
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.operands import floating, is_tensor
from graphc.frontend.registry import public

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "conj",
    "fill",
    "get_device",
    "is_conj",
    "is_distributed",
    "is_inference",
    "is_neg",
    "is_same_size",
    "real",
    "resolve_conj",
    "resolve_neg",
]


@public(attributes=("real",))
def real(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def is_inference(input: Tensor) -> bool:
    """False: what `inference_mode` makes is a tensor like any other. Of any shape."""
    return False


@public(method=True)
def conj(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: nothing is conjugated late."""
    return input


@public(method=True)
def is_conj(input: Tensor) -> bool:
    """False, of any shape: nothing is conjugated late."""
    return False


@public(method=True)
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: nothing is negated late."""
    return input


@public(method=True)
def is_neg(input: Tensor) -> bool:
    """False, of any shape: nothing is negated late."""
    return False


@public(method=True)
def is_distributed(input: Tensor) -> bool:
    """False, of any shape: a tensor lies on one device."""
    return False


@public()
def get_device(input: Tensor) -> int:
    """The index of the GPU that holds a tensor of any shape; -1 on the CPU."""
    return input.get_device()


@public(method=True)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return tuple(input.shape) == tuple(other.shape)


@public(method=True)
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory in the same way."""
    same = input.storage is tensor.storage and input.storage_offset() == tensor.storage_offset()
    return same and input.shape == tensor.shape and input.stride() == tensor.stride()


@public(method=True)
def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
    """The tensor itself, or in another dtype: it is dense."""
    return input if dtype is None else input.to(dtype)


@public(method=True)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions in which a tensor of `size` would be broadcast to this one."""
    wanted = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    shape = input.spec.shape
    if not wanted:
        return input.sum()
    if len(wanted) > len(shape) or broadcast_shapes(shape, wanted) != shape:
        raise ShapeMismatch(f"size {tuple(wanted)} is not expandable to size {tuple(shape)}")
    more = len(shape) - len(wanted)
    axes = [*range(more), *(k + more for k, n in enumerate(wanted) if n == 1 != shape[k + more])]
    found: Tensor = input.sum(tuple(axes), keepdim=True) if axes else input
    return found.reshape(wanted)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the same shape and dtype, of one value."""
    if is_tensor(value):
        if value.dim():
            raise ShapeMismatch(f"fill takes a number or a 0-d tensor, got {value.spec}")
        found: Tensor = creation.zeros_like(input) + value.to(input.dtype)
        return found
    return creation.full_like(input, value)


@public(method=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 within `lambd` of 0, else the number."""
    inside = logic.logical_and(floating(input, "hardshrink") >= -lambd, input <= lambd)
    return E.where(inside, 0.0, input)
