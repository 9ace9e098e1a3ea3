"""Squares of a matrix transposed in registers.

Pieces of rows, `side` elements each, are joined to vectors as they are loaded, so that only
shuffles within pieces are left:

    pieces 0 .. lanes-1 of `side` elements  =>  `side` vectors of `lanes`: element k of every piece
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen_cpu.emitter import Emitter, Vec


def transposed(e: Emitter, t: Vec, pieces: Sequence[str], side: int) -> list[str]:
    """Vector k of type `t` has element k of each piece, of as many as `t` has lanes."""
    return _squares(e, t, [_join(e, t, pieces[k::side], side) for k in range(side)])


def _join(e: Emitter, t: Vec, pieces: Sequence[str], side: int) -> str:
    """Vectors side by side, in pairs until one is left."""
    while len(pieces) > 1:
        part = Vec(t.element, side)
        side *= 2
        pairs = zip(pieces[::2], pieces[1::2])
        pieces = [_shuffle(e, part, x, y, list(range(side))) for x, y in pairs]
    return pieces[0]


def _squares(e: Emitter, t: Vec, rows: list[str]) -> list[str]:
    """Transpose each square of the rows, by exchanging ever larger blocks."""
    lanes, step = t.lanes, 1
    while step < len(rows):
        low = [k if not k & step else lanes + k - step for k in range(lanes)]
        high = [k + step if not k & step else lanes + k for k in range(lanes)]
        following = list(rows)
        for k in range(len(rows)):
            if not k & step:
                following[k] = _shuffle(e, t, rows[k], rows[k + step], low)
                following[k + step] = _shuffle(e, t, rows[k], rows[k + step], high)
        rows, step = following, 2 * step
    return rows


def _shuffle(e: Emitter, t: Vec, x: str, y: str, picks: list[int]) -> str:
    chosen = ", ".join(f"i32 {k}" for k in picks)
    mask = f"<{len(picks)} x i32> <{chosen}>"
    return e.value(f"shufflevector {t} {x}, {t} {y}, {mask}")
