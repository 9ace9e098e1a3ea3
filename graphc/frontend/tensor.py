"""Tensor: memory seen through a chain of views, or a value of the active trace; plus its history.

`emit` applies a primitive exactly (no promotion, no broadcasting): at once by the interpreter's
rows when eager, as a graph value in a trace. Methods and operators stand in `methods.py`.

Invariants:
  - a concrete tensor has `array`, the NumPy view of its storage; a traced one has None;
  - a tensor that is no view of another lies as `Storage.strides` say, row-major for most, unless a
    program has packed it, which only `strides` and `host` tell (`Storage.unpack`);
  - `_node` is the tape entry that made the tensor; None for leaves and what needs no gradient;
  - a view's history is made again from its base's when the storage has been written since.
"""

from __future__ import annotations

import builtins
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from graphc.errors import (
    AutogradError,
    DataDependentBranch,
    GraphcError,
    InvalidState,
    InvalidType,
    ShapeMismatch,
    TracerLeak,
    is_own,
)
from graphc.frontend import autograd, device_ops, epoch, inplace, layouts, printing
from graphc.frontend.api import shapes
from graphc.frontend.api.methods import Methods
from graphc.frontend.devices import ACCELERATORS, CPU, resolve
from graphc.frontend.geometry import Geometry, elementwise_strides, shown_strides
from graphc.frontend.located import Located
from graphc.frontend.modes import get_default_dtype, modes
from graphc.frontend.options import strided
from graphc.frontend.origins import origin
from graphc.frontend.places import arranged, dense_copy
from graphc.frontend.size import Size, legacy_array
from graphc.frontend.storage import Storage
from graphc.frontend.tape import LeafNode, chain_history, edge_of, record
from graphc.frontend.views import VIEW_OPS, Chain, reshaped_strides
from graphc.ir import reference
from graphc.ir.interpret import evaluate
from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import FROM_NUMPY, Array, DType, Scalar, Shape, TensorSpec
from graphc.passes.autodiff import Hook, Node

__all__ = ["Tensor", "is_tensor", "numel"]

T = TypeVar("T", bound="Tensor")

ADD = OPS["add"]


