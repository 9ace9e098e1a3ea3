"""torch._foreach_*: a function applied to each tensor of a list; the compiler fuses them anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import RefusedArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.api import special, ternary
from graphc.frontend.operands import is_tensor

Tensors = Sequence[Any]

NAMES = """
    abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg
    reciprocal round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc
"""
UNARY = {name: getattr(special if hasattr(special, name) else E, name) for name in NAMES.split()}
BINARY = {
    "add": E.add,
    "sub": E.sub,
    "mul": E.mul,
    "div": E.div,
    "pow": E.pow,
    "maximum": E.maximum,
    "minimum": E.minimum,
    "clamp_max": lambda x, y: ternary.clamp(x, max=y),
    "clamp_min": lambda x, y: ternary.clamp(x, min=y),
}
TERNARY = {"addcmul": ternary.addcmul, "addcdiv": ternary.addcdiv}


def _column(value: Any, count: int) -> list[Any]:
    """One operand for each tensor: a list as it is, a number or 0-d tensor for all."""
    if is_tensor(value) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise RefusedArgument(f"_foreach: lists of {count} and {len(value)} tensors")
    return list(value)


def _unary(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: Tensors) -> tuple[Any, ...]:
        return tuple(function(x) for x in self)

    return apply


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: Tensors, other: Any, **options: Any) -> tuple[Any, ...]:
        return tuple(function(x, y, **options) for x, y in zip(self, _column(other, len(self))))

    return apply


def _ternary(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: Tensors, tensor1: Tensors, tensor2: Tensors, value: Any = 1) -> tuple[Any, ...]:
        values = _column(value, len(self))
        rows = zip(self, tensor1, tensor2, values, strict=True)
        return tuple(function(x, y, z, value=v) for x, y, z, v in rows)

    return apply


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: Tensors, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        for x, y in zip(self, function(self, *args, **kwargs)):
            x.copy_(y)
        return tuple(self)

    return apply


def _lerp(self: Tensors, tensors1: Tensors, weight: Any) -> tuple[Any, ...]:
    rows = zip(self, tensors1, _column(weight, len(self)), strict=True)
    return tuple(ternary.lerp(x, y, w) for x, y, w in rows)


def _zero_(self: Tensors) -> None:
    for x in self:
        x.zero_()


def _copy_(self: Tensors, src: Tensors, non_blocking: bool = False) -> tuple[Any, ...]:
    for x, y in zip(self, src, strict=True):
        x.copy_(y)
    return tuple(self)


def _norm(self: Tensors, ord: float = 2, dtype: Any = None) -> tuple[Any, ...]:
    return tuple(R.norm(x if dtype is None else x.to(dtype), ord) for x in self)


def functions() -> dict[str, Callable[..., Any]]:
    """All of them by name, those in place too."""
    found = {name: _unary(f) for name, f in UNARY.items()}
    found |= {name: _binary(f) for name, f in BINARY.items()}
    found |= {name: _ternary(f) for name, f in TERNARY.items()}
    found["lerp"] = _lerp
    found |= {f"{name}_": _in_place(f) for name, f in found.items()}
    found |= {"zero_": _zero_, "copy_": _copy_, "norm": _norm}
    return {f"_foreach_{name}": f for name, f in found.items()}


globals().update(functions())
__all__ = list(functions())
