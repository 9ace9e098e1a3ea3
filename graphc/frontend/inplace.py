"""Writes in place: PyTorch's rules, then the memory, then the history of the target and its base.

A write computes the new elements as an ordinary tensor, so its gradient is the ordinary one. The
target then takes over that history; where it is a view, its base gets a history that cuts the
written region out of the old base, and every view makes its own again from the base's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import (
    AutogradError,
    DTypeMismatch,
    InvalidState,
    ShapeMismatch,
    Untraceable,
)
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to, is_tensor
from graphc.frontend.places import place_of, settle
from graphc.frontend.promotion import can_cast, held, is_number
from graphc.frontend.registry import public
from graphc.frontend.tape import OpNode, RuleNode, WholeNode, attach, edge_of
from graphc.frontend.views import overwrite, replay
from graphc.ir import sugar as P
from graphc.passes.autodiff import Edge, Node, next_number

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

InPlace = Callable[..., "Tensor"]


def untraced(x: Tensor, what: str, fix: str = "") -> None:
    """Raise where a trace would change a concrete tensor for good."""
    if modes.trace is not None and not x.is_traced:
        raise Untraceable(f"{what} on a tensor that outlives the step", fix=fix)


def check_writable(x: Tensor) -> None:
    """PyTorch's rules for the target of a write."""
    if modes.grad and x.requires_grad and (x.is_leaf or _base_is_leaf(x)):
        what = "a view of a leaf" if x._base is not None else "a leaf"
        raise AutogradError(
            f"{what} tensor that requires grad is written in place",
            fix="write inside `with graphc.no_grad():`",
        )
    if x.array is not None and x.array.flags.c_contiguous:
        return
    if any(s == 0 and n > 1 for s, n in zip(x.strides(), x.spec.shape)):
        raise ShapeMismatch(
            f"a write to {x.spec} with strides {x.strides()}, whose elements share memory",
            fix="clone() the tensor before writing to it",
        )


def _base_is_leaf(x: Tensor) -> bool:
    return x._base is not None and x._base.requires_grad and x._base.is_leaf


def write(x: Tensor, value: Tensor, *, replaces: bool = False) -> Tensor:
    """Give x's memory the elements of `value`, of x's type, and x its history.

    `replaces` says that `value` was not computed from x, whose old history then gets zeros.
    """
    check_writable(x)
    if modes.mapped is not None:
        modes.mapped.check(x)
    history = modes.grad and (value.requires_grad or x.requires_grad)
    if modes.grad and x._unrecorded:
        raise AutogradError(
            f"a write to {x.spec}, a view made in no_grad mode",
            fix="make the view outside no_grad, or write inside it",
        )
    base = x._base
    old = edge_of(base) if base is not None else edge_of(x) if replaces else None
    edges = (old, edge_of(value)) if history else None
    trace = modes.trace
    if trace is not None:
        trace.write(x, value)
    else:
        _store(x, value)
        x.storage.version += 1
    if edges is not None:
        rebase(x, base, *edges)
    if trace is not None and x.storage in trace.picked:
        whole = base if x.views else x
        trace.write_through(whole if whole is not None else trace.wrap(trace.current[x.storage]))
    return x


def _store(x: Tensor, value: Tensor) -> None:
    target, source = x.array, value.array
    if target is None or source is None:
        raise InvalidState("a write to a tensor of a finished trace")
    if not target.flags.writeable:
        target.flags.writeable = True  # NumPy takes it from what it broadcasts
    if ACCELERATORS:
        device_ops.check_same(x, value)
        settle(source)
        device_ops.transfer(target, source)
    else:
        np.copyto(target, source)


def rebase(x: Tensor, base: Tensor | None, old: Edge | None, new: Edge | None) -> None:
    """The history after a write: of a view, its base's is cut and joined; views follow."""
    owner = x if base is None else base
    if modes.trace is not None:
        modes.trace.remember(owner)
    if base is None and old is None and new is not None:
        x.set_history(*new)
        return
    chain = x.views[len(base.views) :] if base is not None else ()

    def rule(cotangents: list[Any]) -> tuple[Any, Any]:
        part = replay(cotangents[0], chain)
        zero = P.full_like(part, 0)
        rest = overwrite(cotangents[0], chain, zero) if chain else zero
        return rest, part

    attach(owner, RuleNode("write", (old, new), rule))
    x._refresh()


def overwrite_with(x: Tensor, out: Tensor, mark: int | None = None) -> Tensor:
    """Write `out`, computed from x by nodes made since `mark` (None: since x itself was made)."""
    out = _result(x, out)
    node = out._node
    if node is not None:
        if mark is None:
            edge = edge_of(x)
            mark = edge[0].number if edge is not None else 0
        keep_old(x, node, mark)
    write(x, out)
    if isinstance(node, OpNode) and node.output is not None:
        node.output = (x.alias(), x.storage.version)  # so that `out` itself is freed
    return x


