"""PyTorch's names of the dtypes, aliases included."""

from graphc.ir.types import NAME_ONLY
from graphc.ir.types import DType as dtype
from graphc.ir.types import bf16 as bfloat16
from graphc.ir.types import bool_ as bool
from graphc.ir.types import f16 as float16
from graphc.ir.types import f32 as float32
from graphc.ir.types import f64 as float64
from graphc.ir.types import i8 as int8
from graphc.ir.types import i16 as int16
from graphc.ir.types import i32 as int32
from graphc.ir.types import i64 as int64
from graphc.ir.types import u8 as uint8

__all__ = [
    *NAME_ONLY,
    "bfloat16",
    "bit",
    "bool",
    "cdouble",
    "cfloat",
    "chalf",
    "double",
    "dtype",
    "float",
    "float16",
    "float32",
    "float64",
    "half",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "long",
    "short",
    "uint8",
]

globals().update(NAME_ONLY)
bit = NAME_ONLY["uint1"]
chalf, cfloat, cdouble = (NAME_ONLY[f"complex{bits}"] for bits in (32, 64, 128))

half = float16
float = float32
double = float64
short = int16
int = int32
long = int64
