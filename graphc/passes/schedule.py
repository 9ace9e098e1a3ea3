"""schedule: kernels in an order, buffers in slots: the Program.

Input: the lowered kernels of a graph. Output: a `Schedule`, and from it by `at` a Program for given
sizes of the graph's extents, which touches state only behind its commit point. Besides data
dependencies the order obeys two kinds of extra edges:
  - whoever reads a state tensor runs before the kernel that overwrites it in place;
  - whoever checks an index, and every routine, runs before any kernel that writes state.
Where such an edge would close a cycle, or a kernel reads other elements of the state than it
writes, the new value is computed in the arena and copied over the state at the end.

Among what is ready then, `sequence.py` chooses; `again.py` says what is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Affine, Axis, Buffer, Kernel, Load, Phase, Store
from graphc.ir.program import Assumption, CheckSite, Launch, Program, Slot, Space
from graphc.ir.sizes import HINTS, Evaluation, unknowns
from graphc.ir.types import Scalar, Shape, TensorSpec, u8
from graphc.passes.again import again
from graphc.passes.group import parts_of
from graphc.passes.in_place import reads_in_place, told
from graphc.passes.memory import Request, place_barriers, plan_offsets
from graphc.passes.nest import Lowered
from graphc.passes.profile import Profile
from graphc.passes.repeat import Repeat, Unroller, room_of
from graphc.passes.sequence import sequence, waits_of

COPIED = 8  # states that one kernel copies: as many streams as processors follow


@dataclass(frozen=True, slots=True)
class Schedule:
    """A program whose sizes are expressions of extents.

    Everything that does not depend on a size is decided: the order of launches, lifetimes, which
    output overwrites which state, and in what `order` buffers are placed in the arena.
    """

    name: str
    slots: tuple[Slot, ...]  # those of the arena without a place
    launches: tuple[Launch, ...]
    commit: int
    outs: tuple[str, ...]
    checks: tuple[CheckSite, ...]
    orders: tuple[Shape, ...]
    order: tuple[int, ...]
    profile: Profile
    repeats: Mapping[int, Repeat] = field(default_factory=dict)  # launches that stand for loops
    assumed: tuple[Assumption, ...] = ()

    def at(self, sizes: Evaluation) -> Program:
        """The program for these sizes: expressions evaluated, buffers placed, barriers set."""
        bodies = {n: r.body.at(sizes) for n, r in self.repeats.items()}
        specs = {x: x.at(sizes) for x in {s.spec for s in self.slots if not s.spec.is_fixed}}
        slots = {s.name: _sized(s, specs.get(s.spec, s.spec), s.index) for s in self.slots}
        for n, body in bodies.items():
            room = self.launches[n].slots[-1]
            slots[room] = _sized(slots[room], _bytes(room_of(self.repeats[n], body)), 0)
        arena = [s for s in slots.values() if s.space == "arena"]
        plan = plan_offsets(_requests(arena), self.profile, self.order)
        for s, offset in zip(arena, plan.offsets, strict=True):
            slots[s.name] = _sized(s, s.spec, offset)
        launches, commit = self._launches_at(sizes, bodies, slots)
        return Program(
            self.name,
            tuple(slots.values()),
            place_barriers(launches, slots, commit),
            commit,
            self.outs,
            plan.total,
            plan.bound,
            self.checks,
            self.orders,
            self.profile.align,
            self.assumed,
        )

    def _launches_at(
        self, sizes: Evaluation, bodies: Mapping[int, Program], slots: dict[str, Slot]
    ) -> tuple[list[Launch], int]:
        """The launches, those of loops for each trip, and where the commit point is among them.

        Lives of `slots` are counted anew, and trips get slots of their own.
        """
        if not bodies:
            return [_launch_at(x, sizes) for x in self.launches], self.commit
        launches: list[Launch] = []
        firsts = []
        for n, x in enumerate(self.launches):
            firsts.append(len(launches))
            if n in bodies:
                repeat, room = self.repeats[n], x.slots[-1]
                given = repeat, bodies[n], x.slots[:-1], room, sizes, slots, len(launches)
                launches += Unroller(*given).launches()
            else:
                launches.append(_launch_at(x, sizes))
        firsts.append(len(launches))
        for s in self.slots:
            now, last = slots[s.name], firsts[s.last + 1] - 1 if s.last >= 0 else s.last
            slots[s.name] = replace(now, first=firsts[s.first], last=last)
        return launches, firsts[self.commit]


def _sized(s: Slot, spec: TensorSpec, index: int) -> Slot:
    if spec is s.spec and index == s.index:
        return s
    return Slot(s.name, spec, s.space, index, s.first, s.last, s.where)


def _launch_at(x: Launch, sizes: Evaluation) -> Launch:
    kernel, scalars = _kernel_at(x.kernel, sizes), _scalars_at(x, sizes)
    return Launch(kernel, x.slots, sizes(x.sizes), scalars, x.barrier, x.members)


def _kernel_at(kernel: Kernel, sizes: Evaluation) -> Kernel:
    """A kernel's code does not depend on sizes, but what a routine is told may."""
    if kernel.call is None or not unknowns(tuple(a for _, a in kernel.call.attrs)):
        return kernel
    attrs = tuple((name, sizes(a)) for name, a in kernel.call.attrs)
    return replace(kernel, call=replace(kernel.call, attrs=attrs))


