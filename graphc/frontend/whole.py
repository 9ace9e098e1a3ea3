"""Functions of several operations as one in eager mode, where nobody looks inside.

`whole` marks a pure function of tensors, which gives one, or a tuple: after its result others that
no gradient goes to, such as the statistics of a batch. Its first call with operands of given types
traces it with its derivative (`passes/autodiff.py`), and from then on such calls run both as plain
lists of NumPy calls (`eager/lines.py`): the same calls on the same arrays as one operation at a
time makes, without inferring types, making tensors and recording nodes in between. One node stands
on the tape; it keeps what the derivative reads. Second derivatives are those of the function, run
again as written.

Inside a step's trace, on a GPU, under autocast, vmap, anomaly detection and hooks on saved tensors,
and for operands that do not lie row by row (unless its result does anyhow), the function runs as
written. So does what has effects
besides its result, reads other tensors than its operands, or warns.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from graphc.errors import GraphcError
from graphc.frontend.devices import ACCELERATORS, META_ONLY
from graphc.frontend.eager.arrays import row_major
from graphc.frontend.eager.lines import Lines, root, shows
from graphc.frontend.fused import as_one, attentions
from graphc.frontend.geometry import shown_strides
from graphc.frontend.modes import draw, get_default_dtype, modes, set_grad_enabled
from graphc.frontend.switches import get_float32_matmul_precision
from graphc.frontend.tape import (
    OpNode,
    attach,
    edge_of,
    pulled_again,
    saving,
)
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.trace import Trace
from graphc.ir.graph import NOWHERE, Value, topological
from graphc.ir.ops import OPS, Op
from graphc.ir.types import Array, DType
from graphc.passes.autodiff import Cotangents, Edge, already_freed, backpropagate

F = TypeVar("F", bound=Callable[..., Any])

KEPT = 2048  # plans; then all are made again
FEW = 1 << 14  # elements up to which a gradient may be made instead of repeated
CONTIGUOUS = OPS["contiguous"]
PLAIN = frozenset({int, float, bool, str, DType})

_plans: dict[Hashable, Plan | None] = {}


def whole(name: str, laid: bool = False, rows: bool = False, few: bool = False) -> Callable[[F], F]:
    """Mark a pure function; its node on the tape is called `name`. `laid`: it may be given operands
    that lie in any order, or in one memory, for what it computes of them are products first, which
    lie row by row. `rows`: eager code copies operands that do not lie row by row first, as PyTorch
    does where the result does. `few`: first operands of many elements are left to the function as
    it is written, whose gradients repeat a number."""

    def mark(function: F) -> F:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            if modes.trace is not None or (few and _has_many(args)):
                return function(*args, **kwargs)
            if rows:
                args = tuple(map(_by_rows, args))
            if watched():
                return function(*args, **kwargs)
            plan = _plan_of(name, laid, function, args, kwargs)
            return function(*args, **kwargs) if plan is None else plan(args, kwargs)

        return cast(F, inside)

    return mark


def _has_many(args: Sequence[Any]) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and args[0]._spec.numel > FEW


def _by_rows(x: Any) -> Any:
    """An operand, or a copy of it that lies row by row."""
    if not isinstance(x, Tensor) or type(x.array) is not np.ndarray or _lies_by_rows(x, x.array):
        return x
    return x.emit(CONTIGUOUS, x)


def _lies_by_rows(x: Tensor, array: Array) -> bool:
    return not x.storage.strides and bool(array.flags.c_contiguous)


def watched() -> bool:
    """Whether something is to be told of each operation."""
    return bool(
        (ACCELERATORS and ACCELERATORS[0] not in META_ONLY)
        or modes.anomaly
        or modes.autocast
        or saving.hooks
        or modes.mapped is not None
        or draw.runs
    )


def _plan_of(
    name: str,
    laid: bool,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Plan | None:
    """The plan for operands like these; None if there is none."""
    grad = modes.grad
    key: list[Any] = [function, grad, get_default_dtype(), get_float32_matmul_precision()]
    storages = set()
    count = 0
    for a in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(a, Tensor):
            array, spec = a.array, a._spec
            if (
                type(array) is not np.ndarray
                or a.storage.strides
                or not (laid or array.flags.c_contiguous)
            ):
                return None
            key += (spec.dtype, spec.shape, grad and a.requires_grad)
            storages.add(a.storage)
            count += 1
        elif a is None or type(a) in PLAIN:
            key.append(repr(a) if type(a) is float else (type(a), a))
        elif isinstance(a, tuple | list) and all([type(n) is int for n in a]):
            key.append((type(a), *a))
        else:
            return None
    if len(storages) < count and not laid:
        return None
    if kwargs:
        key += kwargs
    known = tuple(key)
    try:
        return _plans[known]
    except KeyError:
        pass
    if len(_plans) >= KEPT:
        _plans.clear()
    plan = _plans[known] = _made(name, function, args, kwargs)
    return plan


# ---- how it is made ------------------------------------------------------------------------------


class Traced(NamedTuple):
    """A call as values: its operands, its result and others that have no gradient, what may raise,
    the result's cotangent and those of the operands."""

    given: list[Value]
    out: Value
    others: list[Value] | None
    checks: list[Value]
    g: Value | None
    pulled: list[Value | None]
    mark: int  # what has a larger number belongs to the derivative


