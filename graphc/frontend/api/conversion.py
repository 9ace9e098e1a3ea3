"""Conversions between dtypes, new tensors like another, and comparisons of whole tensors."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.errors import InvalidType
from graphc.frontend import devices
from graphc.frontend.api import creation, formats, logic
from graphc.frontend.device_ops import moved, pinned
from graphc.frontend.devices import CPU, resolve
from graphc.frontend.dims import sizes
from graphc.frontend.factory import factory
from graphc.frontend.operands import is_tensor
from graphc.frontend.options import as_dtype
from graphc.frontend.promotion import held
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import (
    DType,
    TensorSpec,
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

__all__ = [
    "allclose",
    "equal",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_signed",
]

Cast = Callable[..., "Tensor"]


@public(method=True)
def to(
    x: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    non_blocking: builtins.bool = False,
    copy: builtins.bool = False,
    memory_format: Any = None,
) -> Tensor:
    """x in another dtype or on another device; x itself when nothing changes.

    to(dtype), to(device), to(device, dtype) or to(other), each then with non_blocking and copy.
    It lies as x does, unless a memory format is given. With non_blocking, a copy of pinned memory
    to a GPU goes on after the call: what is computed there waits for it.
    """
    flags = [a for a in args if isinstance(a, builtins.bool)]
    for a in args:
        if is_tensor(a):
            dtype, device = a.dtype, a.device
        elif isinstance(a, str | devices.device) or type(a) is builtins.int:
            device = a
        elif isinstance(a, DType | builtins.type):
            dtype = a
        elif a is not None and not isinstance(a, builtins.bool):
            raise InvalidType(f"to(): a dtype, a device or a tensor is expected, got {a!r:.100}")
    kind, copies = as_dtype(dtype), copy or flags[1:] == [True]
    if device is not None and (where := resolve(device)) is not x.device:
        x, copies = moved(x, where, not (non_blocking or flags[:1] == [True])), False
    if (kind is None or kind is x.dtype) and not formats.in_format(x, memory_format):
        return x.clone(memory_format=memory_format)
    out = _cast(x, kind or x.dtype, memory_format)
    return x.clone(memory_format=memory_format) if out is x and copies else out


def _cast(x: Tensor, dtype: DType, memory_format: Any = None) -> Tensor:
    """x in another dtype, which lies as x unless a format is given; x itself if it is of it."""
    return x if x.dtype is dtype else formats.like(P.cast(x, dtype), x, memory_format)


@public(method=True)
def type_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the dtype and on the device of `other`; x itself if it is so already."""
    return to(x, other)


def _cast_to(name: str, dtype: DType) -> Cast:
    @public(method=True)
    def function(x: Tensor, memory_format: Any = None) -> Tensor:
        return to(x, dtype=dtype, memory_format=memory_format)

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


@public(method=True)
def cpu(x: Tensor, memory_format: Any = None) -> Tensor:
    """x in memory of the host; x itself if it is there."""
    return to(x, device=CPU, memory_format=memory_format)


@public(method=True)
def cuda(
    x: Tensor,
    device: Any = None,
    non_blocking: builtins.bool = False,
    memory_format: Any = None,
) -> Tensor:
    """x on a GPU; raises where there is none."""
    where = "cuda" if device is None else device
    return to(x, device=where, non_blocking=non_blocking, memory_format=memory_format)


@public(method=True)
def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """A copy of x in memory that a GPU reads by itself; x itself if it is, or there is no GPU."""
    return pinned(x)


@public(method=True)
@factory
def new_full(x: Tensor, size: Any, fill_value: Any, *, dtype: DType | None = None) -> Tensor:
    """A tensor like x in dtype, of the given size, filled with one number."""
    kind = dtype or x.dtype
    return x.full(held(fill_value, kind), TensorSpec(kind, sizes((size,))))


@public(method=True)
def new_zeros(x: Tensor, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
    """Zeros of a size, of x's dtype and on its device unless options say otherwise."""
    return new_full(x, sizes(sizes_, size), 0, **options)


@public(method=True)
def new_ones(x: Tensor, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
    """Ones of a size, of x's dtype and on its device unless options say otherwise."""
    return new_full(x, sizes(sizes_, size), 1, **options)


@public(method=True)
def new_empty(x: Tensor, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
    """A tensor of a size, of x's dtype and on its device; its elements are zero here."""
    return new_full(x, sizes(sizes_, size), 0, **options)


@public(method=True)
def new_tensor(x: Tensor, data: Any, *, dtype: Any = None, **options: Any) -> Tensor:
    """A copy of `data`, of x's dtype and on its device unless options say otherwise."""
    options.setdefault("device", x.device)
    return creation.tensor(data, dtype=dtype or x.dtype, **options)


@public(method=True)
def equal(input: Tensor, other: Tensor) -> builtins.bool:
    """Whether shapes agree and all elements are equal (NaN equals nothing)."""
    return input.spec.shape == other.spec.shape and builtins.bool(
        logic.eq(input, other).all().item()
    )


@public(method=True)
def allclose(
    input: Tensor,
    other: Tensor,
    rtol: builtins.float = 1e-5,
    atol: builtins.float = 1e-8,
    equal_nan: builtins.bool = False,
) -> builtins.bool:
    """Whether all |x - y| <= atol + rtol |y|, as a bool; NaN equals NaN if `equal_nan`.

    Operands of one dtype; they broadcast. Inside a step DataDependentBranch, as for any read.

    Any shapes that broadcast.
    """
    return builtins.bool(logic.isclose(input, other, rtol, atol, equal_nan).all().item())


def is_floating_point(input: Tensor) -> builtins.bool:
    """Whether the dtype is a floating one. Of any shape."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> builtins.bool:
    """False: there are no complex dtypes. Of any shape."""
    return input.is_complex()


def is_signed(input: Tensor) -> builtins.bool:
    """Whether the dtype has negative numbers. Of any shape."""
    return input.is_signed()


def is_nonzero(input: Tensor) -> builtins.bool:
    """The truth of a tensor of one element; ShapeMismatch for any other."""
    return input.is_nonzero()
