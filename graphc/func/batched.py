"""torch.func.vmap: a function of one sample as a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from graphc.errors import InvalidArgument, InvalidState, RefusedArgument, ShapeMismatch
from graphc.frontend.api.generator import default_generator
from graphc.frontend.api.shapes import stack
from graphc.frontend.mapped import Mapped
from graphc.frontend.modes import modes
from graphc.frontend.tensor import Tensor
from graphc.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["vmap"]

RANDOMNESS = ("error", "same", "different")
Dims = Any  # a dimension, None, or a nest of them along that of the arguments


def vmap(
    func: Callable[..., Any],
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `func` to each slice of its arguments, and stacks what it gives.

    in_dims: along which dimension each argument is sliced (None: handed on whole); out_dims: along
    which the results are stacked; either is one for all or a nest along the arguments or results.
    Keyword arguments are handed on whole. What is the same for all slices cannot be written to.
    randomness: whether a random function called inside raises InvalidState ("error"), gives each
    slice the "same" numbers or "different" ones. `chunk_size` is accepted and changes nothing.
    The slices are computed one after the other; a compiled step holds the code of each.
    """
    if randomness not in RANDOMNESS:
        raise RefusedArgument(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise InvalidArgument(
            f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})"
        )

    @functools.wraps(func)
    def over_batch(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _along(in_dims, args, "in_dims")
        count = _count(leaves, dims)
        slices, before = [], _drawn()
        with Mapped(x for x, d in zip(leaves, dims) if d is not None) as mapped:
            for mapped.number in range(count):
                if randomness == "same":
                    _rewind(before)
                own = [x if d is None else x.select(d, mapped.number) for x, d in zip(leaves, dims)]
                slices.append(func(*tree_unflatten(own, spec), **kwargs))
                if randomness == "error" and _drawn() != before:
                    _rewind(before)
                    raise InvalidState(
                        "vmap: called random operation while in randomness error mode",
                        fix="pass randomness='different' or 'same'",
                    )
        return _stacked(slices, out_dims)

    return over_batch


def _along(dims: Dims, tree: Any, what: str) -> list[int | None]:
    """A dimension for each leaf of `tree`, of which `dims` is the upper part."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(tree_flatten(tree)[0])
    listed = isinstance(dims, tuple | list) and isinstance(tree, tuple)
    same = listed or type(dims) is type(tree)
    if not same or len(dims) != len(tree):
        raise InvalidArgument(f"{what} {dims!r} is not compatible with the structure of the values")
    pairs = [(dims[k], tree[k]) for k in tree] if isinstance(tree, dict) else zip(dims, tree)
    return [d for part, values in pairs for d in _along(part, values, what)]


def _count(leaves: list[Any], dims: list[int | None]) -> int:
    """The size of the batch, which all agree on."""
    sizes = []
    for x, d in zip(leaves, dims):
        if d is None:
            continue
        if not isinstance(x, Tensor):
            raise InvalidArgument(
                f"Got in_dim={d} for an input, but the input is of type {type(x).__name__}",
                fix="use None as its in_dim",
            )
        if not -x.dim() <= d < x.dim():
            raise InvalidArgument(f"Got in_dim={d} for an input, but it is {x.spec}")
        sizes.append(int(x.shape[d]))
    if not sizes:
        raise InvalidArgument("vmap: at least one input must be mapped over")
    if len(set(sizes)) > 1:
        raise ShapeMismatch(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got {sizes}"
        )
    return sizes[0]


def _stacked(slices: list[Any], out_dims: Dims) -> Any:
    if not slices:
        raise InvalidArgument("vmap over an empty batch", why="what the function gives is unknown")
    taken = [tree_flatten(one) for one in slices]
    leaves, spec = taken[0]
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            kind = type(leaf).__name__
            raise InvalidArgument(f"vmap: the function must only return Tensors, got type {kind}")
    if any(other != spec for _, other in taken):
        raise InvalidArgument("vmap: the function returned other structures for other slices")
    single = isinstance(slices[0], Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1
    dims = _along(out_dims[0] if single else out_dims, slices[0], "out_dims")
    if None in dims:
        raise InvalidArgument("vmap: an out_dim of None", fix="give the dimension to stack along")
    columns = zip(*(found for found, _ in taken))
    return tree_unflatten([stack(list(c), d or 0) for c, d in zip(columns, dims)], spec)


def _drawn() -> int:
    """How often numbers have been drawn."""
    trace = modes.trace
    return default_generator.draw if trace is None else trace.draws.get(default_generator, 0)


def _rewind(to: int) -> None:
    if modes.trace is None:
        default_generator.draw = to
    else:
        modes.trace.draws[default_generator] = to
