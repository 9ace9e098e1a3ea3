"""The signature of a call: what must be equal for a compiled plan to be used again.

Tensors count by dtype, shape, strides and requires_grad, Python numbers and texts by type and
value, containers and dataclasses by their items, and any other object by identity. Tensors that are
the same memory seen the same way are one argument; such that share memory otherwise are marked: a
plan that writes one has their memory as state.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from graphc.errors import InvalidType
from graphc.frontend.cycles import refuse_cycles
from graphc.frontend.geometry import shown_strides
from graphc.frontend.modes import _default, modes
from graphc.frontend.places import place_of
from graphc.frontend.size import Size
from graphc.frontend.step.python.guards import Change, Same
from graphc.frontend.step.python.numbers import HostNumber
from graphc.frontend.switches import precision_asked
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType

PLAIN = (int, bool, str, bytes, complex, type(None), DType, type)
TABLES = (dict, OrderedDict)
PRODUCTS = {"highest": "as written", "medium": "of bfloat16 where that pays"}
Key = tuple[Hashable, ...]
# What a key says of the process.
Mode = tuple[bool, tuple[Any, ...], tuple[tuple[str, DType], ...], DType, str]
Kinds = type | tuple[type, ...]
NOTHING: Mapping[int, Any] = {}


def signature(args: Sequence[Any], kwargs: Mapping[str, Any], leaves: list[Tensor]) -> Key:
    """The key of a call; appends its tensors to `leaves`, in order."""
    try:
        return _signature(args, kwargs, leaves)
    except RecursionError:
        refuse_cycles([*args, *kwargs.values()], _items)
        raise


def _items(x: Any) -> Sequence[Any]:
    """What stands in a container."""
    if isinstance(x, list | tuple):
        return x
    if type(x) in TABLES:
        return [*x.values()]
    return [*record(x).values()] if is_record(x) else []


def _signature(args: Sequence[Any], kwargs: Mapping[str, Any], leaves: list[Tensor]) -> Key:
    key: list[Hashable] = [
        (modes.grad, modes.functions, modes.autocast, _default[0], precision_asked())
    ]
    for a in args:
        if isinstance(a, Tensor):
            t = a._spec
            leaves.append(a)
            if type(a.array) is not np.ndarray:
                key.append(on_device(a))
            elif a.views or a.storage.strides:
                key.append((t.dtype, t.shape, a.requires_grad, *shown_strides(a)))
            else:
                key.append((t.dtype, t.shape, a.requires_grad))
        else:
            key.append(part(a, leaves))
    for name in kwargs:
        key += (name, part(kwargs[name], leaves))
    if len(leaves) > 1 and len({id(x.storage) for x in leaves}) < len(leaves):
        key.append(sharing(leaves))
    return tuple(key)


def part(x: Any, leaves: list[Tensor]) -> Hashable:
    if isinstance(x, Tensor):
        leaves.append(x)
        if type(x.array) is not np.ndarray:
            return on_device(x)
        return x._spec.dtype, x._spec.shape, x.requires_grad, *shown_strides(x)
    if isinstance(x, PLAIN):
        return type(x), x
    if isinstance(x, HostNumber):
        return x.kind, "read at each call"
    if isinstance(x, float):
        return float, "nan" if math.isnan(x) else repr(x)
    if type(x) in (list, tuple) or (isinstance(x, tuple) and hasattr(x, "_fields")):
        return type(x), *[part(item, leaves) for item in x]
    if type(x) in TABLES:
        return type(x), *x.keys(), *[part(item, leaves) for item in x.values()]
    if isinstance(x, np.ndarray):
        raise InvalidType(
            "a NumPy array as an argument of a compiled function",
            why="its values would be fixed when the step is traced",
            fix="pass graphc.from_numpy(array), which shares its memory",
        )
    if is_record(x):
        return type(x), *[part(item, leaves) for item in record(x).values()]
    refuse_foreign(x, "an argument of a compiled function")
    return Same(x)


def on_device(x: Tensor) -> Hashable:
    """The part of a tensor whose memory is no array of NumPy's own."""
    index = getattr(x.array, "index", None)  # of the GPU: asking for its place takes longer
    place = index if type(index) is int else place_of(x.array).name
    return x._spec.dtype, x._spec.shape, x.requires_grad, *shown_strides(x), place


def refuse_foreign(x: object, where: str) -> None:
    """Raise InvalidType for a tensor or module of PyTorch's."""
    kinds = {k.__module__.partition(".")[0] for k in type(x).__mro__ if k.__module__}
    if "torch" not in kinds or "graphc" in kinds:
        return
    fixes = {
        "state_dict": "build it from graphc.nn, and load its state_dict()",
        "numpy": "pass graphc.from_numpy(x.numpy()), which shares its memory",
    }
    for name, fix in fixes.items():
        if hasattr(x, name):
            raise InvalidType(f"a {type(x).__name__} of PyTorch's as {where}", fix=fix)


def is_record(x: object) -> bool:
    """Whether x is a dataclass's instance, a container of its fields."""
    return dataclasses.is_dataclass(x) and not isinstance(x, type)


def record(x: Any) -> dict[str, Any]:
    """The fields of a dataclass's instance that have a value."""
    names = (f.name for f in dataclasses.fields(x))
    return {name: getattr(x, name) for name in names if hasattr(x, name)}


