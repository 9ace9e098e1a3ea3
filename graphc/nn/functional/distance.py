"""Distances and similarities of vectors."""

from __future__ import annotations

from graphc.errors import DTypeMismatch, ShapeMismatch
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.linear import distance
from graphc.frontend.api.shapes import broadcast_tensors
from graphc.frontend.promotion import result_type
from graphc.frontend.tape import stepwise
from graphc.frontend.tensor import Tensor

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`; the two broadcast.

    The gradient is that of the norms themselves, below eps too, as in PyTorch.

    [..., D, ...] -> [...] without `dim`.
    """
    dtype = result_type(x1, x2)
    x1, x2 = broadcast_tensors(x1.to(dtype), x2.to(dtype))
    norms = [x.norm(2.0, dim, keepdim=True) for x in (x1, x2)]
    a, b = (n + (n.clamp_min(eps) - n).detach() for n in norms)
    return (x1 / a * (x2 / b)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """|x1 - x2 + eps|_p over the last dimension; the two broadcast.

    [..., D] -> [...], or [..., 1] with `keepdim`.
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows of x [N,M], above the diagonal: [N(N-1)/2]."""
    if not input.dtype.is_floating_point:
        raise DTypeMismatch(f"pdist needs a floating dtype, got {input.spec}", fix="x.float()")
    if input.dim() != 2:
        raise ShapeMismatch(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if not p >= 0:
        raise ShapeMismatch("pdist only supports non-negative p values")
    pairs = [(i, j) for i in range(input.shape[0]) for j in range(i + 1, input.shape[0])]
    if not pairs:
        return stepwise(input.new_zeros(0), input)
    first, second = (tensor(list(side), device=input.device) for side in zip(*pairs))
    return distance(input.index_select(0, first) - input.index_select(0, second), p)
