"""View: where an element lives, as affine forms of the loop axes, under any chain of movement ops.

A value in memory is a `View` whose dimensions are its own. Each movement op maps a view to the view
of its result, so a chain of transposes, slices, pads and reshapes costs nothing: it only changes
strides, an offset, and guards (pad). A guard is the condition lo <= form < hi under which the
element exists. A reshape of dimensions whose strides do not merge has no affine form: `NotAffine`,
and the caller stores the value first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from graphc.ir.sizes import smaller
from graphc.ir.types import Shape


class NotAffine(Exception):
    """A reshape that no strides can express."""


@dataclass(frozen=True, slots=True)
class Form:
    """offset + sum(strides[k] * index[k])"""

    strides: Shape
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """The condition lo <= form < hi."""

    form: Form
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class View:
    """A shape, the address of each element, and the conditions under which it exists."""

    shape: Shape
    address: Form
    guards: tuple[Range, ...] = ()

    def map(self, shape: Shape, change: Callable[[Form], Form]) -> View:
        """The view of another shape in which every form is `change`d alike."""
        guards = tuple(Range(change(g.form), g.lo, g.hi) for g in self.guards)
        return View(shape, change(self.address), guards)


def row_major(shape: Sequence[int]) -> Shape:
    """Strides in elements of a contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def stored(shape: Shape, order: Shape) -> View:
    """A contiguous buffer whose outermost dimension is order[0]."""
    steps = row_major([shape[k] for k in order])
    strides = [0] * len(shape)
    for k, step in zip(order, steps, strict=True):
        strides[k] = step
    return View(shape, Form(tuple(strides)))


def transpose(v: View, *, perm: Shape) -> View:
    shape = tuple(v.shape[p] for p in perm)
    return v.map(shape, lambda f: Form(tuple(f.strides[p] for p in perm), f.offset))


def expand(v: View, *, shape: Shape) -> View:
    keep = [a == b for a, b in zip(v.shape, shape, strict=True)]
    return v.map(
        shape, lambda f: Form(tuple(s if k else 0 for s, k in zip(f.strides, keep)), f.offset)
    )


def slice_(v: View, *, start: Shape, stop: Shape, step: Shape) -> View:
    shape = tuple(-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True))

    def change(f: Form) -> Form:
        first = sum(a * s for a, s in zip(start, f.strides))
        return Form(tuple(s * t for s, t in zip(f.strides, step)), f.offset + first)

    return v.map(shape, change)


def flip(v: View, *, axes: Shape) -> View:
    def change(f: Form) -> Form:
        last = sum((v.shape[k] - 1) * f.strides[k] for k in axes)
        return Form(tuple(-s if k in axes else s for k, s in enumerate(f.strides)), f.offset + last)

    return v.map(v.shape, change)


def pad(v: View, *, low: Shape, high: Shape, value: float = 0.0) -> View:
    shape = tuple(n + a + b for n, a, b in zip(v.shape, low, high, strict=True))
    moved = v.map(
        shape, lambda f: Form(f.strides, f.offset - sum(a * s for a, s in zip(low, f.strides)))
    )
    return View(shape, moved.address, (*moved.guards, *pad_ranges(v.shape, low, high)))


def pad_ranges(inner: Shape, low: Shape, high: Shape) -> list[Range]:
    """Which elements of the padded shape come from the operand."""
    rank = len(inner)
    return [
        Range(Form(tuple(int(j == k) for j in range(rank))), low[k], low[k] + inner[k])
        for k in range(rank)
        if low[k] or high[k]
    ]


def unfold(v: View, *, axis: int, size: int, step: int, dilation: int) -> View:
    count = (v.shape[axis] - (size - 1) * dilation - 1) // step + 1
    shape = (*v.shape[:axis], count, *v.shape[axis + 1 :], size)

    def change(f: Form) -> Form:
        s = f.strides
        strides = (*s[:axis], s[axis] * step, *s[axis + 1 :], s[axis] * dilation)
        return Form(strides, f.offset)

    return v.map(shape, change)


def diagonal(v: View) -> View:
    def change(f: Form) -> Form:
        return Form((*f.strides[:-2], f.strides[-2] + f.strides[-1]), f.offset)

    return v.map(v.shape[:-1], change)


def reshape(v: View, *, shape: Shape) -> View:
    if 0 in shape:
        return v.map(shape, lambda f: Form((0,) * len(shape), f.offset))
    groups = reshape_groups(v.shape, shape)
    return v.map(shape, lambda f: Form(_regroup(f.strides, v.shape, shape, groups), f.offset))


Group = tuple[range, range]


def reshape_groups(old: Shape, new: Shape) -> list[Group]:
    """The finest pairing of runs of old and new dimensions with equal products."""
    if 0 in old:
        return [(range(len(old)), range(len(new)))]
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        i0, j0 = i, j
        a = old[i] if i < len(old) else 1
        b = new[j] if j < len(new) else 1
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while a != b:
            if smaller(a, b):
                a, i = a * old[i], i + 1
            else:
                b, j = b * new[j], j + 1
        groups.append((range(i0, i), range(j0, j)))
    return groups


def splits_only(old: Shape, new: Shape) -> bool:
    """Whether a reshape is a view of any strides: it merges no dimensions."""
    for olds, news in reshape_groups(old, new):
        wide = [old[k] for k in olds if old[k] > 1]
        if len(wide) > 1 and wide != [new[k] for k in news if new[k] > 1]:
            return False
    return True


def _regroup(strides: Shape, old: Shape, new: Shape, groups: list[Group]) -> Shape:
    """Strides of the new dimensions, where each group's old strides merge into one."""
    out = [0] * len(new)
    for olds, news in groups:
        wide = [k for k in olds if old[k] > 1]
        if not wide:
            continue
        for outer, inner in pairwise(wide):
            if strides[outer] != strides[inner] * old[inner]:
                exact = [k for k in news if new[k] > 1]
                if [new[k] for k in exact] == [old[k] for k in wide]:
                    break  # only unit dimensions move: no merge is needed
                raise NotAffine
        else:
            step = strides[wide[-1]]
            for k in reversed(news):
                out[k] = step if new[k] > 1 else 0
                step *= new[k]
            continue
        for k, source in zip(exact, wide, strict=True):
            out[k] = strides[source]
    return tuple(out)


MOVE: Mapping[str, Callable[..., View]] = {
    "transpose": transpose,
    "expand": expand,
    "slice": slice_,
    "flip": flip,
    "pad": pad,
    "unfold": unfold,
    "diagonal": diagonal,
    "reshape": reshape,
}


def move(v: View, op: str, attrs: Mapping[str, Any]) -> View:
    """The view of `op` applied to what `v` shows."""
    return MOVE[op](v, **attrs)
