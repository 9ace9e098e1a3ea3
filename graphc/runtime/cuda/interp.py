"""Triton's interpreter as a device: the text of a Source becomes a function over host memory.

Importing this module imports Triton with TRITON_INTERPRET=1, for good: what compiles (other
processes) must not import it. What the interpreter gets wrong is put right here:

  - bf16 is stored as u16 and its conversions truncate: they round to nearest even, `dot` widens,
    and arithmetic on raw bf16, which adds bit patterns, raises; TF32 operands of `dot` are rounded;
  - libdevice does not exist: its functions are NumPy's, in float64, rounded once;
  - an address is believed: every active lane of an access is checked by a `Guard`.

Programs run one after the other in order of their ids, or in the reverse of it: a kernel whose
programs race gives another result then. Tested on Triton 3.6 and 3.9.
"""

from __future__ import annotations

import hashlib
import linecache
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.abc import ExecutionLoader
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np

from graphc.errors import BackendError, InternalError
from graphc.ir.cuda_abi import Param, Source
from graphc.ir.meaning import special
from graphc.ir.types import Array
from graphc.runtime.cuda.guard import Guard


@contextmanager
def interpreting() -> Iterator[None]:
    """Triton reads its mode from the environment, at import and at every `@triton.jit`."""
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]
        else:
            os.environ["TRITON_INTERPRET"] = before


with interpreting():
    import triton
    import triton.language as tl
    from triton._C.libtriton import ir
    from triton.language.extra.cuda import libdevice
    from triton.runtime import interpreter
    from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder, TensorHandle

if not isinstance(tl.cdiv, InterpretedFunction):
    raise InternalError("Triton was imported to compile before it was to interpret")

ELEMENTS = {
    **{"bool": tl.int1, "u8": tl.uint8, "i8": tl.int8, "i16": tl.int16, "i32": tl.int32},
    **{"i64": tl.int64, "f16": tl.float16, "bf16": tl.bfloat16, "f32": tl.float32},
    "f64": tl.float64,
}
SCALARS = {"i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64}


# ---- the builder, put right ----------------------------------------------------------------------


def bf16_to_f32(bits: Array) -> Array:
    wide = np.asarray(bits, np.uint16).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)


def f32_to_bf16(x: Array) -> Array:
    """Bits of the nearest bfloat16, ties to even; a NaN stays one, and keeps its sign."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(np.shape(x))
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    with np.errstate(over="ignore"):  # only NaNs carry out of 32 bits, and they are replaced
        rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    nan = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(x), nan, rounded).astype(np.uint16)


def round_to_tf32(x: Array) -> Array:
    """Ten bits of mantissa, nearest even: what the tensor cores read of a float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(np.shape(x))
    odd = (bits >> np.uint32(13)) & np.uint32(1)
    with np.errstate(over="ignore"):
        rounded = (bits + np.uint32(0xFFF) + odd) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), rounded, bits).astype(np.uint32).view(np.float32)


def is_bf16(handle: Any) -> bool:
    return bool(handle.get_element_ty() == tl.bfloat16) and not handle.dtype.scalar.is_ptr()


