"""Functions with a derivative of their own, where that of the ops they are made of is another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic
from graphc.frontend.modes import modes
from graphc.frontend.tape import with_rule
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Shape
from graphc.passes.autodiff import pull_op

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


def norm_below_one(
    x: Tensor, p: float, axes: Shape, keepdim: bool, total: Callable[[Tensor], Tensor]
) -> Tensor:
    """With derivative 0 at 0, where it would be infinite, unless the norm is NaN or infinite;
    `total` gives the sum over the axes."""

    def compute(x: Tensor) -> Tensor:
        return E.pow(total(E.pow(E.abs(x), p)), 1 / p)

    def rule(g: Tensor, z: Any, x: Tensor) -> tuple[Tensor]:
        zero, rank = logic.eq(x, 0), len(x.spec.shape)
        slopes = E.where(zero, 0.0, E.sign(x) * E.pow(E.where(zero, 1.0, E.abs(x)), p - 1))
        g, size = (v if keepdim else P.unsqueeze(v, axes, rank) for v in (g, z()))
        return (slopes * g * E.pow(size, 1 - p),)

    return with_rule("norm", compute, rule, x)


def norm_of_changing_order(
    x: Tensor, order: Any, axes: Shape, keepdim: bool, reduce: Callable[..., Tensor]
) -> Tensor:
    """The norm of an order that each call brings, a 0-d tensor: of all formulas the one for it.
    `reduce(name, values)` is over the axes. Of equal largest elements each has its share."""
    order = P.cast(order, x.dtype)
    endless, none = logic.eq(E.abs(order), math.inf), logic.eq(order, 0)
    power = E.where(logic.logical_or(endless, none), 2.0, order)

    def compute(x: Tensor) -> Tensor:
        size = E.abs(x)
        finite = E.pow(reduce("sum", E.pow(size, power)), 1.0 / power)
        extreme = E.where(logic.gt(order, 0), reduce("max", size), reduce("min", size))
        count = reduce("sum", P.cast(logic.ne(x, 0), x.dtype))
        return E.where(endless, extreme, E.where(none, count, finite))

    def rule(g: Tensor, z: Any, x: Tensor) -> tuple[Tensor]:
        rank = len(x.spec.shape)
        g, size = (v if keepdim else P.unsqueeze(v, axes, rank) for v in (g, z()))
        zero, still = logic.eq(x, 0), logic.eq(size, 0)
        part = E.where(zero, 0.0, E.sign(x) * E.pow(E.where(zero, 1.0, E.abs(x)), power - 1.0))
        finite = part * E.where(still, 0.0, E.pow(E.where(still, 1.0, size), 1.0 - power))
        hit = P.cast(logic.eq(E.abs(x), size), x.dtype)
        hits = reduce("sum", hit)
        share = hit / (hits if keepdim else P.unsqueeze(hits, axes, rank))
        slope = E.where(endless, E.sign(x) * share, E.where(none, 0.0, finite))
        return (g * slope,)

    return with_rule("norm", compute, rule, x)


def extremes_of_source(
    x: Tensor, src: Tensor, index: Tensor, stays: Tensor, start: Tensor, how: Any
) -> Tensor:
    """scatter_reduce of `start`, where there is only what `stays` of x. As in PyTorch, what stood
    elsewhere gets no cotangent, but where it equals the extreme, it is among those that share."""

    def compute(x: Tensor, src: Tensor) -> Tensor:
        return x.emit(OPS["scatter_reduce"], start, src, index, **how)

    def rule(g: Tensor, z: Any, x: Tensor, src: Tensor) -> tuple[Tensor, Tensor]:
        wanted, op = (True, True, False), OPS["scatter_reduce"]
        mine, theirs, _ = pull_op(op, wanted, g, z(), (x, src, index), how, modes.grad)
        return P.where(stays, mine, 0.0), theirs

    return with_rule("scatter_reduce", compute, rule, x, src)
