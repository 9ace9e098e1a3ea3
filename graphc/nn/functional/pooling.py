"""Pooling over any number of trailing spatial dimensions, by windows appended as dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import inf, prod

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.creation import tensor
from graphc.frontend.tensor import Tensor
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, u8
from graphc.nn.functional.arguments import Sizes, per_dim

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
]


class Window:
    """A pooling window: sizes, steps, padding and dilation of each spatial dimension."""

    def __init__(
        self, rank: int, kernel: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes = 1
    ) -> None:
        self.rank = rank
        self.kernel = per_dim(kernel, rank, "kernel_size")
        no_stride = stride is None or (not isinstance(stride, int) and not len(stride))
        self.stride = self.kernel if no_stride else per_dim(stride, rank, "stride")  # type: ignore[arg-type]  # None excluded
        self.padding = per_dim(padding, rank, "padding")
        self.dilation = per_dim(dilation, rank, "dilation")
        self.span = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation))
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise InvalidArgument(
                "pooling kernel and stride must be positive, padding not negative"
            )
        for p, s in zip(self.padding, self.span):
            if 2 * p > s:
                raise ShapeMismatch(
                    f"pad should be at most half of effective kernel size, but got pad={p} and "
                    f"effective kernel size {s}"
                )

    def count(self, axis: int, size: int, ceil_mode: bool) -> int:
        """How many windows stand along spatial dimension `axis` of extent `size`."""
        room = size + 2 * self.padding[axis] - self.span[axis]
        step = self.stride[axis]
        n = (-(-room // step) if ceil_mode else room // step) + 1
        # The last window must start inside the input or the padding before it.
        return n - 1 if ceil_mode and (n - 1) * step >= size + self.padding[axis] else n

    def high(self, axis: int, size: int, ceil_mode: bool) -> int:
        """Padding after the dimension that makes exactly `count` windows fit."""
        last = (self.count(axis, size, ceil_mode) - 1) * self.stride[axis] + self.span[axis]
        return max(last - size - self.padding[axis], 0)

    def slide(self, x: Tensor, ceil_mode: bool, value: float) -> Tensor:
        """x [..., *S] -> [..., *counts, *kernel], padded with `value`."""
        lead = x.dim() - self.rank
        sizes = x.shape[lead:]
        if any(self.count(k, n, ceil_mode) < 1 for k, n in enumerate(sizes)):
            raise ShapeMismatch(
                f"pooling of {x.type} with kernel {self.kernel}: the output would be empty",
                fix="use a smaller kernel or more padding",
            )
        none = (0,) * lead
        high = tuple(self.high(k, n, ceil_mode) for k, n in enumerate(sizes))
        x = P.pad(x, (*none, *self.padding), (*none, *high), value)
        for k in range(self.rank):
            x = P.apply(
                "unfold",
                x,
                axis=lead + k,
                size=self.kernel[k],
                step=self.stride[k],
                dilation=self.dilation[k],
            )
        return x

    def valid(self, axis: int, size: int, ceil_mode: bool, include_pad: bool) -> list[int]:
        """How many elements each window along `axis` holds, for an average."""
        pad, step, kernel = self.padding[axis], self.stride[axis], self.kernel[axis]
        low, end = (-pad, size + pad) if include_pad else (0, size)
        starts = [i * step - pad for i in range(self.count(axis, size, ceil_mode))]
        return [min(s + kernel, end) - max(s, low) for s in starts]


def _check_rank(input: Tensor, rank: int, name: str) -> None:
    if input.dim() not in (rank + 1, rank + 2):
        raise ShapeMismatch(
            f"{name}: Expected {rank + 1}D or {rank + 2}D input, but got {input.type}"
        )


def _max_pool(
    rank: int, input: Tensor, window: Window, ceil_mode: bool, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    _check_rank(input, rank, f"max_pool{rank}d")
    low = -inf if input.dtype.is_floating_point else float(-(2 ** (8 * input.dtype.itemsize - 1)))
    x = window.slide(input, ceil_mode, low)
    kept = x.shape[: x.dim() - rank]
    flat = P.reshape(x, (*kept, prod(window.kernel)))
    axis = len(kept)
    place = P.apply("argmax", flat, axis=axis)
    small = P.cast(place, u8) if prod(window.kernel) <= 256 else place  # kept for the backward
    chosen = P.apply("take_along", flat, P.unsqueeze(small, (axis,), axis + 1), axis=axis)
    y = P.reshape(chosen, kept)
    return (y, _positions(place, input.shape[-rank:], window)) if return_indices else y


def _positions(place: Tensor, sizes: Shape, window: Window) -> Tensor:
    """Flat input positions of the chosen places (row-major within each window)."""
    lead = place.dim() - window.rank
    found: Tensor | None = None
    rest = prod(window.kernel)
    for k, n in enumerate(sizes):
        rest //= window.kernel[k]
        inside = (place // rest) % window.kernel[k]
        start = place.emit(OPS["iota"], shape=place.type.shape, axis=lead + k, dtype="i64")
        at = start * window.stride[k] - window.padding[k] + inside * window.dilation[k]
        # A window of -inf alone chooses its first place, which may be padding: clamp it inside.
        at = at.clamp(min=0)
        found = at if found is None else found * n + at
    assert found is not None
    return found


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest element of each window of [B,C,L] or [C,L]; see max_pool2d."""
    window = Window(1, kernel_size, stride, padding, dilation)
    return _max_pool(1, input, window, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest element of each window of [B,C,H,W] or [C,H,W]; ties and gradients take the first.

    With `return_indices`, also its flat position in the H*W plane (i64). NaN wins.
    """
    window = Window(2, kernel_size, stride, padding, dilation)
    return _max_pool(2, input, window, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    input: Tensor,
    window: Window,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    _check_rank(input, rank, f"avg_pool{rank}d")
    if divisor_override == 0:
        raise ShapeMismatch("divisor must be not zero", fix="pass a positive divisor_override")
    x = window.slide(input, ceil_mode, 0.0)
    total = P.sum(x, tuple(range(x.dim() - rank, x.dim())))
    if divisor_override is not None:
        return total * (1.0 / divisor_override)
    counts = [
        window.valid(k, n, ceil_mode, count_include_pad) for k, n in enumerate(input.shape[-rank:])
    ]
    if all(len(set(c)) == 1 for c in counts):
        return total * (1.0 / prod(c[0] for c in counts))
    grids = [
        tensor(c, dtype=input.dtype).reshape([-1 if j == k else 1 for j in range(rank)])
        for k, c in enumerate(counts)
    ]
    return total / reduce(lambda a, b: a * b, grids)


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window of [B,C,L] or [C,L]; see avg_pool2d."""
    window = Window(1, kernel_size, stride, padding)
    return _avg_pool(1, input, window, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window of [B,C,H,W] or [C,H,W], over padding too unless told otherwise."""
    window = Window(2, kernel_size, stride, padding)
    return _avg_pool(2, input, window, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """Mean over `output_size` nearly equal stretches of [B,C,L] or [C,L]."""
    return _adaptive_avg_pool(1, input, per_dim(output_size, 1, "output_size"))


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """Mean over a grid of nearly equal cells of [B,C,H,W] or [C,H,W]; None keeps an extent."""
    wanted = (output_size,) * 2 if isinstance(output_size, int | None) else tuple(output_size)
    if len(wanted) != 2:
        raise InvalidArgument(f"output_size must be 2, got {len(wanted)} sizes")
    sizes = tuple(n if m is None else m for n, m in zip(input.shape[-2:], wanted))
    return _adaptive_avg_pool(2, input, sizes)


def _adaptive_avg_pool(rank: int, input: Tensor, sizes: Shape) -> Tensor:
    _check_rank(input, rank, f"adaptive_avg_pool{rank}d")
    if all(m == 1 for m in sizes):
        return input.mean(dim=tuple(range(-rank, 0)), keepdim=True)
    for k, m in enumerate(sizes):
        input = _cells(input, input.dim() - rank + k, m)
    return input


def _cells(x: Tensor, axis: int, count: int) -> Tensor:
    """Mean over `count` stretches of `axis`, equal ones where its extent divides."""
    n = x.shape[axis]
    if n == count:
        return x
    if count and n % count == 0:
        split = P.reshape(x, (*x.shape[:axis], count, n // count, *x.shape[axis + 1 :]))
        return split.mean(dim=axis + 1)
    stretches = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    means = [x.narrow(axis, a, b - a).mean(dim=axis, keepdim=True) for a, b in stretches]
    joined: Tensor = P.apply("concat", *means, axis=axis)
    return joined