class Tensor(Geometry, Located, Methods):
    """A multi-dimensional array with PyTorch's interface."""

    __array_priority__ = 1000  # NumPy scalars on the left defer to our reflected operators

    storage: Storage
    array: Array | None
    _spec: TensorSpec
    views: Chain = ()
    _requires_grad: bool = False
    _grad: Tensor | None = None  # whoever reads or sets it moves `epoch.gradients`
    _node: Node | None = None
    _slot: int = 0
    _leaf: weakref.ref[LeafNode] | None = None
    _hooks: list[tuple[int, Hook]] | None = None
    _retains_grad: bool = False
    _after_grad: list[Any] | None = None  # hooks that follow accumulation into `_grad`
    _base: Tensor | None = None  # whose view this is, as autograd sees it
    _made_at: int = 0  # version of the storage for which `_node` holds, of a view
    _unrecorded: bool = False  # a view made in no_grad mode of what requires grad
    _value: Any = None  # (base value, value) of a traced tensor: what `Trace.value` found last

    def __init__(self, *data: Any, device: Any = None) -> None:
        """Of the default dtype: Tensor(2, 3) of a size, Tensor([1, 2]) of data, which is copied."""
        where = resolve(device)
        dtype = get_default_dtype()
        self.array = legacy_array(data, dtype)
        self._spec = TensorSpec(dtype, self.array.shape)
        self.storage = Storage(self.array, self._spec)
        if where is not CPU:
            inplace.show(self, device_ops.moved(self, where))

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def spec(self) -> TensorSpec:
        return self._spec

    @property
    def dtype(self) -> DType:
        return self._spec.dtype

    @property
    def shape(self) -> Size:
        return Size(self._spec.shape)

    @property
    def ndim(self) -> builtins.int:
        return len(self._spec.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self._spec.shape[shapes.axis_of(self, dim)]

    def dim(self) -> builtins.int:
        return len(self._spec.shape)

    ndimension = dim

    def numel(self) -> builtins.int:
        return self._spec.numel

    nelement = numel

    def is_floating_point(self) -> builtins.bool:
        return self._spec.dtype.is_floating_point

    def is_signed(self) -> builtins.bool:
        return self._spec.dtype.is_signed

    def is_complex(self) -> builtins.bool:
        return False

    def is_nonzero(self) -> builtins.bool:
        return bool(self)

    is_sparse = is_quantized = False
    layout = strided

    @property
    def is_traced(self) -> builtins.bool:
        """Whether it stands for a value inside a trace and has no memory of its own."""
        return self.array is None

    # ---- applying primitives -------------------------------------------------------------------

    def emit(self, op: Op, *args: Any, **attrs: Any) -> Tensor:
        trace = modes.trace
        if trace is not None:
            out = trace.emit(op, args, attrs)
        elif ACCELERATORS:
            out = device_ops.apply(self, op, args, attrs)
        else:
            out = eager(op, args, attrs)
        if modes.grad:
            record(op, args, attrs, out)
        return out

    def full(self, value: Scalar, spec: TensorSpec) -> Tensor:
        if modes.trace is not None:
            return modes.trace.constant(value, spec)
        if ACCELERATORS and (out := device_ops.full(self, value, spec)) is not None:
            return out
        return fresh(np.full(spec.shape, value, spec.dtype.numpy), spec)

    def alias(self, cls: builtins.type[T] | None = None) -> T:
        """Another tensor over the same memory, without history; of class `cls` if given."""
        out: Any = object.__new__(cls or Tensor)  # a subclass's own __new__ may call this
        out.storage, out.views, out._spec = self.storage, self.views, self._spec
        out.array, out._value = self.array, self._value
        self.storage.hold(out)
        if modes.trace is not None:
            modes.trace.made_alias(out)
        return out  # type: ignore[no-any-return]  # made of class `cls` just above

    # ---- history -------------------------------------------------------------------------------

    def set_history(self, node: Node | None, slot: int = 0) -> None:
        """Make `node` the tape entry that defines this tensor (None: a leaf without gradient)."""
        self._requires_grad = node is not None
        self._node, self._slot = node, slot
        self._made_at = self.storage.version
        if self._retains_grad and node is not None:
            autograd.keep_gradient(self)

    def _refresh(self) -> None:
        """Make a view's history again if its memory has been written since."""
        base = self._base
        if base is None or self._made_at == self.storage.version:
            return
        self._made_at = self.storage.version
        edge = edge_of(base)
        if edge is None:
            self._requires_grad, self._node = self._requires_grad and self._node is None, None
            return
        if self.views[: len(base.views)] != base.views:
            raise InvalidState(
                "the tensor this is a view of was transposed or reshaped in place",
                fix="make the view again",
            )
        self.set_history(*chain_history(edge, self.views[len(base.views) :], base.spec))

    @property
    def requires_grad(self) -> builtins.bool:
        if self._base is not None:
            self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Node | None:
        if self._base is not None:
            self._refresh()
        return self._node

    @property
    def is_leaf(self) -> builtins.bool:
        return self.grad_fn is None

    @property
    def _version(self) -> builtins.int:
        return self.storage.version

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient; inside a trace, as the trace sees it."""
        epoch.gradients += 1
        if modes.trace is not None:
            return modes.trace.grad_of(self)
        return readable(self._grad)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        autograd.check_gradient(self, value)
        epoch.gradients += 1
        if modes.trace is not None:
            modes.trace.set_grad(self, value)
        else:
            self._grad = value

    @property
    def data(self) -> Tensor:
        """The same memory without history."""
        return self.alias()

    @data.setter
    def data(self, value: Tensor) -> None:
        inplace.assign_data(self, value)

    @property
    def name(self) -> str:
        """The parameter's name where a module has given one."""
        return self.storage.name

    # ---- host reads ----------------------------------------------------------------------------

    def host(self, fix: str = DataDependentBranch.instead) -> Array:
        """The NumPy view, for Python to look at (of a GPU's elements, a copy); not inside a trace,
        where values are not known."""
        if modes.trace is not None:
            raise DataDependentBranch(
                f"Python reads {origin(self)}, known only at run time", fix=fix
            )
        if self.array is None:
            raise leaked(self)
        return device_ops.on_host(self.array) if ACCELERATORS else self.array

    def numpy(self, *, force: bool = False) -> Array:
        """The memory itself, shared."""
        if self.requires_grad and not force:
            raise AutogradError(
                "numpy() on a tensor that requires grad",
                why="the array would share its memory, and what is done to it leave no history",
                fix="use tensor.detach().numpy()",
            )
        self.storage.unpack()
        if self.is_cuda and not force and modes.trace is None:
            return np.asarray(self.array)  # which says why there is none
        return self.host()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        a = self.numpy()
        return np.array(a, dtype, copy=copy) if copy is not None else np.asarray(a, dtype)

    def item(self) -> Scalar:
        if modes.trace is not None and not is_own(sys._getframe(1).f_code.co_filename):
            return modes.trace.read(self, Tensor.item)  # type: ignore[no-any-return]  # stands for it
        array = self.host()
        if array.size != 1:
            what = f"a tensor with {array.size} elements cannot be converted to a Python number"
            raise ShapeMismatch(what, fix="index or reduce it to one element")
        out = array.reshape(()).astype(np.float64) if self.dtype.is_half else array.reshape(())
        return out.item()  # type: ignore[no-any-return]  # int, float or bool by dtype

    def tolist(self) -> Any:
        if modes.trace is not None and not is_own(sys._getframe(1).f_code.co_filename):
            return modes.trace.read(self, Tensor.tolist)
        array = self.host()
        return (array.astype(np.float64) if self.dtype.is_half else array).tolist()

    def __bool__(self) -> builtins.bool:
        if self.numel() != 1 and modes.trace is None:
            raise ShapeMismatch(
                f"the truth of {self.spec} is ambiguous",
                why=f"it has {self.numel()} elements, not one",
                fix="use .any() or .all(), or compare its .numel() with 0",
            )
        return bool(self.item() if modes.trace is None else self.host(DataDependentBranch.fix))

    def __index__(self) -> builtins.int:
        if self.dtype.is_floating_point:
            raise InvalidType("only integer tensors of one element can be converted to an index")
        return int(self.item())

    def __len__(self) -> builtins.int:
        if not self._spec.shape:
            raise InvalidType("len() of a 0-d tensor")
        return self._spec.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._spec.shape:
            raise InvalidType("iteration over a 0-d tensor")
        return iter(shapes.unbind(self))

    def __contains__(self, value: Any) -> builtins.bool:
        return bool((self == value).any().item())

    def __hash__(self) -> builtins.int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return printing.shown(self, spec)

    def __repr__(self) -> str:
        return printing.shown(self, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        out: Self = autograd.deep_copy(self, memo)
        return out

    def __reduce__(self) -> Any:
        return autograd.reduced(self)

    def extra(self) -> dict[str, Any]:
        """Attributes that a user or subclass has set."""
        return {k: v for k, v in self.__dict__.items() if k not in INTERNAL}


INTERNAL = frozenset(Tensor.__annotations__)


def copied(x: Tensor, strides: Shape | None = None) -> Tensor:
    """The elements of x in memory of their own, without history; with its strides, as PyTorch's
    copies have them, or with those given (() for row-major ones)."""
    strides = layouts.preserved(x._spec.shape, shown_strides(x)) if strides is None else strides
    if modes.trace is not None:
        out = modes.trace.wrap(modes.trace.value(x))
        out.storage.strides = strides
        return out
    if x.array is None:
        raise leaked(x)
    return laid(x.array, x._spec, strides)


def laid(array: Array, spec: TensorSpec, strides: Shape, owned: bool = False) -> Tensor:
    """A tensor of the elements of `array` with these strides: a copy, or if it is `owned`, itself
    where it lies like that."""
    if not strides:
        return fresh(dense_copy(array), spec)
    order = layouts.order_of(spec.shape, strides)
    if not owned or not array.transpose(order).flags.c_contiguous:
        array = arranged(array, order)
    out = fresh(array, spec)
    out.storage.strides = strides
    return out


def dtype_of(array: Array) -> DType:
    dtype = FROM_NUMPY.get(array.dtype)
    if dtype is None:
        raise InvalidType(f"NumPy dtype {array.dtype} has no tensor dtype")
    return dtype


def scalar(value: Scalar, dtype: DType) -> Tensor:
    return fresh(np.array(value, dtype.numpy), TensorSpec(dtype, ()))


def wrapped(array: Array) -> Tensor:
    """A tensor over the memory of a NumPy array."""
    out = fresh(array, TensorSpec(dtype_of(array), array.shape))
    if not array.flags.c_contiguous:
        out.storage.strides = tuple(s // array.itemsize for s in array.strides)
    return out


def fresh(array: Array, spec: TensorSpec) -> Tensor:
    """A tensor of its own over `array`, which nobody else holds."""
    out = Tensor.__new__(Tensor)
    out.array = array
    out._spec = spec
    out.storage = Storage(array, spec)
    return out


def view(x: Tensor, op: Op, attrs: Attrs, array: Array | None, spec: TensorSpec) -> Tensor:
    """`op(x)` over the memory of x."""
    out = Tensor.__new__(Tensor)
    out.array = array
    out._spec = spec
    out.storage = x.storage
    out.views = (*x.views, (op, attrs))
    if modes.grad:
        out._base = x if x._base is None else x._base
        out._made_at = x.storage.version
    elif x.requires_grad or x._unrecorded:
        out._unrecorded = True
    return out


def shows_memory(x: Tensor, op: Op, attrs: Attrs) -> bool:
    """Whether `op(x)` is a view; a reshape may have to copy."""
    if op not in VIEW_OPS:
        return False
    if op.name != "reshape" or x.is_contiguous():
        return True
    array = x.array  # NumPy decides by its own strides
    strides = x.strides() if array is None else tuple(s // array.itemsize for s in array.strides)
    return reshaped_strides(x._spec.shape, strides, attrs["shape"]) is not None


def infer(op: Op, types: Sequence[TensorSpec], attrs: Attrs) -> TensorSpec:
    try:
        return op.infer(*types, **attrs)
    except GraphcError as e:
        e.what = f"{op.name}: {e.what}"
        raise


def eager(op: Op, args: Sequence[Any], attrs: Attrs) -> Tensor:
    """Apply `op` now, on the host; numbers become 0-d arrays of the last tensor's dtype."""
    moves = op in VIEW_OPS
    if moves and args[0].storage.holders is not None:
        args[0].storage.unpack()
    arrays: list[Any] = []
    types: list[Any] = []
    odd = False  # whether some operand may be other than row-major
    for a in args:
        known = isinstance(a, Tensor)
        if known:
            if a.array is None:
                raise leaked(a)
            odd = odd or a.views or a.storage.strides
        arrays.append(a.array if known else a)
        types.append(a._spec if known else None)
    if not all(types):
        arrays, types = with_numbers(arrays, types)
    spec = infer(op, types, attrs)
    if moves:
        if shows_memory(args[0], op, attrs):
            return view(args[0], op, attrs, op.evaluate(*arrays, **attrs), spec)
        arrays[0] = reference.row_major(arrays[0])  # a reshape that copies
    out = evaluate(op, arrays, attrs, spec)
    if odd and (strides := elementwise_strides(op, args)):
        return laid(out, spec, strides, not op.aliases)
    out = np.array(out, order="C") if op.aliases else reference.row_major(out)
    return fresh(out, spec)


def with_numbers(arrays: Sequence[Any], types: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Numbers, which have no type, as 0-d arrays of the last tensor's."""
    like = next(filter(None, reversed(types)))
    filled = [np.array(a, like.dtype.numpy) if t is None else a for a, t in zip(arrays, types)]
    return filled, [t or like for t in types]


def is_tensor(obj: object) -> bool:
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    return input.numel()


def readable(grad: Tensor | None) -> Tensor | None:
    """`.grad`, unless the step that made it kept none (`dropped.py`)."""
    if grad is not None and grad.array is None:
        raise InvalidState(
            "this gradient was not kept",
            why='the step was compiled with grads="drop", which saves storing it',
            fix='compile with grads="keep", or set .grad = None first',
        )
    return grad


def leaked(x: Tensor) -> TracerLeak:
    return TracerLeak(f"{x.spec} stood for a value inside a compiled step that has ended")
