"""Small parameters together: in eager mode the update of many is that of one long vector.

A rule for each element has the same bits there, and is called once instead of for each parameter,
which for a bias takes longer than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc.frontend.modes import modes
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.whole import watched
from graphc.ir.types import TensorSpec, f32, f64

SMALL = 1 << 14  # elements; a larger one's arithmetic takes longer than its calls, and than copies

Slots = Any  # a parameter's slots by name; "step" is one counter for many parameters
Table = Any  # such slots by parameter


def together(params: Sequence[Tensor], state: Table) -> Iterator[tuple[Tensor, Slots]]:
    """Parameters with their slots, to be updated in place by a rule for each element: many small
    ones as one, whose elements they get when the next is asked for."""
    if modes.trace is not None or modes.grad or watched():
        yield from ((p, _slots(state, p)) for p in params)
        return
    found: dict[Hashable, list[Tensor]] = {}
    for k, p in enumerate(params):
        key = _kind(p, _slots(state, p))
        found.setdefault(k if key is None else key, []).append(p)
    for members in found.values():
        if len(members) == 1 or not _apart(members):
            yield from ((p, _slots(state, p)) for p in members)
        else:
            yield from _as_one(members, [_slots(state, p) for p in members])


def _slots(state: Table, p: Tensor) -> Slots:
    return state.get(p, {})


def _kind(p: Tensor, slots: Slots) -> Hashable:
    """What parameters that go together have in common; None of one that goes alone."""
    dtype, g = p._spec.dtype, p._grad
    if p._spec.numel > SMALL or dtype not in (f32, f64) or g is None:
        return None
    others = [x for name, x in slots.items() if name != "step"]
    if not all(isinstance(x, Tensor) and x._spec == p._spec for x in others):
        return None
    if not all(_is_line(x) for x in (p, g, *others)):
        return None
    return (dtype, id(slots.get("step")), *slots)


def _is_line(x: Tensor) -> bool:
    """Whether its elements can be read and written as a vector's."""
    array = x.array
    if type(array) is not np.ndarray or x.storage.strides:
        return False
    return bool(array.flags.c_contiguous and array.flags.writeable)


def _apart(members: Sequence[Tensor]) -> bool:
    """Whether no two may share memory: what the first gets the second would read."""
    arrays = [p.array for p in members]
    owners = {id(a if a is None or a.base is None else a.base) for a in arrays}
    return len(owners) == len(members)


def _as_one(members: Sequence[Tensor], slots: Sequence[Slots]) -> Iterator[tuple[Tensor, Slots]]:
    p = _joined(members)
    p._grad = _joined([x._grad for x in members])
    own = [name for name in slots[0] if name != "step"]
    made = {name: _joined([s[name] for s in slots]) for name in own}
    shared = {"step": slots[0]["step"]} if "step" in slots[0] else {}
    yield p, {**shared, **made}
    _part(p, members)
    for name in own:
        _part(made[name], [s[name] for s in slots])


def _joined(xs: Sequence[Any]) -> Tensor:
    line = np.concatenate([x.array.reshape(-1) for x in xs])
    return fresh(line, TensorSpec(xs[0]._spec.dtype, line.shape))


def _part(line: Tensor, xs: Sequence[Any]) -> None:
    """Write the elements of a vector back, where they are new."""
    if not line.storage.version:
        return
    array, at = line.array, 0
    assert array is not None, "made of arrays"
    for x in xs:
        target = x.array.reshape(-1)
        target[:] = array[at : at + target.size]
        x.storage.version += 1
        at += target.size