def _made(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Plan | None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            traced = _traced(function, args, kwargs)
        except (GraphcError, TypeError, ValueError):  # said by the function itself, as written
            return None
    return None if traced is None or told else Plan(name, function, args, kwargs, traced)


def _traced(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Traced | None:
    trace = Trace()
    trace.listed = True
    trace.builder.here = NOWHERE
    seen: list[Tensor] = []

    def stand_in(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        alone = fresh(np.empty(x._spec.shape, x._spec.dtype.numpy), x._spec)  # no view, row by row
        alone._requires_grad = x.requires_grad  # of no tensor of the user's: nobody is told
        seen.append(trace.argument(alone, f"x{len(seen)}"))
        return seen[-1]

    recorded = modes.grad
    with trace.activate():
        first = [*map(stand_in, args)]  # in this order
        made = function(*first, **{k: stand_in(x) for k, x in kwargs.items()})
        several = type(made) is tuple
        outs: tuple[Any, ...] = made if several else (made,)
        if not all(isinstance(x, Tensor) and x.is_traced and not shown_strides(x) for x in outs):
            return None
        out = outs[0]
        z = trace.value(out)
        one = as_one(z)
        mark = trace.builder.mark()
        others = [trace.value(x) for x in outs[1:]] if several else None
        edges = [edge_of(x) if recorded else None for x in seen]
        g: Tensor | None = None
        pulled: list[Value | None] = [None for _ in seen]
        if recorded and out.requires_grad:
            g = trace.argument(out, "g")
            start = edge_of(out)
            assert start is not None, "it requires grad"
            known = [e for e in edges if e is not None]
            with set_grad_enabled(False):
                instead = None if one is None else attentions
                found = backpropagate([(start, g)], known, everything=False, instead=instead)
            got = [None if e is None else found.get(e) for e in edges]
            pulled = [None if d is None else trace.value(d) for d in got]
    effects = (trace.written, trace.after_commit, trace.draws, trace.called, trace.host_values)
    strangers = len(trace.inputs) > len(seen) + (g is not None)
    values = trace.builder._made.values()
    if strangers or any(effects) or not all(map(_plain, values)):
        return None
    given = [trace.value(x) for x in seen]
    if one is not None and one[1].inner.isdisjoint(
        topological([v for v in pulled if v is not None])
    ):
        z = one[0]
    if root(z) in given or root(z).const is not None:
        return None
    checks = [v for v in trace.checks if v.number <= mark]
    return Traced(given, z, others, checks, None if g is None else trace.value(g), pulled, mark)


def _plain(v: Value) -> bool:
    """Whether NumPy computes it as eager mode does, in so many words."""
    return not v.spec.dtype.is_half and (v.op is None or v.op.kind not in ("loop", "routine"))


# ---- what it does --------------------------------------------------------------------------------


class Plan:
    """A function for operands of given types: lists of calls forward and back."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        traced: Traced,
    ) -> None:
        self.name, self.function = name, function
        self.spec = traced.out.spec
        values = (*args, *kwargs.values())
        self.skeleton = [None if isinstance(a, Tensor) else (copy.copy(a),) for a in values]
        self.names = tuple(kwargs)
        self.wanted = [d is not None for d in traced.pulled]
        self.records = any(self.wanted)
        given, z = traced.given, traced.out
        g = traced.g
        pulled = [d for d in traced.pulled if d is not None]
        ways = frontier(pulled, given, [z], [] if g is None else [g], traced.mark)
        self.reads = [k for k, v in enumerate(given) if v in ways]
        self.reads_output = z in ways
        between = [v for v in ways if v is not z and v not in given]
        others = traced.others
        self.others = None if others is None else [v.spec for v in others]
        self.forward = Lines(given, [z, *(others or ()), *between], traced.checks)
        self.copies = shows(z)  # what is kept could lie in the same memory
        outs = list(dict.fromkeys(d for d in traced.pulled if d is not None and d is not g))
        self.slots = [None if d is None else -1 if d is g else outs.index(d) for d in traced.pulled]
        self.specs = [d.spec for d in outs]
        roots = [root(d) for d in outs]
        self.shared = [
            shows(d) and (r is g or r in ways or r.const is not None or roots.count(r) > 1)
            for d, r in zip(outs, roots)
        ]
        self.back = None
        if g is not None and self.records:
            entry = [g, *(given[k] for k in self.reads)]
            self.back = Lines([*entry, *([z] if self.reads_output else []), *between], outs)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        made, *between = self.forward([x.array for x in inputs])  # type: ignore[misc]  # concrete
        out = fresh(np.array(made, order="C") if self.copies else made, self.spec)
        others = None
        if self.others is not None:  # copied: what is kept for the derivative may be the same
            count = len(self.others)
            others = [fresh(np.array(a), spec) for a, spec in zip(between, self.others)]
            between = between[count:]
        if self.records:
            saved = [(x, x.storage.version) for x in inputs]
            edges = [edge_of(x) if w else None for x, w in zip(inputs, self.wanted)]
            node = Whole(self, edges, [*saved, *between])
            if self.reads_output:
                node.output = (out.alias(), out.storage.version)
            attach(out, node)
        return out if others is None else (out, *others)

    def pulled(self, g: Tensor, read: Sequence[Array]) -> Cotangents:
        assert self.back is not None and g.array is not None
        made = self.back([row_major(g.array), *read])
        tensors = [
            fresh(np.array(a, order="C") if shared else row_major(a), spec)
            for a, spec, shared in zip(made, self.specs, self.shared)
        ]
        return [None if k is None else g if k < 0 else tensors[k] for k in self.slots]

    def as_written(self, tensors: Sequence[Tensor]) -> Tensor:
        """The function on other tensors."""
        left = iter(tensors)
        values = [next(left) if a is None else a[0] for a in self.skeleton]
        count = len(values) - len(self.names)
        out = self.function(*values[:count], **dict(zip(self.names, values[count:])))
        return cast(Tensor, out[0] if type(out) is tuple else out)


def frontier(
    pulled: Sequence[Value],
    given: Sequence[Value],
    outs: Sequence[Value],
    gs: Sequence[Value],
    mark: int,
) -> list[Value]:
    """What the derivative reads of a function: operands, results, and values to be kept, made up to
    `mark`; `gs` are the cotangents of the results. Views are made again, so that each value kept
    has memory of its own, and so is what costs no more than to read it: arithmetic on operands and
    on small values."""
    found: dict[Value, None] = {}
    stack = [d for d in pulled if d not in gs]
    seen = set(stack)
    ends = {*outs, *given}
    again: dict[Value, bool] = {}
    while stack:
        v = stack.pop()
        made_before = v.number <= mark and v.const is None and v not in gs
        kept = made_before and v.args and not shows(v) and not _made_again(v, given, again)
        if v in ends or kept:
            found[v] = None
            continue
        new = [a for a in v.args if a not in seen]
        seen.update(new)
        stack.extend(new)
    return sorted(found, key=lambda v: v.number)


class Whole(OpNode):
    """A function on the tape: its operands, then arrays that its derivative reads."""

    __slots__ = ("plan",)

    def __init__(self, plan: Plan, edges: Sequence[Edge | None], operands: list[Any]) -> None:
        super().__init__(cast(Op, plan), edges, operands, {})  # it has a name, too
        self.plan = plan

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if self.restore is not None:
            self.restore()
        if self.operands is None:
            raise already_freed(self.label)
        plan, operands = self.plan, self.operands
        g = cotangents[0]
        count = len(self.edges)
        if modes.grad or modes.trace is not None or g.array is None or watched():
            xs = [self._unpack(x) for x in operands[:count]]
            return pulled_again(lambda *leaves: [plan.as_written(leaves)], xs, self.edges, [g])
        read = [self._unpack(operands[k]).array for k in plan.reads]
        if plan.reads_output:
            read.append(self._unpack(self.output).array)
        return plan.pulled(g, [*read, *operands[count:]])

    def saves(self) -> bool:
        plan = self.plan
        kept = self.operands is not None and len(self.operands) > len(self.edges)
        return kept or bool(plan.reads) or plan.reads_output


def _made_again(v: Value, given: Sequence[Value], known: dict[Value, bool]) -> bool:
    """Whether it is an addition or product of operands, numbers, what is repeated, and such."""
    if v not in known:
        op = v.op
        assert op is not None
        plain = op.kind == "elementwise" and op.correct and op.cost == 1 and not op.aliases
        known[v] = plain and all(
            a.const is not None
            or a in given
            or a.op is None
            or a.op.name == "expand"
            or (bool(a.args) and not shows(a) and _made_again(a, given, known))
            for a in v.args
        )
    return known[v]
