"""Writes in place by a function that vmap applies to one slice after the other.

What it makes itself and the slices it may write. A tensor that is the same for all slices, captured
or handed on whole, would be written by each in turn, and the last would win.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from graphc.errors import InvalidState
from graphc.frontend import device_ops
from graphc.frontend.modes import modes
from graphc.frontend.tensor import copied

if TYPE_CHECKING:
    from graphc.frontend.storage import Storage
    from graphc.frontend.tensor import Tensor
    from graphc.ir.types import Array


class Mapped:
    """One call of a function that vmap has made; inside `with`, it sees all writes.

    What two slices write outlives a slice: the second write is refused, and the first taken back.
    """

    def __init__(self, slices: Iterable[Tensor]) -> None:
        self.slices = WeakSet(x.storage for x in slices)
        self.number = 0  # of the slice that is computed
        self._written: WeakKeyDictionary[Storage, int] = WeakKeyDictionary()
        self._saved: WeakKeyDictionary[Storage, list[tuple[Array, Tensor]]] = WeakKeyDictionary()
        self._outer: Mapped | None = None

    def __enter__(self) -> Mapped:
        self._outer, modes.mapped = modes.mapped, self
        return self

    def __exit__(self, *failure: object) -> None:
        modes.mapped = self._outer

    def check(self, x: Tensor) -> None:
        """Before x is written."""
        if self._outer is not None:
            self._outer.check(x)
        storage = x.storage
        if storage in self.slices:
            return
        if self._written.setdefault(storage, self.number) != self.number:
            self._restore()
            raise InvalidState(
                f"vmap: a write in place to {x.spec}, which is the same for all slices",
                why="the slices would write it one after the other, and the last would win",
                fix="return the values and write them after vmap(), or map over the tensor, too",
            )
        if modes.trace is None and x.array is not None:
            saved = self._saved.setdefault(storage, [])
            saved.append((x.array, copied(x)))

    def _restore(self) -> None:
        for saved in self._saved.values():
            for array, before in reversed(saved):
                assert before.array is not None, "not traced"
                device_ops.transfer(array, before.array)
