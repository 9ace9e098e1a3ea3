"""Views: movement ops that share memory, as a chain of (op, attrs) from the base of a storage.

A chain serves three ends: NumPy follows it to the same memory, a trace replays it on the current
value of the base, and `overwrite` is its inverse: the base after a write through the view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from graphc.errors import Untraceable
from graphc.ir import sugar as P
from graphc.ir.ops import OPS, Op
from graphc.ir.sizes import is_one, same, same_shape, smaller
from graphc.ir.sugar import Sugar
from graphc.ir.types import Shape, TensorSpec, bool_, i64

View = tuple[Op, Mapping[str, Any]]
Chain = tuple[View, ...]
S = TypeVar("S", bound=Sugar)

VIEW_OPS = frozenset(
    OPS[n] for n in ("reshape", "transpose", "expand", "slice", "unfold", "diagonal")
)


def row_major(shape: Sequence[int]) -> Shape:
    """Strides in elements of a contiguous tensor, as PyTorch counts them."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def strides_after(op: Op, attrs: Mapping[str, Any], shape: Shape, strides: Shape) -> Shape | None:
    """Strides of a view of (shape, strides); None where a reshape has to copy."""
    match op.name:
        case "transpose":
            return tuple(strides[p] for p in attrs["perm"])
        case "expand":
            return tuple(s if same(n, m) else 0 for s, n, m in zip(strides, shape, attrs["shape"]))
        case "slice":
            return tuple(s * k for s, k in zip(strides, attrs["step"], strict=True))
        case "unfold":
            axis = attrs["axis"]
            moved = (*strides[:axis], strides[axis] * attrs["step"], *strides[axis + 1 :])
            return (*moved, strides[axis] * attrs["dilation"])
        case "diagonal":
            return (*strides[:-2], strides[-2] + strides[-1])
    kept = _around_ones(shape, strides, attrs["shape"])
    return kept or reshaped_strides(shape, strides, attrs["shape"])


def _around_ones(old: Shape, strides: Shape, new: Shape) -> Shape:
    """Strides after dimensions of size 1 came or went, where each other one keeps its own; else ().

    Of several that may have gone it is the first, as in x[0]."""
    wide = [tuple(n for n in shape if not is_one(n)) for shape in (old, new)]
    if not same_shape(*wide):
        return ()
    left = list(zip(old, strides))
    out: list[int] = []
    for n in reversed(new):
        while left and is_one(left[-1][0]) and not is_one(n):
            left.pop()
        if left and same(left[-1][0], n):
            out.append(left.pop()[1])
        else:
            out.append(out[-1] * new[len(new) - len(out)] if out else 1)
    return tuple(reversed(out))


def reshaped_strides(old: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Strides that show the same memory as `new`, or None; chunks of `old` that are contiguous in
    themselves are divided among dimensions of `new`, from the last on."""
    if 0 in old or not old:
        return row_major(new)
    out = [0] * len(new)
    k, unit, have, filled = len(new) - 1, strides[-1], 1, 1
    for d in reversed(range(len(old))):
        have *= old[d]
        if d > 0 and (is_one(old[d - 1]) or same(strides[d - 1], have * unit)):
            continue
        while k >= 0 and (is_one(new[k]) or (not same(filled, have) and smaller(filled, have))):
            out[k] = filled * unit
            filled *= new[k]
            k -= 1
        if not same(filled, have):
            return None
        if d > 0:
            unit, have, filled = strides[d - 1], 1, 1
    return tuple(out) if k == -1 else None


def types_along(chain: Chain, base: TensorSpec) -> list[TensorSpec]:
    """The type before each step of `chain`, and after the last."""
    types = [base]
    for op, attrs in chain:
        types.append(op.infer(types[-1], **attrs))
    return types


def strides_along(chain: Chain, base: TensorSpec, strides: Shape = ()) -> Shape:
    """Strides of a view of a base with `strides`; () for a row-major one."""
    strides = strides or row_major(base.shape)
    for (op, attrs), before in zip(chain, types_along(chain, base)):
        strides = strides_after(op, attrs, before.shape, strides) or ()
    return strides


def replay(base: S, chain: Chain) -> S:
    """`base` seen through `chain`."""
    for op, attrs in chain:
        base = base.emit(op, base, **attrs)
    return base


def overwrite(base: S, chain: Chain, value: S) -> S:
    """`base` after `value` has been written through `chain`."""
    stages = [base]
    for op, attrs in chain[:-1]:
        stages.append(stages[-1].emit(op, stages[-1], **attrs))
    for before, (op, attrs) in zip(reversed(stages), reversed(chain)):
        value = _write_one(before, op, attrs, value)
    return value


def _write_one(before: S, op: Op, attrs: Mapping[str, Any], value: S) -> S:
    match op.name:
        case "reshape":
            return P.reshape(value, before.spec.shape)
        case "transpose":
            return P.transpose(value, inverse(attrs["perm"]))
        case "slice":
            inside = slice_mask(before, attrs["start"], attrs["stop"], attrs["step"])
            spread = P.unslice(value, before.spec.shape, attrs["start"], attrs["step"])
            return before.emit(OPS["where"], inside, spread, before)
        case "diagonal":
            rank, shape = len(before.spec.shape), before.spec.shape
            row, column = (
                before.emit(OPS["iota"], shape=shape, axis=rank - k, dtype=i64.name) for k in (2, 1)
            )
            on, spread = P.apply("eq", row, column), P.expand_over(value, (rank - 1,), shape)
            return before.emit(OPS["where"], on, spread, before)
    raise Untraceable(f"a write through {op.name}, whose elements may share memory")


def inverse(perm: Sequence[int]) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def slice_mask(like: S, start: Shape, stop: Shape, step: Shape) -> S:
    """bool of the shape of `like`: whether an element is in the slice."""
    shape = like.spec.shape
    tests = []
    for axis, (a, b, s, n) in enumerate(zip(start, stop, step, shape, strict=True)):
        if (a, b, s) == (0, n, 1):
            continue
        place = like.emit(OPS["iota"], shape=shape, axis=axis, dtype=i64.name)
        if b < n:
            tests.append(P.apply("lt", place, b))
        if a > 0:
            tests.append(P.apply("le", P.full_like(place, a), place))
        if s > 1:
            offset = P.apply("rem", P.apply("add", place, -a % s), s)
            tests.append(P.apply("eq", offset, 0))
    mask = tests[0] if tests else like.full(True, TensorSpec(bool_, shape))
    for t in tests[1:]:
        mask = mask.emit(OPS["and"], mask, t)
    return mask
