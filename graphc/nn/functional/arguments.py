"""Reading arguments as PyTorch does: one number or one per dimension, reductions, half widening."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import DTypeMismatch, InvalidArgument, RefusedArgument, ShapeMismatch
from graphc.frontend.inplace import overwrite_with
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.sizes import index as index_of
from graphc.ir.types import Shape, f32

Sizes = int | Sequence[int]
LARGEST = 2**63 - 1


def per_dim(value: Sizes, rank: int, name: str) -> Shape:
    """`value` once for each of `rank` spatial dimensions."""
    if not isinstance(value, list | tuple):
        value = index_of(value)
        if value > LARGEST:
            raise RefusedArgument(f"{name} must be a 64-bit integer, got {value}")
        return (value,) * rank
    sizes = tuple(map(index_of, value))
    if len(sizes) == 1:
        return sizes * rank
    if len(sizes) != rank:
        raise InvalidArgument(f"{name} must be an int or {rank} ints, got {sizes!r}")
    return sizes


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """PyTorch's old pair of flags wins over `reduction` where it is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """A per-element loss as `reduction` wants it."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise InvalidArgument(f"{reduction!r} is not a valid value for reduction")


def widened(x: Tensor, what: str) -> Tensor:
    """Half types as float32: a formula of several ops then rounds once, at its end. `what` is one
    of floats, and says so where x is of integers."""
    return x.to(f32) if floating(x, what).dtype.is_half else x


def parameters(what: str, x: Tensor, shape: Shape | None, **given: Tensor | None) -> None:
    """Refuses what would change the result in silence: parameters of another dtype than `x`, and,
    with `shape`, those that would broadcast. Of half types float32 parameters are usual."""
    for name, value in given.items():
        if value is None:
            continue
        if shape is not None and value.spec.shape != shape:
            raise ShapeMismatch(
                f"{what}: expected {name} of shape {list(shape)}, got {value.spec} for {x.spec}"
            )
        same = value.dtype is x.dtype or (
            shape is not None and x.dtype.is_half and value.dtype is f32
        )
        if not same:
            raise DTypeMismatch(
                f"{what}: the input {x.spec} and the {name} {value.spec} should be of one dtype",
                fix="convert the input with .float() (NumPy's numbers are float64), or the module "
                "with .to(dtype)",
            )


def written(x: Tensor, y: Tensor, inplace: bool) -> Tensor:
    """`y`, stored into `x` if the caller asked for an in-place operation."""
    return overwrite_with(x, y) if inplace else y
