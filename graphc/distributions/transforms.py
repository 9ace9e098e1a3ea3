"""The transforms of torch.distributions: of numbers, of vectors and of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphc.distributions import constraints
from graphc.distributions.distribution import softplus
from graphc.distributions.independent import summed_last
from graphc.distributions.number_transforms import (
    AbsTransform,
    AffineTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    inside,
)
from graphc.distributions.transform import (
    ComposeTransform,
    IndependentTransform,
    Parametric,
    Shape,
    Transform,
    identity_transform,
)
from graphc.errors import InvalidArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import linalg
from graphc.frontend.api.creation import arange
from graphc.frontend.api.diagonals import diag_embed
from graphc.frontend.api.scans import cumprod, cumsum
from graphc.frontend.api.shapes import cat, narrow, stack
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "CatTransform",
    "ComposeTransform",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "ExpTransform",
    "IndependentTransform",
    "LowerCholeskyTransform",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "TanhTransform",
    "Transform",
    "identity_transform",
]


# ---- of vectors and matrices -------------------------------------------------------------------


class ReshapeTransform(Parametric):
    """The same numbers in events of another shape."""

    bijective = True
    names = ("in_shape", "out_shape")

    def __init__(self, in_shape: Shape, out_shape: Shape, cache_size: int = 0) -> None:
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise InvalidArgument("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size)

    @property
    def domain(self) -> Any:
        return constraints.independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Any:
        return constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape((*x.shape[: x.dim() - len(self.in_shape)], *self.out_shape))

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape((*y.shape[: y.dim() - len(self.out_shape)], *self.in_shape))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(tuple(x.shape[: x.dim() - len(self.in_shape)]))

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        return _exchanged(tuple(shape), self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Shape) -> tuple[int, ...]:
        return _exchanged(tuple(shape), self.out_shape, self.in_shape)


def _exchanged(shape: tuple[int, ...], old: Shape, new: Shape) -> tuple[int, ...]:
    cut = len(shape) - len(old)
    if cut < 0 or shape[cut:] != tuple(old):
        raise InvalidArgument(f"Shape mismatch: expected {tuple(old)} at the end of {shape}")
    return (*shape[:cut], *new)


class SoftmaxTransform(Parametric):
    """Shares that sum to 1, by exp; not injective."""

    domain, codomain = constraints.real_vector, constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        if len(shape) < 1:
            raise InvalidArgument("Too few dimensions on input")
        return tuple(shape)

    inverse_shape = forward_shape


def _by_one(shape: Shape, change: int) -> tuple[int, ...]:
    if len(shape) < 1:
        raise InvalidArgument("Too few dimensions on input")
    return (*shape[:-1], shape[-1] + change)


def _left(y: Tensor) -> Tensor:
    """Of a stick of length 1, what is left before each of its parts."""
    rest = 1 - cumsum(y, -1)
    first = rest[..., :1] * 0 + 1
    return cat([first, rest[..., :-1]], -1)


class StickBreakingTransform(Parametric):
    """n numbers as n + 1 shares that sum to 1: each breaks a share off what is left."""

    domain, codomain = constraints.real_vector, constraints.simplex
    bijective = True

    def _offset(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        return (n - arange(n, device=x.device)).to(x.dtype)

    def _call(self, x: Tensor) -> Tensor:
        z = inside((x - self._offset(x).log()).sigmoid())
        left = cumprod(1 - z, -1)
        one = z[..., :1] * 0 + 1
        return cat([z, one], -1) * cat([one, left], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        cut = y[..., :-1]
        tiny = 2.0**-1022 if y.dtype is f64 else 2.0**-126
        left = (1 - cumsum(cut, -1)).clamp(min=tiny)
        return cut.log() - left.log() + self._offset(cut).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        away = x - self._offset(x).log()
        return (-away - softplus(-away) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        return _by_one(shape, 1)

    def inverse_shape(self, shape: Shape) -> tuple[int, ...]:
        return _by_one(shape, -1)


class LowerCholeskyTransform(Parametric):
    """Square matrices as lower triangles with a positive diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + diag_embed(x.diagonal(dim1=-2, dim2=-1).exp())

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + diag_embed(y.diagonal(dim1=-2, dim2=-1).log())