def sharing(leaves: Sequence[Tensor]) -> tuple[tuple[int, bool], ...]:
    """For each tensor the first that has its storage, and whether it shows the very same."""
    first: dict[int, int] = {}
    rows = []
    for k, x in enumerate(leaves):
        at = first.setdefault(id(x.storage), k)
        rows.append((at, alike(leaves[at], x)))
    return tuple(rows)


def alike(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors show the same elements of the same memory, with the same history."""
    if x is y:
        return True
    a, b = x.array, y.array
    if x.storage is not y.storage or a is None or b is None or x._spec != y._spec:
        return False
    place = place_of(a)
    return place.address(a) == place.address(b) and a.strides == b.strides and edge(x) is edge(y)


def edge(x: Tensor) -> object:
    """What tells whose gradient it is: the node that made it, else the leaf itself."""
    return (x.grad_fn or x) if x.requires_grad else None


def rebuilt(
    x: Any, leaf: Callable[[Any], Any], kind: Kinds = Tensor, instead: Mapping[int, Any] = NOTHING
) -> Any:
    """A copy of nested containers in which each `kind` in them is `leaf(it)`, and a container of
    these ids what is put `instead`."""
    try:
        return _rebuilt(x, leaf, kind, instead)
    except RecursionError:
        refuse_cycles(x, _items)
        raise


def _rebuilt(x: Any, leaf: Callable[[Any], Any], kind: Kinds, instead: Mapping[int, Any]) -> Any:
    if isinstance(x, kind):
        return leaf(x)
    if instead and id(x) in instead:
        return instead[id(x)]
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*[_rebuilt(item, leaf, kind, instead) for item in tuple.__iter__(x)])
    if type(x) in (list, tuple, Size):
        return type(x)(_rebuilt(item, leaf, kind, instead) for item in x)
    if type(x) in TABLES:
        return type(x)((k, _rebuilt(item, leaf, kind, instead)) for k, item in x.items())
    if is_record(x):
        return _record_rebuilt(x, leaf, kind, instead)
    return x


def _record_rebuilt(
    x: Any, leaf: Callable[[Any], Any], kind: Kinds, instead: Mapping[int, Any]
) -> Any:
    """A copy of a dataclass's instance, but itself if nothing in it is of the kind."""
    met: list[Any] = []

    def noted(item: Any) -> Any:
        met.append(item)
        return leaf(item)

    items = record(x)
    new = {name: _rebuilt(item, noted, kind, instead) for name, item in items.items()}
    if not met and not any(id(item) in instead for item in items.values()):
        return x
    out = copy.copy(x)
    for name, item in new.items():
        object.__setattr__(out, name, item)  # a frozen one, too
    return out


def change(old: Key, new: Key, names: Sequence[str]) -> list[Change]:
    """How a call's signature differs from another's, one row an argument."""
    if old[:1] != new[:1]:
        return [Change("mode", _mode(old), _mode(new))]
    were, are = (_by_name(key[1:], names) for key in (old, new))
    return [
        Change(f"argument `{name}`", _given(were, name), _given(are, name))
        for name in dict.fromkeys([*were, *are])
        if (name in were) != (name in are) or were.get(name) != are.get(name)
    ]


def _by_name(parts: Sequence[Hashable], names: Sequence[str]) -> dict[str, Hashable]:
    """The parts of a key by the names of their arguments: a text comes before one with a name."""
    found: dict[str, Hashable] = {}
    rest = list(parts)
    while rest:
        part = rest.pop(0)
        if isinstance(part, str) and rest:
            found[part] = rest.pop(0)
        elif isinstance(part, tuple) and part and type(part[0]) is tuple:
            found["sharing of memory"] = part  # see `sharing`
        else:
            k = len(found)
            found[names[k] if k < len(names) else f"number {k + 1}"] = part
    return found


def _given(parts: Mapping[str, Hashable], name: str) -> str:
    return shown(parts[name]) if name in parts else "not given"


def _mode(key: Key) -> str:
    """What the first part of a key says of the process."""
    if not key:
        return ""
    grad, functions, casts, default, asked = cast(Mode, key[0])
    told = [f"grad {grad}", *(f"autocast {kind} {dtype!r}" for kind, dtype in casts)]
    told += [f"inside {type(mode).__name__}" for mode in functions]
    told.append(f"default {default!r}")
    told += [f"float32 products {PRODUCTS[asked]}"] if asked else []
    return ", ".join(told)


def shown(part: Any) -> str:
    """One argument's part of a key, as text."""
    if isinstance(part, Same):
        return f"a {type(part.item).__name__}"
    if isinstance(part, tuple) and len(part) > 2 and isinstance(part[0], DType):
        dims = ",".join(map(str, part[1]))
        rest = tuple(p for p in part[3:] if not isinstance(p, str))
        told = f" with strides {rest}" if rest else ""
        told += "".join(f" on {p}" for p in part[3:] if isinstance(p, str))
        return f"{part[0].name}[{dims}]" + told + (" requires_grad" if part[2] else "")
    if isinstance(part, tuple) and part and isinstance(part[0], type):
        if part[0] in (list, tuple, *TABLES):
            return f"{part[0].__name__}({', '.join(shown(p) for p in part[1:])})"[:80]
        return str(part[1])[:80] if part[0] in (int, float) else repr(part[1])[:80]
    return repr(part)[:80]
