"""Where tiles lie, and how vectors of channels go through the transforms of both axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.codegen_cpu import memory
from graphc.codegen_cpu.contract.microkernel import load_sum, store_sum
from graphc.codegen_cpu.emitter import Vec
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.winograd.transforms import Lanes
from graphc.ir.types import DType, f32
from graphc.ir.winograd import POINTS, SIZE

Line = Callable[[Lanes, Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """A tile: its image, its first row and column, and how many of those another tile has."""

    image: Int
    row: Int
    column: Int
    skip: tuple[Int, Int]


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of images, numbered over all of them.

    The last tile of a row or column is moved back to lie inside.
    """

    frame: Frame
    height: int
    width: int

    @property
    def down(self) -> int:
        return -(-self.height // SIZE)

    @property
    def across(self) -> int:
        return -(-self.width // SIZE)

    def tiles(self, images: Int) -> Int:
        return self.frame.mul(images, self.down * self.across)

    def place(self, tile: Int) -> Place:
        f = self.frame
        column, rest = f.rem(tile, self.across), f.div(tile, self.across)
        row, image = f.rem(rest, self.down), f.div(rest, self.down)
        right, skip_right = self._inside(column, self.width)
        down, skip_down = self._inside(row, self.height)
        return Place(image, down, right, (skip_down, skip_right))

    def _inside(self, tile: Int, extent: int) -> tuple[Int, Int]:
        """Where a tile begins, and by how much it was moved."""
        start = self.frame.mul(tile, SIZE)
        if extent % SIZE == 0:
            return start, 0
        inside = self.frame.least(start, extent - SIZE)
        return inside, self.frame.sub(start, inside)


class Points:
    """Takes squares of vectors through a transform of rows, then of columns.

    In loops: written out, a square would take LLVM five times as long, and registers for none of it
    to run faster.
    """

    def __init__(self, frame: Frame, t: Vec) -> None:
        self.frame, self.t, self.lanes = frame, t, Lanes(frame, t)
        self._between = frame.scratch(POINTS * POINTS * t.lanes, t)

    def through(
        self,
        line: Line,
        rows: int,
        columns: int,
        read: Callable[[Int], Sequence[str]],
        write: Callable[[Int, list[str]], None],
        first: Int = 0,
    ) -> None:
        """`read` gives each row; `write` takes the `columns` that come out, from `first` on."""
        f, e = self.frame, self.frame.e
        with e.loop("0", self.frame.text(rows), 1, "row") as i:
            to = f.pointer(self._between, f.mul(i, columns * self.t.lanes), f32)
            for n, value in enumerate(line(self.lanes, read(i))):
                store_sum(f, to, n, self.t, value)
        with e.loop(self.frame.text(first), self.frame.text(columns), 1, "column") as j:
            at = f.pointer(self._between, f.mul(j, self.t.lanes), f32)
            column = [load_sum(f, at, k * columns, self.t) for k in range(rows)]
            write(j, line(self.lanes, column))

    def load(self, base: str, offset: Int, dtype: DType = f32) -> str:
        """A vector that may begin anywhere, as float32."""
        return memory.load(self.frame, self.frame.pointer(base, offset, dtype), dtype, self.t.lanes)

    def store_apart(self, to: str, step: int, values: Sequence[str]) -> None:
        """Vectors, each `step` elements behind the one before."""
        for k, value in enumerate(values):
            store_sum(self.frame, self.frame.pointer(to, k * step, f32), 0, self.t, value)
