"""Which tiles of a contraction are a thread's. No bit depends on it: a tile has one owner."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, value_of

TINY_MACS = 20_000  # below this a second thread costs more than it gives


def threads_for(f: Frame, work: Int) -> Int:
    """How many threads share so many multiply-adds: all of a tiny kernel's go to the first."""
    return f.select(f.less(work, TINY_MACS), 1, "%nthreads")


def share(f: Frame, tiles: Int, threads: Int, whole: int = 1) -> tuple[Int, Int]:
    """The tiles of this thread, in units of `whole` neighbours."""
    tid = "%tid"
    units = f.div(tiles, whole)
    low = f.div(f.mul(tid, units), threads)
    high = f.div(f.mul(f.add(tid, 1), units), threads)
    return f.mul(f.least(low, units), whole), f.mul(f.least(high, units), whole)


@dataclass(frozen=True, slots=True)
class OwnRows:
    """Tiles [low, high) of every panel are this thread's, where `holds`."""

    frame: Frame
    holds: str
    low: Int
    high: Int

    def instead(self, x: Int, y: Int) -> Int:
        """x where it holds, else y."""
        return self.frame.select(self.holds, x, y)


def own_rows(f: Frame, p: Plan, inside: Int, panels: Int, threads: Int) -> OwnRows:
    """A share of the rows of all panels instead of a share of the panels.

    The scalars are weights, which the program updates by rows. A thread that reads all of them
    fetches what others wrote, and the update has to take the lines back: 15 cycles for a line's 16
    floats, both together. By rows it reads what it wrote itself, but packs all panels, at 0.35
    cycles an element; that is less where there are no more samples than rows. It must not leave
    one thread with more tiles than an even share has.
    """
    rows = p.rows[0].axis.extent
    tiles = value_of(inside)
    assert isinstance(rows, int) and tiles is not None
    most = f.mul(_part(f, inside, threads), panels)
    even = f.less(most, f.add(_part(f, f.mul(inside, panels), threads), 1))
    few = f.less(f.size(p.lane.extent), rows + 1)
    several = f.both(f.less(1, threads), f.less(threads, tiles + 1))
    low, high = share(f, inside, threads)
    return OwnRows(f, f.both(f.both(few, even), several), low, high)


def _part(f: Frame, tiles: Int, threads: Int) -> Int:
    """Tiles of the thread that has most."""
    return f.div(f.add(tiles, f.sub(threads, 1)), threads)
