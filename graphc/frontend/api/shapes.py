"""Shape functions: views where the memory allows, else copies, under PyTorch's names."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import InvalidIndex, InvalidType, RefusedArgument, ShapeMismatch
from graphc.frontend import tensor as tensors
from graphc.frontend.api import formats
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.dims import (
    Dims,
    axes_of,
    axis_at,
    axis_of,
    broadcast_shapes,
    infer_size,
    sizes,
)
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to as expand_to
from graphc.frontend.operands import is_tensor
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import public
from graphc.frontend.tape import record_parts
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.sizes import index as index_of

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

# ---- reshaping ---------------------------------------------------------------------------------


@public(method=True)
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


@public(method=True)
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """A view of the shape of `other`; ShapeMismatch where it needs a copy."""
    return view(x, other.spec.shape)


@public(method=True)
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of `other`."""
    return reshape(x, other.spec.shape)


@public(method=True)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """[B, C, H] -> [B*C*H], or [B, C*H] from 1 on; a view if strides allow, else a copy."""
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


@public(method=True)
def ravel(input: Tensor) -> Tensor:
    """[...] of N elements -> [N], in row-major order; a view of what lies so already."""
    return reshape(input, -1).contiguous()


@public(method=True)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """[..., N, ...] -> [..., *sizes, ...], one of which may be -1."""
    axis = axis_of(input, dim)
    inner = infer_size(tuple(sizes), input.spec.shape[axis])
    return P.reshape(input, (*input.spec.shape[:axis], *inner, *input.spec.shape[axis + 1 :]))


@public(method=True, inplace="view")
def squeeze(input: Tensor, dim: Dims | None = None, *dims: int) -> Tensor:
    """Without the dimensions of size 1, of all or of those named (a list, or one after another);
    a view.

    [..., 1, ...] -> [...].
    """
    if dims:
        dim = (dim, *dims)  # type: ignore[arg-type]  # axes_of says what is no dimension
    axes = axes_of(input, dim) if dim not in ((), []) else ()
    kept = tuple(n for k, n in enumerate(input.spec.shape) if n != 1 or k not in axes)
    return input.emit(OPS["reshape"], input, shape=kept)


@public(method=True, inplace="view")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view [..., 1, ...] with a dimension of size 1 at `dim`, -rank - 1 to rank."""
    axis = axis_at(dim, len(input.spec.shape) + 1)
    shape = input.spec.shape
    out = (*shape[:axis], 1, *shape[axis:])
    return input.emit(OPS["reshape"], input, shape=out)


def alias_view(x: Tensor) -> Tensor:
    """A view of everything: what x[...] and expand to the same shape return."""
    return x.emit(OPS["reshape"], x, shape=x.spec.shape)


# ---- permuting ---------------------------------------------------------------------------------


@public(method=True)
def permute(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    """A view with the dimensions in this order: [A, B, C] -> [B, C, A] for (1, 2, 0)."""
    perm = tuple(axis_of(input, d) for d in sizes(sizes_, dims))
    if sorted(perm) != list(range(input.dim())):
        raise ShapeMismatch(f"permute: {perm} are not the dimensions of {input.spec}")
    return input.emit(OPS["transpose"], input, perm=perm)


@public(method=True, inplace="view")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged. [A, B, C] -> [C, B, A] for (0, 2)."""
    a, b = axis_of(input, dim0), axis_of(input, dim1)
    perm = list(range(len(input.spec.shape)))
    if perm:
        perm[a], perm[b] = b, a
    return input.emit(OPS["transpose"], input, perm=tuple(perm))


@public(method=True, inplace="view")
def t(input: Tensor) -> Tensor:
    """A view of a matrix [n, m] as [m, n]; of lower rank x itself; ShapeMismatch above."""
    if len(input.spec.shape) > 2:
        raise ShapeMismatch(f"t() expects at most 2 dimensions, got {input.spec}")
    return transpose(input, 0, 1) if len(input.spec.shape) == 2 else input


@public(method=True)
def movedim(input: Tensor, source: Dims, destination: Dims) -> Tensor:
    """A view in which dimensions `source` stand at `destination`, the others in their order. [A, B,
    C] -> [B, C, A] for (0, 2)."""
    rank = len(input.spec.shape)
    src = [axis_of(input, d) for d in ([source] if isinstance(source, int) else source)]
    dst = [
        axis_of(input, d) for d in ([destination] if isinstance(destination, int) else destination)
    ]
    if len(src) != len(dst) or len(set(src)) < len(src) or len(set(dst)) < len(dst):
        raise ShapeMismatch(f"movedim: {source} to {destination} is no rearrangement")
    rest = iter(k for k in range(rank) if k not in src)
    perm = tuple(src[dst.index(k)] if k in dst else next(rest) for k in range(rank))
    return P.transpose(input, perm)


@public(attributes=("mT", "mH"))
def matrix_transpose(x: Tensor) -> Tensor:
    """A view with the last two dimensions exchanged; ShapeMismatch for a vector."""
    if not x.spec.shape:
        return alias_view(x)
    if len(x.spec.shape) < 2:
        raise ShapeMismatch(f"mT needs at least 2 dimensions, got {x.spec}")
    return transpose(x, -2, -1)


@public(method=True)
def adjoint(input: Tensor) -> Tensor:
    """[..., N, M] -> [..., M, N], a view: of real numbers, the conjugate transpose."""
    return matrix_transpose(input)


@public(attributes=("H",))
def matrix_only_transpose(x: Tensor) -> Tensor:
    """A view of a matrix [n, m] as [m, n]; ShapeMismatch for other ranks but 0."""
    if len(x.spec.shape) not in (0, 2):
        raise ShapeMismatch(f"H needs a matrix, got {x.spec}", fix="use mH or mT for batches")
    return t(x)


