"""Autograd for people: backward, grad, Function, hooks, detach; the walk is `passes/autodiff`."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from graphc.errors import (
    AutogradError,
    DTypeMismatch,
    InvalidArgument,
    InvalidState,
    InvalidType,
    ShapeMismatch,
)
from graphc.frontend import anomaly, epoch, fused
from graphc.frontend import tensor as tensors
from graphc.frontend.api import shapes
from graphc.frontend.geometry import strides_as
from graphc.frontend.inplace import untraced
from graphc.frontend.modes import modes, set_grad_enabled
from graphc.frontend.registry import public
from graphc.frontend.tape import edge_of, keep_gradient
from graphc.frontend.told import Told
from graphc.passes.autodiff import Edge, Hook, backpropagate, traced_by

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["clone", "detach"]

Tensors = Any  # a tensor or a sequence of tensors


def _listed(x: Tensors, what: str = "outputs") -> list[Any]:
    """The tensors of a tensor, or of anything that gives some, such as `parameters()`."""
    if isinstance(x, tensors.Tensor):
        return [x]
    if not isinstance(x, Iterable) or isinstance(x, str):
        raise InvalidType(f"{what}: expected a tensor or several, got {x!r}"[:200])
    found = list(x)
    for t in found:
        if t is not None and not isinstance(t, tensors.Tensor):
            raise InvalidType(f"{what}: expected tensors, got {t!r} among them"[:200])
    return found


def _roots(outs: Tensors, gradients: Tensors | None) -> list[tuple[Edge, Tensor]]:
    """Where to start and with what: ones for scalars, else the gradients given."""
    starts = _listed(outs)
    given = [None] * len(starts) if gradients is None else _listed(gradients, "gradients")
    if len(given) != len(starts):
        raise AutogradError(f"got {len(starts)} tensors and {len(given)} gradients")
    roots = []
    for x, g in zip(starts, given):
        edge = edge_of(x)
        if edge is None:
            raise AutogradError(
                f"backward from {x.spec}, which does not require grad and has no grad_fn",
                fix="make a parameter that leads to it require grad, outside no_grad",
            )
        if g is None and x.numel() != 1:
            raise AutogradError(
                f"backward from {x.spec}: only a scalar has an implicit gradient of 1",
                fix="reduce it with sum() or mean(), or pass gradient=",
            )
        if g is None:
            g = x.full(1.0, x.spec)
        elif g.spec.shape != x.spec.shape:
            raise ShapeMismatch(f"gradient {g.spec} for an output {x.spec}")
        elif g.dtype != x.dtype:
            g = g.to(x.dtype)
        else:
            g.storage.adopted = True  # the caller's memory: a .grad must not live there
        roots.append((edge, g))
    return roots


def _walk(roots: list[tuple[Edge, Tensor]], create_graph: bool, **options: Any) -> dict[Edge, Any]:
    trace = modes.trace
    if trace is not None:
        options["at"] = traced_by(trace.builder)
        if not create_graph:
            options["instead"] = fused.attentions
        trace.guards.append((Told(anomaly.is_anomaly_enabled), False))
        anomaly.refuse_in_trace()
        with set_grad_enabled(create_graph), trace.builder.deriving():
            return backpropagate(roots, **options)
    if modes.anomaly and modes.check_nan:
        options["check"] = anomaly.check
    with set_grad_enabled(create_graph):
        return backpropagate(roots, **options)


def backward(
    tensors: Tensors,
    grad_tensors: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Tensors | None = None,
    inputs: Tensors | None = None,
) -> None:
    """Add to the `.grad` of every leaf (or of `inputs` only) its gradient of `tensors`.

    `grad_variables` is the former name of `grad_tensors`.

    grad_tensors have the shapes of `tensors`; None stands for 1 of a [] tensor. Raises
    AutogradError where there is no graph, or it is gone.
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise InvalidState("backward() takes grad_tensors or grad_variables, not both")
        grad_tensors = grad_variables
    keep = create_graph if retain_graph is None else retain_graph
    roots = _roots(tensors, grad_tensors)
    if inputs is None:
        _walk(roots, create_graph, keep=keep)
        return
    targets = _listed(inputs, "inputs")
    if not targets:
        raise AutogradError("backward with an empty list of inputs")
    for x in targets:
        retain_grad(x)
    found = grad(tensors, targets, grad_tensors, keep, create_graph, allow_unused=True)
    for x, g in zip(targets, found):
        if g is not None and x.is_leaf:
            with set_grad_enabled(create_graph):
                accumulate_grad(x, g)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` for each of `inputs`, without touching any `.grad`.

    is_grads_batched: `grad_outputs` have a leading dimension, and so have the gradients, one for
    each row. `only_inputs` is deprecated and ignored, as in PyTorch.

    -> tensors of the inputs' shapes, None for one that is not used if `allow_unused`. Raises
    AutogradError for such a one otherwise.
    """
    if not only_inputs:
        text = "grad: only_inputs is deprecated and ignored; it is always True"
        warnings.warn(text, FutureWarning, stacklevel=2)
    targets = _listed(inputs, "inputs")
    if not targets:
        raise AutogradError("`inputs` argument to `grad()` cannot be empty.")
    if materialize_grads and allow_unused is False:
        raise InvalidArgument("allow_unused must not be False where materialize_grads is True")
    if is_grads_batched:
        if grad_outputs is None:
            raise AutogradError("is_grads_batched=True needs grad_outputs with a leading dimension")
        rows = _listed(grad_outputs, "grad_outputs")
        unused = bool(allow_unused) or materialize_grads
        found = _batched(outputs, targets, rows, create_graph, unused)
        return _materialized(found, targets, create_graph) if materialize_grads else found
    keep = create_graph if retain_graph is None else retain_graph
    edges = [edge_of(x) for x in targets]
    if None in edges:
        which = targets[edges.index(None)].spec
        raise AutogradError(f"grad: the input {which} does not require grad")
    known = [e for e in edges if e is not None]
    arrived = _walk(
        _roots(outputs, grad_outputs), create_graph, wanted=known, everything=False, keep=keep
    )
    out = tuple(arrived.get(e) for e in known)
    if materialize_grads:
        return _materialized(out, targets, create_graph)
    for x, g in zip(targets, out):
        if g is None and not allow_unused:
            raise AutogradError(
                f"grad: the input {x.spec} was not used to compute the outputs",
                fix="pass allow_unused=True to get None for it",
            )
    return out


def _materialized(
    found: tuple[Any, ...], inputs: list[Any], requires_grad: bool
) -> tuple[Any, ...]:
    """Zeros where there is no gradient."""
    return tuple(
        x.full(0, x.spec).requires_grad_(requires_grad) if g is None else g
        for x, g in zip(inputs, found)
    )


def _batched(
    outputs: Tensors, inputs: list[Any], rows: list[Any], create_graph: bool, allow_unused: bool
) -> tuple[Any, ...]:
    """`grad` for each row of `rows`, stacked."""
    found = [
        grad(outputs, inputs, [r[k] for r in rows], True, create_graph, True, allow_unused)
        for k in range(rows[0].spec.shape[0])
    ]
    return tuple(None if gs[0] is None else shapes.stack(gs) for gs in zip(*found))


# ---- methods of Tensor -------------------------------------------------------------------------


@public(method="backward")
def backward_of(
    x: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add to the `.grad` of every leaf its gradient of x (a scalar, or weighted by `gradient`)."""
    backward(x, gradient, retain_graph, create_graph, inputs=inputs)


@public(method=True)
def accumulate_grad(x: Tensor, g: Tensor) -> None:
    """x.grad = g, or x.grad += g in place; two tensors never share one gradient's memory."""
    old = x.grad
    if old is not None:
        x.grad = old + g if modes.grad else old.add_(g)
        return
    if not modes.grad:
        g = g.detach()
        if g.storage.adopted or g.views:
            g = clone(g)
    g.storage.adopted = True
    g.storage.name = f"{x.storage.name}.grad" if x.storage.name else ""
    x.grad = g


@public(method=True)
def requires_grad_(x: Tensor, requires_grad: bool = True) -> Tensor:
    """Start or stop to record what is computed from x; x itself is returned."""
    requires_grad = bool(requires_grad)  # of a number that only a call knows: asked
    if requires_grad == x.requires_grad:
        return x
    if requires_grad and not x.dtype.is_floating_point:
        raise DTypeMismatch(
            f"only floating tensors can require grad, not {x.spec}", fix="convert it: x.float()"
        )
    if not x.is_leaf:
        raise AutogradError(
            "requires_grad can be changed on leaf tensors only", fix="use x.detach()"
        )
    if modes.trace is not None:
        modes.trace.flag(x)
    x._requires_grad = requires_grad
    epoch.modules_changed()
    return x


@public(method=True)
def detach(input: Tensor) -> Tensor:
    """The same memory without history."""
    return input.alias()


@public(method=True)
def detach_(x: Tensor) -> Tensor:
    """Drop x's history, in place; AutogradError for a view."""
    if x._base is not None:
        raise AutogradError("Can't detach views in-place.", fix="use detach()")
    untraced(x, "detach_()")
    x._base = None
    x.set_history(None)
    return x


@public(method=True)
def retain_grad(x: Tensor) -> None:
    """Keep `.grad` on a tensor that is no leaf."""
    if not x.requires_grad:
        raise AutogradError("retain_grad() on a tensor that does not require grad")
    if x.is_leaf or x._retains_grad:
        return
    x._retains_grad = True
    keep_gradient(x)


@public(attributes=("retains_grad",))
def retains_grad(x: Tensor) -> bool:
    """Whether it is no leaf and `retain_grad()` was called on it."""
    return x._retains_grad and not x.is_leaf


@public(attributes=("output_nr",))
def output_nr(x: Tensor) -> int:
    """Which output of `grad_fn` it is."""
    return x._slot


class RemovableHandle:
    """Takes a hook off again: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: list[Any], entry: Any, x: Tensor | None = None) -> None:
        """`x`: the tensor that is hooked."""
        self._hooks = hooks
        self._entry = entry
        self._lasting = x is None or not x.is_traced  # it outlives a step that is traced
        self._attach = None if x is None else partial(_attach, weakref.ref(x), hooks)
        self._keep()
        hooks.append(entry)
        epoch.hooks_changed()

    def _keep(self) -> None:
        if self._lasting and modes.trace is not None:
            modes.trace.keep(self._hooks, self._attach)

    def remove(self) -> None:
        if any(e is self._entry for e in self._hooks):
            self._keep()
            self._hooks[:] = [e for e in self._hooks if e is not self._entry]
            epoch.hooks_changed()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *failure: object) -> None:
        self.remove()


@public(method=True)
def register_hook(x: Tensor, hook: Hook) -> RemovableHandle:
    """Call `hook` with the gradient of x whenever it is computed; a result replaces it."""
    if not x.requires_grad:
        raise AutogradError("register_hook() on a tensor that does not require grad")
    return _add_hook(x, hook)


def _add_hook(x: Tensor, hook: Hook) -> RemovableHandle:
    node, slot = edge_of(x) or (None, 0)
    assert node is not None, "checked by the callers: x requires grad"
    if node.hooks is None:
        node.hooks = []
    if x.is_leaf:
        x._hooks = node.hooks
    return RemovableHandle(node.hooks, (slot, partial(_told, hook)), x)


def _attach(x: weakref.ref[Tensor], hooks: list[Any]) -> None:
    """Let a leaf have these hooks, which a step gave it whose marks are taken back."""
    leaf = x()
    if leaf is None or not leaf.is_leaf or leaf._after_grad is hooks:
        return
    leaf._hooks = hooks
    if (node := leaf._leaf() if leaf._leaf is not None else None) is not None:
        node.hooks = hooks


def _told(hook: Hook, g: Tensor) -> Any:
    """What a hook makes of a gradient; in a trace one that only looks is called after the step."""
    return hook(g) if modes.trace is None else modes.trace.told(hook, g)


@public(method=True)
def register_post_accumulate_grad_hook(
    x: Tensor, hook: Callable[[Tensor], None]
) -> RemovableHandle:
    """Call `hook(x)` each time a gradient has been added to x.grad; leaves only."""
    if not x.requires_grad:
        raise AutogradError(
            "cannot register a hook on a tensor that doesn't require gradient",
            fix="call requires_grad_() first",
        )
    if not x.is_leaf:
        raise AutogradError(
            "post accumulate grad hooks cannot be registered on non-leaf tensors",
            fix="use register_hook(), whose hook gets the gradient",
        )
    if x._after_grad is None:
        x._after_grad = []
    return RemovableHandle(x._after_grad, (hook,), x)


@public(method=True)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy in memory of its own, which lies as `input` does unless a memory format is given;
    gradients pass through."""
    return tensors.copied_as(input, strides_as(input, memory_format))


# ---- copies for copy.deepcopy and pickle -------------------------------------------------------


@public(method="__deepcopy__")
def deep_copy(x: Tensor, memo: dict[int, Any]) -> Any:
    """A leaf's copy in memory of its own, with its attributes and `.grad`."""
    if not x.is_leaf:
        raise AutogradError("only leaf tensors support deepcopy", fix="use x.detach().clone()")
    out = tensors.copied(x).alias(type(x))
    memo[id(x)] = out
    out._requires_grad = x._requires_grad
    out.storage.name = x.storage.name
    out._grad = copy.deepcopy(x._grad, memo)
    out.__dict__.update(copy.deepcopy(x.extra(), memo))
    return out


@public(method="__reduce__")
def reduced(x: Tensor) -> Any:
    """How x is pickled: its elements, and where they are unless on the CPU."""
    x.storage.unpack()  # NumPy would pickle the order, too
    where = () if x.is_cpu else (str(x.device),)
    return rebuild, (type(x), x.host(), x.requires_grad, x.extra(), *where)


def rebuild(
    kind: type[Tensor], array: Any, requires_grad: bool, extra: dict[str, Any], device: str = "cpu"
) -> Tensor:
    """Inverse of `Tensor.__reduce__`."""
    out: Tensor = tensors.wrapped(array).to(device).alias(kind)
    out._requires_grad = requires_grad
    out.__dict__.update(extra)
    return out