def itemsize(element: Any) -> int:
    return max(1, int(element.primitive_bitwidth) // 8)


class Checked(InterpreterBuilder):  # type: ignore[misc]  # Triton has no annotations
    """The interpreter's builder with right bf16, libdevice and guarded memory."""

    guard: Guard
    reverse: bool = False

    def set_grid_idx(self, x: int, y: int, z: int) -> None:
        if self.reverse:
            nx, ny, nz = self.grid_dim
            x, y, z = nx - 1 - x, ny - 1 - y, nz - 1 - z
        super().set_grid_idx(x, y, z)

    # -- conversions

    def cast_impl(self, src: Any, dst_type: Any) -> Any:
        source, target = src.dtype.scalar, dst_type.scalar
        if source == target or tl.bfloat16 not in (source, target):
            return super().cast_impl(src, dst_type)
        data = bf16_to_f32(src.data) if source == tl.bfloat16 else src.data
        if target == tl.bfloat16:
            return TensorHandle(f32_to_bf16(data.astype(np.float32)), target)
        return TensorHandle(data.astype(interpreter._get_np_dtype(dst_type)), target)

    def create_fp_to_fp(self, src: Any, dst_type: Any, rounding_mode: Any) -> Any:
        widths = {src.dtype.scalar.primitive_bitwidth, dst_type.scalar.primitive_bitwidth}
        if 8 in widths:
            return super().create_fp_to_fp(src, dst_type, rounding_mode)
        return self.cast_impl(src, dst_type)

    # -- arithmetic: none on raw bf16

    def binary_op(self, lhs: Any, rhs: Any, op: Any) -> Any:
        refuse_bf16(op.__name__, lhs, rhs)
        result = super().binary_op(lhs, rhs, op)
        if result.data.dtype == np.bool_:  # else a scalar one becomes an integer where it is spread
            result = TensorHandle(result.data, tl.int1)
        return result

    def unary_op(self, arg: Any, op: Any) -> Any:
        refuse_bf16(op.__name__, arg)
        return super().unary_op(arg, op)

    def create_fma(self, x: Any, y: Any, z: Any) -> Any:
        refuse_bf16("fma", x, y, z)
        return super().create_fma(x, y, z)

    def create_rsqrt(self, arg: Any) -> Any:
        refuse_bf16("rsqrt", arg)
        return super().create_rsqrt(arg)

    def create_erf(self, arg: Any) -> Any:
        refuse_bf16("erf", arg)
        return super().create_erf(arg)

    def create_clampf(self, arg: Any, lo: Any, hi: Any, propagate_nans: Any) -> Any:
        refuse_bf16("clamp", arg, lo, hi)
        return super().create_clampf(arg, lo, hi, propagate_nans)

    def create_dot(self, a: Any, b: Any, d: Any, precision: Any, max_imprecise: Any) -> Any:
        refuse_bf16("the accumulator of dot", d)
        a, b = widened(a, precision), widened(b, precision)
        return super().create_dot(a, b, d, precision, max_imprecise)

    def create_extern_elementwise(
        self, library: str, path: str, symbol: str, arguments: list[Any], result: Any, pure: bool
    ) -> Any:
        element = result.scalar
        data = from_libdevice(symbol)(*(a.data for a in arguments))
        return TensorHandle(np.asarray(data).astype(interpreter._get_np_dtype(element)), element)

    # -- memory

    def create_masked_load(self, ptrs: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
        self.guard.check(ptrs.data, mask.data, itemsize(ptrs.get_element_ty()), False)
        return super().create_masked_load(ptrs, mask, other, *rest, **named)

    def create_masked_store(self, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        size = itemsize(ptrs.get_element_ty())
        if value.data.itemsize != size:
            raise InternalError(f"a store of {value.data.itemsize} bytes to elements of {size}")
        self.guard.check(ptrs.data, mask.data, size, True)
        return super().create_masked_store(ptrs, value, mask, *rest)

    def create_atomic_cas(self, ptr: Any, cmp: Any, val: Any, sem: Any, scope: Any) -> Any:
        mask = np.ones(np.shape(ptr.data), bool)
        self.guard.check(ptr.data, mask, itemsize(ptr.get_element_ty()), True)
        return super().create_atomic_cas(ptr, cmp, val, sem, scope)

    def create_atomic_rmw(
        self, op: Any, ptr: Any, val: Any, mask: Any, sem: Any, scope: Any
    ) -> Any:
        refuse_bf16("an atomic", val)
        self.guard.check(ptr.data, mask.data, itemsize(ptr.get_element_ty()), True)
        return super().create_atomic_rmw(op, ptr, val, mask, sem, scope)


def refuse_bf16(what: str, *handles: Any) -> None:
    if any(map(is_bf16, handles)):
        raise BackendError(
            f"{what} on raw bf16 in a kernel",
            why="kernels compute in float32 and round once, at the store",
            fix="cast with .to(tl.float32) before",
        )


def widened(handle: Any, precision: Any) -> Any:
    """An operand of dot as the tensor cores read it."""
    if is_bf16(handle):
        return TensorHandle(bf16_to_f32(handle.data), tl.float32)
    if handle.dtype.scalar == tl.float32 and precision == ir.INPUT_PRECISION.TF32:
        return TensorHandle(round_to_tf32(handle.data), tl.float32)
    return handle


# ---- libdevice by NumPy --------------------------------------------------------------------------


def wide(function: Callable[..., Any]) -> Callable[..., Array]:
    """The function in float64; the caller rounds."""
    return lambda *arguments: function(*(np.asarray(a).astype(np.float64) for a in arguments))


def each(function: Callable[..., float]) -> Callable[..., Array]:
    """A function of Python floats over arrays; where it has no value, NaN or infinity."""

    def total(*x: float) -> float:
        try:
            return function(*x)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return wide(np.vectorize(total, otypes=[np.float64]))


def tgamma(x: float) -> float:
    return math.copysign(math.inf, x) if x == 0 else math.gamma(x)


def c_round(x: Array) -> Array:
    """Half away from zero."""
    return np.where(np.isfinite(x), np.copysign(np.floor(np.abs(x) + 0.5), x), x)


SAME_NAME = (
    "sin cos tan sinh cosh tanh exp exp2 expm1 log log2 log10 log1p sqrt cbrt floor ceil trunc "
    "rint hypot nextafter copysign isnan signbit ldexp"
)
LIBDEVICE: dict[str, Callable[..., Any]] = {
    **{name: wide(getattr(np, name)) for name in SAME_NAME.split()},
    **{"asin": wide(np.arcsin), "acos": wide(np.arccos), "atan": wide(np.arctan)},
    **{"asinh": wide(np.arcsinh), "acosh": wide(np.arccosh), "atanh": wide(np.arctanh)},
    **{"atan2": wide(np.arctan2), "pow": wide(np.power), "fmod": wide(np.fmod)},
    **{"erf": each(math.erf), "erfc": each(math.erfc), "tgamma": each(tgamma)},
    **{"lgamma": wide(special.lgamma), "erfinv": wide(special.erfinv)},
    **{"isinf": wide(np.isinf), "finite": wide(np.isfinite), "isfinite": wide(np.isfinite)},
    **{"rsqrt": wide(lambda x: 1 / np.sqrt(x)), "fabs": np.abs, "abs": np.abs},
    **{"exp10": wide(lambda x: np.power(10.0, x)), "nearbyint": wide(np.rint)},
    **{"round": wide(c_round), "fma": wide(lambda x, y, z: x * y + z), "llabs": np.abs},
    **{"remainder": each(math.remainder), "ldexp": lambda x, n: np.ldexp(x, n)},
    **{"div_rn": np.divide, "fdiv_rn": np.divide, "mul_rn": np.multiply, "fmul_rn": np.multiply},
    **{"add_rn": np.add, "fadd_rn": np.add, "sub_rn": np.subtract, "fsub_rn": np.subtract},
    **{"dadd_rn": np.add, "dmul_rn": np.multiply, "ddiv_rn": np.divide, "dsub_rn": np.subtract},
    **{"sqrt_rn": np.sqrt, "fsqrt_rn": np.sqrt, "dsqrt_rn": np.sqrt},
    **{"mulhi": lambda x, y: (x.astype(np.int64) * y) >> 32},
    **{"umulhi": lambda x, y: (x.astype(np.uint64) * y) >> np.uint64(32)},
    **{"float_as_int": lambda x: x.view(np.int32), "int_as_float": lambda x: x.view(np.float32)},
    **{"float_as_uint": lambda x: x.view(np.uint32), "uint_as_float": lambda x: x.view(np.float32)},
}


def from_libdevice(symbol: str) -> Callable[..., Any]:
    """The row of `__nv_erff` or `__nv_erf`: one for both widths."""
    name = symbol.removeprefix("__nv_").removeprefix("fast_")
    names = name, name.removesuffix("f"), name.removesuffix("d")
    row = next((LIBDEVICE[n] for n in names if n in LIBDEVICE), None)
    if row is None:
        raise BackendError(
            f"libdevice's {symbol} has no meaning in the interpreter",
            fix="add its NumPy row to LIBDEVICE in graphc/runtime/cuda/interp.py",
        )
    return row


# ---- Triton's language, patched once for the whole process ---------------------------------------


def call_device_function(self: Any, *arguments: Any, **named: Any) -> Any:
    """Of one `@triton.jit` function by another; unlike Triton's, it patches once, not each time."""
    return rewritten(self)(*arguments, **named)


@cache
def rewritten(function: Any) -> Callable[..., Any]:
    interpreter._patch_lang(function.fn)
    tl.tensor.__index__ = number  # 3.6 asks NumPy (from 2.4 on in vain) for that of an array
    return function.rewrite()  # type: ignore[no-any-return]


def number(self: Any) -> int:
    """A scalar, of which the interpreter has an array of one, as Python's."""
    return int(self.handle.data.item())


slow_numpy_dtype = interpreter._get_np_dtype  # it makes its table anew at each call
POINTER = np.dtype(np.uint64)
BY_NAME: dict[str, Any] = {}


def numpy_dtype(dtype: Any) -> Any:
    """Of a block's or a scalar's type; asked several times for each operation."""
    element = dtype.scalar
    if isinstance(element, tl.pointer_type):
        return POINTER
    found = BY_NAME.get(element.name)
    if found is None:
        found = BY_NAME[element.name] = slow_numpy_dtype(element)
    return found


def refuse_bf16_reduction(self: Any, tensors: Any) -> Any:
    for t in tensors if isinstance(tensors, tuple) else (tensors,):
        refuse_bf16("a reduction", t.handle)
    return plain_reduction(self, tensors)


plain_reduction = interpreter.ReduceScanOpInterface.apply
interpreter.ReduceScanOpInterface.apply = refuse_bf16_reduction
InterpretedFunction.__call__ = call_device_function
interpreter._get_np_dtype = numpy_dtype
BUILDER: Any = interpreter.interpreter_builder
BUILDER.__class__ = Checked
# by default every integer op is done twice, to find an overflow that nothing then reports
BUILDER.options = replace(BUILDER.options, sanitize_overflow=False)
interpreter._patch_builtin(libdevice, BUILDER, interpreter._LangPatchScope())


# ---- from text to a launch -----------------------------------------------------------------------


class TextLoader(ExecutionLoader):
    """A module whose text is given."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_filename(self, fullname: str) -> str:
        return self.file


@cache
def load(source: Source) -> Callable[..., Any]:
    """The Source's function, ready for `launch`; Triton reads its text from linecache."""
    digest = hashlib.sha256(source.text.encode()).hexdigest()[:12]
    loader = TextLoader(f"<triton {source.name} {digest}>", source.text)
    linecache.cache[loader.file] = len(source.text), None, source.text.splitlines(True), loader.file
    module = ModuleType(f"graphc_triton_{digest}")
    with interpreting():
        loader.exec_module(module)
    function = getattr(module, source.name, None)
    if not isinstance(function, InterpretedFunction):
        raise BackendError(f"the text has no @triton.jit function {source.name!r}")
    return rewritten(function)


def argument(param: Param, value: int | float) -> Any:
    """A launch's value as the tensor that the kernel's body sees, of the declared type exactly."""
    if param.type == "pointer":
        pointer = tl.pointer_type(ELEMENTS[param.dtype])
        return tl.tensor(TensorHandle(np.array([value], np.uint64), pointer), pointer)
    element = ELEMENTS[param.type]
    return tl.tensor(TensorHandle(np.array([value], SCALARS[param.type]), element), element)


def launch(
    source: Source,
    values: Sequence[int | float],
    grid: Sequence[int],
    guard: Guard,
    *,
    reverse: bool = False,
) -> None:
    """Run every program of the grid; `values` are those of `source.params`, addresses as ints."""
    function = load(source)
    arguments = {p.name: argument(p, v) for p, v in zip(source.params, values, strict=True)}
    constants = dict(source.constants)
    x, y, z = (*grid, 1, 1, 1)[:3]
    BUILDER.set_grid_dim(x, y, z)
    BUILDER.guard, BUILDER.reverse = guard, reverse
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of infinities and NaNs
        for k, j, i in product(range(z), range(y), range(x)):
            BUILDER.set_grid_idx(i, j, k)
            function(**arguments, **constants)


def version() -> str:
    return str(triton.__version__)


if sys.flags.optimize:  # Triton's interpreter checks by `assert`
    warnings.warn("python -O removes the interpreter's own checks", UserWarning, stacklevel=1)
