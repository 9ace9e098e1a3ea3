"""predicted: what a call takes in memory, told from its programs before it is made.

Tensors count once, whichever program has them: what a forward keeps for its backward is a result of
the one and an argument of the other. What is not known from a program is not in it: the process
itself, code, and what LAPACK takes to work on one matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from graphc.frontend import notebook
from graphc.ir.kernel import Operand
from graphc.ir.ops import OPS
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import Shape

COTANGENT = "grad_out"  # names of what a backward gets from behind it, see `capture.py`
ALWAYS = "state", "arg", "out", "arena"  # kinds that are shown though there is nothing of them


class Part(NamedTuple):
    """A program of a call. `backward`: what the forward has made or been given it reads, too.
    `host`: its routines' memory is of the same machine."""

    program: Program
    backward: bool = False
    host: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """Predicted memory of one call, in bytes by kind: "state" (weights, gradients, momenta),
    "arg" and "out" (what it is given and gives), "arena" (all temporaries, placed), "copies" (of
    arguments whose elements do not lie in their order), "routine" (what NumPy's hold at once,
    their results among it, on the way into the arena). And the planner's lower bound, and a row a
    buffer."""

    by_kind: Mapping[str, int]
    arena_bytes: int
    bound_bytes: int
    rows: tuple[Slot, ...]

    @property
    def peak_bytes(self) -> int:
        return sum(self.by_kind.values())

    def __str__(self) -> str:
        kinds = [f"  {kind:<8} {size_text(n)}" for kind, n in self.by_kind.items()]
        bound = f"arena lower bound {size_text(self.bound_bytes)}"
        return "\n".join([f"peak {size_text(self.peak_bytes)}, {bound}", *kinds])

    def _repr_html_(self) -> str:
        rows = [*self.by_kind.items(), ("peak", self.peak_bytes)]
        return notebook.table("memory", ("kind", "size"), [(k, size_text(n)) for k, n in rows])


def size_text(n: int) -> str:
    """Bytes as people read them."""
    size = float(n)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def memory_of(parts: Iterable[Part], copies: int = 0) -> Memory:
    """State once for all programs; of arguments and results those of the largest forward and of the
    largest backward; arenas and routines one after another, so the largest."""
    parts = tuple(parts)
    halves = [_most(p for p in parts if p.backward is half) for half in (False, True)]
    forward, backward = halves
    by_kind = {kind: max(forward[kind], backward[kind]) for kind in (*ALWAYS, "routine")}
    for kind in ("arg", "out"):
        by_kind[kind] = forward[kind] + backward[kind]
    by_kind["copies"] = copies
    return Memory(
        {kind: n for kind, n in by_kind.items() if n or kind in ALWAYS},
        by_kind["arena"],
        max((p.program.bound_bytes for p in parts), default=0),
        tuple(row for p in parts for row in p.program.buffers()),
    )


def _most(parts: Iterable[Part]) -> dict[str, int]:
    """Bytes of each kind in the program that has most of it."""
    found = dict.fromkeys((*ALWAYS, "routine"), 0)
    for part in parts:
        for kind, n in _sizes(part).items():
            found[kind] = max(found[kind], n)
    return found


def _sizes(part: Part) -> dict[str, int]:
    program = part.program
    sizes = dict.fromkeys((*ALWAYS, "routine"), 0)
    slots = {(s.space, s.index): s for s in program.slots if s.space in ("state", "arg", "out")}
    for (space, _), slot in slots.items():
        if not (part.backward and space == "arg" and not slot.name.startswith(COTANGENT)):
            sizes[space] += slot.size_bytes
    sizes["arena"] = program.arena_bytes
    if part.host:
        sizes["routine"] = max(map(_held_bytes, program.launches), default=0)
    return sizes


def _held_bytes(launch: Launch) -> int:
    """What a routine makes before it is copied to its place; nothing of a kernel of ours."""
    call = launch.kernel.call
    if call is None:
        return 0
    sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
    (buffer,) = (b for b in launch.kernel.buffers if b.name == call.out.buffer)
    out, itemsize = _shape(call.out, sizes), buffer.dtype.itemsize
    result = prod(out) * itemsize
    held = OPS[call.op].held
    shapes = [_shape(o, sizes) for o in call.args]
    return max(result, held(shapes, out, itemsize) if held is not None else 0)


def _shape(o: Operand, sizes: Mapping[str, int]) -> Shape:
    return tuple(n if isinstance(n, int) else sizes[n] for n in o.shape)
