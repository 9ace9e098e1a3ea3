"""FloatTensor and its like: names from before dtypes, as constructors and for isinstance."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend import tensor as tensors
from graphc.frontend.options import as_dtype
from graphc.frontend.registry import public
from graphc.frontend.size import legacy_array
from graphc.ir import sugar as P
from graphc.ir.types import DType, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
]


class LegacyType(type):
    """The class of FloatTensor: a call makes a tensor, and isinstance asks for the dtype."""

    dtype: DType

    def __call__(cls, *data: Any) -> tensors.Tensor:
        """FloatTensor(2, 3) of a size, FloatTensor([1, 2]) of data, which is copied."""
        return tensors.wrapped(legacy_array(data, cls.dtype))

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, tensors.Tensor) and x.dtype is cls.dtype


def _type(dtype: DType) -> Any:
    return LegacyType(dtype.legacy_name, (), {"dtype": dtype, "__doc__": f"Of {dtype!r}."})


FloatTensor = _type(f32)
DoubleTensor = _type(f64)
HalfTensor = _type(f16)
BFloat16Tensor = _type(bf16)
ByteTensor = _type(u8)
CharTensor = _type(i8)
ShortTensor = _type(i16)
IntTensor = _type(i32)
LongTensor = _type(i64)
BoolTensor = _type(bool_)

BY_NAME = {t.__name__: t for t in (
    FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, ByteTensor, CharTensor, ShortTensor,
    IntTensor, LongTensor, BoolTensor,
)}  # fmt: skip


@public(method="type")
def type_of(x: tensors.Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of x's class of old, "torch.FloatTensor"; or x as such a class, name or dtype."""
    if dtype is None:
        return f"torch.{x.dtype.legacy_name}"
    if isinstance(dtype, str):
        found = BY_NAME.get(dtype.removeprefix("torch.").removeprefix("graphc."))
        if found is None:
            raise InvalidArgument(f"invalid type: {dtype!r}", fix="pass a dtype, graphc.float32")
        dtype = found
    kind = dtype.dtype if isinstance(dtype, LegacyType) else as_dtype(dtype)
    return P.cast(x, kind or x.dtype)


@public(method=True)
def new(x: tensors.Tensor, *data: Any, device: Any = None) -> tensors.Tensor:
    """x.new(2, 3) of a size or x.new([1, 2]) of data, of x's dtype."""
    where = x.device if device is None else device
    return tensors.wrapped(legacy_array(data, x.dtype)).to(where)
