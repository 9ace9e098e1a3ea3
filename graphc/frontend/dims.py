"""What arguments say of dimensions and sizes: dim=-1, view(2, -1), and which shapes go together."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import InvalidIndex, InvalidType, ShapeMismatch
from graphc.ir.sizes import broadcast
from graphc.ir.sizes import index as index_of
from graphc.ir.types import Shape

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

Dims = int | Sequence[int]


def axis_at(dim: int, rank: int) -> int:
    """A dimension counted from the front; 0-d tensors pass 0 and -1."""
    dim, limit = operator.index(dim), max(rank, 1)
    if not -limit <= dim < limit:
        raise InvalidIndex(f"dimension {dim} is out of range: expected {-limit} to {limit - 1}")
    return dim % limit


def axis_of(x: Tensor, dim: int) -> int:
    return axis_at(dim, len(x.spec.shape))


def axes_of(x: Tensor, dim: Dims | None) -> Shape:
    """Sorted dimensions; None or () means all."""
    rank = len(x.spec.shape)
    if dim is None or dim == () or dim == []:
        return tuple(range(rank))
    dims = tuple(dim) if isinstance(dim, list | tuple) else (dim,)
    axes = tuple(sorted(axis_at(d, rank) for d in dims))
    if len(set(axes)) < len(axes):
        raise ShapeMismatch(f"a dimension appears twice in {dims}")
    return axes if rank else ()


def sizes(args: Sequence[Any], named: Any = None) -> Shape:
    """The shape in f(2, 3), f((2, 3)), f([2, 3]) or f(size=(2, 3))."""
    if named is not None:
        if args:
            raise InvalidType(f"the size is given twice: {args!r:.100} and {named!r:.100}")
        args = (named,)
    if not args:
        raise InvalidType("the size is missing", fix="pass integers, or () for a 0-d tensor")
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = args[0]
    try:
        return tuple(map(index_of, args))
    except AttributeError:
        raise InvalidType(f"expected integers for a shape, got {args!r:.200}") from None


def infer_size(shape: Shape, numel: int) -> Shape:
    """Fill in at most one -1."""
    if shape.count(-1) == 0:
        known = shape
    elif shape.count(-1) > 1:
        raise ShapeMismatch("only one dimension can be inferred (-1)")
    else:
        rest = 1
        for n in shape:
            rest *= n if n != -1 else 1
        if rest == 0 or numel % rest:
            raise ShapeMismatch(f"shape {shape} is invalid for a tensor of {numel} elements")
        known = tuple(numel // rest if n == -1 else n for n in shape)
    product = 1
    for n in known:
        if n < 0:
            raise ShapeMismatch(f"negative size in shape {shape}")
        product *= n
    if product != numel:
        raise ShapeMismatch(f"shape {shape} is invalid for a tensor of {numel} elements")
    return known


def broadcast_shapes(*shapes: Sequence[int]) -> Shape:
    """The common shape, dimensions counted from the right; sizes agree or are 1."""
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for k, n in enumerate(shape, rank - len(shape)):
            common = broadcast(out[k], n)
            if common is None:
                listed = " and ".join(str(tuple(s)) for s in shapes)
                at = f"at dimension {k}: {out[k]} against {n}"
                raise ShapeMismatch(f"shapes {listed} do not broadcast {at}")
            out[k] = common
    return tuple(out)
