"""Tensors on a GPU: moved there and back, operations sent to their place, copies between places.

`Tensor.emit` and the few other functions that touch memory come here once some tensor may be on a
GPU, `devices.ACCELERATORS` not being empty. What runs an operation there is its `DevicePlace`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from graphc.errors import DevicesMixed, DeviceUnavailable, InvalidState, Untraceable
from graphc.frontend import layouts, meta
from graphc.frontend import tensor as tensors
from graphc.frontend.devices import (
    ACCELERATORS,
    CPU,
    META,
    META_ONLY,
    Accelerator,
    accelerator,
    device,
    resolve,
)
from graphc.frontend.geometry import elementwise_strides, shown_strides
from graphc.frontend.located import device_of
from graphc.frontend.modes import modes
from graphc.frontend.places import DevicePlace, place_on
from graphc.frontend.reading import leaked
from graphc.frontend.tape import record_rule
from graphc.frontend.views import VIEW_OPS, inverse, strides_after
from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import FROM_NUMPY, Array, DType, Shape, TensorSpec, i32

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def place_at(where: device) -> DevicePlace | None:
    if where is META:
        return meta.META
    return None if where is CPU else accelerator().place(cast(int, where.index))


def mixed(devices: Iterable[device]) -> DevicesMixed:
    """PyTorch's error for operands on two devices."""
    a, b, *_ = dict.fromkeys(map(str, devices))
    return DevicesMixed(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{a} and {b}!"
    )


# ---- moving ------------------------------------------------------------------------------------


def moved(x: Tensor, where: device, wait: bool = True) -> Tensor:
    """x on a device, as it lies; x itself if it is there. Gradients come back to where x is."""
    here = device_of(x)
    if here is where:
        return x
    if modes.trace is not None:
        raise Untraceable(
            f"{x.spec} moved from {here} to {where} inside a compiled step",
            why="a step is one program on one device",
            fix="move it before the step",
        )
    if x.array is None:
        raise leaked(x)
    strides = layouts.preserved(x._spec.shape, shown_strides(x))
    out = tensors.fresh(_brought(x.array, x._spec, strides, where, wait), x._spec)
    out.storage.strides = strides
    record_rule("to", (out,), (x,), lambda gs: (moved(gs[0], here),))
    return out


def _brought(source: Array, spec: TensorSpec, strides: Shape, where: device, wait: bool) -> Array:
    """The elements of an array elsewhere, in memory with these strides."""
    order = layouts.order_of(spec.shape, strides) if strides else tuple(range(source.ndim))
    turned = source.transpose(order)
    place, here = place_at(where), place_on(source)
    if place is None:
        assert here is not None, "not where it was"
        made = here.download(turned)
    else:
        beside = None if wait or here is not None else place.fetched(turned)
        made = place.empty(turned.shape, source.dtype) if beside is None else beside
        if beside is None:
            transfer(made, turned, wait)
    return made.transpose(np.argsort(order))


def transfer(target: Array, source: Array, wait: bool = True) -> None:
    """target[...] = source, wherever the two are, of one type and shape."""
    there, here = place_on(target), place_on(source)
    if there is None:
        np.copyto(target, source if here is None else here.download(source))
    elif here is None:
        there.upload(target, source, wait)
    elif here is there:
        there.copy(target, source)
    else:  # between GPUs by way of the host, which every pair of them can reach
        there.upload(target, here.download(source), wait=True)


def like(x: Tensor, source: Tensor) -> Tensor:
    """x, made on the host by way of the elements of `source`, where that is."""
    return moved(x, device_of(source)) if ACCELERATORS and modes.trace is None else x


def together(operands: Sequence[Any]) -> Sequence[Any]:
    """Operands of one operation: beside tensors on a GPU, those of the CPU without dimensions
    are moved there, as PyTorch allows; any other mixture is an error."""
    given = [x for x in operands if isinstance(x, tensors.Tensor)]
    where = [device_of(x) for x in given]
    target = next((d for d in where if d is not CPU), None)
    if target is None or modes.trace is not None:
        return operands
    for x, d in zip(given, where):
        if d is not target and (d is not CPU or x._spec.shape):
            raise mixed(where)
    return [moved(x, target) if isinstance(x, tensors.Tensor) else x for x in operands]


def pinned(x: Tensor) -> Tensor:
    """A copy of x in memory of the host that a GPU reads by itself; x where there is none, or in a
    step, whose program reads memory as it is."""
    if modes.trace is not None:
        return x
    try:
        gpu = accelerator()
    except DeviceUnavailable:
        return x
    if device_of(x) is not CPU:
        what = f"cannot pin {x._spec} on {device_of(x)}: only dense CPU tensors can be pinned"
        raise InvalidState(what, fix="use tensor.cpu().pin_memory()")
    if x.array is None:
        raise leaked(x)
    if gpu.is_pinned(x.array):
        return x
    strides = shown_strides(x)
    order = layouts.order_of(x._spec.shape, strides) if strides else tuple(range(x.ndim))
    copy = gpu.pinned(np.array(x.array.transpose(order), order="C"))
    out = tensors.fresh(copy.transpose(np.argsort(order)), x._spec)
    out.storage.strides = strides
    return out


def made_on(
    where: Any, make: Callable[..., Tensor], args: Sequence[Any], options: Mapping[str, Any]
) -> Tensor:
    """What a factory makes, on a device: None is the default one."""
    device = resolve(where)
    if modes.trace is not None:
        out = make(*args, **options)
        return moved(out, device) if where is not None and ACCELERATORS else out
    before = modes.place
    modes.place = place_at(device)
    try:
        out = make(*args, **options)
    finally:
        modes.place = before
    return moved(out, device) if ACCELERATORS else out


