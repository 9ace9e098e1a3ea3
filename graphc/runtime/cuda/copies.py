"""Copies between arrays of any strides: as few blocks as there are, or a kernel that is told them.

A copy is normalised first: dimensions of size 1 go, neighbours that lie alike on both sides become
one. What is left with one dimension, dense on both sides, is a block. All else is a map kernel
whose sizes and strides are arguments but for those of neighbours, so there is one for each rank,
size of element, and dimension along which elements are neighbours on either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.ir.kernel import Affine, Axis, Buffer, Kernel, Load, Phase, Size, Store
from graphc.ir.types import Array, DType, Shape, i8, i16, i32, i64
from graphc.runtime.cuda.array import DeviceArray

WORDS: dict[int, DType] = {t.itemsize: t for t in (i8, i16, i32, i64)}  # moved as they are
SMALL_SPAN = 1 << 20  # bytes with gaps that are brought to the host whole, gaps included


@dataclass(frozen=True, slots=True)
class Moves:
    """A copy of `shape` elements of `itemsize` bytes, with strides in elements on both sides."""

    itemsize: int
    shape: Shape
    target: Shape
    source: Shape

    @property
    def is_block(self) -> bool:
        return not self.shape or (len(self.shape) == 1 and self.target == self.source == (1,))

    @property
    def sizes(self) -> tuple[int, ...]:
        """What the kernel takes: extents, then strides of the target, then of the source."""
        return (*self.shape, *_but(self.target), *_but(self.source))

    @property
    def kernel(self) -> Kernel:
        return copy_kernel(self.itemsize, len(self.shape), *map(_unit, (self.target, self.source)))


def moves(itemsize: int, shape: Shape, target: Shape, source: Shape) -> Moves:
    """The copy with the fewest dimensions; strides in bytes, which elements divide."""
    dims = [(n, t // itemsize, s // itemsize) for n, t, s in zip(shape, target, source) if n != 1]
    dims.sort(key=lambda d: (-d[1], -d[2]))
    joined: list[tuple[int, int, int]] = []
    for n, t, s in dims:
        if joined and joined[-1][1] == n * t and joined[-1][2] == n * s:
            n *= joined.pop()[0]
        joined.append((n, t, s))
    columns = tuple(zip(*joined)) or ((), (), ())
    return Moves(itemsize, *columns)


def _unit(strides: Shape) -> int:
    """The dimension along which elements are neighbours; -1: none."""
    return strides.index(1) if 1 in strides else -1


def _but(strides: Shape) -> Shape:
    """Those that are arguments."""
    return tuple(s for k, s in enumerate(strides) if k != _unit(strides))


@lru_cache
def copy_kernel(itemsize: int, rank: int, target: int = -1, source: int = -1) -> Kernel:
    """`target[..] = source[..]` over `rank` dimensions, all numbers being size arguments but the
    stride of 1 that dimension `target` of one side has, and `source` of the other."""
    word, axes = WORDS[itemsize], [f"i{k}" for k in range(rank)]
    n = [f"n{k}" for k in range(rank)]
    t: list[Size] = [1 if k == target else f"t{k}" for k in range(rank)]
    s: list[Size] = [1 if k == source else f"s{k}" for k in range(rank)]
    body = (
        Load("x", word, "source", Affine(tuple(zip(axes, s)))),
        Store("target", "x", Affine(tuple(zip(axes, t)))),
    )
    return Kernel(
        name=f"copy{rank}_{word.name}",
        kind="map",
        buffers=(Buffer("source", word, "r"), Buffer("target", word, "w")),
        sizes=tuple(x for x in (*n, *t, *s) if isinstance(x, str)),
        scalars=(),
        axes=tuple(Axis(a, e) for a, e in zip(axes, n)),
        phases=(Phase((), body),),
    )


def on_host(span: bytes | Array, like: DeviceArray) -> Array:
    """The elements of `like`, of whose span these are the bytes."""
    memory = np.frombuffer(span, np.uint8)
    if not memory.size:
        return np.empty(like.shape, like.dtype)
    first = memory[: like.itemsize].view(like.dtype)
    seen: Any = np.lib.stride_tricks.as_strided(first, like.shape, like.strides)
    return np.array(seen, order="C")


def is_dense(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Whether elements fill a piece of memory without gaps, in some order of dimensions."""
    step = itemsize
    for s, n in sorted((s, n) for n, s in zip(shape, strides) if n != 1):
        if s != step:
            return False
        step *= n
    return True
