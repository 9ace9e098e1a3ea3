"""Tensor: memory seen through a chain of views, or a value of the active trace; plus its history.

`emit` applies a primitive exactly (no promotion, no broadcasting): at once by the interpreter's
rows when eager, as a graph value in a trace. The other methods and the operators are functions in
`api`, which come here by way of `methods.py`.

Invariants:
  - a concrete tensor has `array`, the NumPy view of its storage; a traced one has None;
  - a tensor that is no view of another lies as `Storage.strides` say, row-major for most, unless a
    program has packed it, which only `strides` and `host` tell (`Storage.unpack`);
  - `_node` is the tape entry that made the tensor; None for leaves and what needs no gradient;
  - a view's history is made again from its base's when the storage has been written since.
"""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from graphc.errors import GraphcError, InvalidState, InvalidType, ShapeMismatch, Untraceable
from graphc.frontend import epoch, layouts
from graphc.frontend.devices import ACCELERATORS, CPU, resolve
from graphc.frontend.dims import axis_of
from graphc.frontend.eager.arrays import by_rows, owned, row_major
from graphc.frontend.eager.compiled import drawn
from graphc.frontend.eager.rows import FAST
from graphc.frontend.geometry import Geometry, elementwise_strides, shown_strides
from graphc.frontend.located import Located
from graphc.frontend.methods import Methods
from graphc.frontend.modes import draw, get_default_dtype, modes
from graphc.frontend.options import strided
from graphc.frontend.places import arranged, dense_copy, settle
from graphc.frontend.reading import Readable, leaked
from graphc.frontend.size import Size, legacy_array
from graphc.frontend.storage import Storage, running
from graphc.frontend.tape import (
    LeafNode,
    chain_history,
    edge_of,
    keep_gradient,
    record,
    record_rule,
)
from graphc.frontend.views import VIEW_OPS, Chain, reshaped_strides
from graphc.ir.interpret import evaluate
from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import FROM_NUMPY, Array, DType, Scalar, Shape, TensorSpec
from graphc.passes.autodiff import Hook, Node

__all__ = ["Tensor", "is_tensor", "numel"]

T = TypeVar("T", bound="Tensor")

ADD = OPS["add"]


class Tensor(Geometry, Located, Readable, Methods):
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
            show(self, self.to(where))

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def spec(self) -> TensorSpec:
        """Dtype and shape."""
        return self._spec

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._spec.dtype

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(self._spec.shape)

    @property
    def ndim(self) -> builtins.int:
        """How many dimensions there are."""
        return len(self._spec.shape)

    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: builtins.int) -> builtins.int: ...
    def size(self, dim: builtins.int | None = None) -> Any:
        """The sizes of the dimensions, or that of one; InvalidIndex if it is not there."""
        return self.shape if dim is None else self._spec.shape[axis_of(self, dim)]

    def dim(self) -> builtins.int:
        """How many dimensions there are."""
        return len(self._spec.shape)

    ndimension = dim

    def numel(self) -> builtins.int:
        """How many elements there are."""
        return self._spec.numel

    nelement = numel

    def is_floating_point(self) -> builtins.bool:
        """Whether the dtype is a floating one."""
        return self._spec.dtype.is_floating_point

    def is_signed(self) -> builtins.bool:
        """Whether the dtype has negative numbers."""
        return self._spec.dtype.is_signed

    def is_complex(self) -> builtins.bool:
        """False: there are no complex dtypes."""
        return False

    def is_nonzero(self) -> builtins.bool:
        """The truth of a tensor of one element; ShapeMismatch for any other."""
        return bool(self)

    is_sparse = is_quantized = False
    layout = strided

    @property
    def is_traced(self) -> builtins.bool:
        """Whether it stands for a value inside a trace and has no memory of its own."""
        return self.array is None

    # ---- applying primitives -------------------------------------------------------------------

    def emit(self, op: Op, *args: Any, **attrs: Any) -> Tensor:
        """Apply a primitive to operands of just the types that it takes, which it records."""
        trace = modes.trace
        if trace is not None:
            out = trace.emit(op, args := trace.operands(args), attrs)
        elif ACCELERATORS:
            out = ACCELERATORS[0].apply(self, op, args, attrs)
        else:
            out = eager(op, args, attrs)
        if modes.grad:
            record(op, args, attrs, out)
        return out

    def full(self, value: Scalar, spec: TensorSpec) -> Tensor:
        """A tensor of one value, on the device of this one."""
        if modes.trace is not None:
            return modes.trace.constant(value, spec)
        if ACCELERATORS and (out := ACCELERATORS[0].full(self, value, spec)) is not None:
            return out
        return fresh(np.full(spec.shape, value, spec.dtype.numpy), spec)

    def alias(self, cls: builtins.type[T] | None = None) -> T:
        """Another tensor over the same memory, without history; of class `cls` if given."""
        out: Any = object.__new__(cls or Tensor)  # a subclass's own __new__ may call this
        out.storage, out.views, out._spec = self.storage, self.views, self._spec
        out.array, out._value = self.array, self._value
        self.storage.hold(out)
        if modes.trace is not None:
            modes.trace.made_alias(out, self)
        return out  # type: ignore[no-any-return]  # made of class `cls` just above

    # ---- history -------------------------------------------------------------------------------

    def set_history(self, node: Node | None, slot: int = 0) -> None:
        """Make `node` the tape entry that defines this tensor (None: a leaf without gradient)."""
        self._requires_grad = node is not None
        self._node, self._slot = node, slot
        self._made_at = self.storage.version
        if self._retains_grad and node is not None:
            keep_gradient(self)

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
        """Whether gradients are computed for it."""
        if self._base is not None:
            self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Node | None:
        """The operation on the tape that made it; None for a leaf."""
        if self._base is not None:
            self._refresh()
        return self._node

    @property
    def is_leaf(self) -> builtins.bool:
        """Whether no recorded operation made it."""
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
        check_gradient(self, value)
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
        assign_data(self, value)

    @property
    def name(self) -> str:
        """The parameter's name where a module has given one."""
        return self.storage.name

    def __len__(self) -> builtins.int:
        if not self._spec.shape:
            raise InvalidType("len() of a 0-d tensor")
        return self._spec.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._spec.shape:
            raise InvalidType("iteration over a 0-d tensor")
        return iter(self.unbind())

    def __contains__(self, value: Any) -> builtins.bool:
        return bool((self == value).any().item())

    def __hash__(self) -> builtins.int:
        return id(self)

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


