"""A kernel of attention taken apart: its operands, what is done to the scores, and its results.

Its one phase has the axes `l` (rows: queries), `s` (columns: keys), `e` and `f` (the depth of
queries and keys, and of values); one that is missing has one point. In it each operand is loaded
at its own axes, and each result, `attention q k v mask ...`, is stored at its own: what the result
means is the op's meaning over whole arrays, and no statement of it runs at a point. The parallel
axes number the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.ir.kernel import Apply, Axis, Const, Kernel, Load, Size, Store
from graphc.ir.ops import OPS
from graphc.ir.types import Array, Scalar

AXES = ("l", "s", "e", "f")
OPERANDS = {
    "q": "le", "k": "se", "v": "sf", "mask": "ls", "seed": "", "draw": "",
    "out": "lf", "lse": "l", "g": "lf", "mean": "l",
}  # fmt: skip
ATTRS = ("scale", "causal", "fill", "safe", "drop", "gain")
RESULTS = {op.name: op.axes for op in OPS.values() if op.axes}


def is_attention(s: object) -> bool:
    return isinstance(s, Apply) and s.op in RESULTS


@dataclass(frozen=True, slots=True)
class Attention:
    """The parts; a `Load`, a `Const` or the name of a scalar argument each."""

    rows: Size
    columns: Size
    depth: Size
    width: Size
    operands: dict[str, Load | Const | str]
    attrs: dict[str, Const | str]
    results: dict[str, Store]  # by op

    @property
    def extents(self) -> tuple[Size, Size, Size, Size]:
        """In the order of `AXES`."""
        return self.rows, self.columns, self.depth, self.width

    def load(self, name: str) -> Load:
        found = self.operands[name]
        assert isinstance(found, Load)
        return found

    def number(self, name: str) -> Scalar | None:
        """An attribute that is part of the code; None of an argument."""
        found = self.attrs[name]
        return found.value if isinstance(found, Const) else None

    @property
    def is_gradient(self) -> bool:
        return "g" in self.operands


def parts(kernel: Kernel) -> Attention | None:
    """The kernel's parts, or None if it is of another kind."""
    if kernel.kind != "attention":
        return None
    (phase,) = kernel.phases
    defined = {s.name: s for s in phase.body if isinstance(s, Load | Const)}
    made = {s.name: s for s in phase.body if isinstance(s, Apply)}
    stores = {made[s.value].op: s for s in phase.body if isinstance(s, Store)}
    args = [defined.get(a, a) for a in next(iter(made.values())).args]
    names = [*list(OPERANDS)[: len(args) - len(ATTRS)]]
    attrs = {
        n: a for n, a in zip(ATTRS, args[len(names) :], strict=True) if not isinstance(a, Load)
    }
    sizes = {a.name: a.extent for a in phase.axes}
    rows, columns, depth, width = (sizes.get(a, 1) for a in AXES)
    return Attention(rows, columns, depth, width, dict(zip(names, args)), attrs, stores)


def evaluate(
    op: str, args: Sequence[Array], axes: Sequence[Axis], shape: Sequence[int], outer: int
) -> Array:
    """The op's meaning over values at all points, of which the first `outer` axes are parallel."""
    named = [a.name for a in axes[outer:]]
    count = len(args) - len(ATTRS)

    def whole(x: Array, own: str) -> Array:
        """Without the axes that it does not have, with those of one point."""
        x = np.broadcast_to(x, shape)
        x = x[(..., *(slice(None) if a in own else 0 for a in named))]
        for k, a in enumerate(own):
            x = x if a in named else np.expand_dims(x, outer + k)
        return x

    arrays = [whole(x, own) for x, own in zip(args[:count], OPERANDS.values())]
    arrays[4:6] = [np.asarray(x.ravel()[0]) for x in args[4:6]]
    kinds: tuple[Callable[[Any], Any], ...] = (float, bool, float, bool, int, float)
    attrs = {n: kind(x.ravel()[0]) for n, kind, x in zip(ATTRS, kinds, args[count:], strict=True)}
    out = OPS[op].evaluate(*arrays, **attrs)
    own = RESULTS[op]
    sizes = dict(zip(named, shape[outer:], strict=True))
    return out.reshape(*shape[:outer], *(sizes[a] if a in own else 1 for a in named))


def flops(op: str, depth: int, width: int) -> int:
    """Of one pair of a query and a key, for each result: its products, and about ten for exp."""
    each = {
        "attention": 2 * (depth + width) + 10, "attention_lse": 0,
        "attention_dq": 2 * (2 * depth + width) + 10, "attention_dk": 2 * depth,
        "attention_dv": 2 * width,
    }  # fmt: skip
    return each[op]
