"""halo: the zeros around an image that a contraction computes, as parts beside it.

    contiguous(pad(relu(conv)))  =>  assemble(relu(conv), zeros above and below, zeros beside)

A kernel that computes an image point by point writes the zeros around it as it goes. A contraction
has no points there, so a padded copy of its result would be a pass of its own over all of it. As
parts of one whole its epilogue writes the image right into its place, and only the frame is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import add

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.types import Shape, TensorSpec
from graphc.passes.group import is_op

Place = tuple[Shape, Shape, Shape]  # of a part: where it starts, its steps, its shape


def framed(w: Value, low: Shape, high: Shape) -> Value | None:
    """`w` within zeros, as a whole of parts, if an epilogue can write `w` there."""
    sides = zip(w.shape, low, high, strict=True)
    parts: tuple[Value, ...] = (w,)
    starts, steps = [low], [(1,) * len(low)]
    if is_op(w, "assemble"):  # its parts move, each as a whole
        parts, steps = w.args, [*w.attrs["steps"]]
        starts = [tuple(map(add, low, start)) for start in w.attrs["starts"]]
    computed = [part for part in parts if part.const is None]
    if not all(map(is_epilogue, computed)) or any(is_unknown(n) for n, a, b in sides if a or b):
        return None
    frame = [*_frame(w.shape, low, high)]
    zeros = (P.zeros(w, TensorSpec(w.spec.dtype, shape)) for _, _, shape in frame)
    return w.builder.apply(
        "assemble",
        *parts,
        *zeros,
        shape=tuple(a + n + b for a, n, b in zip(low, w.shape, high, strict=True)),
        starts=(*starts, *(start for start, _, _ in frame)),
        steps=(*steps, *(step for _, step, _ in frame)),
    )


def _frame(shape: Shape, low: Shape, high: Shape) -> Iterator[Place]:
    """The zeros along one dimension after the other: within what is inside of those before, as wide
    as the whole is along those that follow."""
    for k, n in enumerate(shape):
        wide = tuple(a + m + b for a, m, b in zip(low, shape, high, strict=True))[k + 1 :]
        for start, step, count in _sides(n, low[k], high[k]):
            yield (
                (*low[:k], start, *(0 for _ in wide)),
                (*(1 for _ in low[:k]), step, *(1 for _ in wide)),
                (*shape[:k], count, *wide),
            )


def _sides(size: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """Where zeros before and behind `size` points begin, how far apart they are and how many; one
    on each side is one part."""
    if low == high == 1:
        yield 0, size + 1, 2
        return
    if low:
        yield 0, 1, low
    if high:
        yield low + size, 1, high


def is_epilogue(v: Value) -> bool:
    """Whether `v` is a contraction's result, or elementwise of one and of what does not wait for
    it: what is computed of all of it, a mean say, is there when its tiles are gone."""
    found, beside = list[Value](), list[Value]()
    seen: set[Value] = set()
    stack = [v]
    while stack:
        u = stack.pop()
        if u in seen:
            continue
        seen.add(u)
        if u.op is not None and u.op.kind == "elementwise" and u.shape == v.shape:
            stack.extend(u.args)
        else:
            (found if u.op is not None and u.op.kind == "contract" else beside).append(u)
    if not found:
        return False
    last = max(found, key=lambda u: u.number)
    return last.shape == v.shape and not _waits((*beside, *found), last)


def _waits(values: Iterable[Value], last: Value) -> bool:
    """Whether one of them, but for itself, is computed of `last`."""
    seen: set[Value] = {last}
    stack = [u for u in values if u is not last]
    while stack:
        u = stack.pop()
        if u is last:
            return True
        if u not in seen and u.number > last.number:
            seen.add(u)
            stack.extend(u.args)
    return False
