"""Autograd for people: backward, grad, Function, hooks, detach; the walk is `passes/autodiff`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import AutogradError, DTypeMismatch, ShapeMismatch
from graphc.frontend import epoch
from graphc.frontend import tensor as tensors
from graphc.frontend.inplace import untraced
from graphc.frontend.modes import (
    enable_grad,
    inference_mode,
    modes,
    no_grad,
    set_grad_enabled,
)
from graphc.frontend.tape import edge_of, record_rule
from graphc.ir.graph import Where
from graphc.passes.autodiff import Edge, Hook, backpropagate

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]

Tensors = Any  # a tensor or a sequence of tensors


def _listed(x: Tensors) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def _roots(outs: Tensors, gradients: Tensors | None) -> list[tuple[Edge, Tensor]]:
    """Where to start and with what: ones for scalars, else the gradients given."""
    tensors = _listed(outs)
    given = [None] * len(tensors) if gradients is None else _listed(gradients)
    roots = []
    for x, g in zip(tensors, given, strict=True):
        edge = edge_of(x)
        if edge is None:
            raise AutogradError(
                f"backward from {x.type}, which does not require grad and has no grad_fn",
                fix="make a parameter that leads to it require grad, outside no_grad",
            )
        if g is None and x.numel() != 1:
            raise AutogradError(
                f"backward from {x.type}: only a scalar has an implicit gradient of 1",
                fix="reduce it with sum() or mean(), or pass gradient=",
            )
        if g is None:
            g = x.full(1.0, x.type)
        elif g.type.shape != x.type.shape:
            raise ShapeMismatch(f"gradient {g.type} for an output {x.type}")
        else:
            g.storage.adopted = True  # the caller's memory: a .grad must not live there
        roots.append((edge, g))
    return roots


def _walk(roots: list[tuple[Edge, Tensor]], create_graph: bool, **options: Any) -> dict[Edge, Any]:
    trace = modes.trace
    if trace is not None:
        builder = trace.builder

        def at(where: Where) -> Any:
            return builder.at(where._replace(phase="bw"))

        options["at"] = at
    with set_grad_enabled(create_graph):
        return backpropagate(roots, **options)


def backward(
    tensors: Tensors,
    grad_tensors: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add to the `.grad` of every leaf (or of `inputs` only) its gradient of `tensors`."""
    keep = create_graph if retain_graph is None else retain_graph
    roots = _roots(tensors, grad_tensors)
    if inputs is None:
        _walk(roots, create_graph, keep=keep)
        return
    targets = _listed(inputs)
    if not targets:
        raise AutogradError("backward with an empty list of inputs")
    found = grad(tensors, targets, grad_tensors, keep, create_graph, allow_unused=True)
    for x, g in zip(targets, found):
        if g is not None:
            with set_grad_enabled(create_graph):
                accumulate_grad(x, g)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` for each of `inputs`, without touching any `.grad`."""
    keep = create_graph if retain_graph is None else retain_graph
    targets = _listed(inputs)
    edges = [edge_of(x) for x in targets]
    if None in edges:
        which = targets[edges.index(None)].type
        raise AutogradError(f"grad: the input {which} does not require grad")
    known = [e for e in edges if e is not None]
    found = _walk(
        _roots(outputs, grad_outputs), create_graph, wanted=known, everything=False, keep=keep
    )
    out = [found.get(e) for e in known]
    for k, (x, g) in enumerate(zip(targets, out)):
        if g is None and materialize_grads:
            out[k] = x.full(0, x.type)
        elif g is None and not allow_unused:
            raise AutogradError(
                f"grad: the input {x.type} was not used to compute the outputs",
                fix="pass allow_unused=True to get None for it",
            )
    return tuple(out)


# ---- methods of Tensor -------------------------------------------------------------------------


def backward_of(
    x: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add to the `.grad` of every leaf its gradient of x (a scalar, or weighted by `gradient`)."""
    backward(x, gradient, retain_graph, create_graph, inputs)


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


def requires_grad_(x: Tensor, requires_grad: bool = True) -> Tensor:
    """Start or stop to record what is computed from x; x itself is returned."""
    if requires_grad == x.requires_grad:
        return x
    if requires_grad and not x.dtype.is_floating_point:
        raise DTypeMismatch(f"only floating tensors can require grad, not {x.type}")
    if not x.is_leaf:
        raise AutogradError(
            "requires_grad can be changed on leaf tensors only", fix="use x.detach()"
        )
    untraced(x, "requires_grad_()")
    x._requires_grad = requires_grad
    epoch.modules_changed()
    return x


def detach(x: Tensor) -> Tensor:
    """The same memory without history."""
    return x.alias()


def detach_(x: Tensor) -> Tensor:
    untraced(x, "detach_()")
    x._base = None
    x.set_history(None)
    return x


def retain_grad(x: Tensor) -> None:
    """Keep `.grad` on a tensor that is no leaf."""
    if not x.requires_grad:
        raise AutogradError("retain_grad() on a tensor that does not require grad")
    if x.is_leaf:
        return

    def keep(g: Tensor) -> None:
        with no_grad():
            accumulate_grad(x, g.detach())

    _add_hook(x, keep)


class RemovableHandle:
    """Takes a hook off again."""

    def __init__(self, hooks: list[tuple[int, Hook]], entry: tuple[int, Hook]) -> None:
        self._hooks = hooks
        self._entry = entry

    def remove(self) -> None:
        if self._entry in self._hooks:
            self._hooks.remove(self._entry)


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
    entry = (slot, hook)
    node.hooks.append(entry)
    return RemovableHandle(node.hooks, entry)


def clone(x: Tensor) -> Tensor:
    """A copy in memory of its own, row-major; gradients pass through."""
    out = tensors.copied(x)
    if modes.grad and x.requires_grad:
        record_rule("clone", (out,), (x,), lambda gs: gs)
    return out


# ---- copies for copy.deepcopy and pickle -------------------------------------------------------


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


def rebuild(kind: type[Tensor], array: Any, requires_grad: bool, extra: dict[str, Any]) -> Tensor:
    """Inverse of `Tensor.__reduce__`."""
    out: Tensor = tensors.wrapped(array).alias(kind)
    out._requires_grad = requires_grad
    out.__dict__.update(extra)
    return out


# ---- Function ----------------------------------------------------------------------------------


class Context:
    """What a Function's forward leaves for its backward."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Any, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()
        self.materialize = True  # an output without gradient gives zeros to backward, not None

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize = value


class Function:
    """A differentiable operation with a backward of its own: subclass, then call `apply`."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *gradients: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward unrecorded, and put `backward` on the tape as its derivative."""
        context = Context()
        places = [k for k, a in enumerate(args) if isinstance(a, tensors.Tensor)]
        context.needs_input_grad = tuple(
            isinstance(a, tensors.Tensor) and a.requires_grad for a in args
        )
        with no_grad():
            out = cls.forward(context, *args)
        outs = out if isinstance(out, tuple) else (out,)
        marked = context.non_differentiable
        smooth = [k for k, o in enumerate(outs) if not any(o is m for m in marked)]
        outs = tuple(o.alias() if any(o is a for a in args) else o for o in outs)
        if smooth:
            rule = _function_rule(cls.backward, context, outs, smooth, places)
            inputs = [args[k] for k in places]
            record_rule(cls.__name__, [outs[k] for k in smooth], inputs, rule)
        return outs if isinstance(out, tuple) else outs[0]


def _function_rule(
    backward: Callable[..., Any],
    context: Context,
    outs: Sequence[Tensor],
    smooth: Sequence[int],
    places: Sequence[int],
) -> Callable[[list[Any]], Sequence[Any]]:
    """The derivative of a Function; cotangents arrive for the outputs numbered in `smooth`."""
    types = [o.type for o in outs]
    like: Tensor = outs[0].alias()

    def rule(cotangents: list[Any]) -> Sequence[Any]:
        given: list[Any] = [None] * len(types)
        for k, g in zip(smooth, cotangents):
            given[k] = g
        filled = [
            like.full(0, t) if g is None and context.materialize else g
            for g, t in zip(given, types)
        ]
        result = backward(context, *filled)
        results = result if isinstance(result, tuple) else (result,)
        if len(results) <= (places[-1] if places else 0):
            raise AutogradError(
                f"backward returned {len(results)} gradients for {places[-1] + 1} inputs"
            )
        return [results[k] for k in places]

    return rule
