"""What Python computes of numbers, as operations on 0-d tensors that give the same: of float64,
int64 and bool, as those of Python are.

A float is computed with its own rounding; that of exp and the like is float64's to its last bits.
What Python would raise for (a NaN made an integer) is a check of the program.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

from graphc.errors import InvalidArgument
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import f64, i64

COMPARED = {operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne}
LOGICAL = {operator.and_, operator.or_}
ARITHMETIC = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.floordiv,
    operator.mod,
}  # fmt: skip
SIZE = {abs, operator.abs, math.fabs}
OF_FLOATS: dict[Any, str] = {operator.pow: "pow"} | {
    getattr(math, name): name
    for name in ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "pow")
}
WHOLE: dict[Any, str] = {int: "trunc", math.trunc: "trunc", math.floor: "floor",
                         math.ceil: "ceil", round: "round"}  # fmt: skip
TESTS = {math.isnan: "isnan", math.isfinite: "isfinite", math.isinf: "isinf"}  # a tensor's methods
EXTREMES: dict[Any, Callable[[Any, Any], Any]] = {max: operator.gt, min: operator.lt}


def computed(action: Any, kind: type | None, operands: Sequence[Any]) -> Any:
    """`action` of tensors and Python's numbers, which gives such a kind; None if it has no form."""
    floats = [_is_float(x) for x in operands]
    if action is float:
        return P.cast(operands[0], f64)
    if action in WHOLE and len(operands) == 1:
        return _whole(WHOLE[action], operands[0])
    if action in EXTREMES:
        alike = all(floats) or not any(floats)
        return reduce(partial(_better, EXTREMES[action]), operands) if alike else None
    if action in SIZE:
        return P.apply("abs", operands[0])
    if action in TESTS:
        return getattr(operands[0], TESTS[action])()
    mixed = kind is float or (kind is bool and any(floats))
    if mixed:
        operands = [P.cast(x, f64) if isinstance(x, P.Sugar) else float(x) for x in operands]
    elif action in ARITHMETIC:  # of which Python's bools are integers
        operands = [P.cast(x, i64) if isinstance(x, P.Sugar) else int(x) for x in operands]
    if action in OF_FLOATS and kind is float:
        return P.apply(OF_FLOATS[action], *operands)
    return action(*operands) if action in ARITHMETIC | COMPARED | LOGICAL else None


def _better(beats: Callable[[Any, Any], Any], best: Any, x: Any) -> Any:
    """As Python chooses: the first of equal ones, and a NaN only where it came first."""
    better = beats(x, best)
    if isinstance(better, P.Sugar):
        return P.where(better, x, best)
    return x if better else best


def _whole(name: str, x: Any) -> Any:
    if not _is_float(x):
        return P.cast(x, i64)
    what = "cannot convert float NaN, infinity or what 64 bits do not hold to integer"
    attrs = {"what": what, "error": InvalidArgument.__name__}
    x = x.emit(OPS["check"], x, P.apply("abs", x) < 2.0**63, **attrs)
    return P.cast(P.apply(name, x), i64)


def _is_float(x: Any) -> bool:
    return (x.spec.dtype is f64) if isinstance(x, P.Sugar) else isinstance(x, float)
