"""Storage: the identity of a tensor's memory, shared by its views."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

from graphc.frontend import epoch
from graphc.frontend.layouts import order_of
from graphc.frontend.places import arranged, place_of
from graphc.frontend.views import row_major
from graphc.ir.types import Array, Shape, TensorSpec

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor
    from graphc.frontend.trace import Trace

    Holder = weakref.ref[Tensor]

# A C library that adapts (glibc) returns freed memory to the system only beyond twice the largest
# block freed so far, up to 32 MB. Without this, never written, an eager step gives a few megabytes
# back after every other operation, and spends a fifth of its time on faulting them in again.
np.empty(31 << 20, np.uint8)


class _Running:
    """The plans' turn: who holds the lock runs a program or moves memory. `programs` counts those
    that this thread is in, for a handler may come to ask for memory in the middle of one."""

    __slots__ = ("cell", "lock")

    def __init__(self) -> None:
        self.cell = ctypes.c_int64(0)
        self.forget()

    @property
    def programs(self) -> int:
        return self.cell.value

    @programs.setter
    def programs(self, value: int) -> None:
        self.cell.value = value

    def forget(self) -> None:
        """At first, and in a forked child, where whoever held the lock is gone."""
        self.lock = threading.RLock()
        self.programs = 0


running = _Running()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=running.forget)


class Clock:
    """A number that the versions of many storages rise by at once: those that one plan writes.

    `whole`: all of them still follow it. `alone`: nobody else has written them since that was
    noted. `cell` holds the number, where native code counts, too.
    """

    __slots__ = ("alone", "cell", "whole")

    def __init__(self) -> None:
        self.cell = ctypes.c_int64(0)
        self.whole = self.alone = False

    @property
    def ticks(self) -> int:
        return self.cell.value


STILL = Clock()


def _asking() -> int:
    """What `sys.getrefcount` counts of an object that only a local name has: Python 3.14 lends it
    to the call, older ones count the call, too."""
    alone = np.empty(0)
    return sys.getrefcount(alone)


ASKING = _asking()


def is_shared(x: Tensor) -> bool:
    """Whether anybody besides x and its storage, each name here and the call, has its elements."""
    array = x.array
    base = None if array is None else place_of(array).base(array)
    return sys.getrefcount(array) > 2 + ASKING or (
        base is not None and sys.getrefcount(base) > 1 + ASKING
    )


def holder(tensor: Tensor) -> Holder:
    """For `Storage.holders`."""
    return weakref.ref(tensor)


class Storage:
    """Memory with a version that every in-place write raises.

    `array` is the base array, or None for what exists only inside `trace`. `name` is the
    parameter's name where a module has given one; it is what dumps and errors show. `adopted` is
    set once a `.grad` lives here, so that a second one takes a copy. `address` is that of `array`
    once a compiled step has asked for it (NumPy takes half a microsecond to tell), until then 0;
    `order` is the memory order that it was asked for, () for row-major arguments. `holders` are
    the tensors over `array` itself, once a program has chosen the order; None: nobody keeps count.
    `strides` are those that eager code is shown of the base, in elements; () for row-major ones.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_own",
        "address",
        "adopted",
        "array",
        "holders",
        "name",
        "order",
        "spec",
        "strides",
        "trace",
    )  # fmt: skip

    def __init__(
        self, array: Array | None, spec: TensorSpec, trace: Trace | None = None, name: str = ""
    ) -> None:
        self.array = array
        self.spec = spec
        self.trace = trace
        self.name = name
        # And as `plain` has it:
        self._own = 0
        self._clock = STILL
        self.adopted = False
        self.address = 0
        self.order: Shape = ()
        self.strides: Shape = ()
        self.holders: list[Holder] | None = None

    @property
    def version(self) -> int:
        """How often the memory was written in place."""
        return self._own + self._clock.cell.value

    @version.setter
    def version(self, value: int) -> None:
        self._own = value - self._clock.cell.value
        self._clock.alone = False

    def follow(self, clock: Clock) -> None:
        """Have the version rise with the clock, and no more with the one that it followed."""
        if self._clock is not clock:
            version, self._clock.whole, self._clock = self.version, False, clock
            self._own = version - clock.ticks

    def hold(self, tensor: Tensor) -> None:
        """Count one more tensor over `array`, where that is done."""
        if self.holders is not None:
            live = [r for r in self.holders if r() is not None]
            self.holders = [*live, holder(tensor)]

    def lies_as_shown(self) -> bool:
        """Whether the elements lie where `strides` say."""
        array = self.array
        if array is None or not self.strides:
            return array is None or bool(array.flags.c_contiguous)
        size = array.itemsize
        pairs = zip(self.strides, array.strides, array.shape)
        return all(n == 1 or s * size == step for s, step, n in pairs)

    def unpack(self) -> None:
        """Lay the elements out as eager code is shown them, if a program has chosen another order.

        Not while a program runs, nor while somebody unknown looks at the memory.
        """
        if self.holders is None or self.lies_as_shown():
            return
        shape = self.spec.shape
        with running.lock:
            if not running.programs and self.move(
                order_of(shape, self.strides or row_major(shape))
            ):
                self.address, self.order = 0, ()
                epoch.places_changed()

    def move(self, order: Shape) -> bool:
        """Lay the elements out in `order`, if only the known holders have the array."""
        with running.lock:
            if self.array is None or not self._alone():
                return False
            moved = arranged(self.array, order)
            if not self._alone():  # another thread, while NumPy copied
                return False
            for tensor in self._held():
                tensor.array = moved
            self.array = moved
            return True

    @staticmethod
    def plain(array: Array, spec: TensorSpec) -> Storage:
        """`Storage(array, spec)`, in half the code: a step makes its results with cold caches."""
        made = object.__new__(Storage)
        made.array, made.spec, made.trace, made.name = array, spec, None, ""
        made._own, made._clock, made.adopted, made.holders = 0, STILL, False, None
        made.address, made.order, made.strides = 0, (), ()
        return made

    def _held(self) -> list[Tensor]:
        tensors = [r() for r in self.holders or ()]
        return [x for x in tensors if x is not None and x.array is self.array]

    def _alone(self) -> bool:
        """Whether `sys.getrefcount` tells of nobody else: of the array it counts the storage, this
        function and the tensors, of the base, which NumPy's views of it hold, array and call.
        """
        array, known = self.array, len(self._held())
        assert array is not None
        base = place_of(array).base(array)
        owned = base is None or sys.getrefcount(base) <= 1 + ASKING
        return owned and sys.getrefcount(array) <= known + 1 + ASKING
