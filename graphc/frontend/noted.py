"""What a trace notes beside its graph: inputs, calls that each call makes, tables to put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Value
from graphc.ir.types import Scalar, Shape

Getter = Callable[[], Scalar]


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """One input of the graph: an argument or state (a storage) or a number read at each call."""

    role: str
    value: Value
    storage: Storage | None = None
    tensor: Tensor | None = None  # concrete: the first that showed this storage
    getter: Getter | None = None
    order: Shape = ()  # in which an argument lies, as the value is declared; () for row-major
    rebound: int = -1  # of state in a place that the step rebinds: its number


@dataclass(frozen=True, eq=False, slots=True)
class Pick:
    """x[k] by a number k that the trace does not know: in eager code a view of x, here a copy.

    What is written to it goes on to x by `put`. Where x has been written otherwise since it was
    `seen`, reading the copy is an error.
    """

    source: Tensor
    index: Any
    seen: Value
    put: Callable[[Tensor], None]


class Effect(NamedTuple):
    """A call of a user's function that each call of the step makes, with `effects[number]`."""

    action: Callable[..., object]
    number: int
    result: int = -1  # number of the HostValue that it gives


class Kept(NamedTuple):
    """A table of hooks, as it was before the step changed it, and what gives it to its owner."""

    table: Any
    before: Any
    attach: Callable[[], None] | None