class PositiveDefiniteTransform(Parametric):
    """Square matrices as positive-definite ones, L L^T of `LowerCholeskyTransform`."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        low = LowerCholeskyTransform()(x)
        return low @ low.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(linalg.cholesky(y))


class CorrCholeskyTransform(Parametric):
    """n (n - 1) / 2 numbers as the Cholesky factor of a matrix of correlations [n, n].

    tanh of the numbers are partial correlations; each row breaks a stick of length 1.
    """

    domain, codomain = constraints.real_vector, constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        epsilon = 2.0**-52 if x.dtype is f64 else 2.0**-23
        r = _below(x.tanh().clamp(-1 + epsilon, 1 - epsilon))
        one = diag_embed(r.diagonal(dim1=-2, dim2=-1) * 0 + 1)
        root = cumprod(E.sqrt(1 - r.square()), -1)
        before = cat([root[..., :1] * 0 + 1, root[..., :-1]], -1)
        return (r + one) * before

    def _inverse(self, y: Tensor) -> Tensor:
        n = y.shape[-1]
        left = _left(y.square())
        rows, columns = _places(n)
        t = y[..., rows, columns] / E.sqrt(left[..., rows, columns])
        return (E.log1p(t) - E.log1p(-t)) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        rows, columns = _places(y.shape[-1])
        left = (1 - cumsum(y.square(), -1))[..., rows, columns]
        last = [k for k, (i, j) in enumerate(zip(rows, columns)) if j == i - 1]
        kept = [k for k in range(len(rows)) if k not in last]
        stick = left[..., kept].log().sum(-1) / 2
        return stick - 2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        if len(shape) < 1:
            raise InvalidArgument("Too few dimensions on input")
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise InvalidArgument("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Shape) -> tuple[int, ...]:
        if len(shape) < 2:
            raise InvalidArgument("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise InvalidArgument("Input is not square")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


def _places(n: int) -> tuple[list[int], list[int]]:
    """Rows and columns below the diagonal."""
    pairs = [(i, j) for i in range(n) for j in range(i)]
    return [i for i, _ in pairs], [j for _, j in pairs]


def _below(x: Tensor) -> Tensor:
    """A matrix with these numbers below its diagonal, row by row."""
    n = round((0.25 + 2 * x.shape[-1]) ** 0.5 + 0.5)
    if n * (n - 1) // 2 != x.shape[-1]:
        raise InvalidArgument(f"{x.shape[-1]} numbers do not fill a triangle")
    places = [i * (i - 1) // 2 + j if j < i else x.shape[-1] for i in range(n) for j in range(n)]
    padded = cat([x, x[..., :1] * 0], -1)
    return padded[..., places].reshape((*x.shape[:-1], n, n))


# ---- of parts ----------------------------------------------------------------------------------


class _Parts(Transform):
    """A transform for each of several parts along a dimension."""

    transforms: list[Transform]
    dim: int

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _cut(self, x: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def _join(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _each(self, function: Callable[..., Tensor], *values: Tensor) -> list[Tensor]:
        parts = zip(*(self._cut(v) for v in values))
        return [function(t, *p) for t, p in zip(self.transforms, parts)]

    def _call(self, x: Tensor) -> Tensor:
        return self._join(self._each(lambda t, x: t(x), x))

    def _inverse(self, y: Tensor) -> Tensor:
        return self._join(self._each(lambda t, y: t.inv(y), y))


class CatTransform(_Parts):
    """A transform for each stretch of a dimension, of `lengths` (1 each without them)."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq]
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise InvalidArgument("CatTransform: as many lengths as transforms are needed")
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """The size of the dimension."""
        return sum(self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    @property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _cut(self, x: Tensor) -> list[Tensor]:
        if x.shape[self.dim] != self.length:
            raise InvalidArgument(f"CatTransform: dimension {self.dim} must be {self.length}")
        starts = [sum(self.lengths[:k]) for k in range(len(self.lengths))]
        return [narrow(x, self.dim, s, n) for s, n in zip(starts, self.lengths)]

    def _join(self, parts: list[Tensor]) -> Tensor:
        return cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        terms = []
        for t, a, b in zip(self.transforms, self._cut(x), self._cut(y)):
            term = t.log_abs_det_jacobian(a, b)
            terms.append(summed_last(term, self.event_dim - t.event_dim))
        dim = self.dim - x.dim() if self.dim >= 0 else self.dim
        dim += self.event_dim
        return cat(terms, dim) if dim < 0 else sum(terms[1:], terms[0])


class StackTransform(_Parts):
    """A transform for each place along a dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq]
        self.dim = dim

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    @property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def _cut(self, x: Tensor) -> list[Tensor]:
        if x.shape[self.dim] != len(self.transforms):
            what = f"StackTransform: dimension {self.dim} must be {len(self.transforms)}"
            raise InvalidArgument(what)
        return list(x.unbind(self.dim))

    def _join(self, parts: list[Tensor]) -> Tensor:
        return stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self._join(self._each(lambda t, a, b: t.log_abs_det_jacobian(a, b), x, y))
