"""The grid of a contraction's tiles: its dimensions, and where a tile stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.codegen_cpu.integers import Int, value_of
from graphc.ir.kernel import Axis


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension of the tile grid: an axis in blocks."""

    axis: Axis
    block: int
    count: Int
    extent: Int  # the points that are cut in blocks


def known_count(dim: Dim) -> int:
    """Tiles along a dimension of literal extent."""
    count = value_of(dim.count)
    assert count is not None
    return count


@dataclass(frozen=True, slots=True)
class Place:
    """A tile's first point, and how many of its first points another tile has done."""

    index: dict[str, Int]
    skip: dict[str, Int]
    number: dict[Dim, Int] = field(default_factory=dict)  # of the tile along each dimension
