"""Operands of elementwise functions: PyTorch's promotion and broadcasting before a primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeNotImplemented, InvalidType, Untraceable
from graphc.frontend import device_ops
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import get_default_dtype, modes
from graphc.frontend.promotion import SAFE, dtype_of_number, is_number, result_type, wrap
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.sizes import same_shape
from graphc.ir.types import Array, DType, Shape, bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

Operand = Any  # Tensor or number


def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    """x repeated along new leading dimensions and those of size 1; x itself if it fits."""
    old = x.spec.shape
    if same_shape(old, shape):
        return x
    if len(old) < len(shape):
        x = P.reshape(x, (1,) * (len(shape) - len(old)) + old)
    return P.expand(x, shape)


def second_operand(name: str, dim: Any, other: Any) -> Any:
    """What a function of a tensor and a dimension is given as a second tensor in place of that."""
    if dim is not None and other is not None:
        raise InvalidType(f"{name}() takes `dim` or `other`, not both")
    return dim if other is None else other


def is_tensor(x: Any) -> bool:
    """Tensors are the frontend's only Sugar."""
    return isinstance(x, P.Sugar)


def check_tensors(name: str, *operands: Any) -> None:
    """InvalidType for what is no tensor, to a function that takes no numbers either."""
    for x in operands:
        if not is_tensor(x):
            raise InvalidType(f"{name} takes tensors, not {type(x).__name__}")


def prepare(operands: Sequence[Operand], dtype: DType | None = None) -> list[Any]:
    """Operands of one dtype and shape; numbers stay numbers beside a tensor."""
    for x in operands:
        if not is_tensor(x) and not is_number(x):
            raise InvalidType(f"expected a tensor or a number, got {type(x).__name__}")
    if ACCELERATORS:
        operands = device_ops.together(operands)
    target = dtype or result_type(*operands)
    tensors = [x for x in operands if is_tensor(x)]
    first = tensors[0].spec.shape
    if all(same_shape(t.spec.shape, first) for t in tensors):
        shape = first
    else:
        shape = broadcast_shapes(*(t.spec.shape for t in tensors))
    return [
        broadcast_to(P.cast(x, target), shape) if is_tensor(x) else wrap(x, target)
        for x in operands
    ]


def binary(name: str, x: Operand, y: Operand, *, bools: bool = True) -> Tensor:
    """The elementwise op called `name` on operands made alike; `bools` says if it takes bools."""
    op = OPS[name]
    owner = x if is_tensor(x) else y
    if not (_alike(x, y) if owner is x else _alike(y, x)):
        if not bools and result_type(x, y) is bool_:
            what = f"{name} is not defined for bool operands"
            raise DTypeNotImplemented(what, fix="convert them to an integer dtype")
        x, y = prepare((x, y))
    return owner.emit(op, x, y)  # type: ignore[no-any-return]  # Operand is Any


def _alike(x: Tensor, y: Operand) -> bool:
    """Whether there is nothing to prepare, as is most common: floats of one type, or a number."""
    spec = x.spec
    if spec.dtype.category < 2:
        return False
    if is_tensor(y):
        other = y.spec
        return other is spec or bool(other == spec)
    large = type(y) is float and not -SAFE <= y <= SAFE  # of what is made of sizes nothing is asked
    return y.__class__ is float and not large


def as_float(x: Tensor) -> Tensor:
    """Integers and bools as the default float dtype, as PyTorch's functions take them."""
    return x if x.dtype.is_floating_point else P.cast(x, get_default_dtype())


def floating(x: Tensor, what: str) -> Tensor:
    """x, to a function that is of floats alone."""
    if not x.dtype.is_floating_point:
        raise DTypeNotImplemented(f"{what} needs a floating dtype, got {x.spec}", fix="x.float()")
    return x


def floating_or_i64(x: Tensor, what: str) -> Tensor:
    """x, to a function that PyTorch has for floats and for int64, but for no other integers."""
    return x if x.dtype is i64 else floating(x, what)


def numeric(x: Tensor, what: str) -> Tensor:
    """x, to a function that is of numbers, not of bools."""
    if x.dtype is bool_:
        raise DTypeNotImplemented(f"{what} is not defined for bools, got {x.spec}")
    return x


def kept(x: Tensor) -> Tensor:
    """x, or where it has a history a copy, so that later writes to x are no harm: for operations
    whose derivative PyTorch reads off the other side of the operation."""
    return x.clone() if modes.grad and x.requires_grad else x


def dtype_of(x: Operand) -> DType:
    return x.spec.dtype if is_tensor(x) else dtype_of_number(x)


def data_sized(x: Tensor, name: str, fix: str) -> Array:
    """The elements of x for a function whose result they size: refused inside a trace, unless x is
    computed of constants alone."""
    trace = modes.trace
    if trace is not None:
        if (known := trace.known(x)) is not None:
            return known
        raise Untraceable(f"the shape that {name} gives is known only at run time", fix=fix)
    return x.host()
