"""Operators of a user's own whose Python code nobody looks into: it runs, on arrays, at each call.

A graph knows such a one by its name, `CALLS` the function of this process. `given` says what it is
called with: for each argument ("tensor", number of an operand), ("is", a literal), or ("list", ...)
or ("tuple", ...) of such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import InvalidState, ShapeMismatch
from graphc.ir.meaning.loops import packed
from graphc.ir.types import DTYPES, Array, Shape

Given = tuple[Any, ...]
CALLS: dict[str, Callable[[Sequence[Array], Given], Sequence[Array]]] = {}


def opaque(
    *args: Array, call: str, given: Given, dtypes: tuple[str, ...], shapes: tuple[Shape, ...]
) -> Array:
    """Its results, packed; they have the types that its fake has told."""
    if call not in CALLS:
        raise InvalidState(f"no operator {call}", fix="make it with graphc.library.custom_op first")
    found = CALLS[call](args, given)
    told = [(DTYPES[d].numpy, tuple(s)) for d, s in zip(dtypes, shapes, strict=True)]
    made = [(a.dtype, a.shape) for a in found]
    if made != told:
        raise ShapeMismatch(
            f"{call} gives {_shown(made)}, where its fake gives {_shown(told)}",
            fix="let the function that register_fake() takes give tensors of the same types",
        )
    return packed(found)


def _shown(types: Sequence[tuple[Any, Shape]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for dtype, shape in types)
