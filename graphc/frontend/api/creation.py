"""Making tensors: from Python data and NumPy, filled, ranges. Inside a trace they are constants."""

from __future__ import annotations

import builtins
import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import (
    DTypeMismatch,
    InvalidArgument,
    InvalidState,
    InvalidType,
    ShapeMismatch,
    Untraceable,
    WideInteger,
)
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api.shapes import cat
from graphc.frontend.devices import accelerator, resolve
from graphc.frontend.dims import sizes
from graphc.frontend.factory import factory
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.located import DLPACK_CUDA
from graphc.frontend.modes import get_default_dtype, modes
from graphc.frontend.promotion import dtype_of_number, held, is_number, promote_types, wrap
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.ops import OPS
from graphc.ir.types import Array, DType, Shape, TensorSpec, bool_, f64, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "meshgrid",
    "ones",
    "ones_like",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]

PLAIN = {builtins.bool, builtins.int, builtins.float}
INTERFACE = "__cuda_array_interface__"

# ---- from data ---------------------------------------------------------------------------------


@factory
def tensor(data: Any, *, dtype: DType | None = None) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, an array or a tensor."""
    if isinstance(data, tensors.Tensor):
        out = data.detach().clone()
        return out if dtype is None else out.to(dtype)
    if isinstance(data, HostValue):
        return tensor(data.as_tensor(), dtype=dtype or dtype_of_number(data))
    if is_number(data) and modes.trace is not None:
        kind = dtype or _dtype_of_number(data)
        return modes.trace.constant(_number_in(data, kind), TensorSpec(kind, ()))
    if (told := getattr(data, INTERFACE, None)) is not None:
        copied = _told(told, data).clone()
        return copied if dtype is None else copied.to(dtype)
    out = _from_data(data, dtype)
    return out if modes.trace is None else modes.trace.frozen(out)


def _number_in(data: Any, kind: DType) -> Any:
    return held(data, kind) if kind.category == 1 else wrap(data, kind)


def _from_data(data: Any, dtype: DType | None) -> Tensor:
    dtype = dtype or _dtype_of_items(data)
    known = data = _map(_plain, data)
    if modes.trace is not None:
        known = _map(_example, data)
    try:
        array = _in_floats(np.array(known), dtype)
    except ValueError as e:
        what = "expected nested sequences of one length in each dimension"
        raise InvalidArgument(f"tensor(): {what}; {str(e)[:200]}") from None
    if array.dtype.kind not in "biufV":  # V: ml_dtypes' bfloat16
        raise _no_tensor_of(array, data)
    kind = dtype or _dtype_of_data(array, data)
    if kind.category == 1 and array.size and not isinstance(data, np.ndarray):
        for most in (array.max(), array.min()):
            held(most.item(), kind)
    if known is not data:
        return _of_values(data, TensorSpec(kind, array.shape))
    with np.errstate(all="ignore"):
        copied = np.array(array.astype(kind.numpy), order="C")  # astype wraps as PyTorch does
    return tensors.fresh(copied, TensorSpec(kind, array.shape))


def _in_floats(array: Array, dtype: DType | None) -> Array:
    """Integers that NumPy has no type for as floats, where the dtype asked for is none of such."""
    if array.dtype != object or dtype is None or dtype.category == 1:
        return array
    numbers = builtins.all(isinstance(x, builtins.int | builtins.float) for x in array.flat)
    return array.astype(np.float64) if numbers else array


def _no_tensor_of(array: Array, data: Any) -> Exception:
    """The error for data that NumPy holds as something that no tensor holds."""
    some = next(iter(array.ravel().tolist()), None)
    if array.dtype == object and isinstance(some, int):
        return WideInteger(f"tensor(): the number {some} does not fit 64 bits")
    if some is None:
        return InvalidState("tensor(): no dtype for None", fix="give numbers, an array or a tensor")
    return InvalidType(f"cannot make a tensor of {type(data).__name__} data: {data!r:.100}")


def _dtype_of_data(array: Array, data: Any) -> DType:
    """NumPy's own dtype for arrays and scalars; the default dtype for Python floats."""
    if isinstance(data, np.ndarray | np.generic):
        return tensors.dtype_of(array)
    if array.dtype == np.bool_:
        return bool_
    return i64 if array.dtype.kind in "iu" else get_default_dtype()


