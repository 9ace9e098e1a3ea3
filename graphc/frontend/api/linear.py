"""Matrix products over the `dot` primitive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeMismatch, InvalidArgument, InvalidType, ShapeMismatch
from graphc.frontend.api import diagonals, logic, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.checked import required
from graphc.frontend.dims import axis_at, axis_of, broadcast_shapes
from graphc.frontend.hostvalue import HostValue, is_surely
from graphc.frontend.operands import broadcast_to, is_tensor, numeric
from graphc.frontend.promotion import is_number, result_type
from graphc.frontend.registry import pointwise, public
from graphc.frontend.switches import how_multiplied
from graphc.frontend.tape import stepwise, with_rule
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.type_rules import Pairs
from graphc.ir.types import bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "cdist",
    "chain_matmul",
    "cross",
    "dot",
    "ger",
    "inner",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
    "vdot",
]

DOT = OPS["dot"]


def contract(x: Tensor, y: Tensor, batch: Pairs, contract: Pairs, *, bools: bool = False) -> Tensor:
    """The primitive, after PyTorch's checks: of bools it has no sums but where `bools` says so."""
    if x.dtype is not y.dtype:
        raise DTypeMismatch(f"matmul: operands differ in dtype: {x.spec} vs {y.spec}")
    if x.dtype is bool_ and contract and not bools and x.spec.numel and y.spec.numel:
        numeric(x, "a sum of products")
    return x.emit(DOT, x, y, batch=batch, contract=contract, **how_multiplied(x, y))


@public(method=True, out=True, operators=("__matmul__",))
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Python's @: vectors count as a row or column, leading dimensions as batch.

    [..., N, K], [..., K, M] -> [..., N, M]. Raises ShapeMismatch if the Ks differ.
    """
    if not isinstance(other, P.Sugar):
        raise InvalidType(f"matmul: expected a tensor, got {other!r:.100}")
    a, b = input.spec.shape, other.spec.shape
    if not a or not b:
        raise ShapeMismatch(f"matmul: both operands need dimensions: {input.spec} @ {other.spec}")
    if a[-1] != b[max(len(b) - 2, 0)]:
        raise ShapeMismatch(f"matmul: inner sizes differ: {input.spec} @ {other.spec}")
    if len(b) <= 2:
        return contract(input, other, (), ((len(a) - 1, 0),))
    if len(a) == 1:
        return matmul(P.reshape(input, (1, *a)), other).squeeze(-2)
    lead = broadcast_shapes(a[:-2], b[:-2])
    input, other = broadcast_to(input, lead + a[-2:]), broadcast_to(other, lead + b[-2:])
    n = len(lead)
    return contract(input, other, tuple((k, k) for k in range(n)), ((n + 1, n),))


@public(operators=("__rmatmul__",))
def rmatmul(x: Tensor, y: Tensor) -> Tensor:
    return matmul(y, x)


def _ranks(name: str, x: Tensor, y: Tensor, wanted: tuple[int, int]) -> None:
    if (len(x.spec.shape), len(y.spec.shape)) != wanted:
        what = f"{name}: needs {wanted[0]}-d and {wanted[1]}-d operands, got {x.spec} and {y.spec}"
        raise ShapeMismatch(what)


@public(method=True, out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """[n, k] times [k, m]: [n, m]; ShapeMismatch for other ranks."""
    _ranks("mm", input, mat2, (2, 2))
    return matmul(input, mat2)


@public(method=True, out=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """[b, n, k] times [b, k, m]: [b, n, m]; nothing broadcasts."""
    _ranks("bmm", input, mat2, (3, 3))
    if input.spec.shape[0] != mat2.spec.shape[0]:
        raise ShapeMismatch(f"bmm: batch sizes differ: {input.spec} and {mat2.spec}")
    return matmul(input, mat2)


@public(method=True, out=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """[n, k] times [k]: [n]; ShapeMismatch for other ranks."""
    _ranks("mv", input, vec, (2, 1))
    return matmul(input, vec)


@public(method=True, out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors. [N], [N] -> []."""
    _ranks("dot", input, tensor, (1, 1))
    return matmul(input, tensor)


