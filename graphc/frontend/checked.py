"""What a function says of the values it takes: said at once in eager mode, in a step when it runs.

A compiled step cannot stop in the middle of the user's Python. It computes the condition beside
what reads the value, and one element that fails makes the call raise, before any state is written.
"""

from __future__ import annotations

from typing import Any

from graphc.errors import GraphcError
from graphc.frontend.operands import broadcast_to
from graphc.ir import sugar as P

Tensor = Any  # `tensor.py` binds functions that use this, so its class does not exist yet here


def checked(
    x: Tensor, condition: Tensor, what: str, error: type[GraphcError], *, fix: str = ""
) -> Tensor:
    """x, which is to be read in place of what was given: `error`, one of `errors.CHECKED`, unless
    the condition, one bool for each element or for several, holds for all."""
    condition = broadcast_to(condition, x.spec.shape)
    return P.apply("check", x, condition, what=what, error=error.__name__, fix=fix)