def _dtype_of_number(x: Any) -> DType:
    return dtype_of_number(x) if isinstance(x, HostValue) else _dtype_of_data(np.asarray(x), x)


def _dtype_of_items(data: Any) -> DType | None:
    """What the tensors, arrays and NumPy scalars in nested sequences say, with their neighbours;
    None where all are Python's own."""
    if not isinstance(data, list | tuple):
        return None
    kinds = set(map(type, data))
    if kinds <= PLAIN:
        return None
    found = [d for item in data if (d := _dtype_of_item(item)) is not None]
    if not found:
        return None
    rest = [dtype_of_number(x) for x in data if type(x) in PLAIN]
    return functools.reduce(promote_types, [*found, *rest])


def _dtype_of_item(item: Any) -> DType | None:
    if isinstance(item, tensors.Tensor):
        return item.dtype
    if isinstance(item, np.ndarray | np.generic):
        return tensors.dtype_of(np.asarray(item))
    return _dtype_of_items(item)


def _map(f: Callable[[Any], Any], data: Any) -> Any:
    """Nested sequences with `f` of each item: themselves where it changes none."""
    if not isinstance(data, list | tuple):
        return f(data)
    new = [_map(f, d) for d in data]
    return new if builtins.any(map(operator.is_not, new, data)) else data


def _of_values(data: Any, spec: TensorSpec) -> Tensor:
    """A tensor of nested sequences some of whose items only a call knows."""
    items: list[Any] = []
    _map(items.append, data)
    alone = TensorSpec(spec.dtype, (1,))
    return cat([filled(x, alone.shape, spec.dtype) for x in items]).reshape(spec.shape)


def _example(x: Any) -> Any:
    """A number of x's kind, of one that only a call knows."""
    return (x.kind or builtins.float)() if isinstance(x, HostValue) else x


def _plain(data: Any) -> Any:
    if not isinstance(data, tensors.Tensor):
        return data
    if data.numel() != 1:
        raise InvalidArgument(f"tensor() of a sequence with {data.spec}", fix="use stack()")
    return data.item()


def from_numpy(ndarray: Array) -> Tensor:
    """A tensor over the array's own memory. Shape and dtype of the array."""
    if not isinstance(ndarray, np.ndarray):
        raise InvalidType(f"from_numpy expects a NumPy array, got {type(ndarray).__name__}")
    if builtins.any(s < 0 or s % ndarray.itemsize for s in ndarray.strides):
        raise InvalidArgument("from_numpy: negative strides are not supported", fix="copy it first")
    if modes.trace is None:
        return tensors.wrapped(ndarray)
    out = tensor(ndarray)
    modes.trace.arrays.append((ndarray, ndarray.copy(), out))  # is to show the same in the end
    return out


@factory
def as_tensor(data: Any, dtype: DType | None = None) -> Tensor:
    """`data` as a tensor, sharing memory where it is a tensor or array of the right dtype, be it
    another library's on a GPU (`__cuda_array_interface__`)."""
    if isinstance(data, tensors.Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray):
        out = from_numpy(data) if data.flags.writeable else tensor(data)
        return out if dtype is None else out.to(dtype)
    if (told := getattr(data, INTERFACE, None)) is not None:
        out = _told(told, data)
        return out if dtype is None else out.to(dtype)
    return tensor(data, dtype=dtype)


asarray = as_tensor


def _told(told: Mapping[str, Any], owner: object) -> Tensor:
    """A tensor over the memory of a GPU that another library's array tells of."""
    if modes.trace is not None:
        raise Untraceable("as_tensor() of memory inside a compiled step", fix="make it outside")
    gpu = accelerator()
    address = told["data"][0]
    place = gpu.place(gpu.owning(address) if address else gpu.current())
    return device_ops.over(place.told(told, owner))


@factory
def scalar_tensor(value: Any, *, dtype: DType | None = None) -> Tensor:
    """A 0-d tensor, of the default dtype whatever the number. -> []."""
    return filled(value, (), dtype or get_default_dtype())


# ---- filled ------------------------------------------------------------------------------------


