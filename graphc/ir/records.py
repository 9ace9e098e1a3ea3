"""Frozen records as bytes and back: numbers, texts, tuples, sizes and the classes of one table.

`JSON [version, rows]`: each distinct value is one row and comes after what it is made of, which it
names by number; the last row is the whole. So what many records share is written, read and kept
once; so are kernels of one text, but for where their statements come from. Nothing but the
constructors below is ever called, whatever the bytes say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from operator import attrgetter
from typing import Any

from graphc.errors import FileFormatError
from graphc.ir import kernel as k
from graphc.ir.extent import Derived, Extent, Quotient
from graphc.ir.graph import Graph
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_bound import Bound
from graphc.ir.program import Assumption, CheckSite, Launch, Slot
from graphc.ir.symbols import Symbol
from graphc.ir.text import parse, show
from graphc.ir.types import DTYPES, DType, TensorSpec

VERSION = 4
CLASSES: tuple[type, ...] = (
    k.Affine, k.Apply, k.Axis, k.Buffer, k.Call, k.Const, k.Dot, k.Guard, k.Index, k.Indirect,
    k.Inside, k.Load, k.Operand, k.Partial, k.Phase, k.Reduce, k.Roles, k.ScalarArg, k.Store,
    k.WindowAxis, Assumption, Bound, CheckSite, Launch, Slot, TensorSpec,
)  # fmt: skip


def _tuple_of(get: Callable[[Any], Any], x: Any) -> tuple[Any, ...]:
    return (get(x),)


FIELDS: Mapping[type, tuple[str, ...]] = {
    **{cls: tuple(f.name for f in fields(cls) if f.init) for cls in (*CLASSES, Quotient)},
    Derived: ("op", "args"),
}
GETTERS: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    cls: attrgetter(*names) if len(names) > 1 else partial(_tuple_of, attrgetter(*names))
    for cls, names in FIELDS.items()
}
KERNEL_FIELDS = tuple(f.name for f in fields(Kernel) if f.init)
TEXT_FIELDS = tuple(name for name in KERNEL_FIELDS if name not in ("name", "note"))
PLAIN = (str, int, float, bool, type(None))


def _tuple(*items: Any) -> tuple[Any, ...]:
    return items


def _kernel(*parts: Any) -> Kernel:
    """A kernel that knows its key, which is long to print."""
    kernel = Kernel(*parts[:-1])
    kernel._key.append(parts[-1])
    return kernel


def _alike(first: Kernel, name: str, note: str, *where: str) -> Kernel:
    return k.retold(first, name, note, where)


def _same_text(a: Kernel, b: Kernel) -> bool:
    """Whether they differ in nothing but name, note and where statements come from."""
    return a.call is None and all(getattr(a, f) == getattr(b, f) for f in TEXT_FIELDS)


def _extent(*parts: Any) -> Extent:
    """Products of atoms and their factors, in turn."""
    return Extent(dict(zip(parts[::2], parts[1::2], strict=True)))


# By the number that a row begins with.
MAKERS: tuple[Callable[..., Any], ...] = (
    _tuple, _kernel, _alike, _extent, DTYPES.__getitem__, parse, Derived, Quotient, *CLASSES,
)  # fmt: skip
TUPLE, KERNEL, ALIKE, EXTENT, DTYPE, GRAPH, DERIVED, QUOTIENT = range(8)
NUMBERS: Mapping[type, int] = {
    **{cls: n for n, cls in enumerate(CLASSES, QUOTIENT + 1)},
    Derived: DERIVED,
    Quotient: QUOTIENT,
}
SYMBOL = len(MAKERS)  # reads one that the reader knows by name
KINDS: Mapping[type, int] = {
    **NUMBERS, tuple: TUPLE, Kernel: KERNEL, Extent: EXTENT, DType: DTYPE, Graph: GRAPH,
    Symbol: SYMBOL,
}  # fmt: skip


def written(x: Any) -> bytes:
    """x as bytes. Raises TypeError for what no row holds."""
    writer = _Writer()
    writer.number(x)
    return json.dumps([VERSION, writer.rows], separators=(",", ":")).encode()


class _Writer:
    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._known: dict[tuple[int, ...], int] = {}
        self._seen: dict[int, int] = {}  # by identity: all these live while this does
        self._kernels: dict[str, Kernel] = {}  # the first of each text
        # By type, as 1 == True == 1.0; floats by their text, as 0.0 == -0.0.
        self._plain: dict[type, dict[Any, int]] = {cls: {} for cls in PLAIN}

    def number(self, x: Any) -> int:
        """The row of x, written now if it is new."""
        if (known := self._plain.get(type(x))) is not None:
            key = repr(x) if type(x) is float else x
            if (found := known.get(key)) is None:
                found = known[key] = self._new(x)
            return found
        found = self._seen.get(id(x))
        if found is None:
            found = self._seen[id(x)] = self._record(x)
        return found

    def _record(self, x: Any) -> int:
        """The row of a record that was not met before, though an equal one may have been."""
        kind, parts = self._kind(x), self._parts(x)
        if kind == KERNEL:
            first = self._kernels.setdefault(x.key(), x)
            if first is not x and _same_text(first, x):
                kind, parts = ALIKE, (first, x.name, x.note, *k.sources(x))
        row = [kind]
        seen, plain = self._seen, self._plain
        for part in parts:  # most were met before
            known = plain.get(type(part))
            if known is None:
                found = seen.get(id(part))
            else:
                found = known.get(part) if type(part) is not float else None
            row.append(self.number(part) if found is None else found)
        key = tuple(row)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._new(row)
        return found

    def _new(self, row: Any) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def _kind(self, x: Any) -> int:
        kind = KINDS.get(type(x))
        if kind is None:
            raise TypeError(f"no row holds a {type(x).__name__}")
        return kind

    def _parts(self, x: Any) -> Iterable[Any]:
        cls = type(x)
        if cls is tuple:
            return x  # type: ignore[no-any-return]  # just asked
        if cls in GETTERS:
            return GETTERS[cls](x)
        if cls is Kernel:
            return [*(getattr(x, name) for name in KERNEL_FIELDS), x.key()]
        if cls is Extent:
            return [part for term in x.terms.items() for part in term]
        return [show(x) if cls is Graph else x.name]  # or of a DType, a Symbol


def read(data: bytes, symbols: Mapping[str, Symbol]) -> Any:
    """What `written` wrote, over these symbols. Raises FileFormatError where it does not fit."""
    try:
        version, rows = json.loads(data)
        if version != VERSION:
            raise FileFormatError(f"records of version {version!r}")
        makers = (*MAKERS, symbols.__getitem__)
        made: list[Any] = []
        for row in rows:
            if type(row) is list:
                made.append(makers[row[0]](*[made[n] for n in row[1:]]))
            else:
                made.append(row)
        return made[-1]
    except FileFormatError:
        raise
    except Exception as e:  # whatever a constructor says of what is not its own
        raise FileFormatError(f"records that do not fit: {type(e).__name__}") from None
