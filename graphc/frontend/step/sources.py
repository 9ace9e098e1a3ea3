"""Where the inputs of a captured graph come from when its program runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphc.frontend.step.capture import Capture, Gradient
from graphc.frontend.step.python.beforehand import Beforehand
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.types import Scalar, Shape, TensorSpec


@dataclass(frozen=True, slots=True)
class WrittenArgument:
    """State that is an argument of the call, because the step writes it; it lies in `order`."""

    arg: int
    order: Shape


@dataclass(frozen=True, slots=True)
class OldGradient:
    """State that is the `.grad` which a tensor has when the call begins."""

    tensor: Tensor


@dataclass(frozen=True, slots=True)
class NewGradient:
    """State that is a gradient the step makes."""

    gradient: Gradient
    spec: TensorSpec


State = Storage | WrittenArgument | OldGradient | NewGradient | Standing


class Sources:
    """By role, in the order of the graph's inputs."""

    def __init__(self, capture: Capture, graph: Graph, sizes: Evaluation) -> None:
        known, orders = _known(capture, sizes), capture.orders
        self.args: list[int] = []
        self.arg_orders: list[Shape] = []  # in which they lie
        self.states: list[State] = []
        self.getters: list[Callable[[], Scalar]] = []
        self.arg_specs = [v.spec.at(sizes) for v, r in zip(graph.inputs, graph.roles) if r == "arg"]
        self.state_specs = [v.spec.at(sizes) for v in graph.states()]
        for v, role in zip(graph.inputs, graph.roles, strict=True):
            source = known[v]
            if role == "arg":
                self.args.append(source)
                self.arg_orders.append(orders.get(source, ()))
            elif role == "state":
                written = isinstance(source, int)
                order = orders.get(source, ()) if written else ()
                self.states.append(WrittenArgument(source, order) if written else source)
            else:
                beforehand = isinstance(source, Beforehand)
                self.getters.append(source.at(sizes) if beforehand else source)


def _known(capture: Capture, sizes: Evaluation) -> dict[Value, Any]:
    """The source of each input of a capture: an argument's number, a state or a getter."""
    grads = capture.trace.old_grads.items()
    old = {g.storage: x for x, (_, g) in grads if g is not None and not g.views}
    known: dict[Value, Any] = {}
    for item in capture.inputs:
        storage = item.storage
        if storage is None or item.role == "scalar":
            known[item.value] = item.getter
        elif item.rebound >= 0:
            known[item.value] = capture.rebound[item.rebound]
        elif item.role == "arg":
            known[item.value] = capture.trace.stand_ins[storage]
        else:
            known[item.value] = OldGradient(old[storage]) if storage in old else storage
    made = capture.graph.inputs[len(capture.inputs) :]
    new = [g for g in capture.gradients if g.index >= 0]
    return known | {v: NewGradient(g, v.spec.at(sizes)) for v, g in zip(made, new)}


def kinds_of(capture: Capture, graph: Graph) -> tuple[str, ...]:
    """What each state input of `graph` is to the user: "parameter", "gradient", "optimizer"
    (what it remembers of a parameter), "buffer" (of a module) or "argument" (written in place).
    """
    sources = {v.name: source for v, source in _known(capture, HINTS).items()}  # a part of the
    tensors = {i.value.name: i.tensor for i in capture.inputs}  # capture has values of its own
    states = set(graph.states())
    read: dict[Value, str] = {}
    for v in graph.values():
        for a in v.args:
            if a in states:
                read.setdefault(a, v.where.phase)
    return tuple(
        _kind(sources.get(v.name), tensors.get(v.name), read.get(v, "")) for v in graph.states()
    )


def _kind(source: Any, tensor: Tensor | None, phase: str) -> str:
    """`phase`: of what reads it first."""
    if isinstance(source, NewGradient | OldGradient):
        return "gradient"
    if isinstance(source, int):
        return "argument"
    if tensor is not None and tensor.requires_grad:
        return "parameter"
    return "optimizer" if phase == "opt" else "buffer"
