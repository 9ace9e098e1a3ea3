"""repeat: a loop in a schedule. Its body's launches stand in the program once for each trip.

Nothing is copied from trip to trip: a trip reads its slices where they are, and writes what it
stacks to its row. What is carried and stacked goes from row to row (a trail, whose first row is a
copy of what the loop begins with); what is only carried alternates between two buffers, such that
the last trip writes the loop's result. What is temporary in a trip shares one workspace with all
others. How many trips there are is an extent like any size: another length is another table, and
compiles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from graphc.errors import InternalError
from graphc.ir.graph import Value
from graphc.ir.kernel import Affine, Axis, Buffer, Kernel, Load, Phase, Store
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.sizes import Evaluation
from graphc.ir.types import TensorSpec
from graphc.passes.foresee import has_row_major_slices, is_row_major
from graphc.passes.group import Fusion, Group, is_free, moved
from graphc.passes.nest import Lowered
from graphc.passes.orders import Orders
from graphc.passes.view import View

if TYPE_CHECKING:
    from graphc.passes.schedule import Schedule


class Operand(NamedTuple):
    """A buffer of the launch; of slices, the element where the first begins, and from there on."""

    buffer: int
    first: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop over the launches of `body`; buffers are those of its launch, by number."""

    body: Schedule
    trips: int
    reverse: bool
    carried: int
    sliced: int
    operands: tuple[Operand, ...]
    lasts: tuple[int | None, ...]  # for each thing carried, the buffer of its last, or None
    trails: tuple[int | None, ...]  # and of all
    stacks: tuple[int, ...]  # for each other result of the body

    def may_fail(self) -> bool:
        """Whether a launch in it may."""
        body = self.body
        inside = any(r.may_fail() for r in body.repeats.values())
        return inside or any(x.kernel.may_fail() for x in body.launches)


def lower_loop(group: Group, fusion: Fusion, orders: Orders, body: Schedule) -> Lowered:
    """The stand-in for all launches of a loop, whose results are the group's members."""
    first = group.members[0]
    carried, last = first.attrs["carried"], first.attrs["carried"] + first.attrs["sliced"]
    views = [_seen(a, fusion, orders) for a in first.args]
    buffers = [*dict.fromkeys(base for base, _ in views), *group.members]
    operands = []
    for k, (base, view) in enumerate(views):
        at = view.address
        if carried <= k < last:
            fits = has_row_major_slices(view)
            operand = Operand(buffers.index(base), at.offset, at.strides[0])
        else:
            fits, operand = is_row_major(view), Operand(buffers.index(base))
        if not fits:
            raise InternalError(f"{first.name} reads {first.args[k].name}, which lies otherwise")
        operands.append(operand)
    given = {(v.attrs["gives"], v.attrs["index"]): buffers.index(v) for v in group.members}
    outs = len(first.attrs["body"].outs)
    lasts, trails = (
        tuple(given.get((gives, j)) for j in range(carried)) for gives in ("last", "trail")
    )
    stacks = tuple(given["stack", k] for k in range(outs - carried))
    trips, reverse = first.attrs["trips"], first.attrs["reverse"]
    repeat = Repeat(
        body, trips, reverse, carried, last - carried, tuple(operands), lasts, trails, stacks
    )
    members = set(group.members)
    shown = tuple(
        Buffer(f"b{k}", v.spec.dtype, "w" if v in members else "r") for k, v in enumerate(buffers)
    )
    kernel = Kernel(group.name(), "loop", shown, (), (), (), ())
    return Lowered(kernel, tuple(buffers), (), (), tuple(group.members), repeat)


def together(groups: Iterable[Group]) -> list[Group]:
    """The groups, those of the results of one loop as one."""
    found: dict[object, Group] = {}
    for g in groups:
        first = g.members[0]
        key: object = (first.args, first.attrs["body"]) if g.kind == "loop" else g
        one = found.setdefault(key, g)
        if one is not g:
            one.members += g.members
            one.outputs += g.outputs
    return list(found.values())


def _seen(v: Value, fusion: Fusion, orders: Orders) -> tuple[Value, View]:
    """The stored value under v, and v as a view of it."""
    chain = []
    while not (v.is_input or v in fusion.materialised) and is_free(v) and v.args:
        chain.append(v)
        (v,) = v.args
    return v, moved(fusion.home(v, orders), reversed(chain))


# ---- trips -------------------------------------------------------------------------------------


def room_of(repeat: Repeat, program: Program) -> int:
    """The bytes of a loop's workspace: its body's arena, and two buffers for what alternates."""
    return _turns(repeat, program)[-1]


def _turns(repeat: Repeat, program: Program) -> list[int]:
    """Where in the workspace the buffers of each thing carried begin, and where it ends."""
    sizes = {s.name: s.size_bytes for s in program.slots}
    at, found = _aligned(program.arena_bytes, program.align), []
    for name, trail in zip(program.outs, repeat.trails):
        found.append(at)
        at += 2 * _aligned(sizes[name], program.align) * (trail is None)
    return [*found, at]


