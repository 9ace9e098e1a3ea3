"""The scan of an associative function, under the name that PyTorch's module has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api.shapes import cat
from graphc.frontend.step.control import scan, tensors_of
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tensor import Tensor

MODES = ("pointwise", "generic")


def associative_scan(
    combine_fn: Callable[[Any, Any], Any],
    xs: Any,
    dim: int,
    reverse: bool = False,
    combine_mode: str = "pointwise",
) -> Any:
    """All prefixes of `xs` along `dim` under `combine_fn(so far, slice)`, inclusive, in xs' form.

    xs: a tensor, or nested tuples, lists and dicts of tensors of one length along `dim`. The slices
        that combine_fn takes have not that dimension.
    reverse: suffixes.
    combine_mode: "pointwise" and "generic" are one here: a loop from slice to slice (`scan`), which
        a compiled step has as one body.
    """
    if combine_mode not in MODES:
        raise InvalidArgument(
            f"associative_scan(combine_mode={combine_mode!r})", fix=f"one of {', '.join(MODES)}"
        )
    lengths = {x.shape[dim] for x in tensors_of(xs)}
    if lengths == {1}:
        return rebuilt(xs, lambda x: x.clone())
    end = slice(-1, None) if reverse else slice(0, 1)
    others = slice(None, -1) if reverse else slice(1, None)
    first, rest = (rebuilt(xs, partial(_part, dim, which)) for which in (end, others))

    def combined(so_far: Any, x: Any) -> tuple[Any, Any]:
        after = combine_fn(so_far, x)
        return after, after

    start = rebuilt(first, lambda x: x.squeeze(dim))
    ys = iter(tensors_of(scan(combined, start, rest, dim=dim, reverse=reverse)[1]))

    def joined(x: Tensor) -> Tensor:
        y = next(ys).movedim(0, dim)
        return cat([y, x] if reverse else [x, y], dim)

    return rebuilt(first, joined)


def _part(dim: int, which: slice, x: Tensor) -> Tensor:
    return x[(slice(None),) * (dim % x.ndim) + (which,)]
