"""pad: growing (or, with negative widths, cropping) the last dimensions in five ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ShapeMismatch, Unsupported
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.formats import keep_channels_last, row_by_row
from graphc.frontend.api.shapes import cat, owned
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.promotion import held
from graphc.frontend.tensor import Tensor
from graphc.ir.types import TensorSpec, bool_

__all__ = ["pad"]


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Grow the last dimensions: `pad` is (low, high) of the last, then of the one before, ...

    `mode` is "constant" (with `value`, 0 by default), "reflect", "replicate" or "circular". A
    negative width removes elements. The three others want one or two leading dimensions.

    Each dimension grows by its low and high, the last first: [B, C, H, W] by (1, 1) is [B, C, H, W
    + 2].
    """
    widths = tuple(pad)
    if len(widths) % 2 or len(widths) > 2 * input.dim():
        raise ShapeMismatch(
            f"Padding length should be even and at most twice the number of dimensions of the "
            f"input {input.spec}, got {widths}"
        )
    pairs = [(0, 0)] * (input.dim() - len(widths) // 2) + list(zip(widths[::2], widths[1::2]))[::-1]
    if mode == "constant":
        filler = 0.0 if value is None else value
        out = owned(_constant(_cropped(input, pairs), pairs, filler), input)
        return keep_channels_last(out, input)
    if mode not in EDGES:
        raise Unsupported(
            f"Unrecognised padding mode {mode!r}", fix=f"use one of {('constant', *EDGES)}"
        )
    if value is not None and value != 0:
        raise Unsupported(f"Padding mode {mode!r} doesn't take in value argument")
    if not len(widths) // 2 + 1 <= input.dim() <= len(widths) // 2 + 2:
        raise Unsupported(
            f"{mode} padding of {len(widths) // 2} dimensions wants an input of one or two more, "
            f"got {input.spec}"
        )
    if mode == "circular":  # wraps what is left; the others mirror what a cut takes away
        input = _cropped(input, pairs)
        pairs = [(max(low, 0), max(high, 0)) for low, high in pairs]
    out = input
    for axis, (low, high) in enumerate(pairs):
        if low or high:
            out = _grown(out, axis, low, high, mode)
    out = owned(out, input)
    return row_by_row(out) if mode == "circular" else keep_channels_last(out, input)


def _constant(x: Tensor, pairs: Sequence[tuple[int, int]], value: Any) -> Tensor:
    low, high = tuple(max(a, 0) for a, _ in pairs), tuple(max(b, 0) for _, b in pairs)
    if isinstance(value, HostValue):  # an op's attribute is the same at each call
        inside = P.pad(x.full(True, TensorSpec(bool_, x.spec.shape)), low, high, False)
        return where(inside, P.pad(x, low, high), value)
    return P.pad(x, low, high, float(held(float(value), x.dtype)))


def _cropped(x: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    for axis, (low, high) in enumerate(pairs):
        if min(low, high) < 0:
            kept = x.shape[axis] + min(low, 0) + min(high, 0)
            x = x.narrow(axis, max(-low, 0), kept)
    return x


def _reflected(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    n = x.shape[axis]
    if max(low, high) >= max(n, 1):
        raise ShapeMismatch(
            "Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({low}, {high}) at dimension {axis} of input {list(x.shape)}"
        )
    before, after = x.narrow(axis, 1, low), x.narrow(axis, n - 1 - high, high)
    return before.flip(axis), after.flip(axis)


def _repeated(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    n = x.shape[axis]
    if n == 0:
        raise ShapeMismatch(f"replication padding of the empty dimension {axis} of {x.spec}")

    def repeat(at: int, count: int) -> Tensor:
        shape = (*x.spec.shape[:axis], count, *x.spec.shape[axis + 1 :])
        return P.expand(x.narrow(axis, at, 1), shape)

    return repeat(0, low), repeat(n - 1, high)


def _wrapped(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    n = x.shape[axis]
    if max(low, high) > n:
        raise ShapeMismatch(
            f"Padding value causes wrapping around more than once: ({low}, {high}) at dimension "
            f"{axis} of {x.spec}"
        )
    return x.narrow(axis, n - low, low), x.narrow(axis, 0, high)


EDGES: dict[str, Callable[[Tensor, int, int, int], tuple[Tensor, Tensor]]] = {
    "reflect": _reflected,
    "replicate": _repeated,
    "circular": _wrapped,
}  # what stands before and after a dimension


def _grown(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    """x with its edges continued along one axis."""
    before, after = EDGES[mode](x, axis, max(low, 0), max(high, 0))
    none = [(0, 0)] * axis
    x = _cropped(x, [*none, (min(low, 0), min(high, 0))])
    parts = [part for part in (before, x, after) if part.shape[axis]]
    return cat(parts, axis) if len(parts) > 1 else parts[0]