def _scalars_at(launch: Launch, sizes: Evaluation) -> tuple[Scalar, ...]:
    return tuple(
        float(v) if a.dtype.is_floating_point else v
        for v, a in zip(sizes(launch.scalars), launch.kernel.scalars, strict=True)
    )


def _requests(slots: Iterable[Slot]) -> list[Request]:
    return [Request(s.size_bytes, s.first, s.last) for s in slots]


def schedule(
    graph: Graph, kernels: Sequence[Lowered], checks: Sequence[CheckSite], profile: Profile
) -> Schedule:
    """Order `kernels`, give every buffer a slot, and mark barriers and the commit point.

    The parts of an `assemble` share its slot, and who reads the whole waits for all of them.
    """
    return _Scheduler(graph, [k for k in kernels if k.writes_something()], checks, profile).run()


class _Scheduler:
    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Lowered],
        checks: Sequence[CheckSite],
        profile: Profile,
    ) -> None:
        self.graph = graph
        self.profile = profile
        self.kernels = list(kernels)
        self.checks = tuple(checks)
        self.maker = {v: k for k, kernel in enumerate(self.kernels) for v in kernel.writes}
        self.readers: dict[Value, list[int]] = {}
        for k, kernel in enumerate(self.kernels):
            for v in kernel.reads:
                self.readers.setdefault(v, []).append(k)
        self.after: list[set[int]] = [set() for _ in self.kernels]  # who waits for k
        self.whole = {part: p.whole for part, p in parts_of(graph).items()}
        for v, maker in self.maker.items():
            self.after[maker].update(self.readers.get(v, ()))
            self.after[maker].update(self.readers.get(self.whole.get(v, v), ()))
        self.target: dict[Value, Value] = {}  # outputs that overwrite a state input in place

    def run(self) -> Schedule:
        self._alias_states()
        order = self._order()
        ordered = [*(self.kernels[k] for k in order), *self._copies()]
        ordered = again(ordered, self._fixed_places(), self.whole, self.profile)
        slots = self._slots(ordered)
        launches, repeats = self._launches(ordered, slots)
        by_name = {s.name: s for s in slots.values()}
        for n in repeats:
            by_name |= {name: _room(name, n) for name in launches[n].slots[-1:]}
        commit = next(
            (n for n, k in enumerate(ordered) if self._writes_state(k, slots)),
            len(launches),
        )
        rooms = {launches[n].slots[-1]: room_of(r, r.body.at(HINTS)) for n, r in repeats.items()}
        seen = (
            replace(s, spec=s.spec.at(HINTS) if s.name not in rooms else _bytes(rooms[s.name]))
            for s in by_name.values()
            if s.space == "arena"
        )
        return Schedule(
            self.graph.name,
            tuple(by_name.values()),
            tuple(launches),
            commit,
            tuple(slots[v].name for v, t in self._pairs() if t is None),
            self.checks,
            tuple(
                self.graph.orders.get(v, tuple(range(len(v.shape)))) for v in self.graph.states()
            ),
            plan_offsets(_requests(seen), self.profile).order,
            self.profile,
            repeats,
        )

    def _pairs(self) -> Iterable[tuple[Value, Value | None]]:
        return zip(self.graph.outs, self.graph.targets, strict=True)

    # ---- state ---------------------------------------------------------------------------------

    def _alias_states(self) -> None:
        """Let each new state overwrite the old one in place where the order allows it."""
        checkers = {k for k, kernel in enumerate(self.kernels) if kernel.may_fail()}
        checking, before = self._leading_to(checkers), self._before()
        for out, state in self._pairs():
            if state is None or out not in self.maker:
                continue
            maker = self.maker[out]
            if maker in checking:  # for good: an edge added here leads to none that checks
                continue
            readers = set(self.readers.get(state, ())) - {maker}
            in_place = reads_in_place(self.kernels[maker], state, out)
            if in_place and not any(before[k] >> maker & 1 for k in readers):
                self._wait(maker, checkers | readers, before)
                self.target[out] = state

    def _leading_to(self, goals: set[int]) -> set[int]:
        """The goals, and all that come before one."""
        before: list[list[int]] = [[] for _ in self.kernels]
        for k, followers in enumerate(self.after):
            for f in followers:
                before[f].append(k)
        seen, stack = set(goals), list(goals)
        while stack:
            for k in before[stack.pop()]:
                if k not in seen:
                    seen.add(k)
                    stack.append(k)
        return seen

    def _before(self) -> list[int]:
        """For each kernel a mask of those that come before it, and itself."""
        before = [1 << k for k in range(len(self.kernels))]
        waits = waits_of(self.after)
        ready = [k for k, n in enumerate(waits) if n == 0]
        while ready:
            k = ready.pop()
            for f in self.after[k]:
                before[f] |= before[k]
                waits[f] -= 1
                if waits[f] == 0:
                    ready.append(f)
        return before

    def _wait(self, maker: int, others: set[int], before: list[int]) -> None:
        """Let `maker` run after others, and so whoever runs after it."""
        mask = 0
        for k in others:
            self.after[k].add(maker)
            mask |= before[k]
        stack = [maker]
        while stack:
            k = stack.pop()
            if mask & ~before[k]:
                before[k] |= mask
                stack.extend(self.after[k])

    def _copies(self) -> list[Lowered]:
        """Kernels that move new states from the arena over the old ones, some at a time."""
        groups: list[list[tuple[Value, Value]]] = []
        filling: dict[int, list[tuple[Value, Value]]] = {}  # the last group of each size
        for out, state in self._pairs():
            if state is None or out in self.target or not out.spec.numel:
                continue
            size = out.spec.numel
            group = filling.get(size, []) if isinstance(size, int) else []
            if not 0 < len(group) < COPIED:
                groups.append(group := [])
                if isinstance(size, int):
                    filling[size] = group
            group.append((out, state))
        return [copy_kernel(pairs) for pairs in groups]

    def _writes_state(self, k: Lowered, slots: dict[Value, Slot]) -> bool:
        return any(slots[v].space == "state" for v in k.writes)

    # ---- order ---------------------------------------------------------------------------------

    def _order(self) -> list[int]:
        fixed = self._fixed_places()
        touched = [{self.whole.get(v, v) for v in k.buffers} for k in self.kernels]
        buffers = {v for vs in touched for v in vs if v not in fixed}
        weights = {v: v.spec.at(HINTS).size_bytes for v in buffers}
        return sequence(self.kernels, self.after, touched, weights)

    # ---- slots ---------------------------------------------------------------------------------

    def _slots(self, kernels: Sequence[Lowered]) -> dict[Value, Slot]:
        lives = self._lifetimes(kernels)
        fixed = self._fixed_places()
        arena: dict[Value, tuple[Space, int]] = {v: ("arena", 0) for v in lives if v not in fixed}
        places = {**fixed, **arena}
        last, read = len(kernels) - 1, {v for k in kernels for v in k.reads}
        slots = {}
        for v, (space, index) in places.items():
            first, final = lives.get(v, (0, last))
            if space == "arena" and self.whole.get(v, v) not in read:
                final = last  # nobody reads it: who takes its place would have to wait for nothing
            slots[v] = Slot(v.name[1:], v.spec, space, index, first, final, str(v.where))
        slots |= {part: slots[whole] for part, whole in self.whole.items() if whole in slots}
        return slots

    def _lifetimes(self, kernels: Sequence[Lowered]) -> dict[Value, tuple[int, int]]:
        """The first and last launch that touches each buffer."""
        lives: dict[Value, tuple[int, int]] = {}
        for n, k in enumerate(kernels):
            for v in k.buffers:
                buffer = self.whole.get(v, v)
                lives[buffer] = (lives[buffer][0] if buffer in lives else n, n)
        return lives

    def _fixed_places(self) -> dict[Value, tuple[Space, int]]:
        """Inputs, returned tensors and states that are overwritten in place."""
        places: dict[Value, tuple[Space, int]] = {}
        counts: dict[str, int] = {"arg": 0, "state": 0, "scalar": 0}
        for v, role in zip(self.graph.inputs, self.graph.roles, strict=True):
            space: Space = "arg" if role == "arg" else "state" if role == "state" else "scalar"
            places[v] = (space, counts[space])
            counts[space] += 1
        returned = [v for v, t in self._pairs() if t is None]
        places |= {v: ("out", n) for n, v in enumerate(returned)}
        places |= {v: places[state] for v, state in self.target.items()}
        return places

    def _launches(
        self, kernels: Sequence[Lowered], slots: dict[Value, Slot]
    ) -> tuple[list[Launch], dict[int, Repeat]]:
        """The launches, and what those of loops repeat; the last slot of such is a workspace."""
        launches = [self._launch(k, slots) for k in kernels]
        repeats = {n: k.repeat for n, k in enumerate(kernels) if k.repeat is not None}
        for n in repeats:
            x = launches[n]
            launches[n] = replace(x, slots=(*x.slots, f"{x.members[0][1:]}.trips"))
        taken: Names = {}
        named = named_apart(launches, taken)
        return named, {n: _named(r, taken) for n, r in repeats.items()}

    def _launch(self, k: Lowered, slots: dict[Value, Slot]) -> Launch:
        kernel = told(k, self.target)
        names = tuple(slots[v].name for v in k.buffers)
        members = tuple(v.name for v in k.members)
        return Launch(kernel, names, k.sizes, k.scalars, members=members)


