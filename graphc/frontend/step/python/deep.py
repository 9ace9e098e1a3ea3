"""What C code reads of its arguments: items, attributes, and all that these lead to.

Python code that C code calls back is watched. What C code looks up by itself (`attrgetter` as the
key of `max`, `map(getattr, ...)`, pickling, the text of a namespace) nobody sees, so all is noted.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import partial
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, SimpleNamespace
from typing import Any

from graphc.frontend.step.python.found import is_module, own, slots, stored
from graphc.frontend.step.python.held import CONTAINERS, FIXED, mapping_of
from graphc.frontend.step.python.reads import MAX_ITEMS, Reads
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.tensor import Tensor

READERS = (operator.attrgetter, operator.itemgetter, operator.methodcaller)
LOOKING_UP = (getattr, hasattr, vars, dir, operator.getitem, operator.contains)
SKIPPED = (*FIXED, Tensor, type, FunctionType, MethodType)


def shown(reads: Reads, frame: FrameType, x: Any) -> None:
    """x is compared or made a text by C code: containers and namespaces."""
    if isinstance(x, CONTAINERS) or type(x) is SimpleNamespace:
        _follow(reads, frame, [x], (SimpleNamespace,))


def deep(reads: Reads, frame: FrameType, *given: Any) -> None:
    """All that these lead to, attributes of the user's own objects included."""
    _follow(reads, frame, [*given], ())


def handed(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    """The arguments of a call, if C code among them reads for C code."""
    for f in args:
        if type(f) is BuiltinFunctionType and isinstance(f.__self__, CONTAINERS):
            reads.whole(frame, f.__self__)
        elif _looks_up(f):
            deep(reads, frame, *args)


def _looks_up(f: Any) -> bool:
    while type(f) is partial:
        f = f.func
    return isinstance(f, READERS) or (type(f) in (BuiltinFunctionType, type) and f in LOOKING_UP)


def _follow(reads: Reads, frame: FrameType, pending: list[Any], kinds: tuple[type, ...]) -> None:
    met: set[int] = set()
    while pending:
        x = mapping_of(pending.pop())
        if isinstance(x, SKIPPED) or id(x) in met:
            continue
        met.add(id(x))
        if len(met) > MAX_ITEMS:
            what = f"`{reads.name(x)}` and more than {MAX_ITEMS} other objects are read"
            reads.refuse(frame, None, what, "read outside the step what it needs")
            return
        if isinstance(x, CONTAINERS):
            reads.whole(frame, x)
            pending += _items(x)
        elif type(x) in kinds or (not kinds and _opens(reads, x)):
            pending += _attributes(reads, frame, x)


def _opens(reads: Reads, x: Any) -> bool:
    kind = type(x)
    return kind in (SimpleNamespace, partial) or is_module(x) or reads.is_users(kind)


def _items(c: Any) -> Iterable[Any]:
    if isinstance(c, dict):
        return [*c.keys(), *c.values()]
    return list(c) if isinstance(c, list | tuple | set | frozenset) or hasattr(c, "popleft") else []


def _attributes(reads: Reads, frame: FrameType, x: Any) -> list[Any]:
    """The values of an object's own attributes, each noted."""
    if type(x) is partial:
        return [x.func, x.args, x.keywords]
    reads.table(frame, x)
    reads.whole(frame, own(x))
    names = [*own(x), *(() if is_module(x) else slots(type(x)))]
    for name in names:
        reads.attribute(frame, x, name)
    found = [own(x).get(n, MISSING) for n in names]
    kept = [vars(k)[n] for k in type(x).__mro__ for n in names if n in vars(k)]
    return [*found, *(stored(x, s) for s in kept if hasattr(s, "__objclass__"))]
