"""FloatTensor and its like: names from before dtypes, as constructors and for isinstance."""

from __future__ import annotations

from typing import Any

from graphc.frontend import tensor as tensors
from graphc.frontend.size import legacy_array
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