# ---- operations --------------------------------------------------------------------------------


def apply(owner: Tensor, op: Op, args: Sequence[Any], attrs: Attrs) -> Tensor:
    """`op` where its operands are; one without any where its owner is."""
    known = [a for a in args if isinstance(a, tensors.Tensor)] or [owner]
    if all(place_on(x.array) is None for x in known):
        return tensors.eager(op, args, attrs)
    if op.kind == "elementwise":
        args = together(args)
        known = [a for a in args if isinstance(a, tensors.Tensor)]
    where = [device_of(x) for x in known]
    if any(d is not where[0] for d in where):
        raise mixed(where)
    place = place_on(known[0].array)
    assert place is not None, "one of them is on a GPU"
    return _at(place, op, args, attrs)


def _at(place: DevicePlace, op: Op, args: Sequence[Any], attrs: Attrs) -> Tensor:
    known = [isinstance(a, tensors.Tensor) for a in args]
    arrays: list[Any] = [a.array if k else a for a, k in zip(args, known)]
    types = [a._spec if k else None for a, k in zip(args, known)]
    if not all(known):
        arrays, types = tensors.with_numbers(arrays, types)
    spec = tensors.infer(op, cast("list[TensorSpec]", types), attrs)
    if op in VIEW_OPS:
        (x,) = args
        if x.storage.holders is not None:
            x.storage.unpack()
        if tensors.shows_memory(x, op, attrs):
            return tensors.view(x, op, attrs, seen(x.array, op, attrs, spec.shape), spec)
    if strides := elementwise_strides(op, args):  # compute in the order that the result lies in
        order = layouts.order_of(spec.shape, strides)
        arrays = [a.transpose(order) if a.ndim else a for a in arrays]
        turned = TensorSpec(spec.dtype, tuple(spec.shape[k] for k in order))
        made = _dense(place, op, arrays, attrs, turned).transpose(inverse(order))
    else:
        made = _dense(place, op, arrays, attrs, spec)
    out = tensors.fresh(made, spec)
    out.storage.strides = strides
    return out


def _dense(
    place: DevicePlace, op: Op, arrays: Sequence[Any], attrs: Attrs, spec: TensorSpec
) -> Any:
    if not spec.numel and not op.checks:
        return place.empty(spec.shape, spec.dtype.numpy)
    return place.run(op, arrays, attrs, spec)


def seen(array: Any, op: Op, attrs: Attrs, shape: Shape) -> Any:
    """A view of memory on a GPU: NumPy's rules by numbers alone."""
    size = array.itemsize
    strides = strides_after(op, attrs, array.shape, tuple(s // size for s in array.strides))
    assert strides is not None, "asked of what shows its memory"
    start = attrs["start"] if op.name == "slice" else ()
    offset = sum(k * s for k, s in zip(start, array.strides))
    return array.seen(shape, tuple(s * size for s in strides), offset)


def over(array: Any) -> Tensor:
    """A tensor over an array of a GPU."""
    out = tensors.fresh(array, TensorSpec(FROM_NUMPY[array.dtype], array.shape))
    if not array.flags.c_contiguous:
        out.storage.strides = tuple(s // array.itemsize for s in array.strides)
    return out


def reinterpreted(array: Any, dtype: DType) -> Tensor:
    """The bytes of an array as another type; the caller has seen that the last dimension fits."""
    return over(array.bytes_as(dtype.numpy))


def bytes_of(base: Any) -> Any:
    """All bytes of a storage's dense array, as a vector."""
    return base.seen((base.size,), (base.itemsize,)).bytes_as(np.dtype(np.uint8))


def full(x: Tensor, value: Any, spec: TensorSpec) -> Tensor | None:
    """A tensor of one value beside x; None if x is on the host."""
    place = place_on(x.array)
    return None if place is None else filled(place, value, spec)


def filled(place: DevicePlace, value: Any, spec: TensorSpec) -> Tensor:
    array = place.empty(spec.shape, spec.dtype.numpy)
    if spec.numel:
        place.fill(array, value)
    return tensors.fresh(array, spec)


def check_same(target: Tensor, source: Tensor) -> None:
    """A write in place takes what is computed where the target is."""
    a, b = device_of(target), device_of(source)
    if a is not b:
        raise mixed((a, b))


def bits(place: DevicePlace, seed: Tensor, draw: Tensor, shape: Shape) -> Tensor:
    """Random words of a draw, made on a GPU: the same as on the host."""
    spec, given = TensorSpec(i32, shape), [seed.array, draw.array]
    array = place.run(OPS["random_bits"], given, {"shape": shape}, spec)
    return tensors.fresh(array, spec)


def by_host(function: F) -> F:
    """A function whose tensors are made on the host, whatever factory calls it."""

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        if modes.place is None:
            return function(*args, **kwargs)
        place, modes.place = modes.place, None
        try:
            return function(*args, **kwargs)
        finally:
            modes.place = place

    return cast(F, inside)


# ---- without a GPU -----------------------------------------------------------------------------


class MetaOnly:
    """Stands for the GPUs where tensors are on the host or the meta device, and no GPU was used."""

    def _gpu(self) -> Accelerator:
        return accelerator()

    def count(self) -> int:
        return self._gpu().count()

    def current(self) -> int:
        return self._gpu().current()

    def place(self, index: int) -> DevicePlace:
        return self._gpu().place(index)

    def owning(self, address: int) -> int:
        return self._gpu().owning(address)

    def pinned(self, array: Array) -> Array:
        return self._gpu().pinned(array)

    def is_pinned(self, array: Array) -> bool:
        return False

    apply = staticmethod(apply)
    full = staticmethod(full)


META_ONLY.append(MetaOnly())
