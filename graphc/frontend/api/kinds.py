"""Questions about a tensor's kind and memory, and what is trivial for real numbers on one host."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import InvalidState, ShapeMismatch, Untraceable
from graphc.frontend.api import creation, logic
from graphc.frontend.api import elementwise as E
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.inplace import write
from graphc.frontend.modes import modes
from graphc.frontend.operands import as_float, is_tensor
from graphc.frontend.registry import public
from graphc.frontend.tape import stepwise

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "angle",
    "conj",
    "conj_physical",
    "fill",
    "is_conj",
    "is_distributed",
    "is_inference",
    "is_neg",
    "is_same_size",
    "real",
    "resolve_conj",
    "resolve_neg",
]

# ---- real numbers ------------------------------------------------------------------------------


@public(method=True)
def angle(input: Tensor) -> Tensor:
    """0 of positive numbers, pi of negative ones, NaN of NaN."""
    x = as_float(input)
    found = E.where(
        logic.isnan(x), x.new_full((), math.nan), E.where(x < 0, x.new_full((), math.pi), 0.0)
    )
    return stepwise(found, x)


@public(attributes=("real",))
def real(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def conj(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def conj_physical(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def conj_physical_(input: Tensor) -> Tensor:
    """The tensor itself: numbers are real."""
    return input


@public(method=True)
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: nothing is conjugated late."""
    return input


@public(method=True)
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: nothing is negated late."""
    return input


@public(method=True)
def is_conj(input: Tensor) -> bool:
    """False: nothing is conjugated late."""
    return False


@public(method=True)
def is_neg(input: Tensor) -> bool:
    """False: nothing is negated late."""
    return False


# ---- kinds -------------------------------------------------------------------------------------


@public(method=True)
def is_distributed(input: Tensor) -> bool:
    """False: a tensor is in one process."""
    return False


@public(method=True)
def is_inference(input: Tensor) -> bool:
    """False: tensors made in inference mode are ordinary ones."""
    return False


@public(method=True)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return tuple(input.shape) == tuple(other.shape)


@public(attributes=("is_nested", "is_mkldnn", "is_xla", "is_ipu", "is_mtia", "is_maia"))
def _is_of_another_kind(input: Tensor) -> bool:
    """False: there are no such tensors."""
    return False


@public(attributes=("is_vulkan",))
def _is_vulkan(input: Tensor) -> bool:
    """False: there is no such back end."""
    return False


@public(method=True)
def is_shared(input: Tensor) -> bool:
    """Whether it is in memory that several processes share: on a GPU, as PyTorch says."""
    return bool(input.device.type == "cuda")


@public(method=True)
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory in the same way."""
    same = input.storage is tensor.storage and input.storage_offset() == tensor.storage_offset()
    return same and input.shape == tensor.shape and input.stride() == tensor.stride()


@public(method=True)
def dim_order(input: Tensor) -> tuple[int, ...]:
    """The dimensions from the one with the largest steps in memory to that with the smallest."""
    steps = input.stride()
    return tuple(sorted(range(len(steps)), key=lambda k: -steps[k]))


@public(method=True)
def record_stream(input: Tensor, stream: Any) -> None:
    """Nothing: memory is used again in the order of the calls."""


@public(method=True)
def const_data_ptr(input: Tensor) -> int:
    """`data_ptr`."""
    return int(input.data_ptr())


@public(method=True)
def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
    """The tensor itself, or in another dtype: it is dense."""
    return input if dtype is None else input.to(dtype)


# ---- shapes and values -------------------------------------------------------------------------


@public(method=True)
def new_empty_strided(
    x: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, device: Any = None
) -> Tensor:
    """A tensor of this size that steps so through memory, of x's dtype and device."""
    from graphc.frontend.api.memory import empty_strided

    where = x.device if device is None else device
    return empty_strided(size, stride, dtype=dtype or x.dtype, device=where)


@public(method=True)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions in which a tensor of `size` would be broadcast to this one."""
    wanted = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    shape = input.spec.shape
    if len(wanted) > len(shape) or broadcast_shapes(shape, wanted) != shape:
        raise ShapeMismatch(f"size {tuple(wanted)} is not expandable to size {tuple(shape)}")
    more = len(shape) - len(wanted)
    axes = [*range(more), *(k + more for k, n in enumerate(wanted) if n == 1 != shape[k + more])]
    found: Tensor = input.sum(tuple(axes), keepdim=True) if axes else input
    return found.reshape(wanted)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the same shape and dtype, of one value."""
    if is_tensor(value):
        found: Tensor = creation.zeros_like(input) + value.to(input.dtype)
        return found
    return creation.full_like(input, value)


@public(method=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 within `lambd` of 0, else the number."""
    return E.where(logic.logical_and(input >= -lambd, input <= lambd), 0.0, input)


@public(method=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """weight x below 0, else x; one weight, or one for each channel."""
    if weight.numel() > 1:
        weight = weight.reshape(-1, *(1,) * (input.dim() - 2))
    return E.where(input > 0, input, weight.to(input.dtype) * input)


# ---- Python's functions ------------------------------------------------------------------------


def _by_elements(x: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    if modes.trace is not None:
        raise Untraceable(
            "a Python function of each element, inside a compiled step",
            fix="compute with the tensor itself",
        )
    if x.requires_grad and modes.grad:
        raise InvalidState("a Python function of each element has no gradient", fix="use no_grad")
    columns = [t.detach().expand(x.shape).flatten().tolist() for t in (x, *others)]
    values = [function(*row) for row in zip(*columns)]
    return write(x, creation.tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape))


@public(method=True)
def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it; slow, and eager only."""
    return _by_elements(x, callable)


@public(method=True)
def map_(x: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by a Python function of it and that of `tensor`."""
    return _by_elements(x, callable, tensor)


@public(method=True)
def map2_(x: Tensor, y: Tensor, z: Tensor, callable: Callable[..., Any]) -> Tensor:
    """Replace each element by a Python function of it and those of `y` and `z`."""
    return _by_elements(x, callable, y, z)
