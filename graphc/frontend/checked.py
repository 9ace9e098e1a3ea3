"""What a function says of the values it takes: said at once in eager mode, in a step when it runs.

A compiled step cannot stop in the middle of the user's Python. It computes the condition beside
what reads the value, and one element that fails makes the call raise, before any state is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from graphc.errors import GraphcError
from graphc.frontend.hostvalue import is_undecided
from graphc.frontend.operands import broadcast_to
from graphc.ir import sugar as P
from graphc.ir.ops import OPS

S = TypeVar("S", bound=P.Sugar)  # a Tensor


def checked(x: S, condition: Any, what: str, error: type[GraphcError], *, fix: str = "") -> S:
    """x, which is to be read in place of what was given: `error`, one of `errors.CHECKED`, unless
    the condition, one bool for each element or for several, holds for all."""
    condition = broadcast_to(condition, x.spec.shape)
    attrs = {"what": what, "error": error.__name__} | ({"fix": fix} if fix else {})
    return x.emit(OPS["check"], x, condition, **attrs)


def required(
    x: Any, holds: Callable[[Any], Any], what: str, error: type[GraphcError], *, fix: str = ""
) -> Any:
    """x, a number or a tensor, to be read in place of what was given: `error` unless `holds` of it
    is true, which is asked now of a number that is known now, and of a tensor by each call."""
    if isinstance(x, P.Sugar):
        return checked(x, holds(x), what, error, fix=fix)
    if is_undecided(x):
        return x.checked(holds, what, error, fix)
    if not holds(x):
        raise error(what, fix=fix)
    return x


def ordered(low: Any, high: Any, what: str, error: type[GraphcError]) -> tuple[Any, Any]:
    """Two numbers, to be read in place of what was given: `error` where the first is the larger."""
    if is_undecided(low):
        return low.checked(lambda x: (x > high).logical_not(), what, error), high
    if is_undecided(high):
        return low, high.checked(lambda x: (x < low).logical_not(), what, error)
    if low > high:
        raise error(what)
    return low, high
