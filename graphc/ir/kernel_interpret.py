"""What a Kernel means, in NumPy: every statement over the whole grid of its loops at once.

A value is an array that broadcasts against (parallel axes, axes of the phase). Elementwise ops mean
what `ops.py` says; half floats compute in float32 and round once per op; sums run in float64, so
this is the reference that rounding errors of real code are measured against. Limit: a phase loop
may not read what its own earlier trips stored (other than by `Store(add=True)`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Const,
    Dot,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Load,
    Reduce,
    Size,
    Statement,
    Store,
)
from graphc.ir.kernel_attention import evaluate as evaluate_attention
from graphc.ir.kernel_attention import is_attention
from graphc.ir.kernel_partials import of_runs
from graphc.ir.meaning import sources
from graphc.ir.ops import OPS
from graphc.ir.types import Array, DType, Scalar


class Failure(NamedTuple):
    """The first bad element that a check found."""

    site: int
    value: int
    bound: int


def run_kernel(
    kernel: Kernel,
    buffers: Mapping[str, Array],
    sizes: Mapping[str, int],
    scalars: Mapping[str, Scalar],
    errors: list[Failure] | None = None,
) -> None:
    """Run `kernel` on flat arrays, writing into them; failed checks are appended to `errors`."""
    run = _Run(kernel, buffers, sizes, scalars, [] if errors is None else errors)
    with np.errstate(all="ignore"):
        run.all()


def identity(op: str, dtype: DType) -> Scalar:
    """What an empty reduction gives."""
    if best := OPS[op].best:
        if dtype.is_floating_point:
            return float("-inf" if best == "largest" else "inf")
        if dtype.name == "bool":
            return best == "smallest"
        info = np.iinfo(dtype.numpy)
        return int(info.min if best == "largest" else info.max)
    return 1 if op == "prod" else 0


class _Run:
    def __init__(
        self,
        kernel: Kernel,
        buffers: Mapping[str, Array],
        sizes: Mapping[str, int],
        scalars: Mapping[str, Scalar],
        errors: list[Failure],
    ) -> None:
        self.kernel, self.buffers, self.sizes, self.errors = kernel, buffers, sizes, errors
        self.values: dict[str, Array] = {
            s.name: np.asarray(scalars[s.name], s.dtype.numpy) for s in kernel.scalars
        }
        self.values |= {name: np.asarray(n, np.int64) for name, n in sizes.items()}
        self.points = len(kernel.axes)
        self.axes: tuple[Axis, ...] = ()

    def all(self) -> None:
        if self.kernel.call is not None:
            self.call()
        for phase in self.kernel.phases:
            self.axes = (*self.kernel.axes, *phase.axes)
            outer = dict(self.values)
            for s in phase.body:
                if isinstance(s, Store):
                    self.store(s)
                    continue
                value = self.evaluate(s)
                self.values[s.name] = value
                if isinstance(s, (Reduce, Dot)) or not phase.axes:
                    outer[s.name] = value
            self.values = outer  # statements inside a phase loop are local to it
        self.partials()

    def call(self) -> None:
        call = self.kernel.call
        assert call is not None, "the caller has looked"
        out = self.whole(call.out.buffer, call.out.shape)
        args = [self.whole(a.buffer, a.shape) for a in call.args]
        out[...] = OPS[call.op].evaluate(*args, **dict(call.attrs))

    def whole(self, buffer: str, extents: Sequence[Size]) -> Array:
        """A whole buffer as a row-major array."""
        shape = tuple(map(self.size, extents))
        return self.buffers[buffer][: prod(shape)].reshape(shape)

    # ---- the grid ------------------------------------------------------------------------------

    def size(self, size: Size) -> int:
        return size if isinstance(size, int) else self.sizes[size]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.size(axis.extent) for axis in self.axes)

    def affine(self, at: Affine) -> Array:
        total = np.full((1,) * len(self.axes), self.size(at.const), np.int64)
        for k, axis in enumerate(self.axes):
            line = np.arange(self.size(axis.extent), dtype=np.int64)
            line = line.reshape([-1 if j == k else 1 for j in range(len(self.axes))])
            total = total + line * self.size(at.stride(axis.name))
        return total

    def value(self, name: str) -> Array:
        """A value, with a dimension of one for each axis it does not have."""
        x = self.values[name]
        return x.reshape(x.shape + (1,) * (len(self.axes) - x.ndim))

    def place(self, at: Affine, indirect: tuple[Indirect, ...]) -> Array:
        total = self.affine(at)
        for term in indirect:
            total = total + self.value(term.index).astype(np.int64) * self.size(term.stride)
        return total

    def inside(self, guards: tuple[Guard, ...]) -> Array:
        holds = np.ones((1,) * len(self.axes), np.bool_)
        for guard in guards:
            at = self.affine(guard.at)
            holds = holds & (self.size(guard.lo) <= at) & (at < self.size(guard.hi))
        return holds

    def partials(self) -> None:
        """Statistics of runs of points, behind the loops."""
        axes = self.kernel.axes
        for p in self.kernel.partials:
            self.axes = axes
            x = np.broadcast_to(self.value(p.value), self.shape)
            found = of_runs(p, [a.name for a in axes], x, self.size(p.run))
            self.axes = tuple(a for a in axes if a.name not in p.over)
            at, step = self.affine(p.at), self.size(p.step)
            for part, result in enumerate(found):
                self.buffers[p.buffer][at + part * step] = result

    # ---- statements ----------------------------------------------------------------------------

    def evaluate(self, s: Statement) -> Array:
        match s:
            case Load():
                return self.load(s)
            case Const():
                return np.full((1,) * len(self.axes), s.value, s.dtype.numpy)
            case Index():
                return self.affine(s.at).astype(s.dtype.numpy)
            case Inside():
                return self.inside(s.guards)
            case Apply():
                return self.apply(s)
            case Reduce():
                return self.reduce(s)
            case Dot():
                return self.dot(s)
        raise AssertionError(s)

    def load(self, s: Load) -> Array:
        at, holds = np.broadcast_arrays(self.place(s.at, s.indirect), self.inside(s.guards))
        out = np.zeros(at.shape, s.dtype.numpy)
        out[holds] = self.buffers[s.buffer][at[holds]].astype(s.dtype.numpy)
        return out

    def store(self, s: Store) -> None:
        buffer = self.buffers[s.buffer]
        shape = self.shape
        at = np.broadcast_to(self.place(s.at, s.indirect), shape)
        holds = np.broadcast_to(self.inside(s.guards), shape)
        value = np.broadcast_to(self.value(s.value), shape)[holds].astype(buffer.dtype)
        if s.bound is not None:
            none, wide = np.zeros((), np.int64), value.astype(np.float64)
            self.fail(~(np.abs(wide) <= s.bound.limit), self.value(s.bound.site), none, none)
        if not s.add:
            buffer[at[holds]] = value
            return
        for place, x in zip(at[holds].tolist(), value):  # in order, rounding each time
            buffer[place] = buffer[place] + x

    def apply(self, s: Apply) -> Array:
        args = [self.value(a) for a in s.args]
        if s.op in ("check_index", "check", "random_bits"):
            own: Callable[..., Array] = getattr(self, s.op)
            return own(*args)
        if s.op == "cast":
            return self.cast(args[0], s.dtype)
        if is_attention(s):
            return evaluate_attention(s.op, args, self.axes, self.shape, self.points)
        if OPS[s.op].may_fail == "integers":
            args = self.divisible(*args)
        evaluate: Callable[..., Array] = OPS[s.op].evaluate
        widened = [a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind not in "iu" else a
                   for a in args]  # fmt: skip
        return np.asarray(evaluate(*np.broadcast_arrays(*widened))).astype(s.dtype.numpy)

    def cast(self, x: Array, dtype: DType) -> Array:
        """To half types through float32, as PyTorch does."""
        if dtype.is_half:
            x = x.astype(np.float32)
        return x.astype(dtype.numpy)

    def check_index(self, index: Array, bound: Array, site: Array) -> Array:
        bad = (index < 0) | (index >= bound)
        self.fail(bad, site, index, bound)
        return np.where(bad, np.zeros_like(index), index)

    def check(self, x: Array, condition: Array, site: Array) -> Array:
        none = np.zeros((), np.int64)
        self.fail(~condition, site, none, none)
        return x

    def divisible(self, x: Array, y: Array, site: Array | int = 0) -> list[Array]:
        """The operands with zero divisors reported and made one."""
        if y.dtype.kind not in "iub":
            return [x, y]
        zero = y == 0
        self.fail(zero, np.asarray(site), x, np.zeros_like(y))
        return [x, np.where(zero, np.ones_like(y), y)]

    def fail(self, bad: Array, site: Array, value: Array, bound: Array) -> None:
        if bad.any():
            full = np.broadcast_arrays(bad, site, value, bound, np.empty(self.shape))
            first = int(np.flatnonzero(full[0])[0])
            self.errors.append(Failure(*(int(x.ravel()[first]) for x in full[1:4])))

    def random_bits(self, seed: Array, draw: Array, index: Array) -> Array:
        def words(x: Array) -> list[Array]:
            x = x.astype(np.int64).view(np.uint64)
            return [x & sources.MASK32, x >> np.uint64(32)]

        block = np.floor_divide(index, 4)
        seeds = int(np.asarray(seed).ravel()[0]) & 0xFFFFFFFFFFFFFFFF
        counter = np.broadcast_arrays(*words(block), *words(draw))
        four = sources.philox(list(counter), (seeds & 0xFFFFFFFF, seeds >> 32))
        chosen = np.choose(np.broadcast_to(index % 4, four[0].shape), four)
        return chosen.astype(np.uint32).view(np.int32)

    # ---- reductions ----------------------------------------------------------------------------

    def reduced(self, name: str, dtype: DType | None) -> Array:
        """A value over the whole phase, its phase axes made one last dimension."""
        x = np.broadcast_to(self.value(name), self._partly(name))
        x = x.reshape(*x.shape[: self.points], prod(x.shape[self.points :]))
        return x if dtype is None else x.astype(dtype.numpy)

    def _partly(self, name: str) -> tuple[int, ...]:
        """Its shape, with the phase axes in full."""
        return self.value(name).shape[: self.points] + self.shape[self.points :]

    def reduce(self, s: Reduce) -> Array:
        if OPS[s.op].position:
            x = self.reduced(s.arg, None)
            if not x.shape[-1]:
                return np.zeros(x.shape[:-1], np.int64)
            if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
                x = x.astype(np.float32)
            return OPS[s.op].evaluate(x, axis=-1)
        x = self.reduced(s.arg, s.dtype)
        if s.dtype.is_floating_point:
            x = x.astype(np.float64)
        elif s.op == "sum" and s.dtype.name == "bool":
            return np.asarray(x.any(axis=-1))
        function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[s.op]
        start = identity(s.op, s.dtype)
        result = function.reduce(x, axis=-1, initial=start, dtype=x.dtype)
        return np.asarray(result).astype(s.dtype.numpy)

    def dot(self, s: Dot) -> Array:
        wide = np.float64 if s.dtype.is_floating_point else s.dtype.numpy
        a, b = (self.reduced(x, None).astype(wide) for x in (s.a, s.b))
        return np.asarray((a * b).sum(axis=-1, dtype=wide)).astype(s.dtype.numpy)