def copied_as(input: Tensor, strides: Shape) -> Tensor:
    """A copy with these strides; gradients pass through."""
    out = copied(input, strides)
    if modes.grad and input.requires_grad:
        record_rule("clone", (out,), (input,), lambda gs: gs)
    return out


def show(x: Tensor, other: Tensor) -> None:
    """Let x be of the memory, the shape and the dtype of `other`."""
    settle(other.array)
    with running.lock:  # another thread's step may read what x had
        x.storage, x.views, x.array = other.storage, other.views, other.array
        x._spec, x._value = other._spec, other._value
        x.storage.hold(x)
        epoch.places_changed()


def assign_data(x: Tensor, value: Tensor) -> None:
    """`x.data = value`. In a trace the elements are written, if no one else has their memory."""
    if not is_tensor(value):
        raise InvalidType(f".data must be a tensor, got {type(value).__name__}")
    trace = modes.trace
    if trace is None or x.is_traced:
        show(x, value)
    elif value.spec == x.spec and trace.made(value):
        trace.part(x, value)
    else:
        raise Untraceable(
            f"assigning {value.spec} to .data of {x.spec}, which outlives the step",
            why="the two would share memory, or change their type, from then on",
            fix="copy the elements: x.data.copy_(value)",
        )


def check_gradient(x: Tensor, value: Any) -> None:
    """Raise unless `value` may be x.grad."""
    if value is None:
        return
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise InvalidType(f"assigned grad expected to be a Tensor or None but got grad of {kind}")
    if value.spec != x.spec:
        raise ShapeMismatch(f"a gradient of type {value.spec} for a tensor of type {x.spec}")
    settle(value.array)


def laid(array: Array, spec: TensorSpec, strides: Shape, owned: bool = False) -> Tensor:
    """A tensor of `array` with these strides: a copy or, if it is `owned` and lies so, itself."""
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


_first = Tensor.__new__(Tensor)  # CPython keeps inline the names that a class's first ones have
for _name in Tensor.__annotations__:
    setattr(_first, _name, getattr(Tensor, _name, None))


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
            seen = FAST.get(op.name, op.evaluate)(*arrays, **attrs)
            return view(args[0], op, attrs, seen, spec)
        arrays[0] = by_rows(arrays[0])  # a reshape that copies
    out = None
    if draw.runs:
        out = drawn(op, arrays, [not isinstance(a, Tensor) for a in args], attrs, spec)
    if out is None:
        out = evaluate(op, arrays, attrs, spec, FAST.get(op.name))
    if odd and (strides := elementwise_strides(op, args)):
        return laid(out, spec, strides, not op.aliases)
    out = owned(out, arrays) if op.aliases else row_major(out)
    return fresh(out, spec)


def with_numbers(arrays: Sequence[Any], types: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Numbers, which have no type, as 0-d arrays of the last tensor's."""
    like = next(filter(None, reversed(types)))
    filled = [np.array(a, like.dtype.numpy) if t is None else a for a, t in zip(arrays, types)]
    return filled, [t or like for t in types]


def is_tensor(obj: object) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """How many elements there are. Of any shape."""
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
