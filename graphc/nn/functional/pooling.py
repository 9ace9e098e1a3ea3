"""Max and average pooling over one to three spatial dimensions, by windows as dimensions."""

from __future__ import annotations

from functools import reduce
from math import inf, prod

from graphc.errors import ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.formats import keep_channels_last
from graphc.frontend.operands import floating, floating_or_i64, numeric
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, u8
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.functional.pool_types import max_pool

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]


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
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ShapeMismatch(
                f"pooling kernel {self.kernel}, stride {self.stride} and dilation {self.dilation} "
                f"must be positive, "
                f"padding {self.padding} not negative"
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
                f"pooling of {x.spec} with kernel {self.kernel}: the output would be empty",
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

    def first(self, place: Tensor) -> Tensor:
        """The first place of each window (row-major) that is not in the padding before the input,
        to broadcast to `place`."""
        lead, first = place.dim() - self.rank, place.new_zeros(())
        for k, (size, step, gap) in enumerate(zip(self.kernel, self.stride, self.dilation)):
            first = first * size
            if self.padding[k]:
                shape = [n if d == lead + k else 1 for d, n in enumerate(place.spec.shape)]
                at = place.emit(OPS["iota"], shape=tuple(shape), axis=lead + k, dtype="i64")
                before = self.padding[k] + gap - 1 - at * step
                first = first + (before // gap if gap > 1 else before).clamp(0, size - 1)
        return first

    def valid(self, axis: int, size: int, ceil_mode: bool, include_pad: bool) -> list[int]:
        """How many elements each window along `axis` holds, for an average."""
        pad, step, kernel = self.padding[axis], self.stride[axis], self.kernel[axis]
        low, end = (-pad, size + pad) if include_pad else (0, size)
        starts = [i * step - pad for i in range(self.count(axis, size, ceil_mode))]
        return [min(s + kernel, end) - max(s, low) for s in starts]


def check_rank(input: Tensor, rank: int, name: str) -> None:
    if input.dim() not in (rank + 1, rank + 2):
        raise ShapeMismatch(
            f"{name}: Expected {rank + 1}D or {rank + 2}D input, but got {input.spec}"
        )
    if 0 in input.shape[-rank:]:
        raise ShapeMismatch(f"{name}: only the batch may be empty, got {input.spec}")


def _max_pool(
    rank: int, input: Tensor, window: Window, ceil_mode: bool, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    check_rank(input, rank, f"max_pool{rank}d")
    # In one dimension, without the places, PyTorch has the function for floats alone.
    (floating if rank == 1 and not return_indices else numeric)(input, f"max_pool{rank}d")
    y, place = largest(window.slide(input, ceil_mode, lowest(input)), rank, window)
    y = keep_channels_last(y, input)
    if not return_indices:
        return y
    return y, keep_channels_last(_positions(place, input.shape[-rank:], window), input)


def lowest(x: Tensor) -> float:
    """What no element is below."""
    if x.dtype.is_floating_point:
        return -inf
    return float(-(2 ** (8 * x.dtype.itemsize - 1))) if x.dtype.is_signed else 0.0


def largest(x: Tensor, rank: int, window: Window | None = None) -> tuple[Tensor, Tensor]:
    """The largest of each window, the last `rank` dimensions of x, and its place in the window,
    which is not in the padding that `window` says."""
    kept, size = x.spec.shape[: x.dim() - rank], prod(x.spec.shape[x.dim() - rank :])
    flat = P.reshape(x, (*kept, size))
    axis = len(kept)
    place = P.apply("argmax_last_nan", flat, axis=axis)
    if window is not None and any(window.padding):
        # Where all is as low as the padding, the first place may lie in it.
        at = P.unsqueeze(place, (axis,), axis + 1)
        best = P.reshape(P.apply("take_along", flat.detach(), at, axis=axis), kept)
        place = where(best == lowest(x), window.first(place), place)
    small = P.cast(place, u8) if size <= 256 else place  # kept for the backward
    chosen = P.apply("take_along", flat, P.unsqueeze(small, (axis,), axis + 1), axis=axis)
    return P.reshape(chosen, kept), place


def _positions(place: Tensor, sizes: Shape, window: Window) -> Tensor:
    """Flat input positions of the chosen places (row-major within each window)."""
    lead = place.dim() - window.rank
    found: Tensor | None = None
    rest = prod(window.kernel)
    for k, n in enumerate(sizes):
        rest //= window.kernel[k]
        inside = (place // rest) % window.kernel[k]
        start = place.emit(OPS["iota"], shape=place.spec.shape, axis=lead + k, dtype="i64")
        at = start * window.stride[k] - window.padding[k] + inside * window.dilation[k]
        at = at.clamp(min=0)  # a window of padding alone has no place inside
        found = at if found is None else found * n + at
    assert found is not None
    return found


@max_pool
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest element of each window of [B,C,L] or [C,L]; see max_pool2d.

    -> the same leading dimensions and P for each other; with `return_indices` also flat positions,
    int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension, upwards
    with `ceil_mode`. Raises ShapeMismatch for another rank, where padding is more than half the
    window, or nothing is left.
    """
    window = Window(1, kernel_size, stride, padding, dilation)
    return _max_pool(1, input, window, ceil_mode, return_indices)


@max_pool
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

    -> the same leading dimensions and P for each other; with `return_indices` also flat positions,
    int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension, upwards
    with `ceil_mode`. Raises ShapeMismatch for another rank, where padding is more than half the
    window, or nothing is left.
    """
    window = Window(2, kernel_size, stride, padding, dilation)
    return _max_pool(2, input, window, ceil_mode, return_indices)


@max_pool
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest element of each window of [B,C,D,H,W] or [C,D,H,W]; see max_pool2d.

    -> the same leading dimensions and P for each other; with `return_indices` also flat positions,
    int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension, upwards
    with `ceil_mode`. Raises ShapeMismatch for another rank, where padding is more than half the
    window, or nothing is left.
    """
    window = Window(3, kernel_size, stride, padding, dilation)
    return _max_pool(3, input, window, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    input: Tensor,
    window: Window,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    check_rank(input, rank, f"avg_pool{rank}d")
    floating_or_i64(input, f"avg_pool{rank}d")
    if divisor_override == 0:
        raise ShapeMismatch("divisor must be not zero", fix="pass a positive divisor_override")
    x = window.slide(input, ceil_mode, 0.0)
    total = P.sum(x, tuple(range(x.dim() - rank, x.dim())))
    total = keep_channels_last(total, input) if rank == 2 else total  # PyTorch's 3-d ones are not
    if divisor_override is not None:
        return _share(total, divisor_override)
    counts = [
        window.valid(k, n, ceil_mode, count_include_pad) for k, n in enumerate(input.shape[-rank:])
    ]
    if all(len(set(c)) == 1 for c in counts):
        return _share(total, prod(c[0] for c in counts))
    grids = [
        input.new_tensor(c).reshape([-1 if j == k else 1 for j in range(rank)])
        for k, c in enumerate(counts)
    ]
    return _share(total, reduce(lambda a, b: a * b, grids))


def _share(total: Tensor, count: int | Tensor) -> Tensor:
    """total / count, without its fraction for integers."""
    if not total.dtype.is_floating_point:
        return total.div(count, rounding_mode="trunc")
    return total * (1.0 / count) if isinstance(count, int) else total / count


@whole("avg_pool1d")
def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window of [B,C,L] or [C,L]; see avg_pool2d.

    -> the same leading dimensions and P for each other. P = (L + 2 * padding - K) // stride + 1 in
    each dimension, upwards with `ceil_mode`. Raises ShapeMismatch for another rank, where padding
    is more than half the window, or nothing is left.
    """
    window = Window(1, kernel_size, stride, padding)
    return _avg_pool(1, input, window, ceil_mode, count_include_pad, None)


@whole("avg_pool2d")
def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window of [B,C,H,W] or [C,H,W], over padding too unless told otherwise.

    -> the same leading dimensions and P for each other. P = (L + 2 * padding - K) // stride + 1 in
    each dimension, upwards with `ceil_mode`. Raises ShapeMismatch for another rank, where padding
    is more than half the window, or nothing is left.
    """
    window = Window(2, kernel_size, stride, padding)
    return _avg_pool(2, input, window, ceil_mode, count_include_pad, divisor_override)


@whole("avg_pool3d")
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window of [B,C,D,H,W] or [C,D,H,W]; see avg_pool2d.

    -> the same leading dimensions and P for each other. P = (L + 2 * padding - K) // stride + 1 in
    each dimension, upwards with `ceil_mode`. Raises ShapeMismatch for another rank, where padding
    is more than half the window, or nothing is left.
    """
    window = Window(3, kernel_size, stride, padding)
    return _avg_pool(3, input, window, ceil_mode, count_include_pad, divisor_override)