def keep_old(x: Tensor, newest: Node, mark: int) -> None:
    """Where nodes made since `mark` saved what will be overwritten, give them a copy of it."""
    stack, seen = [newest], {newest}
    while stack:
        node = stack.pop()
        if isinstance(node, OpNode | WholeNode) and node.operands is not None:
            node.operands = [_copied(node, k, x) for k in range(len(node.operands))]
        for edge in node.edges:
            if edge is not None and edge[0].number > mark and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])


def _copied(node: OpNode | WholeNode, k: int, x: Tensor) -> Any:
    saved = node.operands[k] if node.operands is not None else None
    if not isinstance(saved, tuple) or saved[0].storage is not x.storage:
        return saved
    copy = tensors.copied(saved[0])
    edge = node.edges[k]
    if edge is not None:
        copy.set_history(*edge)
    return copy, copy.storage.version


# ---- the writes --------------------------------------------------------------------------------


def _result(x: Tensor, out: Tensor) -> Tensor:
    """`out` in x's dtype and shape, if PyTorch lets it be stored there."""
    if out.spec.shape != x.spec.shape:
        raise ShapeMismatch(f"the result {out.spec} of an in-place operation does not fit {x.spec}")
    if not can_cast(out.dtype, x.dtype):
        raise DTypeMismatch(f"the result {out.dtype} cannot be stored in {x.spec}")
    return P.cast(out, x.dtype)


def _steps(x: Tensor) -> tuple[int, ...]:
    """Strides of the dimensions in which there is something to step to."""
    return tuple(s for s, n in zip(x.strides(), x.spec.shape) if n > 1)


def _check_overlap(x: Tensor, others: Sequence[Any]) -> None:
    """An operand that is partly the target would be read while it is written."""
    for y in others:
        if not is_tensor(y) or y.storage is not x.storage or y is x:
            continue
        same = y.spec.shape == x.spec.shape and _steps(y) == _steps(x)
        if x.array is None or y.array is None:
            partly = y.views != x.views and not same
        else:
            place = place_of(x.array)
            same = same and place.address(x.array) == place.address(y.array)
            partly = not same and place.overlap(x.array, y.array)
        if partly:
            what = f"the target {x.spec} of an in-place write partly overlaps its operand {y.spec}"
            raise ShapeMismatch(what, fix="clone() the operand first")


def inplace(function: Callable[..., Tensor]) -> InPlace:
    """`x.f_(...)` from `f(x, ...)`."""

    def write_result(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(x)
        _check_overlap(x, args)
        mark = next_number()
        return overwrite_with(x, function(x, *args, **kwargs), mark)

    write_result.__name__ = write_result.__qualname__ = function.__name__ + "_"
    write_result.__doc__ = f"`{function.__name__}`, written into x."
    return write_result


def turned(function: Callable[..., Tensor]) -> InPlace:
    """`x.f_(...)` of a view function: x itself becomes the view; its memory does not change."""

    def become_view(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        untraced(x, f"{function.__name__}_()")
        if modes.trace is not None and modes.trace.stands_in(x):
            raise Untraceable(f"{function.__name__}_() on an argument, which outlives the step")
        if modes.grad and x.requires_grad and x.is_leaf:
            raise AutogradError(
                f"a leaf tensor that requires grad, {x.spec}, is changed in place",
                fix=f"use {function.__name__}(), which returns the view",
            )
        view = function(x, *args, **kwargs)
        edge = edge_of(view)
        tensors.show(x, view)
        if edge is not None:
            x.set_history(*edge)
        return x

    become_view.__name__ = become_view.__qualname__ = function.__name__ + "_"
    become_view.__doc__ = f"`{function.__name__}`, of which x becomes the result."
    return become_view


def converted(source: Tensor, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`source` cast to a target's type, moved to its device and broadcast, as copy_ and x[i] =
    source store it."""
    source = P.cast(source, like.dtype)
    return broadcast_to(device_ops.like(source, like), shape)


@public(method=True)
def copy_(x: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write the elements of `src`, cast and broadcast; or a number everywhere."""
    if is_number(src):
        return fill_(x, src)
    try:
        value = converted(src, x, x.spec.shape)
    except ShapeMismatch:
        raise ShapeMismatch(f"copy_: {src.spec} does not broadcast to {x.spec}") from None
    return x if src is x else write(x, value, replaces=True)


@public(method=True)
def fill_(x: Tensor, value: Any) -> Tensor:
    """Write a number, or a tensor without dimensions, everywhere."""
    if isinstance(value, HostValue):
        value = value.as_tensor()
    if is_tensor(value):
        if value.spec.shape:
            raise ShapeMismatch(f"fill_ takes a number or a 0-d tensor, got {value.spec}")
        return copy_(x, value)
    return write(x, x.full(held(value, x.dtype), x.spec), replaces=True)


@public(method=True)
def zero_(x: Tensor) -> Tensor:
    """Write zeros everywhere."""
    return fill_(x, 0)
