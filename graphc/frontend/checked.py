"""What a function says of the values it takes: said at once in eager mode, in a step when it runs.

A compiled step cannot stop in the middle of the user's Python. It computes the condition beside
what reads the value, and one element that fails makes the call raise, before any state is written.
"""

from __future__ import annotations

from typing import Any, TypeVar

from graphc.errors import GraphcError
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