def filled(value: Any, shape: Shape, dtype: DType) -> Tensor:
    """A tensor of one value; a constant of the graph inside a trace."""
    if builtins.any(n < 0 for n in shape):
        raise ShapeMismatch(f"negative size in shape {shape}")
    spec, value = TensorSpec(dtype, shape), held(value, dtype)
    if modes.trace is not None:
        return modes.trace.constant(value, spec)
    if modes.place is not None:
        return device_ops.filled(modes.place, value, spec)
    if value == 0 and math.copysign(1, value) > 0:  # the system clears pages once they are touched
        return tensors.fresh(np.zeros(shape, dtype.numpy), spec)
    return tensors.fresh(np.full(shape, value, dtype.numpy), spec)


@public(out=True)
@factory
def zeros(*sizes_: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
    """Zeros of the given size, of the default dtype. -> the shape given."""
    return filled(0, sizes(sizes_, size), dtype or get_default_dtype())


@public(out=True)
@factory
def ones(*sizes_: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
    """Ones of the given size, of the default dtype. -> the shape given."""
    return filled(1, sizes(sizes_, size), dtype or get_default_dtype())


@public(out=True)
def empty(*sizes_: Any, **options: Any) -> Tensor:
    """Zeros: uninitialised memory would make results depend on chance. -> the shape given."""
    return zeros(*sizes_, **options)


@public(out=True)
@factory
def full(size: Any, fill_value: Any, *, dtype: DType | None = None) -> Tensor:
    """One number everywhere; its own kind of dtype unless one is given. -> the shape given."""
    if isinstance(fill_value, tensors.Tensor):
        return P.cast(fill_value, dtype or fill_value.dtype).expand(sizes((size,))).clone()
    return filled(fill_value, sizes((size,)), dtype or _dtype_of_number(fill_value))


@factory
def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None) -> Tensor:
    """A tensor of one value, of input's shape, dtype, device and memory order."""
    return filled(fill_value, input.spec.shape, dtype or input.dtype)


def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """Zeros of input's shape, dtype, device and memory order unless options say otherwise."""
    return full_like(input, 0, **options)


def ones_like(input: Tensor, **options: Any) -> Tensor:
    """Ones of input's shape, dtype, device and memory order unless options say otherwise."""
    return full_like(input, 1, **options)


def empty_like(input: Tensor, **options: Any) -> Tensor:
    """A tensor of input's shape, dtype, device and memory order; its elements are zero here."""
    return full_like(input, 0, **options)


# ---- ranges ------------------------------------------------------------------------------------


def iota(n: int, dtype: DType = i64) -> Tensor:
    """0, 1, .. n - 1."""
    spec = TensorSpec(dtype, (n,))
    if modes.trace is not None:
        return modes.trace.emit(OPS["iota"], (), {"shape": (n,), "axis": 0, "dtype": dtype.name})
    return tensors.fresh(np.arange(n).astype(dtype.numpy), spec)


@public(out=True)
@factory
def arange(
    start: Any = None, end: Any = None, step: Any = 1, *, dtype: DType | None = None
) -> Tensor:
    """start (or 0), start + step, .. below `end`; integers give int64.

    -> [ceil((end - start) / step)].
    """
    if end is None:
        start, end = None, start
    if end is None:
        raise InvalidType("arange: the end is missing")
    start = 0 if start is None else start
    start, end, step = (_number(v) for v in (start, end, step))
    whole = builtins.all(isinstance(v, int | np.integer) for v in (start, end, step))
    kind = dtype or (i64 if whole else get_default_dtype())
    if kind is i64:  # counts in whole numbers
        start, end, step = (v if is_unknown(v) else held(v, i64) for v in (start, end, step))
    if step == 0 or (end < start if step > 0 else end > start):
        raise InvalidState(f"arange: {start} to {end} cannot be reached in steps of {step}")
    n = -((start - end) // step) if whole else builtins.max(math.ceil((end - start) / step), 0)
    if kind.category == 1:
        whole, step = True, builtins.int(step)
        start = start if is_unknown(start) else builtins.int(start)
    out = iota(n, i64 if whole else f64)
    if step != 1:
        out = out * step
    if start != 0:
        out = out + start
    return out.to(kind)


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, tensors.Tensor) else x


@public(out=True)
@factory
def linspace(start: Any, end: Any, steps: int, *, dtype: DType | None = None) -> Tensor:
    """`steps` numbers from start to end, both included. -> [steps]."""
    kind = dtype or get_default_dtype()
    return _even(start, end, steps, kind).to(kind)


@public(out=True)
@factory
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None
) -> Tensor:
    """`base` to the powers that `linspace(start, end, steps)` gives. -> [steps]."""
    kind = dtype or get_default_dtype()
    powers: Tensor = base ** _even(start, end, steps, kind)
    return powers.to(kind)


