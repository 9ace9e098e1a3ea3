"""Matrix products over the `dot` primitive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeMismatch, InvalidArgument, ShapeMismatch
from graphc.frontend.operands import broadcast_shapes, broadcast_to
from graphc.ir import sugar as P
from graphc.ir.ops import OPS, Pairs

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["addmm", "bmm", "dot", "einsum", "matmul", "mm", "mv", "outer"]

DOT = OPS["dot"]


def _contract(x: Tensor, y: Tensor, batch: Pairs, contract: Pairs) -> Tensor:
    if x.dtype is not y.dtype:
        raise DTypeMismatch(f"matmul: operands differ in dtype: {x.type} vs {y.type}")
    return x.emit(DOT, x, y, batch=batch, contract=contract)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Python's @: vectors count as a row or column, leading dimensions as batch."""
    a, b = x.type.shape, y.type.shape
    if not a or not b:
        raise ShapeMismatch(f"matmul: both operands need dimensions: {x.type} @ {y.type}")
    if a[-1] != b[max(len(b) - 2, 0)]:
        raise ShapeMismatch(f"matmul: inner sizes differ: {x.type} @ {y.type}")
    if len(b) <= 2:
        return _contract(x, y, (), ((len(a) - 1, 0),))
    if len(a) == 1:
        return matmul(P.reshape(x, (1, *a)), y).squeeze(-2)
    lead = broadcast_shapes(a[:-2], b[:-2])
    x, y = broadcast_to(x, lead + a[-2:]), broadcast_to(y, lead + b[-2:])
    n = len(lead)
    return _contract(x, y, tuple((k, k) for k in range(n)), ((n + 1, n),))


def rmatmul(x: Tensor, y: Tensor) -> Tensor:
    return matmul(y, x)


def _ranks(name: str, x: Tensor, y: Tensor, wanted: tuple[int, int]) -> None:
    if (len(x.type.shape), len(y.type.shape)) != wanted:
        what = f"{name}: needs {wanted[0]}-d and {wanted[1]}-d operands, got {x.type} and {y.type}"
        raise ShapeMismatch(what)


def mm(x: Tensor, y: Tensor) -> Tensor:
    _ranks("mm", x, y, (2, 2))
    return matmul(x, y)


def bmm(x: Tensor, y: Tensor) -> Tensor:
    _ranks("bmm", x, y, (3, 3))
    if x.type.shape[0] != y.type.shape[0]:
        raise ShapeMismatch(f"bmm: batch sizes differ: {x.type} and {y.type}")
    return matmul(x, y)


def mv(x: Tensor, y: Tensor) -> Tensor:
    _ranks("mv", x, y, (2, 1))
    return matmul(x, y)


def dot(x: Tensor, y: Tensor) -> Tensor:
    _ranks("dot", x, y, (1, 1))
    return matmul(x, y)


def outer(x: Tensor, y: Tensor) -> Tensor:
    _ranks("outer", x, y, (1, 1))
    return x.unsqueeze(1) * y.unsqueeze(0)


def addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (a @ b)."""
    product = mm(a, b)
    if alpha != 1:
        product = product * alpha
    return product + (x if beta == 1 else x * beta)


# ---- einsum ------------------------------------------------------------------------------------


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum of products by index letters, two operands at a time, from left to right."""
    given = operands[0] if isinstance(operands[0], list | tuple) else operands
    tensors: list[Tensor] = list(given)
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors) or "." in equation:
        raise InvalidArgument(f"einsum {equation!r}: {len(tensors)} operands (no ellipsis)")
    letters = "".join(terms)
    if not arrow:
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    for term, x in zip(terms, tensors):
        if len(term) != len(x.type.shape) or len(set(term)) < len(term):
            raise ShapeMismatch(f"einsum: {term!r} does not name the dimensions of {x.type}")
    out, have = tensors[0], terms[0]
    for k in range(1, len(terms)):
        later = set(right).union(*terms[k + 1 :])
        out, have = _pair(out, have, tensors[k], terms[k], later)
    gone = tuple(k for k, c in enumerate(have) if c not in right)
    have = "".join(c for c in have if c in right)
    return P.transpose(P.sum(out, gone), tuple(have.index(c) for c in right))


def _pair(x: Tensor, a: str, y: Tensor, b: str, later: set[str]) -> tuple[Tensor, str]:
    """One product: letters of both that are needed later are batch, the others contract."""
    only_x = tuple(k for k, c in enumerate(a) if c not in b and c not in later)
    only_y = tuple(k for k, c in enumerate(b) if c not in a and c not in later)
    x, a = P.sum(x, only_x), "".join(c for c in a if c in b or c in later)
    y, b = P.sum(y, only_y), "".join(c for c in b if c in a or c in later)
    both = [c for c in a if c in b]
    batch = tuple((a.index(c), b.index(c)) for c in both if c in later)
    contract = tuple((a.index(c), b.index(c)) for c in both if c not in later)
    kept = [c for c in both if c in later]
    free = [c for c in a if c not in both] + [c for c in b if c not in both]
    return _contract(x, y, batch, contract), "".join(kept + free)