@public(method=True, out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot`: real numbers are their own conjugates. [N], [N] -> []."""
    return dot(input, other)


@public(method=True, out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of each element of a vector [n] with each of another [m]: [n, m]."""
    _ranks("outer", input, vec2, (1, 1))
    return input.unsqueeze(1) * vec2.unsqueeze(0)


ger = outer


@public(method=True, out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dimensions; of a 0-d tensor, the product.

    [..., K], [*, K] -> [..., *].
    """
    a, b = input.spec.shape, other.spec.shape
    if not a or not b:
        return input * other
    if a[-1] != b[-1]:
        raise ShapeMismatch(f"inner: last sizes differ: {input.spec} and {other.spec}")
    return contract(input, other, (), ((len(a) - 1, len(b) - 1),))


@public(out=True)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Sums of products along one dimension of floating-point tensors that broadcast.

    [..., N, ...] -> [...] without `dim`.
    """
    _one_dtype("linalg.vecdot", x, y)
    if not x.dtype.is_floating_point:
        raise DTypeMismatch(f"linalg.vecdot needs a floating dtype, got {x.spec}")
    return R.sum(x * y, dim)


@public(out=True)
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, from left to right; `linalg.multi_dot` picks the best order."""
    out = matrices[0]
    for m in matrices[1:]:
        out = mm(out, m)
    return out


@public(method=True)
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix. [N, M] -> []."""
    if len(input.spec.shape) != 2:
        raise ShapeMismatch(f"trace: expected a matrix, got {input.spec}")
    return R.sum(diagonals.diagonal(numeric(input, "trace")))


# ---- a sum and a product -----------------------------------------------------------------------


def _plus(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta * input + alpha * product, in the product's shape; beta 0 ignores what input holds."""
    shape = product.spec.shape
    if broadcast_shapes(input.spec.shape, shape) != shape:
        raise ShapeMismatch(f"{name}: {input.spec} does not expand to the product {product.spec}")
    if input.dtype is not product.dtype:
        raise DTypeMismatch(f"{name}: dtypes differ: {input.spec} and {product.spec}")
    if not input.dtype.is_floating_point:
        alpha, beta = int(alpha), int(beta)
    if product.dtype is bool_:
        alpha, beta = bool(alpha), bool(beta)
    product = product if is_surely(alpha, 1) else product * alpha
    changing: Any = beta
    if isinstance(changing, HostValue):
        return product + E.where(changing.as_tensor() == 0, 0.0, input) * beta
    if beta == 0:
        return product
    return product + (input if beta == 1 else input * beta)


@pointwise
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2).

    input broadcasts to [N, M], mat1 [N, K], mat2 [K, M] -> [N, M].
    """
    return _plus("addmm", input, mm(mat1, mat2), beta, alpha)


@pointwise
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec). input broadcasts to [N], mat [N, K], vec [K] -> [N]."""
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


@pointwise
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2).

    input broadcasts to [N, M], vec1 [N], vec2 [M] -> [N, M].
    """
    dtype = result_type(input, vec1, vec2)
    if not dtype.is_floating_point and not all(isinstance(v, int) for v in (beta, alpha)):
        raise DTypeMismatch(f"addr: beta {beta} and alpha {alpha} beside integers, {input.spec}")
    input, vec1, vec2 = (P.cast(x, dtype) for x in (input, vec1, vec2))
    return _plus("addr", input, outer(vec1, vec2), beta, alpha)


@pointwise
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix.

    input broadcasts to [B, N, M], batch1 [B, N, K], batch2 [B, K, M] -> [B, N, M].
    """
    return _plus("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@pointwise
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (the sum of batch1 @ batch2 over the batch).

    input broadcasts to [N, M], batch1 [B, N, K], batch2 [B, K, M] -> [N, M].
    """
    _ranks("addbmm", batch1, batch2, (3, 3))
    if batch1.spec.shape[::2] != batch2.spec.shape[:2]:
        raise ShapeMismatch(f"addbmm: {batch1.spec} and {batch2.spec} do not fit")
    product = contract(batch1, batch2, (), ((0, 0), (2, 1)))
    return _plus("addbmm", input, product, beta, alpha)


# ---- products over chosen dimensions -----------------------------------------------------------


def _contracted(dims: Any, *operands: Tensor) -> list[list[int]]:
    """The dimensions of each operand that two lists of them name."""
    if not isinstance(dims, list | tuple) or len(dims) != 2 or any(map(is_number, dims)):
        raise InvalidType(
            f"tensordot: dims is a number or one list of dimensions for each operand, got {dims!r}"
        )
    listed = [[axis_of(x, d) for d in side] for x, side in zip(operands, dims)]
    for x, axes in zip(operands, listed):
        if len(set(axes)) < len(axes) or len(axes) > len(x.spec.shape):
            raise ShapeMismatch(f"tensordot: dims {dims} name a dimension of {x.spec} twice")
    return listed


@public(out=True)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over the last `dims` dimensions of a and first of b, or over two lists.

    [..., *K], [*K, ...] -> the others in order.
    """
    if is_tensor(dims):
        dims = dims.tolist() if dims.numel() > 1 else int(dims.item())
    if isinstance(dims, int):
        rank = len(a.spec.shape)
        if not 0 <= dims <= min(rank, len(b.spec.shape)):
            raise ShapeMismatch(f"tensordot: dims = {dims} for {a.spec} and {b.spec}")
        left, right = list(range(rank - dims, rank)), list(range(dims))
    else:
        left, right = _contracted(dims, a, b)
    sizes = [[x.spec.shape[k] for k in s] for x, s in ((a, left), (b, right))]
    if len(left) != len(right) or sizes[0] != sizes[1]:
        raise ShapeMismatch(f"tensordot: {a.spec} and {b.spec} differ over {left} and {right}")
    whole = len(left) == len(a.spec.shape) == len(b.spec.shape)  # then PyTorch takes bools, too
    return contract(a, b, (), tuple(zip(left, right, strict=True)), bools=whole)


@public(method=True, out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: input with each element times all of `other` in its place.

    [N, ...], [M, ...] -> [N * M, ...].
    """
    rank = max(len(input.spec.shape), len(other.spec.shape))
    a, b = ((1,) * (rank - len(x.spec.shape)) + x.spec.shape for x in (input, other))
    left = P.reshape(input, tuple(n for m in a for n in (m, 1)))
    right = P.reshape(other, tuple(n for m in b for n in (1, m)))
    return P.reshape(left * right, tuple(m * n for m, n in zip(a, b, strict=True)))


@public(method=True, out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along `dim`, or along the first dimension of size 3.

    [..., 3, ...], which stays.
    """
    if dim is None:
        shape = broadcast_shapes(input.spec.shape, other.spec.shape)
        if 3 not in shape:
            raise ShapeMismatch(f"cross: no dimension of size 3 in {input.spec}")
        dim = shape.index(3) - len(shape)
    return cross_along(input, other, dim=dim)


def _one_dtype(name: str, x: Tensor, y: Tensor) -> None:
    if x.dtype is not y.dtype:
        raise DTypeMismatch(f"{name}: dtypes differ: {x.spec} and {y.spec}")


@public(out=True)
def cross_along(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along `dim`, of size 3; other dimensions broadcast.

    [..., 3, ...], which stays.
    """
    if len(input.spec.shape) != len(other.spec.shape):
        raise ShapeMismatch(f"cross: ranks differ: {input.spec} and {other.spec}")
    _one_dtype("cross", numeric(input, "cross"), other)
    shape = broadcast_shapes(input.spec.shape, other.spec.shape)
    axis = axis_at(dim, len(shape))
    if any(x.spec.shape[axis : axis + 1] != (3,) for x in (input, other)):
        raise ShapeMismatch(f"cross: dimension {dim} of {input.spec} and {other.spec} is not 3")
    x, y = broadcast_to(input, shape), broadcast_to(other, shape)
    first = shapes.roll(x, -1, axis) * shapes.roll(y, -2, axis)
    return first - shapes.roll(x, -2, axis) * shapes.roll(y, -1, axis)


COMPUTE_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
    "",
)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Tensor:
    """The p-norm distance of each row of x1 [*, P, M] to each row of x2 [*, R, M]: [*, P, R].

    From differences, never by the products of `compute_mode`, which lose digits of near points.
    """
    _one_dtype("cdist", x1, x2)
    if compute_mode not in COMPUTE_MODES:
        raise InvalidArgument(
            f"cdist: compute_mode {compute_mode!r} is none of {COMPUTE_MODES[:-1]}"
        )
    a, b = x1.spec.shape, x2.spec.shape
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-1]:
        raise ShapeMismatch(f"cdist: {x1.spec} and {x2.spec} do not fit")
    p = required(p, lambda p: p >= 0, f"cdist: p must not be negative, got {p}", ShapeMismatch)
    difference = shapes.unsqueeze(x1, -2) - shapes.unsqueeze(x2, -3)
    if not a[-1]:
        return R.sum(difference, -1)
    return distance(difference, p)


def distance(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension, by PyTorch's conventions for distances: of equal largest
    differences each has the whole gradient, and none is NaN unless all its terms are added up."""
    if not difference.dtype.is_floating_point or p not in (0, 1, math.inf):
        return R.norm(difference, p, -1)
    if p == 0:
        terms = E.where(logic.isnan(difference), difference, logic.ne(difference, 0))
        return stepwise(R.sum(terms.detach(), -1), difference)

    def compute(d: Tensor) -> Tensor:
        size = E.abs(d)
        return R.sum(size, -1) if p == 1 else R.amax(E.where(logic.isnan(d), 0.0, size), -1)

    def rule(g: Tensor, z: Any, d: Tensor) -> tuple[Tensor]:
        slopes = E.where(logic.isnan(d), math.nan, E.sign(d))
        if p != 1:
            most, size = shapes.unsqueeze(z().detach(), -1), E.abs(d)
            whole = logic.isfinite(size)
            slopes = E.where(whole, slopes * logic.eq(size, most), math.nan)
        return (shapes.unsqueeze(g, -1) * slopes,)

    return with_rule("cdist", compute, rule, difference)
