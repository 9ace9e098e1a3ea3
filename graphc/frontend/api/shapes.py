"""Shape functions: views where the memory allows, else copies, under PyTorch's names."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import InvalidArgument, InvalidIndex, InvalidType, ShapeMismatch
from graphc.frontend import tensor as tensors
from graphc.frontend.api import formats
from graphc.frontend.operands import broadcast_shapes, data_sized, is_tensor
from graphc.frontend.operands import broadcast_to as expand_to
from graphc.frontend.promotion import result_type
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.sizes import index as index_of
from graphc.ir.types import Shape, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "adjoint",
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "flatten",
    "flip",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "repeat_interleave",
    "reshape",
    "roll",
    "select",
    "split",
    "squeeze",
    "stack",
    "t",
    "tile",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
]

Dims = int | Sequence[int]


# ---- arguments ---------------------------------------------------------------------------------


def axis_at(dim: int, rank: int) -> int:
    """A dimension counted from the front; 0-d tensors pass 0 and -1."""
    dim, limit = operator.index(dim), builtins.max(rank, 1)
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


# ---- reshaping ---------------------------------------------------------------------------------


def reshape(input: Tensor, *sizes_: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape: a view if the strides allow, else a copy."""
    return P.reshape(input, infer_size(sizes(sizes_, shape), input.numel()))


