"""Primitives as functions and operators over one method, `emit`.

The user's `Tensor`, the IR's `Value` and a rewrite `Pattern` all are `Sugar`, so a derivative rule,
a decomposition and a rewrite rule read alike and run on any of them. The functions are named as the
ops; where a Python name is taken (`sum`, `abs`) the module is meant to be used qualified:
`from graphc.ir import sugar as P` and `P.sum(x, axes)`.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from graphc.errors import InvalidType
from graphc.ir.ops import OPS, Op
from graphc.ir.sizes import same, same_shape
from graphc.ir.types import DType, Scalar, Shape, TensorSpec, refuse_name_only


class Sugar:
    """Anything that ops apply to; numbers become constants of the other operand's type."""

    __slots__ = ()

    @property
    def spec(self) -> TensorSpec:
        raise NotImplementedError

    def emit(self, op: Op, *args: Self | Scalar, **attrs: Any) -> Self:
        """Apply `op` to `args` (which may or may not contain self)."""
        raise NotImplementedError

    def full(self, value: Scalar, spec: TensorSpec) -> Self:
        """A constant of any type, of the same kind of object."""
        raise NotImplementedError


S = TypeVar("S", bound=Sugar)


def apply(name: str, *args: Any, **attrs: Any) -> Any:
    """Apply the op called `name`; at least one argument is Sugar."""
    owner = next((a for a in args if isinstance(a, Sugar)), None)
    if owner is None:
        raise InvalidType(f"{name}: expected a tensor, got {args[0]!r:.100}")
    return owner.emit(OPS[name], *args, **attrs)


def full_like(x: S, value: Scalar) -> S:
    return x.full(value, x.spec)


def zeros(like: S, spec: TensorSpec) -> S:
    return like.full(0, spec)


def reshape(x: S, shape: Shape) -> S:
    return x if same_shape(x.spec.shape, shape) else x.emit(OPS["reshape"], x, shape=tuple(shape))


def transpose(x: S, perm: Shape) -> S:
    return x if perm == tuple(range(len(perm))) else x.emit(OPS["transpose"], x, perm=perm)


def expand(x: S, shape: Shape) -> S:
    return x if same_shape(x.spec.shape, shape) else x.emit(OPS["expand"], x, shape=tuple(shape))


def slice(x: S, start: Shape, stop: Shape, step: Shape | None = None) -> S:
    step = step or (1,) * len(start)
    whole = all(
        a == 0 and same(b, n) and s == 1 for a, b, s, n in zip(start, stop, step, x.spec.shape)
    )
    return x if whole else x.emit(OPS["slice"], x, start=start, stop=stop, step=step)


def pad(x: S, low: Shape, high: Shape, value: float = 0.0) -> S:
    return (
        x.emit(OPS["pad"], x, low=low, high=high, value=value)
        if not all(same(n, 0) for n in (*low, *high))
        else x
    )


def flip(x: S, axes: Shape) -> S:
    return x.emit(OPS["flip"], x, axes=axes) if axes else x


def cast(x: S, dtype: DType) -> S:
    if x.spec.dtype is dtype:
        return x
    refuse_name_only(dtype)
    return x.emit(OPS["cast"], x, dtype=dtype.name)


def sum(x: S, axes: Shape) -> S:
    return x.emit(OPS["sum"], x, axes=axes) if axes else x


def unsqueeze(x: S, axes: Shape, rank: int) -> S:
    """Insert size-1 dimensions so that they stand at `axes` of the result of rank `rank`."""
    old = iter(x.spec.shape)
    return reshape(x, tuple(1 if k in axes else next(old) for k in range(rank)))


def expand_over(x: S, axes: Shape, shape: Shape) -> S:
    """Undo a reduction's shape: put `axes` back and repeat along them."""
    return expand(unsqueeze(x, axes, len(shape)), shape)


def one_hot(index: S, axis: int, shape: Shape) -> S:
    """bool of `shape`: whether the position along `axis` equals `index` (size 1 along `axis`)."""
    places = index.emit(OPS["iota"], shape=shape, axis=axis, dtype=index.spec.dtype.name)
    return index.emit(OPS["eq"], places, expand(index, shape))


def put_along(x: S, index: S, axis: int, shape: Shape) -> S:
    """x summed into zeros of `shape`, at `index` along `axis` and at the front of the others."""
    put = x.emit(OPS["put_along"], x, index, axis=axis, length=shape[axis])
    high = tuple(n - m for n, m in zip(shape, put.spec.shape, strict=True))
    return pad(put, (0,) * len(shape), high)


def where(condition: S, x: S | Scalar, y: S | Scalar) -> S:
    return condition.emit(OPS["where"], condition, x, y)


def unslice(x: S, shape: Shape, start: Shape, step: Shape) -> S:
    """Put x[i] at start + i * step of zeros of `shape`: the adjoint of slice."""
    rank = len(shape)
    for axis, s in enumerate(step):
        n = x.spec.shape[axis]
        if s > 1 and n > 0:  # n -> n,1 -> n,s -> n*s -> without the zeros after the last
            split = (*x.spec.shape[: axis + 1], 1, *x.spec.shape[axis + 1 :])
            gap = tuple(s - 1 if k == axis + 1 else 0 for k in range(rank + 1))
            x = pad(reshape(x, split), (0,) * (rank + 1), gap)
            x = reshape(x, (*split[:axis], n * s, *split[axis + 2 :]))
            stop = tuple(m - s + 1 if k == axis else m for k, m in enumerate(x.spec.shape))
            x = slice(x, (0,) * rank, stop)
    high = tuple(n - a - m for n, a, m in zip(shape, start, x.spec.shape, strict=True))
    return pad(x, start, high)
