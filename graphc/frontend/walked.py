"""A recurrent layer in eager mode: one node on the tape for all of its steps.

A cell is a pure function of what the input gives to a step, of the product of the state h with the
layer's weight, and of the states; it gives the new states, h first. It is traced once with its
derivative, and runs as two lists of NumPy calls (`eager/lines.py`) a step. What all steps add to
the gradient of the weight is one product behind them. Second derivatives are those of the layer as
it is written, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from graphc.frontend.eager.arrays import row_major
from graphc.frontend.eager.contractions import dot
from graphc.frontend.eager.lines import Lines
from graphc.frontend.eager.pool import POOL
from graphc.frontend.eager.sums import reduce_sum
from graphc.frontend.modes import modes, set_grad_enabled
from graphc.frontend.tape import OpNode, attach, edge_of, pulled_again
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.trace import Trace
from graphc.frontend.whole import frontier, watched
from graphc.ir.graph import NOWHERE, Value
from graphc.ir.ops import Op
from graphc.ir.types import Array, TensorSpec, f32, f64
from graphc.passes.autodiff import Cotangents, already_freed, backpropagate

Cell = Callable[..., tuple[Tensor, ...]]
State = tuple[Tensor, ...]
Written = Callable[..., tuple[Tensor, State]]  # the layer step by step, of the same operands

_plans: dict[Hashable, Plan] = {}


class Plan:
    """A cell for operands of given types."""

    def __init__(self, name: str, cell: Cell, specs: Sequence[TensorSpec], recorded: bool) -> None:
        self.name = name
        trace = Trace()
        trace.listed = True
        trace.builder.here = NOWHERE
        with trace.activate():
            seen = [trace.argument(_like(s, recorded), f"x{k}") for k, s in enumerate(specs)]
            outs = cell(*seen)
            values, mark = [trace.value(x) for x in outs], trace.builder.mark()
            gs, pulled = _derived(trace, seen, outs) if recorded else ([], [])
        given = [trace.value(x) for x in seen]
        wanted = [*dict.fromkeys(pulled)]
        ways = frontier(wanted, given, values, gs, mark)
        between = [v for v in ways if v not in given and v not in values]
        self.reads = [k for k, v in enumerate([*given, *values]) if v in ways]
        self.slots = [wanted.index(d) for d in pulled]
        self.forward = Lines(given, [*values, *between])
        entry = [*gs, *([*given, *values][k] for k in self.reads), *between]
        self.back = Lines(entry, wanted) if recorded else None


def _like(spec: TensorSpec, requires_grad: bool) -> Tensor:
    alone = fresh(np.empty(spec.shape, spec.dtype.numpy), spec)
    alone._requires_grad = requires_grad
    return alone


def _derived(
    trace: Trace, seen: Sequence[Tensor], outs: Sequence[Tensor]
) -> tuple[list[Value], list[Value]]:
    """The cotangents of what a cell gives, and of its operands."""
    gs = [trace.argument(x, "g") for x in outs]
    starts, ends = ([e for x in xs if (e := edge_of(x))] for xs in (outs, seen))
    with set_grad_enabled(False):
        found = backpropagate(zip(starts, gs, strict=True), ends, everything=False)
    nothing = (x.full(0.0, x.spec) for x in seen)
    got = [found.get(e, zero) for e, zero in zip(ends, nothing, strict=True)]
    return [trace.value(g) for g in gs], [trace.value(d) for d in got]


def walk(
    name: str, cell: Cell, written: Written, xs: Tensor, state: State, weight: Tensor,
    bias: Tensor | None, reverse: bool,
) -> tuple[Tensor, State]:  # fmt: skip
    """xs [T,B,G], h [B,H] and other states, weight [R,H] and bias [R] of the products with h -> h
    of each step [T,B,H], the last states."""
    operands = [xs, *state, weight, *([] if bias is None else [bias])]
    if not _fits(operands):
        return written(xs, state, weight, bias, reverse)
    recorded = modes.grad and any(x.requires_grad for x in operands)
    plan = _plan_of(name, cell, operands, len(state), recorded)
    found = Layer(plan, [x.array for x in operands], len(state), reverse)
    ys, states = found.walk(recorded)
    outs = [fresh(a, TensorSpec(xs.dtype, a.shape)) for a in (ys, *map(np.array, states))]
    if recorded:
        node = Walked(found, written, operands, bias is not None)
        for slot, out in enumerate(outs):
            attach(out, node, slot)
    return outs[0], tuple(outs[1:])


def _fits(operands: Sequence[Tensor]) -> bool:
    if modes.trace is not None or watched() or not operands[0]._spec.shape[0]:
        return False
    dtype = operands[0]._spec.dtype
    return dtype in (f32, f64) and all(
        x._spec.dtype is dtype
        and x.array is not None
        and not x.storage.strides
        and x.array.flags.c_contiguous
        for x in operands
    )


def _plan_of(
    name: str, cell: Cell, operands: Sequence[Tensor], states: int, recorded: bool
) -> Plan:
    dtype, (_, batch, gates) = operands[0]._spec.dtype, operands[0]._spec.shape
    rows = operands[1 + states]._spec.shape[0]
    specs = [TensorSpec(dtype, (batch, gates)), TensorSpec(dtype, (batch, rows))]
    specs += [x._spec for x in operands[1 : 1 + states]]
    key = cell, recorded, *specs
    if key not in _plans:
        _plans[key] = Plan(name, cell, specs, recorded)
    return _plans[key]


class Step(NamedTuple):
    """What a step had: the states before it, and the arrays that its derivative reads."""

    before: Sequence[Array]
    read: list[Array]


class Layer:
    """The steps of a layer on arrays."""

    def __init__(self, plan: Plan, arrays: Sequence[Any], states: int, reverse: bool) -> None:
        self.plan, self.states = plan, states
        self.arrays = list(arrays)
        length = len(arrays[0])
        self.order = range(length - 1, -1, -1) if reverse else range(length)
        self.steps: list[Step] = []

    def walk(self, recorded: bool) -> tuple[Array, Sequence[Array]]:
        xs, *states = self.arrays[: 1 + self.states]
        weight, *bias = self.arrays[1 + self.states :]
        ys = POOL.empty((len(xs), *states[0].shape), xs.dtype)
        for t in self.order:
            r = dot(states[0], weight, batch=(), contract=((1, 1),))
            for b in bias:
                r += b
            made = self.plan.forward([xs[t], r, *states])
            if recorded:
                known = [xs[t], r, *states, *made[: self.states]]
                read = [known[k] for k in self.plan.reads]
                self.steps.append(Step(states, [*read, *made[self.states :]]))
            states = made[: self.states]
            ys[t] = states[0]
        return ys, states

    def pulled(self, dys: Array | None, dstates: list[Array], start: bool) -> list[Array]:
        """The cotangents of the operands, from those of the results; where nobody wants those of
        the states at the `start`, they lack the last product."""
        plan, weight = self.plan, self.arrays[1 + self.states]
        assert plan.back is not None
        xs, dtype = self.arrays[0], self.arrays[0].dtype
        dxs = POOL.empty(xs.shape, dtype)
        alike = plan.slots[0] == plan.slots[1]
        drs = dxs if alike else POOL.empty((*xs.shape[:2], len(weight)), dtype)
        hs = POOL.empty((*xs.shape[:2], weight.shape[1]), dtype)
        for t, step in zip(reversed(self.order), reversed(self.steps), strict=True):
            if dys is not None:
                dstates[0] = dys[t] + dstates[0]
            made = plan.back([*map(row_major, dstates), *step.read])
            hs[t] = step.before[0]
            dxs[t] = made[plan.slots[0]]
            if not alike:
                drs[t] = made[plan.slots[1]]
            dstates = [made[k] for k in plan.slots[2:]]
            if start or step is not self.steps[0]:
                product = dot(drs[t], weight, batch=(), contract=((1, 0),))
                dstates[0] = product + dstates[0]
        dweight = dot(drs, hs, batch=(), contract=((0, 0), (1, 1)))
        return [dxs, *dstates, dweight, reduce_sum(drs, axes=(0, 1))]


class Walked(OpNode):
    """A layer on the tape: its operands, then what the derivative of its steps reads."""

    __slots__ = ("biased", "written")

    def __init__(
        self, layer: Layer, written: Written, operands: Sequence[Tensor], biased: bool
    ) -> None:
        saved: list[Any] = [(x, x.storage.version) for x in operands]
        edges = [edge_of(x) for x in operands]
        super().__init__(cast(Op, layer.plan), edges, [*saved, layer], {})  # it has a name, too
        self.count = 1 + layer.states
        self.written, self.biased = written, biased

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if self.restore is not None:
            self.restore()
        if self.operands is None:
            raise already_freed(self.label)
        *saved, layer = self.operands
        xs = [self._unpack(x) for x in saved]
        plain = all(g is None or g.array is not None for g in cotangents)
        if modes.grad or modes.trace is not None or watched() or not plain:
            return pulled_again(self._stepwise(layer), xs, self.edges, cotangents)
        dys, *dstates = (None if g is None else row_major(g.array) for g in cotangents)
        states = [x.array for x in xs[1 : 1 + layer.states]]
        given = [np.zeros_like(s) if d is None else d for s, d in zip(states, dstates)]
        made = layer.pulled(dys, given, any(self.edges[1 : 1 + layer.states]))
        return [
            None if e is None else fresh(row_major(d), x._spec)
            for e, d, x in zip(self.edges, made, xs)
        ]

    def _stepwise(self, layer: Layer) -> Callable[..., Sequence[Tensor]]:
        """The layer as it is written, of its operands."""

        def steps(first: Tensor, *rest: Tensor) -> Sequence[Tensor]:
            state, (weight, *bias) = rest[: layer.states], rest[layer.states :]
            reverse = layer.order.step < 0
            ys, last = self.written(first, state, weight, bias[0] if bias else None, reverse)
            return [ys, *last]

        return steps
