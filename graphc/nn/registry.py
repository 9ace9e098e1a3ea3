"""Registry: a module's table of parameters, buffers or submodules, which tells when it changes."""

from __future__ import annotations

from typing import Any, Self

from graphc.frontend import epoch
from graphc.frontend.table import Table, changing, registering, told

__all__ = ["Buffers", "Registry"]


class Registry(dict[str, Any]):
    """A dict whose every change moves the module epoch, also one made behind the module's back. A
    compiled step that leaves other entries than it has found is refused, and has changed none."""

    def _changing(self) -> None:
        registering(self)
        epoch.modules_changed()

    def __setitem__(self, name: str, item: Any) -> None:
        self._changing()
        super().__setitem__(name, item)

    def __delitem__(self, name: str) -> None:
        self._changing()
        super().__delitem__(name)

    def pop(self, *args: Any) -> Any:
        self._changing()
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        self._changing()
        return super().popitem()

    def clear(self) -> None:
        self._changing()
        super().clear()

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._changing()
        super().update(*args, **kwargs)

    def setdefault(self, name: str, item: Any = None) -> Any:
        self._changing()
        return super().setdefault(name, item)

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc,override]  # dict's has overloads
        self.update(other)
        return self


class Buffers(Registry, Table):
    """A table of buffers: a step that rebinds one does so at each call, as with an attribute, and
    whoever kept the old tensor keeps its values. A new name is no state of an earlier call."""

    def __setitem__(self, name: str, item: Any) -> None:
        if name not in self:
            super().__setitem__(name, item)
            return
        if self[name] is not item:
            changing(self)  # put back when the trace ends
            told(self, name)
        epoch.modules_changed()
        dict.__setitem__(self, name, item)
