"""segment_reduce: rows folded by runs of them, whose lengths are data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from graphc.errors import (
    DTypeNotImplemented,
    RefusedArgument,
    ShapeMismatch,
    Unsupported,
)
from graphc.frontend import autograd
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic, scans, scatter, shapes, ternary
from graphc.frontend.checked import checked
from graphc.frontend.modes import modes
from graphc.frontend.registry import public
from graphc.frontend.tape import with_rule
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec, i32, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["segment_reduce"]

IDENTITIES = {"sum": 0.0, "mean": 0.0, "max": -math.inf, "min": math.inf, "prod": 1.0}


@public()
def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: Any = None,
) -> Tensor:  # fmt: skip
    """The "sum", "mean", "max", "min" or "prod" of each run of rows, one after the other, of these
    `lengths`, together with `initial`; of no rows it is that, or what leaves others unchanged (the
    mean: NaN). `offsets` in place of lengths say where runs begin, and where the last one ends.
    Unless `unsafe`, no length may be negative and their sum must be the number of rows.

    [N, ...], lengths [K] or offsets [K + 1] -> [K, ...].
    """
    reduce = {"amax": "max", "amin": "min"}.get(reduce, reduce)
    _refuse(data, reduce, lengths, indices, offsets, axis)
    bounds = _bounds(data, lengths, offsets, unsafe)
    number, count = _segments(data, bounds), bounds.spec.shape[0] - 1
    start = IDENTITIES[reduce] if initial is None else float(initial)
    # Rows before the first run and behind the last one go to a segment that is cut off.
    blank = data.full(start, TensorSpec(data.dtype, (count + 1, *data.spec.shape[1:])))
    if reduce not in ("sum", "mean"):
        out = _folded(blank, number, data, reduce)
    else:
        out = scatter.index_add(blank, 0, number, data)
    out = shapes.slice_along(out, 0, 0, count)
    if reduce != "mean":
        return out
    sizes = shapes.slice_along(bounds, 0, 1, count + 1) - shapes.slice_along(bounds, 0, 0, count)
    sizes = P.reshape(sizes, (count, *(1 for _ in data.spec.shape[1:])))
    mean = out / P.cast(ternary.clamp(sizes, 1), data.dtype)
    return E.where(logic.gt(sizes, 0), mean, math.nan) if initial is None else mean


def _refuse(data: Tensor, reduce: str, lengths: Any, indices: Any, offsets: Any, axis: int) -> None:
    if reduce not in IDENTITIES:
        text = f"segment_reduce: reduce must be one of {list(IDENTITIES)}, got {reduce!r:.100}"
        raise RefusedArgument(text)
    if indices is not None or (lengths is None) == (offsets is None):
        raise RefusedArgument("segment_reduce: pass either lengths or offsets, and no indices")
    given = offsets if lengths is None else lengths
    if given.dtype not in (i32, i64):
        raise DTypeNotImplemented(f"segment_reduce: lengths must be integers, got {given.spec}")
    if not data.dtype.is_floating_point:
        raise DTypeNotImplemented(f"segment_reduce of {data.spec}", fix="use x.float()")
    if not data.spec.shape:
        raise ShapeMismatch("segment_reduce of a 0-d tensor")
    if axis != 0 or len(given.spec.shape) != 1:
        raise Unsupported(
            f"segment_reduce along axis {axis} by {given.spec}",
            why="runs of rows are folded along axis 0 alone, by a vector of lengths",
            fix="move the axis to the front, or call it for each batch",
        )


def _bounds(data: Tensor, lengths: Any, offsets: Any, unsafe: bool) -> Tensor:
    """Where the runs begin and the last one ends, [K + 1]."""
    if lengths is None:
        starts: Tensor = P.cast(offsets, i64)
        return starts
    lengths = P.cast(lengths, i64)
    if not unsafe:
        text = "segment_reduce: lengths contains negative value!"
        lengths = checked(lengths, logic.ge(lengths, 0), text, ShapeMismatch)
    ends = P.pad(scans.cumsum(lengths, 0), (1,), (0,))
    if unsafe:
        return ends
    whole = logic.eq(shapes.slice_along(ends, 0, ends.spec.shape[0] - 1, ends.spec.shape[0]),
                     data.spec.shape[0])  # fmt: skip
    text = "segment_reduce: the lengths do not add up to the number of rows"
    return checked(ends, whole, text, ShapeMismatch)


def _segments(data: Tensor, bounds: Tensor) -> Tensor:
    """The number of each row's run; the number of runs, where it is in none."""
    n, count = data.spec.shape[0], bounds.spec.shape[0] - 1
    rows = data.emit(OPS["iota"], shape=(n,), axis=0, dtype=i64.name)
    number = bounds.emit(OPS["searchsorted"], bounds, rows, right=True) - 1
    return E.where(logic.lt(number, 0), count, ternary.clamp(number, 0, count))


def _folded(blank: Tensor, number: Tensor, data: Tensor, reduce: str) -> Tensor:
    """Extremes and products, with PyTorch's derivatives: an extreme's is shared by all that equal
    it or are NaN, but not by `initial`; a product's is that of all others."""

    name = reduce if reduce == "prod" else f"a{reduce}"  # as index_reduce calls it

    def compute(x: Tensor) -> Tensor:
        return scatter.index_reduce(blank, 0, number, x, name)

    def at_rows(t: Tensor) -> Tensor:
        return t.emit(OPS["gather"], t, number, axis=0)

    def counted(which: Tensor) -> Tensor:
        zeros = blank.full(0, TensorSpec(i64, blank.spec.shape))
        return at_rows(scatter.index_add(zeros, 0, number, P.cast(which, i64)))

    def extreme(g: Tensor, z: Any, x: Tensor) -> tuple[Tensor]:
        ties = logic.eq(x, at_rows(z().detach())) | logic.isnan(x)
        share = at_rows(g) / P.cast(ternary.clamp(counted(ties), 1), x.dtype)
        return (E.where(ties, share, 0.0),)

    def product(g: Tensor, z: Any, x: Tensor) -> Any:
        if modes.grad:
            return autograd.grad(compute(x), x, g, create_graph=True)
        odd = {0.0: logic.eq(x, 0), math.nan: logic.isnan(x)}
        plain = E.where(odd[0.0] | odd[math.nan], 1.0, x)
        others = at_rows(compute(plain)) / plain
        for factor, which in odd.items():
            alone = logic.eq(counted(which), P.cast(which, i64))
            others = E.where(alone, others, others * factor)
        return (at_rows(g) * others,)

    return with_rule("segment_reduce", compute, product if reduce == "prod" else extreme, data)
