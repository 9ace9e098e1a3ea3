"""Slices from a number that only a call knows, of a length that the code tells: x[ptr:ptr + n].

Queues, replay buffers and caches are written so. The elements are chosen by n indices from the
number on; each call checks that these are within x, where Python would give fewer.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend.api import creation
from graphc.frontend.checked import checked
from graphc.frontend.hostvalue import HostValue
from graphc.ir.extent import is_unknown

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

Linear = tuple[Any, Any, Any]  # a HostValue or None, what it is multiplied with, and what is added


def run(x: Tensor, axis: int, s: slice) -> Tensor | None:
    """The indices along `axis` of a slice that begins at such a number; None for any other."""
    start, step = s.start, 1 if s.step is None else s.step
    if not isinstance(start, HostValue) or step != 1 or not start.varies():
        return None
    count = _length(start, s.stop)
    if count is None:
        return None
    size, first = x.spec.shape[axis], start.as_tensor()
    what = f"a slice of {count} elements, from a number on that the call knows, leaves dimension"
    within = (first >= 0) & (first + count <= size)
    first = checked(first, within, f"{what} {axis} of {x.spec}", ShapeMismatch)
    found: Tensor = creation.arange(count, device=x.device) + first.to(x.device)
    return found


def _length(start: HostValue, stop: Any) -> Any:
    """How many numbers there are from start on to stop, if that is the same at each call."""
    if start.kind is not int or not isinstance(stop, HostValue):
        return None
    (base, scale, offset), (other, factor, end) = _linear(start), _linear(stop)
    if base is not other or scale != factor:
        return None
    count = end - offset
    return count if is_unknown(count) or count > 0 else 0


def _linear(x: Any) -> Linear:
    """x as base * scale + offset."""
    if not isinstance(x, HostValue):
        return None, 0, x
    action, args = x.recipe or (None, ())
    if action in (operator.add, operator.sub, operator.mul) and x.kind is int:
        (base, scale, offset), (other, factor, more) = map(_linear, args)
        if action is operator.mul and (base is None or other is None):
            by = offset if base is None else more
            scale, offset = (factor * by, more * by) if base is None else (scale * by, offset * by)
            return other if base is None else base, scale, offset
        sign = -1 if action is operator.sub else 1
        if action is not operator.mul and (base is None or other is None):
            return (
                other if base is None else base,
                sign * factor if base is None else scale,
                offset + sign * more,
            )
    return x, 1, 0
