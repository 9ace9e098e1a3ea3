"""How dimensions lie in memory: PyTorch's rules on shapes and strides alone, in elements.

Strides of () stand for row-major ones throughout. A memory order lists dimensions, outermost first.
Of extents the typical value decides: the order of dimensions in memory is the same for all.
Sources: PyTorch's TensorIterator (what elementwise results look like) and c10/core/MemoryFormat.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from graphc.frontend.views import inverse, row_major
from graphc.ir.sizes import is_fixed, same_shape, typical
from graphc.ir.types import Shape

CHANNELS_LAST: dict[int, Shape] = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # by rank
CASES = 1024  # remembered: a net asks for few, each at every step


def _numbers(sizes: Shape) -> Shape:
    return sizes if is_fixed(sizes) else tuple(map(typical, sizes))


def strides_in(shape: Shape, order: Shape) -> Shape:
    """Strides of dense memory in `order`; () where they are the row-major ones."""
    steps = row_major([shape[k] for k in order])
    return shown(shape, tuple(steps[k] for k in inverse(order)))


def shown(shape: Shape, strides: Shape) -> Shape:
    """`strides`, or () for the row-major ones."""
    return () if same_shape(strides, row_major(shape)) else strides


@lru_cache(CASES)
def order_of(shape: Shape, strides: Shape) -> Shape:
    """The memory order of dense elements."""
    shape, strides = _numbers(shape), _numbers(strides)
    return tuple(sorted(range(len(shape)), key=lambda k: (-strides[k], -shape[k])))


def lies_in(shape: Shape, strides: Shape, order: Sequence[int]) -> bool:
    """Whether the elements are dense in `order`; strides of single elements do not count."""
    shape, strides = _numbers(shape), _numbers(strides)
    step = 1
    for k in reversed(order):
        if shape[k] != 1:
            if strides[k] != step:
                return False
            step *= shape[k]
    return True


def is_dense(shape: Shape, strides: Shape) -> bool:
    """Whether the elements fill a piece of memory, in some order."""
    return 0 in shape or lies_in(shape, strides, order_of(shape, strides))


def lying(shape: Shape, strides: Shape) -> Shape:
    """The memory order of what is dense; () for row-major elements and for those with gaps."""
    if not strides or 0 in shape or lies_in(shape, strides, range(len(shape))):
        return ()
    order = order_of(shape, strides)
    return order if lies_in(shape, strides, order) else ()


def preserved(shape: Shape, strides: Shape) -> Shape:
    """Strides of a copy that keeps those of the original, as far as they leave no gaps."""
    if not strides or is_dense(shape, strides):
        return strides
    return of_elementwise(shape, (strides,), False)


def is_channels_last(shape: Shape, strides: Shape) -> bool:
    """Whether strides say channels last, of images or volumes; ambiguous ones do not."""
    shape, strides = _numbers(shape), _numbers(strides)
    order = CHANNELS_LAST.get(len(shape))
    if order is None or strides[1] == 0 or 0 in shape:
        return False
    least = 0
    for k in reversed(order):
        if strides[k] < least or (k == 0 and least == strides[1]):
            return False
        least = strides[k] * max(shape[k], 1)
    return True


@lru_cache(CASES)
def of_elementwise(shape: Shape, operands: tuple[Shape, ...], whole: bool) -> Shape:
    """Strides of an elementwise result, from those of its operands, 0 where they are repeated.

    `whole` says that each operand had this shape from the start, and none was a number.
    """
    if len(shape) < 2 or 0 in shape or all(_falls(shape, s) for s in operands):
        return ()
    if whole:
        order = CHANNELS_LAST.get(len(shape)) if len(shape) == 4 else None
        if all(lies_in(shape, s, range(len(shape))) for s in operands):
            return ()
        if order is not None and all(lies_in(shape, s, order) for s in operands):
            return strides_in(shape, order)
        if operands.count(operands[0]) == len(operands) and is_dense(shape, operands[0]):
            return operands[0]
    return strides_in(shape, _order_by(shape, operands))


def _falls(shape: Shape, strides: Shape) -> bool:
    """Whether strides fall from dimension to dimension, those of 0 left out."""
    last, most = 1 << 62, 0
    for n, s in zip(_numbers(shape), _numbers(strides)):
        if s:
            if s > last or (s == last and n > most):
                return False
            last, most = s, n
    return True


def _order_by(shape: Shape, operands: Sequence[Shape]) -> Shape:
    """The order that most suits the operands, the first before the next: an insertion sort whose
    comparison may be undecided."""
    perm = list(range(len(shape)))  # outermost first
    for i in range(len(shape) - 2, -1, -1):
        at = i
        for j in range(i + 1, len(shape)):
            compared = _compare(shape, operands, perm[j], perm[at])
            if compared > 0:
                perm[j], perm[at] = perm[at], perm[j]
                at = j
            elif compared < 0:
                break
    return tuple(perm)


def _compare(shape: Shape, operands: Sequence[Shape], inner: int, outer: int) -> int:
    """1 if `inner` belongs outside `outer`, -1 if not, 0 if the operands do not say."""
    shape = _numbers(shape)
    for strides in map(_numbers, operands):
        a, b = strides[inner], strides[outer]
        if a == 0 or b == 0:
            continue
        if a != b:
            return -1 if a < b else 1
        if shape[inner] > shape[outer]:
            return 1
    return 0
