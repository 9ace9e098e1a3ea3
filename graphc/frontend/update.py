"""Update rules of optimizers in eager mode: each a list of NumPy calls, made once for its types.

As `whole.py`, without derivatives: a rule is a pure function of tensors, numbers, None and tuples
of these, and gives such tuples. Numbers are operands, so that a schedule makes no new list. Inside
a step's trace a rule is repeated by `repeated.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from graphc.frontend.eager.lines import Lines, shows
from graphc.frontend.modes import modes
from graphc.frontend.repeated import leaves, mapped, repeated
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.trace import Trace
from graphc.frontend.whole import watched
from graphc.ir.graph import NOWHERE, Value
from graphc.ir.types import DType, TensorSpec, f64

F = TypeVar("F", bound=Callable[..., Any])


class Plan(NamedTuple):
    """The calls, and where in the rule's result which of their results stand."""

    lines: Lines
    dtype: np.dtype[Any]  # of numbers
    shape: Any  # the result, with the number of an array in place of each tensor
    specs: list[TensorSpec]


_plans: dict[Hashable, Plan | None] = {}


def update(rule: F, wide: bool = False, single: bool = False) -> F:
    """Mark a rule in which numbers meet tensors only; `wide`: or each other, as doubles; `single`:
    one that computes each element of the operands' at that place, whatever their shape."""

    @wraps(rule)
    def inside(*args: Any) -> Any:
        if modes.grad or watched():
            return rule(*args)
        if modes.trace is not None:
            return repeated(modes.trace, rule, args, single)
        parts: list[Any] = []
        for a in args:
            parts.extend(a) if isinstance(a, tuple) else parts.append(a)
        key: list[Any] = [rule]
        for x in parts:
            if isinstance(x, Tensor):
                if x.array is None or x.storage.strides or not x.array.flags.c_contiguous:
                    return rule(*args)
                key.append((x._spec.dtype, x._spec.shape))
            else:
                key.append(float if type(x) is int else x if type(x) is bool else type(x))
        known = tuple(key)
        if known not in _plans:
            _plans[known] = _made(rule, args, f64 if wide else None)
        plan = _plans[known]
        if plan is None:
            return rule(*args)
        operands: list[Any] = [
            x.array if isinstance(x, Tensor) else np.array(x, plan.dtype)
            for x in parts
            if isinstance(x, Tensor) or _is_number(x)
        ]
        made = plan.lines(operands)
        tensors = [*map(fresh, made, plan.specs)]
        return mapped(plan.shape, lambda k: k if k is None else tensors[k])

    return cast(F, inside)


def as_calls(function: F) -> F:
    """Mark a function like a rule, which a trace is to see as it is written."""
    listed = update(function)

    @wraps(function)
    def inside(*args: Any) -> Any:
        return function(*args) if modes.trace is not None else listed(*args)

    return cast(F, inside)


def _made(rule: Callable[..., Any], args: tuple[Any, ...], of_numbers: DType | None) -> Plan | None:
    known = (x._spec.dtype for x in leaves(args) if isinstance(x, Tensor))
    dtype: DType = of_numbers or next(known)
    trace = Trace()
    trace.builder.here = NOWHERE
    given: list[Value] = []

    def stand_in(x: Any) -> Any:
        if isinstance(x, Tensor):
            given.append(trace.builder.input("x", x.spec))
        elif _is_number(x):
            given.append(trace.builder.input("r", TensorSpec(dtype, ())))
        else:
            return x
        return trace.wrap(given[-1])

    with trace.activate():
        out = rule(*mapped(args, stand_in))
        wanted = [trace.value(x) for x in leaves(out) if x is not None]
    halves = any(v.spec.dtype.is_half for v in given)
    if halves or trace.inputs or any(v in given or shows(v) or v.const is not None for v in wanted):
        return None
    numbers = iter(range(len(wanted)))
    shape = mapped(out, lambda x: None if x is None else next(numbers))
    return Plan(Lines(given, wanted), np.dtype(dtype.numpy), shape, [v.spec for v in wanted])


def _is_number(x: Any) -> bool:
    return type(x) in (int, float)