def _bytes(count: int) -> TensorSpec:
    return TensorSpec(u8, (count,))


def _room(name: str, n: int) -> Slot:
    """The workspace of launch n, a loop; its size is that of one trip's program."""
    return Slot(name, _bytes(0), "arena", 0, n, n)


Names = dict[str, str]  # by name of a kernel, its text


def _named(repeat: Repeat, taken: Names) -> Repeat:
    """The same, with the kernels of its trips named apart from all others."""
    body = repeat.body
    inner = {n: _named(r, taken) for n, r in body.repeats.items()}
    launches = tuple(named_apart(body.launches, taken))
    return replace(repeat, body=replace(body, launches=launches, repeats=inner))


def named_apart(launches: Sequence[Launch], taken: Names) -> list[Launch]:
    """The launches with another name for every other kernel: a name says which code runs.

    Kernels of trips within trips come with a number from there, which others may have by now.
    """
    named = []
    for launch in launches:
        kernel, k = launch.kernel, 1
        name, text = kernel.name, kernel.key()
        while taken.setdefault(name, text) != text:
            k += 1
            name = f"{kernel.name}.{k}"
        named.append(replace(launch, kernel=replace(kernel, name=name) if k > 1 else kernel))
    return named


def copy_kernel(pairs: Sequence[tuple[Value, Value]]) -> Lowered:
    """target[i] = source[i] of pairs of one size."""
    at = Affine((("d0", 1),))
    buffers: list[Buffer] = []
    body: list[Load | Store] = []
    for n, (source, _) in enumerate(pairs):
        dtype, where = source.spec.dtype, str(source.where)
        read, written = f"b{2 * n}", f"b{2 * n + 1}"
        buffers += Buffer(read, dtype, "r"), Buffer(written, dtype, "w")
        body.append(Load(f"%{n}", dtype, read, at, where=where))
        body.append(Store(written, f"%{n}", at, where=where))
    states = ", ".join(f"{source.name}: new state {target.name}" for source, target in pairs)
    kernel = Kernel(
        "copy",
        "map",
        tuple(buffers),
        ("n0",),
        (),
        (Axis("d0", "n0"),),
        (Phase((), tuple(body)),),
        f"{states}, moved there once nobody reads the old one",
    )
    values = tuple(v for pair in pairs for v in pair)
    return Lowered(kernel, values, (pairs[0][0].spec.numel,), (), ())