def _even(start: Any, end: Any, steps: int, kind: DType) -> Tensor:
    """In float64 and from the nearer end, so exact at both, which `kind` has to hold."""
    if steps < 0:
        raise InvalidState(f"the number of steps must not be negative, got {steps}")
    k = iota(steps, f64)
    start, end = _end(start, kind), _end(end, kind)
    gap = (end - start) / (steps - 1) if steps > 1 else 0.0
    forth, back = k * gap + start, (k - (steps - 1)) * gap + end
    found: Tensor = forth if steps < 2 else P.where(k < steps // 2, forth, back)
    return found


def _end(x: Any, kind: DType) -> Any:
    """A number or tensor [], a whole one where numbers of `kind` are."""
    whole = kind.category == 1
    if isinstance(x, tensors.Tensor):
        if x.spec.shape:
            raise ShapeMismatch(f"the ends must be numbers or of no dimension, got {x.spec}")
        return P.cast(P.cast(x, kind) if whole else x, f64)
    if kind.is_floating_point:
        held(x, kind)
    return builtins.int(x) if whole else x


# ---- matrices and indices ----------------------------------------------------------------------


@public(out=True)
@factory
def eye(n: int, m: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Ones on the diagonal. -> [n, m], or [n, n]."""
    n, m = sizes((n, n if m is None else m))
    if n < 0 or m < 0:
        raise InvalidState(f"eye: sizes must not be negative, got {n}, {m}")
    rows, columns = iota(n).unsqueeze(1), iota(m).unsqueeze(0)
    out: Tensor = rows == columns
    return out.to(dtype or get_default_dtype())


@factory
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DType | None = None) -> Tensor:
    """Rows and columns [2, n] of the elements on and below a diagonal, row by row."""
    return _indices(np.tri(_size(row), _size(col), offset, bool), dtype)


@factory
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DType | None = None) -> Tensor:
    """Rows and columns [2, n] of the elements on and above a diagonal, row by row."""
    return _indices(~np.tri(_size(row), _size(col), offset - 1, bool), dtype)


def _size(n: int) -> int:
    if n < 0:
        raise InvalidState(f"a matrix size must not be negative, got {n}")
    return n


def _indices(mask: Array, dtype: DType | None) -> Tensor:
    return tensor(np.stack(np.nonzero(mask)), dtype=dtype or i64)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid, one tensor for each axis.

    [N], [M], .. -> each [N, M, ..] ("xy": [M, N, ..]).
    """
    axes: Sequence[Tensor] = tensors[0] if isinstance(tensors[0], list | tuple) else tensors
    if indexing == "xy" and len(axes) >= 2:
        y, x, *rest = meshgrid(axes[1], axes[0], *axes[2:])
        return (x, y, *rest)
    if len({t.dtype for t in axes}) > 1:
        listed = ", ".join(str(t.spec) for t in axes)
        raise DTypeMismatch(f"meshgrid expects all tensors to have the same dtype, got {listed}")
    if wide := [str(t.spec) for t in axes if t.dim() > 1]:
        raise ShapeMismatch(f"meshgrid expects 0-d or 1-d tensors, got {', '.join(wide)}")
    shape = tuple(t.numel() for t in axes)
    n = len(axes)
    views = [t.reshape([-1 if j == k else 1 for j in range(n)]) for k, t in enumerate(axes)]
    return tuple(v.expand(shape) for v in views)


def from_dlpack(ext_tensor: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, with `__dlpack__`; of a GPU's, too."""
    if not hasattr(ext_tensor, "__dlpack__"):
        kind = type(ext_tensor).__name__
        raise InvalidType(f"from_dlpack: {kind} has no __dlpack__", fix="pass an array with it")
    kind, index = ext_tensor.__dlpack_device__()
    if int(kind) == DLPACK_CUDA:
        place = device_ops.place_at(resolve(f"cuda:{int(index)}"))
        assert place is not None, "its index is a GPU's"
        out = device_ops.over(place.imported(ext_tensor))
    else:
        array = np.from_dlpack(ext_tensor)
        out = tensors.wrapped(array if array.flags.writeable else array.copy())
    out = out.clone() if copy else out
    return out if device is None else out.to(device)