@public(attributes=("T",))
def reverse_dims(x: Tensor) -> Tensor:
    """A view with the dimensions in reverse order."""
    return P.transpose(x, tuple(reversed(range(len(x.spec.shape)))))


@public(method=True)
def flip(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    """A copy with the elements in reverse order along these dimensions. The shape stays."""
    axes = tuple(sorted(axis_of(input, d) for d in sizes(sizes_, dims)))
    out = input.emit(OPS["flip"], input, axes=axes if input.spec.shape else ())
    return formats.like(out, input) if input.views or input.storage.strides else out


@public(method=True)
def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Elements move on by `shifts`, past the end to the start. The shape stays."""
    if dims is None or (dims in ((), []) and len(sizes((shifts,))) == 1):
        return reshape(roll(ravel(input), shifts, 0), input.spec.shape)
    out = input
    by, along = (sizes((n,)) for n in (shifts, dims))
    if not input.spec.shape:
        raise InvalidIndex(f"roll: a dimension is given, {dims}, of a 0-d tensor")
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


@public(method=True)
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


@public(method=True)
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """A view of the shape of `other`, dimensions of size 1 repeated."""
    return expand(x, other.spec.shape)


@public(method=True)
def broadcast_to(input: Tensor, *sizes_: Any, size: Any = None, shape: Any = None) -> Tensor:
    """A view of this shape, dimensions of size 1 repeated."""
    return expand(input, *sizes_, size=shape if size is None else size)


def broadcast_tensors(*xs: Tensor) -> tuple[Tensor, ...]:
    """Views of the tensors in the shape that they broadcast to; ShapeMismatch if none."""
    shape = broadcast_shapes(*(x.spec.shape for x in xs))
    return tuple(expand_to(x, shape) for x in xs)


@public(method=True)
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


@public(method=True)
def tile(input: Tensor, *sizes_: Any, dims: Any = None) -> Tensor:
    """`repeat`, where missing counts are 1 in front. [N, M] -> [N * a, M * b]."""
    reps = sizes(sizes_, dims)
    return repeat(input, (1,) * (len(input.spec.shape) - len(reps)) + reps)


def _check_list(tensors: Any, name: str) -> None:
    if not isinstance(tensors, list | tuple):
        raise InvalidType(f"{name}: expected a list of tensors, got {type(tensors).__name__}")
    for x in tensors:
        if not is_tensor(x):
            raise InvalidType(f"{name}: expected tensors, got {type(x).__name__}")


@public(out=True)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an existing dimension. [..., N_i, ...] -> [..., sum of N_i, ...]. Raises
    ShapeMismatch where another dimension differs."""
    _check_list(tensors, "cat")
    if not tensors:  # ValueError, but RuntimeError of what joins by another name
        raise RefusedArgument("cat of no tensors")
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


@public(out=True)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """n of [...] -> [..., n, ...], a new dimension. ShapeMismatch where they differ."""
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


@public(method=True)
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A view [..., length, ...] from `start` on along a dimension; negative ones count back."""
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


@public(method=True)
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """[..., N, ...] -> [...], without `dim`: at `index` along it; a view."""
    if not input.spec.shape:
        raise InvalidIndex("a 0-d tensor has no dimension to select from")
    axis, index = axis_of(input, dim), index_of(index)
    n = input.spec.shape[axis]
    if not -n <= index < n:
        raise InvalidIndex(f"index {index} is out of range for dimension {dim} with size {n}")
    start = index + n if index < 0 else index
    row = slice_along(input, axis, start, start + 1)
    return P.reshape(row, input.spec.shape[:axis] + input.spec.shape[axis + 1 :])


@public(method=True)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """[..., N, ...] -> N of [...]: views of each index along a dimension."""
    axis = axis_of(input, dim)
    rows = tuple(select(input, axis, k) for k in range(input.spec.shape[axis]))
    return _all_of(input, rows, "unbind", lambda gs: stack(gs, axis))


def _all_of(
    x: Tensor, parts: tuple[Tensor, ...], name: str, join: Callable[[list[Tensor]], Tensor]
) -> tuple[Tensor, ...]:
    """Views that together are all of x, in eager mode of one node on the tape."""
    plain = (
        (modes.trace is None or modes.trace.listed) and modes.mapped is None and not ACCELERATORS
    )
    if plain and modes.grad and len(parts) > 1:
        record_parts(name, parts, x, join)
    return parts


def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views [..., M, ...] of `split_size` (the last may be smaller), or the sizes given."""
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
    return _all_of(tensor, tuple(out), "split", lambda gs: cat(gs, axis))


@public(method="split")
def split_method(
    tensor: Tensor, split_size: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """`split`, whose sizes have another name as a method."""
    return split(tensor, split_size, dim)


@public(method=True)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views [..., M, ...], equal in size but for the last."""
    if chunks < 1:
        raise ShapeMismatch(f"chunks must be positive, got {chunks}")
    n = size_along(input, axis_of(input, dim))
    if n == 0:
        return split(input, [0] * chunks, dim)
    size = (n + chunks - 1) // chunks
    last = n - (chunks - 1) * size
    # As many as asked for: a condition on an extent, where cutting it up would need its value.
    return split(input, [*[size] * (chunks - 1), last] if last > 0 else size, dim)


@public(method=True)
def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows along a dimension, appended as a last dimension."""
    axis = axis_of(x, dimension)
    if not x.spec.shape:
        if size != 1:
            raise ShapeMismatch(f"unfold: windows of {size} in a 0-d tensor")
        return reshape(x, 1)
    return x.emit(OPS["unfold"], x, axis=axis, size=size, step=step, dilation=1)
