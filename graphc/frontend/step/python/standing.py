"""Tensors that stand in a place of Python's (an attribute, an item, a global, a slot), of which a
call reads the one that it finds: see `rebound.py`, which finds such places while a step is traced.

A place that the program writes in place keeps its tensor, and its memory, from call to call. That
is right while nobody but the place has them (`Seen.alone`, by counts of references, which a latch
compares, too). When somebody has, the program works on a copy, and the place gets that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from graphc.frontend.places import Place, place_of
from graphc.frontend.step.memory import empty, lies
from graphc.frontend.storage import ASKING, is_shared
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, TensorSpec

OTHER = "another kind of value"
# Who holds what of a tensor that is alone: its place and `Seen`; tensor and `Seen`; tensor and
# storage; the array, where that does not own its memory.
HOLDERS = {"tensor": 2, "storage": 2, "array": 2, "base": 1}


class Like:
    """Whether a place holds a tensor like the one that was traced: the getter of its guard."""

    __slots__ = ("get", "kept")

    def __init__(self, get: Callable[[Any], Any], x: Tensor) -> None:
        self.get, self.kept = get, like(x)

    def __call__(self, subject: Any) -> Any:
        x = self.get(subject)
        now = like(x) if is_plain(x) else OTHER
        return self.kept if now == self.kept else now


def like(x: Tensor) -> tuple[Any, ...]:
    """What a tensor must be for a program that reads whatever stands in its place."""
    s = x.storage
    shown = (str(s.spec), *[(op.name, *attrs.items()) for op, attrs in x.views]) if x.views else ()
    return "a tensor", str(x._spec), s.strides, place_of(x.array).name, x.requires_grad, *shown


def is_whole(x: Any) -> bool:
    """Whether x is a plain tensor over all of its memory that no gradient goes through."""
    whole = is_plain(x) and x.array is x.storage.array and x._base is None
    return whole and not (x.views or x.requires_grad)


def is_plain(x: Any) -> bool:
    """Whether x is a tensor that nobody's hooks or gradients hang on; it may have a history."""
    return (
        type(x) is Tensor
        and x.array is not None
        and (x._node is not None) is x.requires_grad
        and x._hooks is None
        and x._after_grad is None
        and x._grad is None
    )


class Seen:
    """A tensor that a program writes in its place. All plans hold it by this alone, so that whoever
    else has it, its storage or its memory is told by counts of references."""

    __slots__ = ("__weakref__", "storage", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.storage = tensor, tensor.storage

    def alone(self, memory: bool = False) -> bool:
        """Whether only a place and this have it, or `memory`: its elements; each name here counts,
        too, as the call does."""
        x, storage = self.tensor, self.storage
        if x.storage is not storage or x.array is None or x.array is not storage.array:
            return False
        mine = memory or (
            sys.getrefcount(x) <= HOLDERS["tensor"] + ASKING
            and sys.getrefcount(storage) <= HOLDERS["storage"] + ASKING
        )
        return mine and not is_shared(x)

    def stands_in(self, at: Standing) -> bool:
        """Whether it is still there and, where it is written, nobody else has it."""
        return at.value() is self.tensor and (at.put is None or self.alone(at.memory))

    def counts(self, memory: bool = False) -> list[tuple[int, int]]:
        """Addresses of the counts, and what they are while it is alone. Nothing here holds the
        array: who compares asks first whether memory has moved (`epoch`)."""
        array: Any = self.storage.array
        rows = {} if memory else {"tensor": self.tensor, "storage": self.storage}
        rows["array"] = array
        if (base := place_of(array).base(array)) is not None:
            rows["base"] = base
        return [(id(x), HOLDERS[name]) for name, x in rows.items()]


SEEN: WeakValueDictionary[int, Seen] = WeakValueDictionary()  # by id of the tensor


def seen(x: Tensor) -> Seen:
    """The one of a tensor."""
    known = SEEN.get(id(x))
    if known is None or known.tensor is not x or known.storage is not x.storage:
        SEEN[id(x)] = known = Seen(x)
    return known


class Standing:
    """A place whose tensor each call finds anew: how to read it and, where the program writes in
    place, how to give it a copy (`put`)."""

    __slots__ = (
        "_get",
        "_subject",
        "first",
        "key",
        "label",
        "memory",
        "number",
        "owner",
        "put",
        "sole",
        "written",
    )

    def __init__(self, number: int, label: str, owner: Any, key: Any, row: tuple[Any, Any]) -> None:
        """`row`: a getter, and what to apply it to."""
        self.number, self.label, self.owner, self.key = number, label, owner, key
        self._get, self._subject = row
        self.put: Callable[[Tensor], object] | None = None
        self.first = number  # of the places that hold the same tensor
        self.memory = False  # whether it is a tensor's `.data`: the tensor is whoever's
        self.written = False  # in its own memory, whoever has that
        self.sole = False  # and nobody else may have that, who would see what is written first

    @property
    def row(self) -> tuple[Callable[[Any], Any], Any]:
        return self._get, self._subject

    def value(self) -> Any:
        """What is there now."""
        return self._get(self._subject)

    def fits(self) -> bool:
        """Whether the program is right for what is there."""
        if not self.memory or (self.put is not None and not self.sole):
            return True
        return self.sole is seen(self.value()).alone(memory=True)

    def token(self) -> tuple[object, ...]:
        """Equal for the same place, bound in the same way, of two traces."""
        return id(self.owner), repr(self.key), self.put is None, self.first, self.sole, self.written


def writable(at: Standing, spec: TensorSpec, order: Shape, place: Place) -> Tensor:
    """The tensor of a place if a program may write it there, else a copy that lies in `order`."""
    known = seen(at.value())
    if known.alone(at.memory) and _serves(known, order):
        return known.tensor
    made = empty(spec, order, place)
    old, new = known.storage, made.storage
    assert old.array is not None and new.array is not None
    place.copy(new.array, old.array)
    new.name, new.strides = old.name, old.strides
    return made


def _serves(known: Seen, order: Shape) -> bool:
    array: Any = known.storage.array
    return lies(array, order) and array.flags.writeable
