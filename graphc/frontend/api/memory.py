"""Functions about the memory of tensors: reinterpreted, resized, laid out by strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import (
    DevicesMixed,
    DTypeMismatch,
    InvalidState,
    ShapeMismatch,
    Unsupported,
    Untraceable,
)
from graphc.frontend import device_ops, dims
from graphc.frontend import tensor as tensors
from graphc.frontend.api import creation, shapes, strided
from graphc.frontend.devices import CPU, device, resolve
from graphc.frontend.modes import modes
from graphc.frontend.operands import is_tensor
from graphc.frontend.places import place_of
from graphc.frontend.registry import public
from graphc.frontend.tensor import show
from graphc.ir.types import DType, refuse_name_only

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["UntypedStorage", "empty_permuted", "empty_strided"]


@public(method=True)
def view(x: Tensor, *sizes: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
    """`shapes.view` with a size, or the same memory as elements of another dtype."""
    if dtype is None and len(sizes) == 1 and isinstance(sizes[0], DType):
        dtype = sizes[0]
    return shapes.view(x, *sizes, size=size) if dtype is None else reinterpreted(x, dtype)


def reinterpreted(x: Tensor, dtype: DType) -> Tensor:
    """The bytes of x as `dtype`, shared and without gradient; the last dimension fits itself."""
    refuse_name_only(dtype)
    if dtype is x.dtype:
        return x
    if modes.trace is not None:
        raise Untraceable(
            f"view({dtype!r}) of {x.spec} inside a step",
            why="a program knows numbers, not the bytes they are made of",
            fix="use .to(dtype) to convert, or view before the step",
        )
    array: Any = x.detach().array
    if array is None:
        x.host()  # says why there is none
    x.storage.unpack()
    small, large = sorted((x.itemsize, dtype.itemsize))
    if small != large:
        if not array.ndim:
            raise ShapeMismatch(f"view({dtype!r}): {x.spec} has no dimension to fit its size")
        fits = array.shape[-1] * x.itemsize % dtype.itemsize == 0
        if array.strides[-1] != x.itemsize or not fits:
            raise ShapeMismatch(
                f"view({dtype!r}): the last dimension of {x.spec} does not fit",
                fix="use contiguous(), and a size that is a multiple",
            )
    if x.is_cpu:
        return tensors.wrapped(array.view(dtype.numpy))
    return device_ops.reinterpreted(array, dtype)


@public(method=True)
def resize_(x: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """x with another size in place: its first elements, as its memory has them whatever the strides
    of x, then zeros where there are none."""
    shape = dims.sizes(sizes)
    if modes.trace is not None:
        raise Untraceable(f"resize_() of {x.spec} inside a step", fix="make a tensor of that size")
    if x.requires_grad:
        raise InvalidState("cannot resize variables that require grad", fix="use x.detach()")
    if shape == x.spec.shape:
        return x
    count = 1
    for n in shape:
        count *= n
    flat = shapes.reshape(x.detach(), (-1,))
    if not x.is_contiguous():
        flat = strided.as_strided(x.detach(), (min(count, x.numel()),), (1,))
    if count > flat.numel():
        none = creation.zeros(count - flat.numel(), dtype=x.dtype, device=x.device)
        flat = shapes.cat([flat, none])
    show(x, shapes.reshape(shapes.narrow(flat, 0, 0, count), shape))
    return x


@public(method=True)
def resize_as_(x: Tensor, other: Tensor, *, memory_format: Any = None) -> Tensor:
    """x with the size of `other`, in place: see `resize_`."""
    return resize_(x, other.spec.shape)


@public(method=True)
def set_(x: Tensor, source: Tensor | None = None) -> Tensor:
    """x over the memory of `source`, in its shape, from now on; without one, of no elements."""
    if modes.trace is not None:
        raise Untraceable(
            f"set_() of {x.spec} inside a step",
            why="tensors would share memory, or change their size, from then on",
            fix="copy the elements with copy_(), or call set_() before the step",
        )
    source = creation.empty(0, dtype=x.dtype, device=x.device) if source is None else source
    if not is_tensor(source):
        raise Unsupported(f"set_() to a {type(source).__name__}", fix="pass a tensor")
    if source.dtype is not x.dtype:
        raise DTypeMismatch(f"set_() of {x.spec} to {source.spec}")
    if source.device != x.device:
        raise DevicesMixed(f"set_() of a tensor on {x.device} to one on {source.device}")
    if modes.grad and (x.requires_grad or source.requires_grad):
        raise InvalidState("set_() has no derivative", fix="use no_grad(), or detach()")
    versions = x.storage.version, source.storage.version
    show(x, source)
    x._base = None
    x.storage.version = max(versions) + 1  # what had saved x finds that it is another
    return x


class UntypedStorage:
    """Bytes: those that a tensor is a view of, or a part of a file."""

    def __init__(self, memory: Any, where: device = CPU) -> None:
        self._bytes: Any = memory
        self.device = where

    def cpu(self) -> UntypedStorage:
        return self.to(CPU)

    def cuda(self, device: Any = None) -> UntypedStorage:
        return self.to("cuda" if device is None else device)

    def to(self, where: Any) -> UntypedStorage:
        """The bytes on a device."""
        whole = tensors.wrapped(np.asarray(self)) if self.device is CPU else None
        named = resolve(where)
        if named is self.device:
            return self
        whole = whole if whole is not None else device_ops.over(self._bytes)
        return untyped_storage(whole.to(named))

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The file's first bytes, read when they are looked at; writes stay here."""
        if shared:
            raise Unsupported("UntypedStorage.from_file: shared=True", fix="use shared=False")
        return cls(np.memmap(filename, np.uint8, "c", shape=(nbytes,)))

    def data_ptr(self) -> int:
        return place_of(self._bytes).address(self._bytes)

    def nbytes(self) -> int:
        return int(self._bytes.nbytes)

    size = __len__ = nbytes

    def untyped(self) -> UntypedStorage:
        return self

    def __getitem__(self, at: slice) -> UntypedStorage:
        return UntypedStorage(self._bytes[at], self.device)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._bytes, dtype)