def _aligned(n: int, unit: int) -> int:
    return -(-n // unit) * unit


class Unroller:
    """The launches of all trips, and the slots of their own, each within one of the loop's."""

    def __init__(
        self, repeat: Repeat, program: Program, names: Sequence[str], room: str,
        sizes: Evaluation, slots: dict[str, Slot], first: int,
    ) -> None:  # fmt: skip
        """`names`: the slots of the loop's buffers; `room`: of its workspace; `first`: the number
        of its first launch. New slots go into `slots`."""
        self.repeat, self.program, self.names, self.room = repeat, program, names, room
        self.trips: int = sizes(repeat.trips)
        self.operands = [Operand(*sizes((*o,))) for o in repeat.operands]
        self.slots = slots
        begins = sum(t is not None for t in repeat.trails)
        self.span = first, first + begins + self.trips * len(program.launches) - 1
        self.turns = _turns(repeat, program)
        self.args = [s for s in program.slots if s.space == "arg"]
        of = {s.name: s for s in program.slots}
        self.outs = [of[name] for name in program.outs]

    def launches(self) -> Iterator[Launch]:
        """Everything in order."""
        r, n = self.repeat, self.repeat.carried
        state = [self.names[o.buffer] for o in self.operands[:n]]
        for j, trail in enumerate(r.trails):
            if trail is not None:
                row = self._row(trail, self.trips if r.reverse else 0, self.outs[j])
                yield _copy(state[j], self.slots[row])
        inner = {
            s.name: self._part(self.room, f"{self.room}/{s.name}", s.index, s.spec)
            for s in self.program.slots
            if s.space == "arena"
        }
        for trip in range(self.trips):
            place = self.trips - 1 - trip if r.reverse else trip
            after = [self._carried(j, trip, place) for j in range(n)]
            stacks = [self._row(b, place, s) for b, s in zip(r.stacks, self.outs[n:], strict=True)]
            made = {s.name: name for s, name in zip(self.outs, (*after, *stacks), strict=True)}
            read = {
                s.name: state[s.index] if s.index < n else self._read(s, place) for s in self.args
            }
            of = inner | read | made
            for x in self.program.launches:
                slots = tuple(of[name] for name in x.slots)
                yield Launch(x.kernel, slots, x.sizes, x.scalars, False, x.members, trip)
            state = after

    def _part(self, parent: str, name: str, offset: int, spec: TensorSpec) -> str:
        """The slot of some bytes of another."""
        if name not in self.slots:
            p = self.slots[parent]
            if p.space != "arena":
                raise InternalError(f"a part of {p.name}, which is no buffer of the arena")
            self.slots[name] = Slot(
                name, spec, "arena", p.index + offset, *self.span, p.where, p.within or parent
            )
        return name

    def _row(self, buffer: int, row: int, like: Slot) -> str:
        name = self.names[buffer]
        return self._part(name, f"{name}/{row}", row * like.size_bytes, like.spec)

    def _read(self, s: Slot, place: int) -> str:
        """What a trip reads: its slice, or what is the same in all trips."""
        operand = self.operands[s.index]
        name = self.names[operand.buffer]
        if s.index >= self.repeat.carried + self.repeat.sliced or not s.size_bytes:
            return name
        offset = (operand.first + place * operand.step) * s.spec.dtype.itemsize
        return self._part(name, f"{self.room}/{s.name}.{place}", offset, s.spec)

    def _carried(self, j: int, trip: int, place: int) -> str:
        """Where a trip leaves what it carries on."""
        r, s = self.repeat, self.outs[j]
        trail, last = r.trails[j], r.lasts[j]
        if trail is not None:
            return self._row(trail, place + (not r.reverse), s)
        turn = (self.trips - 1 - trip) % 2
        if last is not None and turn == 0:
            return self.names[last]
        offset = self.turns[j] + turn * _aligned(s.size_bytes, self.program.align)
        return self._part(self.room, f"{self.room}/{s.name}.{turn}", offset, s.spec)


def _copy(source: str, row: Slot) -> Launch:
    """The first row of what is carried."""
    at = Affine((("d0", 1),))
    dtype = row.spec.dtype
    body = (Load("%0", dtype, "b0", at), Store("b1", "%0", at))
    shown = Buffer("b0", dtype, "r"), Buffer("b1", dtype, "w")
    axes, phases = (Axis("d0", "n0"),), (Phase((), body),)
    note = "what a loop carries has to stand in its first row"
    kernel = Kernel(f"begin_{dtype.name}", "map", shown, ("n0",), (), axes, phases, note=note)
    return Launch(kernel, (source, row.name), (row.spec.numel,), ())
