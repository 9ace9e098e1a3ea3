"""Covariances, membership and positions: small functions of whole tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import (
    DTypeMismatch,
    InvalidArgument,
    InvalidState,
    InvalidType,
    ShapeMismatch,
)
from graphc.frontend import dims
from graphc.frontend.api import creation, logic, shapes, sorting, ternary
from graphc.frontend.api import elementwise as E
from graphc.frontend.checked import checked
from graphc.frontend.operands import as_float, is_tensor, numeric
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["corrcoef", "cov", "isin", "unravel_index"]


@public(method=True)
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Covariances of the rows, whose columns are observations; a vector is one row.

    [R, N] or [N] -> [R, R] or [].
    """
    if len(input.spec.shape) > 2:
        raise ShapeMismatch(f"cov: expected at most two dimensions, got {input.spec}")
    if input.dtype is bool_:
        raise DTypeMismatch(f"cov of bools, {input.spec}", fix="use x.float()")
    x: Any = as_float(input)
    for _ in range(2 - len(input.spec.shape)):
        x = shapes.unsqueeze(x, 0)
    weights: Any = None
    for w, floats in ((fweights, False), (aweights, True)):
        if w is None:
            continue
        if w.spec.shape != input.spec.shape[-1:] or w.numel() == 0:
            raise ShapeMismatch(f"cov: weights {w.spec} do not fit the columns of {input.spec}")
        if w.dtype.is_floating_point is not floats or w.dtype is bool_:
            raise DTypeMismatch("cov: fweights are integers and aweights floats", fix="cast them")
        w = checked(w, w >= 0, "cov: weights cannot be negative", InvalidState)
        weights = w if weights is None else weights * w
    if weights is None:
        total: Any = x.spec.shape[1]
        centered = x - x.mean(1, keepdim=True)
        scaled, norm = centered, max(total - correction, 0)
    else:
        total = weights.sum()
        centered = x - (x * weights).sum(1, keepdim=True) / total
        lost = correction if aweights is None else (weights * aweights).sum() / total * correction
        scaled, norm = centered * weights, (total - lost).clamp(min=0)
    out: Tensor = (scaled @ centered.T) / norm
    return shapes.squeeze(out)


@public(method=True)
def corrcoef(input: Tensor) -> Tensor:
    """Correlations of the rows, in [-1, 1]."""
    c: Any = cov(input)
    if not c.spec.shape:
        return E.div(c, c)
    deviation = c.diagonal().sqrt()
    return ternary.clamp(c / deviation.unsqueeze(1) / deviation, -1, 1)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among the others; either may be a number."""
    if not (is_tensor(elements) or is_tensor(test_elements)):
        raise InvalidType("isin: one of the arguments must be a tensor")
    dtype = result_type(elements, test_elements)
    where = next(v for v in (elements, test_elements) if is_tensor(v)).device
    among, of = (
        P.cast(v, dtype) if is_tensor(v) else creation.tensor(v, dtype=dtype, device=where)
        for v in (elements, test_elements)
    )
    numeric(among, "isin")
    if of.numel() == 0:
        found = among.full(False, logic.eq(among, among).spec)
    else:
        rows = sorting.sort(shapes.ravel(of))[0]
        at = ternary.clamp(sorting.searchsorted(rows, among), max=rows.numel() - 1)
        found = logic.eq(rows.take(at), among)
    return logic.logical_not(found) if invert else found


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Flat positions in a tensor of `shape`, as one tensor of indices for each dimension."""
    if indices.dtype.is_floating_point or indices.dtype is bool_:
        raise InvalidType(f"unravel_index: indices must be integers, got {indices.spec}")
    indices, extents = P.cast(indices, i64), dims.sizes((shape,))
    if any(n < 0 for n in extents):
        raise InvalidArgument(f"unravel_index: negative extent in {extents}")
    found: list[Tensor] = []
    for n in reversed(extents):
        found.append(E.remainder(indices, n))
        indices = E.floor_divide(indices, n)
    return tuple(reversed(found))
