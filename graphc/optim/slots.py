"""The state of an optimizer: tables that count each change of a tensor in them.

A compiled step has bound the slots that it found. That another tensor stands in a table now is seen
by one number, which costs a call nothing; numbers in the tables are read or set by the step itself.
Once a state dict has been loaded, each call reads the slots that it finds (`rebound.py`).
"""

from __future__ import annotations

from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.table import Table, changing, told
from graphc.frontend.tensor import Tensor


class Layout:
    """How often a slot was made or replaced."""

    def __init__(self) -> None:
        self.moves = 0
        self.loaded = False  # whether a state dict was loaded, as may be another


class SlotTable(Table):
    """The slots of a parameter by name; with `nested`, such tables by parameter."""

    layout: Layout | None = None  # while it is being unpickled

    def __init__(self, layout: Layout, items: Any = (), nested: bool = False) -> None:
        super().__init__(items)
        self.layout, self.nested = layout, nested

    def _moved(self, *changed: Any) -> None:
        if tracing.active() is not None:
            changing(self)  # and put back when the trace ends
        elif self.layout is not None and any(isinstance(x, Tensor | dict) for x in changed):
            self.layout.moves += 1

    def __missing__(self, key: Any) -> SlotTable:
        if self.layout is None or not self.nested:
            raise KeyError(key)
        self[key] = made = SlotTable(self.layout)
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        if (old := self.get(key)) is not value:
            self._moved(old, value)
        told(self, key)
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        self._moved(self.get(key))
        told(self, key)
        super().__delitem__(key)

    def __ior__(self, other: Any) -> SlotTable:  # type: ignore[misc]  # fewer overloads
        self.update(other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return super().__getitem__(key)

    def pop(self, *args: Any) -> Any:
        self._moved(self.get(args[0]))
        told(self, args[0])
        return super().pop(*args)

    def popitem(self) -> tuple[Any, Any]:
        if not self:
            return super().popitem()  # which raises
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        self._moved(*self.values())
        for key in self:
            told(self, key)
        super().clear()

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return _remade, (self.nested,), {"layout": self.layout}, None, iter(self.items())


def _remade(nested: bool) -> SlotTable:
    """An empty table; its `layout` comes after its items."""
    made = SlotTable.__new__(SlotTable)
    made.nested = nested
    return made