def view(x: Tensor, *sizes_: Any, size: Any = None) -> Tensor:
    """`reshape` that never copies: RuntimeError where the strides do not allow a view."""
    new = infer_size(sizes(sizes_, size), x.numel())
    if not tensors.shows_memory(x, OPS["reshape"], {"shape": new}):
        raise ShapeMismatch(
            f"cannot view {x.spec} with strides {x.strides()} as {new} without a copy",
            fix="use reshape(), or contiguous() first",
        )
    return x.emit(OPS["reshape"], x, shape=new)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    return view(x, other.spec.shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    return reshape(x, other.spec.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    shape = input.spec.shape
    a, b = axis_of(input, start_dim), axis_of(input, end_dim)
    if not shape:
        return P.reshape(input, (1,))
    if a > b:
        raise ShapeMismatch("flatten: start_dim comes after end_dim")
    n = 1
    for m in shape[a : b + 1]:
        n *= m
    return P.reshape(input, (*shape[:a], n, *shape[b + 1 :]))


def ravel(input: Tensor) -> Tensor:
    return reshape(input, -1)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    axis = axis_of(input, dim)
    inner = infer_size(tuple(sizes), input.spec.shape[axis])
    return P.reshape(input, (*input.spec.shape[:axis], *inner, *input.spec.shape[axis + 1 :]))


def squeeze(input: Tensor, dim: Dims | None = None, *dims: int) -> Tensor:
    """Without the dimensions of size 1, of all or of those named (a list, or one after another);
    a view."""
    if dims:
        dim = (dim, *dims)  # type: ignore[arg-type]  # axes_of says what is no dimension
    axes = axes_of(input, dim) if dim not in ((), []) else ()
    kept = tuple(n for k, n in enumerate(input.spec.shape) if n != 1 or k not in axes)
    return input.emit(OPS["reshape"], input, shape=kept)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    axis = axis_at(dim, len(input.spec.shape) + 1)
    shape = input.spec.shape
    out = (*shape[:axis], 1, *shape[axis:])
    return input.emit(OPS["reshape"], input, shape=out)


def alias_view(x: Tensor) -> Tensor:
    """A view of everything: what x[...] and expand to the same shape return."""
    return x.emit(OPS["reshape"], x, shape=x.spec.shape)


# ---- permuting ---------------------------------------------------------------------------------


def permute(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    perm = tuple(axis_of(input, d) for d in sizes(sizes_, dims))
    if sorted(perm) != list(range(input.dim())):
        raise ShapeMismatch(f"permute: {perm} are not the dimensions of {input.spec}")
    return input.emit(OPS["transpose"], input, perm=perm)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    a, b = axis_of(input, dim0), axis_of(input, dim1)
    perm = list(range(len(input.spec.shape)))
    if perm:
        perm[a], perm[b] = b, a
    return input.emit(OPS["transpose"], input, perm=tuple(perm))


def t(input: Tensor) -> Tensor:
    if len(input.spec.shape) > 2:
        raise ShapeMismatch(f"t() expects at most 2 dimensions, got {input.spec}")
    return transpose(input, 0, 1) if len(input.spec.shape) == 2 else input


def movedim(input: Tensor, source: Dims, destination: Dims) -> Tensor:
    rank = len(input.spec.shape)
    src = [axis_of(input, d) for d in ([source] if isinstance(source, int) else source)]
    dst = [
        axis_of(input, d) for d in ([destination] if isinstance(destination, int) else destination)
    ]
    if len(src) != len(dst) or len(set(src)) < len(src) or len(set(dst)) < len(dst):
        raise InvalidArgument(f"movedim: {source} to {destination} is no rearrangement")
    rest = iter(k for k in range(rank) if k not in src)
    perm = tuple(src[dst.index(k)] if k in dst else next(rest) for k in range(rank))
    return P.transpose(input, perm)


def matrix_transpose(x: Tensor) -> Tensor:
    if not x.spec.shape:
        return alias_view(x)
    if len(x.spec.shape) < 2:
        raise ShapeMismatch(f"mT needs at least 2 dimensions, got {x.spec}")
    return transpose(x, -2, -1)


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged: of real numbers, the conjugate transpose."""
    return matrix_transpose(input)


def matrix_only_transpose(x: Tensor) -> Tensor:
    if len(x.spec.shape) not in (0, 2):
        raise ShapeMismatch(f"H needs a matrix, got {x.spec}", fix="use mH or mT for batches")
    return t(x)


def reverse_dims(x: Tensor) -> Tensor:
    return P.transpose(x, tuple(reversed(range(len(x.spec.shape)))))


def flip(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    axes = tuple(sorted(axis_of(input, d) for d in sizes(sizes_, dims)))
    out = input.emit(OPS["flip"], input, axes=axes if input.spec.shape else ())
    return formats.like(out, input) if input.views or input.storage.strides else out


def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Elements move on by `shifts`; those past the end come back at the start."""
    if dims is None or (dims in ((), []) and len(sizes((shifts,))) == 1):
        return reshape(roll(ravel(input), shifts, 0), input.spec.shape)
    out = input
    by, along = (sizes((n,)) for n in (shifts, dims))
    if len(by) != len(along):
        raise ShapeMismatch(f"roll: {len(by)} shifts for {len(along)} dimensions, {input.spec}")
    for shift, dim in zip(by, along, strict=True):
        n = size_along(input, axis_of(input, dim))
        if n and (k := shift % n):
            out = cat([narrow(out, dim, n - k, k), narrow(out, dim, 0, n - k)], dim)
    return owned(out, input)


def size_along(x: Tensor, axis: int) -> int:
    return x.spec.shape[axis] if x.spec.shape else 1


# ---- repeating and joining ---------------------------------------------------------------------


def expand(x: Tensor, *sizes_: Any, size: Any = None) -> Tensor:
    """A view with size-1 dimensions repeated; -1 keeps a size."""
    new, old = sizes(sizes_, size), x.spec.shape
    lead = len(new) - len(old)
    if lead < 0:
        raise ShapeMismatch(f"expand to {new} drops dimensions of {x.spec}")
    if -1 in new[:lead]:
        raise ShapeMismatch(f"expand to {new}: a new leading dimension cannot be -1")
    full = tuple(old[k - lead] if n == -1 else n for k, n in enumerate(new))
    out = expand_to(x, full)
    return alias_view(x) if out is x else out


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    return expand(x, other.spec.shape)


def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    return expand(input, tuple(shape))


def broadcast_tensors(*xs: Tensor) -> tuple[Tensor, ...]:
    shape = broadcast_shapes(*(x.spec.shape for x in xs))
    return tuple(expand_to(x, shape) for x in xs)


def repeat(x: Tensor, *sizes_: Any, repeats: Any = None) -> Tensor:
    """Tile: x.repeat(2, 3) stands 2 by 3 copies of x side by side."""
    reps, old = sizes(sizes_, repeats), x.spec.shape
    if len(reps) < len(old):
        raise ShapeMismatch(f"repeat{reps} has fewer dimensions than {x.spec}")
    shape = (1,) * (len(reps) - len(old)) + old
    pairs = tuple(n for m in shape for n in (1, m))
    wide = tuple(n for r, m in zip(reps, shape) for n in (r, m))
    out = P.expand(P.reshape(x, pairs), wide)
    return owned(P.reshape(out, tuple(r * m for r, m in zip(reps, shape))), x)


def owned(out: Tensor, x: Tensor) -> Tensor:
    """`out`, made of x, in memory of its own."""
    return out.clone() if out.storage is x.storage else out


def tile(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    reps = sizes(sizes_, dims)
    return repeat(input, (1,) * (len(input.spec.shape) - len(reps)) + reps)


def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element `repeats` times in a row along `dim`; a tensor says how often for each.

    repeat_interleave(counts) alone repeats the numbers 0, 1, ... of the counts.
    """
    if repeats is None:
        numbers = input.emit(OPS["iota"], shape=input.spec.shape, axis=0, dtype=i64.name)
        return repeat_interleave(numbers, input, 0)
    if dim is None:
        return repeat_interleave(ravel(input), repeats, 0)
    axis, shape = axis_of(input, dim), input.spec.shape
    if not isinstance(repeats, int):
        return _repeated_by(input, repeats, axis)
    if repeats < 0:
        raise ShapeMismatch(f"repeat_interleave: repeats must not be negative, got {repeats}")
    wide = (*shape[: axis + 1], repeats, *shape[axis + 1 :])
    out = (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :])
    return owned(P.reshape(P.expand(unsqueeze(input, axis + 1), wide), out), input)


def _repeated_by(x: Tensor, repeats: Tensor, axis: int) -> Tensor:
    """Slice k of x along `axis`, repeats[k] times; the data sizes it, so not inside a trace."""
    if repeats.spec.shape not in ((), (1,), (x.spec.shape[axis],)):
        raise ShapeMismatch(
            f"repeat_interleave: repeats {repeats.spec} for dimension {axis} of {x.spec}"
        )
    fix = "give repeats as a number"
    array = data_sized(repeats, "repeat_interleave() by a tensor", fix)
    counts = np.broadcast_to(array, (x.spec.shape[axis],))
    if counts.size and counts.min() < 0:
        raise ShapeMismatch("repeat_interleave: repeats must not be negative")
    number = tensors.wrapped(np.repeat(np.arange(counts.size), counts)).to(x.device)
    return x.emit(OPS["gather"], x, number, axis=axis)


def _check_list(tensors: Any, name: str) -> None:
    if not isinstance(tensors, list | tuple):
        raise InvalidType(f"{name}: expected a list of tensors, got {type(tensors).__name__}")
    for x in tensors:
        if not is_tensor(x):
            raise InvalidType(f"{name}: expected tensors, got {type(x).__name__}")


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an existing dimension."""
    _check_list(tensors, "cat")
    if not tensors:
        raise InvalidArgument("cat of no tensors")
    dtype = result_type(*tensors)
    kept = [x for x in tensors if x.spec.shape != (0,)] or list(tensors[:1])
    rank = len(kept[0].spec.shape)
    if rank == 0:
        raise ShapeMismatch("zero-dimensional tensors cannot be concatenated", fix="use stack()")
    axis = axis_at(dim, rank)
    if builtins.any(len(x.spec.shape) != rank for x in kept):
        listed = ", ".join(str(x.spec) for x in kept)
        raise ShapeMismatch(f"cat: tensors differ in number of dimensions: {listed}")
    first = kept[0]
    out = first.emit(OPS["concat"], *(P.cast(x, dtype) for x in kept), axis=axis)
    if all((x.views or x.storage.strides) and formats.suggested(x) for x in kept):
        return formats.keep_channels_last(out, first)
    return out


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a new dimension."""
    _check_list(tensors, "stack")
    if not tensors:
        raise ShapeMismatch("stack of no tensors")
    if len({x.spec.shape for x in tensors}) > 1:
        raise ShapeMismatch(f"stack: tensors differ: {', '.join(str(x.spec) for x in tensors)}")
    rank = len(tensors[0].spec.shape)
    axis = axis_at(dim, rank + 1)
    if axis < rank and formats.suggested(tensors[0]):  # which shows in the strides
        return unflatten(cat(tensors, axis), axis, (len(tensors), tensors[0].spec.shape[axis]))
    return cat([unsqueeze(x, axis) for x in tensors], axis)


# ---- taking apart ------------------------------------------------------------------------------


def slice_along(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """x[.., start:stop:step, ..] as a view, within bounds already."""
    shape = x.spec.shape
    return x.emit(
        OPS["slice"],
        x,
        start=tuple(start if k == axis else 0 for k in range(len(shape))),
        stop=tuple(stop if k == axis else n for k, n in enumerate(shape)),
        step=tuple(step if k == axis else 1 for k in range(len(shape))),
    )


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    if not input.spec.shape:
        raise ShapeMismatch("narrow() of a 0-d tensor")
    axis, start, length = axis_of(input, dim), index_of(start), index_of(length)
    n = input.spec.shape[axis]
    if not -n <= start <= n:
        raise InvalidIndex(f"narrow: start {start} is out of range for {input.spec} along {dim}")
    start = start + n if start < 0 else start
    if length < 0 or start + length > n:
        raise ShapeMismatch(f"narrow: {start} + {length} exceeds dimension {dim} of {input.spec}")
    return slice_along(input, axis, start, start + length)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """x without `dim`, at `index` along it; a view."""
    if not input.spec.shape:
        raise InvalidIndex("a 0-d tensor has no dimension to select from")
    axis, index = axis_of(input, dim), index_of(index)
    n = input.spec.shape[axis]
    if not -n <= index < n:
        raise InvalidIndex(f"index {index} is out of range for dimension {dim} with size {n}")
    start = index % n
    row = slice_along(input, axis, start, start + 1)
    return P.reshape(row, input.spec.shape[:axis] + input.spec.shape[axis + 1 :])


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    axis = axis_of(input, dim)
    return tuple(select(input, axis, k) for k in range(input.spec.shape[axis]))


def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Pieces of `split_size` (the last may be smaller), or of the sizes given."""
    if not tensor.spec.shape:
        raise ShapeMismatch("split() and chunk() of a 0-d tensor")
    axis = axis_of(tensor, dim)
    n = tensor.spec.shape[axis]
    if isinstance(split_size_or_sections, int):
        if split_size_or_sections <= 0 and (n or split_size_or_sections):
            raise ShapeMismatch(f"split_size must be positive, got {split_size_or_sections}")
        starts = range(0, builtins.max(n, 1), split_size_or_sections or 1)
        lengths = [builtins.min(split_size_or_sections, n - a) for a in starts]
    else:
        lengths = list(split_size_or_sections)
        if builtins.sum(lengths) != n:
            raise ShapeMismatch(f"split sizes {lengths} do not add up to {n} of {tensor.spec}")
    out, at = [], 0
    for length in lengths:
        out.append(slice_along(tensor, axis, at, at + length))
        at += length
    return tuple(out)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    if chunks < 1:
        raise ShapeMismatch(f"chunks must be positive, got {chunks}")
    n = size_along(input, axis_of(input, dim))
    if n == 0:
        return split(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows along a dimension, appended as a last dimension; a view."""
    axis = axis_of(x, dimension)
    if not x.spec.shape:
        if size != 1:
            raise ShapeMismatch(f"unfold: windows of {size} in a 0-d tensor")
        return reshape(x, 1)
    return x.emit(OPS["unfold"], x, axis=axis, size=size, step=step, dilation=1)
