"""Tensors on a GPU: moved there and back, operations sent to their place, copies between places.

`Tensor.emit` and the few other functions that touch memory come here once some tensor may be on a
GPU, `devices.ACCELERATORS` not being empty. What runs an operation there is its `DevicePlace`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.errors import DevicesMixed, Untraceable
from graphc.frontend import layouts
from graphc.frontend import tensor as tensors
from graphc.frontend.devices import ACCELERATORS, CPU, accelerator, cuda_device, device
from graphc.frontend.geometry import elementwise_strides, shown_strides
from graphc.frontend.modes import modes
from graphc.frontend.places import HOST, DevicePlace, place_of
from graphc.frontend.tape import record_rule
from graphc.frontend.views import VIEW_OPS, inverse, strides_after
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, Shape, TensorSpec

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


def place_on(array: Array | None) -> DevicePlace | None:
    """The GPU on which an array is; None on the host."""
    if type(array) is np.ndarray or array is None:
        return None
    place = place_of(array)
    return None if place is HOST else cast("DevicePlace", place)


def device_of(x: Tensor) -> device:
    """Where a tensor is; one of a trace, where the trace's tensors are."""
    if x.array is None:
        trace = modes.trace or x.storage.trace
        place: Any = HOST if trace is None else trace.place
    else:
        place = place_of(x.array)
    return CPU if place is HOST else cuda_device(place.index)


def place_at(where: device) -> DevicePlace | None:
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
        raise tensors.leaked(x)
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
        made = place.empty(turned.shape, source.dtype)
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


def on_host(array: Array) -> Array:
    """The elements of an array, for Python to look at: the array itself, or of a GPU's a copy."""
    place = place_on(array)
    return array if place is None else place.download(array)


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


def is_pinned(x: Tensor) -> bool:
    return x.array is not None and accelerator().is_pinned(x.array)


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
    spec = tensors.infer(op, types, attrs)
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
    dense = [a if type(a) is np.ndarray else place.row_major(a) for a in arrays]
    return place.run(op, dense, attrs, spec)


def seen(array: Any, op: Op, attrs: Attrs, shape: Shape) -> Any:
    """A view of memory on a GPU: NumPy's rules by numbers alone."""
    size = array.itemsize
    strides = strides_after(op, attrs, array.shape, tuple(s // size for s in array.strides))
    assert strides is not None, "asked of what shows its memory"
    start = attrs["start"] if op.name == "slice" else ()
    offset = sum(k * s for k, s in zip(start, array.strides))
    return array.seen(shape, tuple(s * size for s in strides), offset)


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
