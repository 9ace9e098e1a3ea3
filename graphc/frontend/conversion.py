"""Conversions between dtypes, new tensors like another, and comparisons of whole tensors."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.frontend import creation, logic
from graphc.frontend.modes import check_device, device
from graphc.frontend.operands import is_tensor
from graphc.frontend.promotion import wrap
from graphc.frontend.shapes import sizes
from graphc.ir import sugar as P
from graphc.ir.types import (
    DType,
    TensorType,
    bf16,
    bool_,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
)

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["allclose", "equal"]

Cast = Callable[["Tensor"], "Tensor"]


def to(
    x: Tensor, *args: Any, dtype: DType | None = None, copy: builtins.bool = False, **options: Any
) -> Tensor:
    """x in another dtype (a device must be the CPU); x itself when nothing changes."""
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif is_tensor(a):
            dtype = a.dtype
        elif isinstance(a, str | device):
            check_device(a)
    check_device(options.get("device"))
    out = x if dtype is None else P.cast(x, dtype)
    return out.clone() if copy and out is x else out


def type_as(x: Tensor, other: Tensor) -> Tensor:
    return P.cast(x, other.dtype)


def _cast_to(name: str, dtype: DType) -> Cast:
    def function(x: Tensor) -> Tensor:
        return P.cast(x, dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"x as {dtype.long_name}; x itself if it already is."
    return function


float: Cast = _cast_to("float", f32)
double: Cast = _cast_to("double", f64)
half: Cast = _cast_to("half", f16)
bfloat16: Cast = _cast_to("bfloat16", bf16)
long: Cast = _cast_to("long", i64)
int: Cast = _cast_to("int", i32)
short: Cast = _cast_to("short", i16)
char: Cast = _cast_to("char", i8)
byte: Cast = _cast_to("byte", u8)
bool: Cast = _cast_to("bool", bool_)


def cpu(x: Tensor) -> Tensor:
    return x


def new_full(
    x: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    requires_grad: builtins.bool = False,
    **options: Any,
) -> Tensor:
    check_device(options.get("device"))
    kind = dtype or x.dtype
    out = x.full(wrap(fill_value, kind), TensorType(kind, sizes((size,))))
    return out.requires_grad_(requires_grad)


def new_zeros(x: Tensor, *size: Any, **options: Any) -> Tensor:
    return new_full(x, sizes(size), 0, **options)


def new_ones(x: Tensor, *size: Any, **options: Any) -> Tensor:
    return new_full(x, sizes(size), 1, **options)


def new_empty(x: Tensor, *size: Any, **options: Any) -> Tensor:
    return new_full(x, sizes(size), 0, **options)


def new_tensor(x: Tensor, data: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return creation.tensor(data, dtype=dtype or x.dtype, **options)


def equal(x: Tensor, y: Tensor) -> builtins.bool:
    """Whether shapes agree and all elements are equal (NaN equals nothing)."""
    return x.type.shape == y.type.shape and builtins.bool(logic.eq(x, y).all().item())


def allclose(
    x: Tensor,
    y: Tensor,
    rtol: builtins.float = 1e-5,
    atol: builtins.float = 1e-8,
    equal_nan: builtins.bool = False,
) -> builtins.bool:
    return builtins.bool(logic.isclose(x, y, rtol, atol, equal_nan).all().item())
