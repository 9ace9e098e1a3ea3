"""Making tensors: from Python data and NumPy, filled, ranges. Inside a trace they are constants."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import InvalidArgument, InvalidType, ShapeMismatch, Untraceable
from graphc.frontend import tensor as tensors
from graphc.frontend.elementwise import where
from graphc.frontend.modes import check_device, get_default_dtype, modes
from graphc.frontend.promotion import is_number, wrap
from graphc.frontend.shapes import sizes
from graphc.ir.ops import OPS
from graphc.ir.types import Array, DType, Shape, TensorType, bool_, f64, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]

# ---- from data ---------------------------------------------------------------------------------


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, an array or a tensor."""
    check_device(device)
    if isinstance(data, tensors.Tensor):
        out = data.detach().clone()
        return (out if dtype is None else out.to(dtype)).requires_grad_(requires_grad)
    if is_number(data) and modes.trace is not None:
        kind = dtype or _dtype_of_data(np.asarray(data), data)
        return modes.trace.constant(wrap(data, kind), TensorType(kind, ()))
    out = _from_data(data, dtype)
    if modes.trace is not None:
        out = modes.trace.frozen(out)
    out.requires_grad_(requires_grad)
    return out


def _from_data(data: Any, dtype: DType | None) -> Tensor:
    if isinstance(data, list | tuple) and _has_tensor(data):
        data = _plain(data)
    try:
        array = np.array(data)
    except ValueError:
        raise ShapeMismatch("expected nested sequences of one length in each dimension") from None
    except OverflowError:
        raise InvalidArgument(f"a number does not fit any dtype: {data!r:.100}") from None
    if array.dtype.kind not in "biufV":  # V: ml_dtypes' bfloat16
        raise InvalidType(f"cannot make a tensor of {type(data).__name__} data")
    kind = dtype or _dtype_of_data(array, data)
    with np.errstate(all="ignore"):
        copied = np.array(array.astype(kind.numpy), order="C")  # astype wraps as PyTorch does
    return tensors.fresh(copied, TensorType(kind, array.shape))


def _dtype_of_data(array: Array, data: Any) -> DType:
    """NumPy's own dtype for arrays and scalars; the default dtype for Python floats."""
    if isinstance(data, np.ndarray | np.generic):
        return tensors.dtype_of(array)
    if array.dtype == np.bool_:
        return bool_
    return i64 if array.dtype.kind in "iu" else get_default_dtype()


def _has_tensor(data: Any) -> bool:
    if isinstance(data, list | tuple):
        return builtins.any(_has_tensor(d) for d in data)
    return isinstance(data, tensors.Tensor)


def _plain(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_plain(d) for d in data]
    return data.tolist() if isinstance(data, tensors.Tensor) else data


def from_numpy(array: Array) -> Tensor:
    """A tensor over the array's own memory."""
    if not isinstance(array, np.ndarray):
        raise InvalidType(f"from_numpy expects a NumPy array, got {type(array).__name__}")
    if modes.trace is not None:
        raise Untraceable("from_numpy() inside a compiled step", fix="make the tensor outside")
    if builtins.any(s < 0 or s % array.itemsize for s in array.strides):
        raise InvalidArgument("from_numpy: negative strides are not supported", fix="copy it first")
    return tensors.Tensor(array)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where it is a tensor or array of the right dtype."""
    check_device(device)
    if isinstance(data, tensors.Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and modes.trace is None:
        out = from_numpy(data) if data.flags.writeable else tensor(data)
        return out if dtype is None else out.to(dtype)
    return tensor(data, dtype=dtype)


asarray = as_tensor

# ---- filled ------------------------------------------------------------------------------------


def filled(value: Any, shape: Shape, dtype: DType, requires_grad: bool = False) -> Tensor:
    """A tensor of one value; a constant of the graph inside a trace."""
    if builtins.any(n < 0 for n in shape):
        raise ShapeMismatch(f"negative size in shape {shape}")
    type = TensorType(dtype, shape)
    if modes.trace is not None:
        out = modes.trace.constant(wrap(value, dtype), type)
    else:
        out = tensors.fresh(np.full(shape, wrap(value, dtype), dtype.numpy), type)
    return out.requires_grad_(True) if requires_grad else out


def zeros(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    check_device(device)
    return filled(0, sizes(size), dtype or get_default_dtype(), requires_grad)


def ones(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    check_device(device)
    return filled(1, sizes(size), dtype or get_default_dtype(), requires_grad)


def empty(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros: uninitialised memory would make results depend on chance."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    check_device(device)
    kind = dtype or _dtype_of_data(np.asarray(fill_value), fill_value)
    return filled(fill_value, sizes((size,)), kind, requires_grad)


def full_like(
    x: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    check_device(device)
    return filled(fill_value, x.type.shape, dtype or x.dtype, requires_grad)


def zeros_like(x: Tensor, **options: Any) -> Tensor:
    return full_like(x, 0, **options)


def ones_like(x: Tensor, **options: Any) -> Tensor:
    return full_like(x, 1, **options)


def empty_like(x: Tensor, **options: Any) -> Tensor:
    return full_like(x, 0, **options)


# ---- ranges ------------------------------------------------------------------------------------


def iota(n: int, dtype: DType = i64) -> Tensor:
    """0, 1, .. n - 1."""
    type = TensorType(dtype, (n,))
    if modes.trace is not None:
        return modes.trace.emit(OPS["iota"], (), {"shape": (n,), "axis": 0, "dtype": dtype.name})
    return tensors.fresh(np.arange(n).astype(dtype.numpy), type)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, .. below `end`; integers give int64."""
    check_device(device)
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) / step < 0:
        raise InvalidArgument(f"arange: {start} to {end} cannot be reached in steps of {step}")
    whole = builtins.all(isinstance(v, int | np.integer) for v in (start, end, step))
    kind = dtype or (i64 if whole else get_default_dtype())
    n = builtins.max(int(np.ceil((end - start) / step)), 0)
    wide = i64 if whole else f64
    out = iota(n, wide)
    if step != 1:
        out = out * step
    if start != 0:
        out = out + start
    out = out.to(kind)
    return out.requires_grad_(True) if requires_grad else out


def linspace(
    start: float, end: float, steps: int, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """`steps` numbers from start to end, both included."""
    check_device(device)
    k = iota(steps, f64)
    gap = (end - start) / builtins.max(steps - 1, 1)
    forth, back = k * gap + start, (k - (steps - 1)) * gap + end  # exact at both ends
    out = forth if steps < 2 else where(k < steps / 2, forth, back)
    return out.to(dtype or get_default_dtype())


def eye(n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones on the diagonal."""
    check_device(device)
    rows, columns = iota(n).unsqueeze(1), iota(n if m is None else m).unsqueeze(0)
    out: Tensor = rows == columns
    return out.to(dtype or get_default_dtype())


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid, one tensor for each axis."""
    axes: Sequence[Tensor] = tensors[0] if isinstance(tensors[0], list | tuple) else tensors
    if indexing == "xy" and len(axes) >= 2:
        y, x, *rest = meshgrid(axes[1], axes[0], *axes[2:])
        return (x, y, *rest)
    shape = tuple(t.numel() for t in axes)
    n = len(axes)
    views = [t.reshape([-1 if j == k else 1 for j in range(n)]) for k, t in enumerate(axes)]
    return tuple(v.expand(shape) for v in views)
