"""torch.distributions.utils' names: what distributions of one's own are written with."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from graphc.distributions import distribution
from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import tril_indices
from graphc.frontend.api.limits import finfo
from graphc.frontend.api.random import normal
from graphc.frontend.modes import enable_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers have the type of the first tensor."""
    return tuple(distribution.broadcast_all(*values))


def _standard_normal(shape: Any, dtype: DType | None, device: Any) -> Tensor:
    return normal(0.0, 1.0, tuple(shape), dtype=dtype, device=device)


def clamp_probs(probs: Tensor) -> Tensor:
    """At least eps and at most 1 - eps."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The sigmoid of each, or the softmax over the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The log odds of each, or the logarithms, of probabilities kept away from 0 and 1."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """[..., D, D] -> [..., L]: the elements on and below diagonal `diag`, row by row."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise InvalidArgument(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """[..., L] -> [..., D, D]: the inverse of `tril_matrix_to_vec`, with zeros above."""
    count = vec.shape[-1]
    for n in range(1, count + abs(diag) + 2):
        rows, columns = tril_indices(n, n, diag)
        if rows.shape[0] == count:
            out = vec.new_zeros((*vec.shape[:-1], n, n))
            out[..., rows, columns] = vec
            return out
    raise InvalidArgument(
        f"The size of last dimension is {count} which cannot be expressed as the lower "
        "triangular part of a square D x D matrix."
    )


class lazy_property:
    """A property computed when first read, and kept in the instance from then on."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]  # it has the function's attributes

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value