@public(method=True)
def untyped_storage(x: Tensor) -> UntypedStorage:
    """What tells tensors over the same memory."""
    x.storage.unpack()
    base = x.storage.array
    if base is None:
        x.host()  # says why there is none
    if x.is_cpu:
        return UntypedStorage(np.asarray(base).reshape(-1).view(np.uint8))
    return UntypedStorage(device_ops.bytes_of(base), x.device)


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """A tensor whose memory lies by these strides (in elements); its elements are zero here.

    -> shape `size`.
    """
    shape, steps = dims.sizes((size,)), dims.sizes((stride,))
    if len(shape) != len(steps):
        raise ShapeMismatch(f"empty_strided: size {shape} and stride {steps} differ in length")
    last = sum((n - 1) * s for n, s in zip(shape, steps)) if 0 not in shape else -1
    grad = options.pop("requires_grad", False)
    memory = creation.zeros(last + 1, **options)
    return strided.as_strided(memory, shape, steps).detach().requires_grad_(grad)


@public(method=True)
def new_empty_strided(
    x: Tensor, size: Sequence[int], stride: Sequence[int], **options: Any
) -> Tensor:
    """`empty_strided` of x's dtype and on its device, unless options say otherwise."""
    kind = options.pop("dtype", None) or x.dtype
    options.setdefault("device", x.device)
    return empty_strided(size, stride, dtype=kind, **options)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """A dense tensor whose dimensions lie in this order, the outermost first.

    -> shape `size`; its elements are zero here.
    """
    shape, order = dims.sizes((size,)), dims.sizes((physical_layout,))
    if sorted(order) != list(range(len(shape))):
        raise ShapeMismatch(f"empty_permuted: {order} is no order of the dimensions of {shape}")
    steps, step = [0] * len(shape), 1
    for k in reversed(order):
        steps[k], step = step, step * max(shape[k], 1)
    return empty_strided(shape, steps, **options)
