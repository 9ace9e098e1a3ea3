"""Element types and tensor types; both print as they stand in every dump (`f32[3,4]`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from graphc.errors import DTypeMismatch
from graphc.ir.sizes import Evaluation, is_fixed, same_shape
from graphc.ir.spelling import spelled

Array = NDArray[Any]
Shape = tuple[int, ...]
Scalar = float | int | bool


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """An element type: short name in dumps, PyTorch's name in Python, and its NumPy twin."""

    name: str
    long_name: str
    numpy: np.dtype[Any]
    category: int  # 0 bool, 1 integer, 2 floating: the ladder of type promotion; 3: complex
    itemsize: int

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def legacy_name(self) -> str:
        """Of the days before dtypes: FloatTensor, LongTensor."""
        return LEGACY.get(self.name, self.long_name) + "Tensor"

    @property
    def is_signed(self) -> bool:
        return self.name != "bool" and not self.long_name.startswith(("u", "q"))

    @property
    def is_complex(self) -> bool:
        return self.category == 3

    @property
    def is_name_only(self) -> bool:
        """Whether it exists to be looked up and compared, and no tensor has it."""
        return self.name in NAME_ONLY

    @property
    def is_half(self) -> bool:
        """Sixteen-bit floats, which compute in float32 and round once."""
        return self.category == 2 and self.itemsize == 2

    def __repr__(self) -> str:
        return spelled(self.long_name)

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype_named, (self.name,)


# A dtype is one thing, as PyTorch's is: `dataclasses.asdict` of a configuration that holds one, and
# what libraries do with the fields of a batch, must not take it apart.
del DType.__dataclass_fields__


def _row(name: str, long_name: str, numpy: Any, category: int) -> DType:
    dtype = np.dtype(numpy)
    return DType(name, long_name, dtype, category, dtype.itemsize)


bool_ = _row("bool", "bool", np.bool_, 0)
u8 = _row("u8", "uint8", np.uint8, 1)
i8 = _row("i8", "int8", np.int8, 1)
i16 = _row("i16", "int16", np.int16, 1)
i32 = _row("i32", "int32", np.int32, 1)
i64 = _row("i64", "int64", np.int64, 1)
f16 = _row("f16", "float16", np.float16, 2)
bf16 = _row("bf16", "bfloat16", ml_dtypes.bfloat16, 2)
f32 = _row("f32", "float32", np.float32, 2)
f64 = _row("f64", "float64", np.float64, 2)

LEGACY = {
    **{"bool": "Bool", "u8": "Byte", "i8": "Char", "i16": "Short", "i32": "Int", "i64": "Long"},
    **{"f16": "Half", "bf16": "BFloat16", "f32": "Float", "f64": "Double"},
}
DTYPES = {d.name: d for d in (bool_, u8, i8, i16, i32, i64, f16, bf16, f32, f64)}

# Names that files and libraries look up. No tensor has these dtypes.
NAME_ONLY = {
    name: DType(name, name, np.dtype(f"V{size}"), category, size)
    for category, size, names in (
        (1, 1, "int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7"),
        (1, 1, "bits8 bits1x8 bits2x4 bits4x2 quint8 qint8 quint4x2 quint2x4"),
        (1, 2, "uint16 bits16"),
        (1, 4, "uint32 qint32"),
        (1, 8, "uint64"),
        (2, 1, "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"),
        (2, 1, "float4_e2m1fn_x2"),
        (3, 4, "complex32"),
        (3, 8, "complex64"),
        (3, 16, "complex128"),
    )
    for name in names.split()
}
FROM_NUMPY = {d.numpy: d for d in DTYPES.values()}


def dtype_named(name: str) -> DType:
    return DTYPES.get(name) or NAME_ONLY[name]


def refuse_name_only(dtype: DType) -> None:
    """Raise for a dtype that no tensor has."""
    if dtype.name in NAME_ONLY:
        raise DTypeMismatch(
            f"{dtype!r} exists as a name only: no tensor has this dtype",
            why="no kernel computes in it",
            fix=COMPLEX_FIX if dtype.is_complex else "use a dtype that graphc computes in",
        )


COMPLEX_FIX = "keep real and imaginary part in two real tensors"


@dataclass(frozen=True, eq=False, slots=True)
class TensorSpec:
    """Element type and shape; prints as `f32[3,4]`."""

    dtype: DType
    shape: Shape
    _fixed: bool | None = field(default=None, init=False, repr=False)  # once asked
    _numel: int | None = field(default=None, init=False, repr=False)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TensorSpec):
            return NotImplemented
        return self.dtype is other.dtype and same_shape(self.shape, other.shape)

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"

    def at(self, sizes: Evaluation) -> TensorSpec:
        """The type for given sizes of its extents; itself if it has none."""
        return self if self.is_fixed else TensorSpec(self.dtype, sizes(self.shape))

    @property
    def is_fixed(self) -> bool:
        """Whether no size of it is an extent."""
        if self._fixed is None:
            object.__setattr__(self, "_fixed", is_fixed(self.shape))
        return self._fixed is True

    @property
    def numel(self) -> int:
        if self._numel is None:
            n = 1
            for d in self.shape:
                n *= d
            object.__setattr__(self, "_numel", n)
        return cast(int, self._numel)

    @property
    def size_bytes(self) -> int:
        return self.numel * self.dtype.itemsize
