"""Partial results of a contraction: what they mean, in NumPy, and what makes them well formed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from graphc.ir.kernel import PART, Kernel, Partial, Statistic
from graphc.ir.types import Array, DType, f32


def deviations(x: Array) -> Array:
    """The sum of squared distances from the mean."""
    return np.asarray(np.square(x - x.mean(axis=-1, keepdims=True)).sum(axis=-1))


STATISTICS: Mapping[Statistic, Callable[[Array], Array]] = {
    "sum": lambda x: np.asarray(x.sum(axis=-1)),
    "mean": lambda x: np.asarray(x.mean(axis=-1)),
    "deviations": deviations,
}


def of_runs(p: Partial, axes: Sequence[str], x: Array, run: int) -> list[Array]:
    """The statistic of each run of a value over `axes`, over those that it keeps."""
    over = [axes.index(name) for name in p.over]
    kept = [k for k in range(len(axes)) if k not in over]
    x = x.transpose(*kept, *over)
    x = x.reshape(*x.shape[: len(kept)], prod(x.shape[len(kept) :])).astype(np.float64)
    return [STATISTICS[p.op](x[..., k : k + run]) for k in range(0, x.shape[-1], run)]


def one_run(kernel: Kernel, p: Partial) -> bool:
    """Whether a run is all points, for certain."""
    extents = [a.extent for a in kernel.axes if a.name in p.over]
    return p.run == prod(n if isinstance(n, int) else 0 for n in extents)


def partial(kernel: Kernel, p: Partial, dtype: DType | None) -> Iterator[str]:
    """Complaints: runs of points, each with a place of its own, in float32 or wider."""
    parallel = {a.name for a in kernel.axes}
    buffer = next((b for b in kernel.buffers if b.name == p.buffer), None)
    if kernel.kind != "contract":
        yield f"a {kernel.kind} with a partial result"
    if not p.over or len(set(p.over)) < len(p.over) or not set(p.over) <= parallel:
        yield f"a statistic over {', '.join(p.over)}, which are no parallel axes"
    if {a for a, _ in p.at.terms} - {PART} - (parallel - set(p.over)):
        yield f"{p.buffer} is addressed by axes that the statistic sums over"
    if p.step == 0 and not one_run(kernel, p):
        yield f"runs share their place in {p.buffer}"
    if isinstance(p.run, int) and p.run < 1:
        yield f"runs of {p.run} points"
    if dtype is None or not dtype.is_floating_point:
        yield f"{p.value} is no float that the epilogue computes"
    elif buffer is None or "w" not in buffer.access:
        yield f"{p.buffer} is not declared as w"
    elif buffer.dtype is not (f32 if dtype.is_half else dtype):
        yield f"a statistic of {dtype.name} in {buffer.dtype.name}"
