"""Rebound places: where a step reads a tensor and leaves another, which its next call reads.

    self.ema = 0.9 * self.ema + 0.1 * x        an attribute, an item, a global, a slot

The tensor there, or each in a container (`trees.py`), is no constant of the trace. Each call reads
the one that it finds, of the type, strides and device as traced (`Like` is the guard); it may be a
view of memory, or have a history. What the step leaves gets there in one of two ways:

  in place   The program writes the new value into the memory of the old tensor, or of a copy, where
             somebody else has the old one (`standing.py`). No Python follows it. This is for
             tensors that show all of their memory and have no history.
  by Python  The program makes a new tensor and an Effect sets the place: where the old or the new
             one is seen elsewhere, too (returned, kept in a list, moved to another place, saved for
             a backward), or what sets the place may do more than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

from graphc.errors import Untraceable
from graphc.frontend.geometry import shown_strides
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.noted import Effect
from graphc.frontend.parted import Parted
from graphc.frontend.places import place_of
from graphc.frontend.step.python import effects
from graphc.frontend.step.python.effects import Itself
from graphc.frontend.step.python.forms import At, Path, now
from graphc.frontend.step.python.found import Row, contents
from graphc.frontend.step.python.held import FIXED, Note, Place, Whole
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.standing import Like, Standing, is_plain, is_whole
from graphc.frontend.step.python.stores import CHANGED, SETS
from graphc.frontend.step.python.trees import Tree, alone, containers
from graphc.frontend.step.python.trees import found as trees_of
from graphc.frontend.step.signature import is_record, rebuilt, record
from graphc.frontend.step.steptrace import StepTrace
from graphc.frontend.storage import Storage
from graphc.frontend.table import Table
from graphc.frontend.tensor import Tensor, show
from graphc.frontend.told import Told

PLAIN = (dict, list)  # containers whose items are set by no code of a user's


class Spot(NamedTuple):
    """Where a tensor was found: at a place, or at the path of a tree that is there."""

    place: Place
    note: Note
    tree: Tree | None
    path: Path
    row: Row
    moves: bool


class Rebound(Standing):
    """Such a place while its step is traced: what stood there, and what the step leaves."""

    __slots__ = ("inside", "left", "traced")

    def __init__(self, number: int, label: str, owner: Any, key: Any, row: Any) -> None:
        super().__init__(number, label, owner, key, row[:2])
        self.traced: Tensor = row[2]
        self.left = now(*row[:2])
        self.inside = False  # of a container that stands there, which Python sets


def find(trace: StepTrace, reads: Reads) -> None:
    """When the step has run: the places that it rebinds, with guards of a tensor like theirs."""
    made = reads.made()
    loaded = dict(_loaded(trace))
    stood: set[Place] = set()
    if not any(_is_code(x, made) for x in reads.stores.given()):
        stood = _found(trace, reads, made, loaded)
    # else what the step has made anew may hold a tensor of this call
    for place, note in loaded.items():
        get, key, x = note.rows[-1]
        if place not in stood:
            trace.guards.append((Told(partial(get, key), note.owner, label=note.label), x))
    trace.followed.clear()


def _found(trace: StepTrace, reads: Reads, made: set[int], loaded: dict[Place, Note]) -> set[Place]:
    trees = alone(reads, trees_of(reads, made))
    apart = {p for tree, covered in trees for p in (tree.place, *covered)}
    known = ((p, n) for p, n in reads.notes.items() if id(n.owner) not in made)
    notes = {place: note for place, note in known if place not in apart}
    held = _held(notes)
    groups: dict[Storage, list[Spot]] = {}
    for place, note in (dict(_slots(trace)) | loaded | notes).items():
        x: Any = note.rows[-1][2] if note.rows else None
        if is_plain(x) and id(note.owner) not in made:
            moves = place in loaded or _moves(reads, note)
            held[x.storage] += place not in notes
            spot = Spot(place, note, None, (), note.rows[-1], moves)
            groups.setdefault(x.storage, []).append(spot)
    for tree, _ in trees:
        for path, x in tree.leaves():
            row: Row = At(tree.get, path), tree.subject, x
            held[x.storage] += 1
            spot = Spot(tree.place, tree.note, tree, path, row, True)
            groups.setdefault(x.storage, []).append(spot)
    hidden = {x.storage for a in trace.after_commit for x in _closed_over(a)}
    for storage, parted in trace.parted.items():
        if storage not in hidden and _has_all(trace, parted.tensor):
            _part(trace, parted)
    stood = [
        spot
        for storage, group in groups.items()
        if storage not in hidden and _may_stand(trace, group, held[storage])
        for spot in _stand(trace, reads, group)
    ]
    for tree, covered in trees:
        if loose := frozenset(s.path for s in stood if s.tree is tree):
            reads.notes[tree.place] = tree.loosened(loose)
            reads.anew.update(map(id, containers(tree.value)))
            for place in covered:
                reads.notes.pop(place, None)
    return {s.place for s in stood if s.tree is None}


def _may_stand(trace: StepTrace, group: list[Spot], held: int) -> bool:
    """Whether each call may find another tensor in these places, which are all that lead to it."""
    x = group[0].row[2]
    known = len(group) == held and all(s.row[2] is x for s in group)
    return known and _is_free(trace, x) and any(s.moves for s in group)


def _has_all(trace: StepTrace, x: Tensor) -> bool:
    """Whether x shows all of a memory that the trace knows by x alone."""
    others = (y for y in trace.shown if y is not x and y.storage is x.storage)
    whole = x.array is not None and x.array is x.storage.array and not x.views
    return whole and x.storage not in trace.owners and not any(True for _ in others)


def _part(trace: StepTrace, parted: Parted) -> None:
    """Have a tensor get other memory in a call where somebody else has the one that it has. If the
    step writes that first, those see it: then in each call, by Python."""
    x = parted.tensor
    rebound = Rebound(len(trace.places), f"{x.name or x.spec}.data", x, "data", (_itself, x, x))
    rebound.memory, rebound.sole = True, parted.last is not None and not parted.shared
    trace.places.append(rebound)
    trace.rebound[x.storage] = rebound
    if parted.last is None or not parted.shared:
        rebound.put = partial(show, x)


def _give(trace: StepTrace, r: Rebound, used: Iterable[Tensor]) -> None:
    """Leave in the old memory what was written there, and have each call give x a new one."""
    x, s = r.traced, r.traced.storage
    if any(y.storage is s and y is not x for y in used):
        raise trace.refuse(
            Untraceable(
                f"the step writes {r.label}, sets it, and hands on a view of what it is then",
                why="somebody else has the memory that it had, which each call has to part from it",
                fix="hand on a clone(), or write in place: x.data.copy_(value)",
            )
        )
    new = trace.wrap(trace.current[s])
    last = trace.parted[s].last
    assert last is not None
    trace.current[s] = last
    effects.repeat(trace, show, ((Itself(x), new), {}))


def _itself(x: Tensor) -> Tensor:
    return x


def _moves(reads: Reads, note: Note) -> bool:
    """Whether another tensor comes to a place: by the step, or as earlier calls have found."""
    get, subject, x = note.rows[-1]
    return now(get, subject) is not x or reads.stands.moves((note.label, note.file, note.line))


def _stand(trace: StepTrace, reads: Reads, group: list[Spot]) -> list[Spot]:
    """Have each call read what stands in these places, which is one tensor."""
    first = len(trace.places)
    for place, note, tree, path, row, _ in group:
        get, subject, x = row
        key = place[2] if tree is None else (place[2], path)
        rebound = Rebound(len(trace.places), note.label, note.owner, key, row)
        rebound.first = first
        rebound.inside, rebound.written = tree is not None, x.storage in trace.written
        trace.places.append(rebound)
        trace.rebound.setdefault(x.storage, rebound)
        trace.flags.pop(x, None)
        if tree is not None:
            continue
        like = Like(get, x)
        if place in reads.notes:
            rows: tuple[Row, ...] = (*note.rows[:-1], (like, subject, like.kept))
            reads.notes[place] = note._replace(rows=rows, of_module=False)
        else:
            told = Told(partial(like, subject), note.owner, label=note.label)
            trace.guards.append((told, like.kept))
    return group


def _held(notes: Mapping[Place, Note]) -> Counter[Storage]:
    """How many places were read that hold a tensor over each memory."""
    found: Counter[Storage] = Counter()
    for note in notes.values():
        for get, _, kept in note.rows[-1:]:
            items = kept if isinstance(get, Whole) and type(kept) is tuple else (kept,)
            found.update(x.storage for x in items if isinstance(x, Tensor))
    return found


def _slots(trace: StepTrace) -> Iterator[tuple[Place, Note]]:
    """Slots and buffers that code of ours replaces, which is not watched."""
    for table, before in trace.slots:
        if isinstance(table, Table):
            yield from _tensors_of(table, before)


def _loaded(trace: StepTrace) -> Iterator[tuple[Place, Note]]:
    """Slots that the step has used of optimizers that have loaded others."""
    before = {id(table): before for table, before in trace.slots}
    for state in {id(x): x for x in trace.followed}.values():
        then = before.get(id(state), state)
        tables = [x for x in then.values() if isinstance(x, Table)]
        form = tuple((id(t), *before.get(id(t), t)) for t in tables)
        trace.guards.append((Told(partial(_form, state), state, *tables, label="slots"), form))
        for table in tables:
            for place, note in _tensors_of(table, before.get(id(table), table)):
                if note.rows[-1][2].storage in trace.current:
                    yield place, note


def _form(state: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Which slots an optimizer has."""
    return tuple((id(t), *t) for t in state.values() if isinstance(t, Table))


def _tensors_of(table: Table, items: Mapping[Any, Any]) -> Iterator[tuple[Place, Note]]:
    for key, x in items.items():
        if isinstance(x, Tensor):
            row = (table.get, key, x)
            yield ("item", id(table), key), Note(f"`{key}`", "", 0, table, (row,), False)


def _is_free(trace: StepTrace, x: Tensor) -> bool:
    """Whether the trace knows the memory of x by x alone, and has not written it."""
    s = x.storage
    others = (y for y in trace.shown if y is not x and y.storage is s)
    grads = (g for g, _ in trace.old_grads.values() if g is not None and g.storage is s)
    hooked = x._hooks is not None or x._after_grad is not None
    return not (
        s in trace.owners
        or s in trace.passed  # by the name of the argument, too, another tensor is read
        or (s in trace.written and (x.requires_grad or x.views))
        or hooked
        or x in trace.grads
        or trace.flag_before(x) is not x.requires_grad
        or any(True for _ in others)
        or any(True for _ in grads)
        or trace.current.get(s) in trace.fixed
        or place_of(x.array) is not trace.place
    )


def _is_code(x: Any, made: set[int]) -> bool:
    """Whether x was made by the step and is more than data, or has such in it."""
    pending, met = [x], set[int]()
    while pending:
        x = pending.pop()
        if isinstance(x, (Tensor, HostValue, *FIXED)) or id(x) in met or id(x) not in made:
            continue
        met.add(id(x))
        if is_record(x):
            x = record(x)
        elif not isinstance(x, (*CHANGED, tuple)):
            return True
        pending += x.values() if isinstance(x, dict) else x
    return False


def _closed_over(action: Any) -> Iterator[Tensor]:
    """Tensors in the closure of what each call runs after its commit."""
    f = action.action if isinstance(action, Effect) else action
    given: list[Any] = []
    while isinstance(f, partial):
        given += [*f.args, *f.keywords.values()]
        f = f.func
    for g in (f, *given):
        cells = (g.__closure__ or ()) if isinstance(g, FunctionType) else ()
        for x in (g, getattr(g, "__self__", None), *map(contents, cells)):
            if isinstance(x, Tensor):
                yield x


# ---- how each place gets its value ---------------------------------------------------------------


def choose(trace: StepTrace, result: Any) -> None:
    """Have the program write in place what nobody else is given; Python sets the other places."""
    used = [*_tensors(result), *(g for g in trace.grads.values() if g is not None)]
    shared = {r.first for r in trace.places if r.first != r.number}
    places = [r for r in trace.rebound.values() if not (r.number in shared or r.memory)]
    places = [r for r in places if not r.inside]
    given = [x for args in trace.effects for x in _tensors(args)]
    seen = Counter(x.storage for x in (*used, *given))
    for r in (r for r in trace.places if r.memory and r.put is None):
        _give(trace, r, (*used, *given))
    if not trace.grads and any(x.grad_fn is not None for x in (*used, *given)):
        return  # a backward may come to read what was there
    sets = {r: _sets(trace, r) for r in places}
    for r, found in sets.items():
        x, new = r.traced, r.left
        if not found or not _may_stay(trace, r, new):
            continue
        mine = Counter(y.storage for e in found for y in _tensors(trace.effects[e.number]))
        if seen[x.storage] or seen[new.storage] != mine[new.storage]:
            continue
        trace.write(x, new)
        r.put = partial(found[-1].action, r.owner)
        for e in found:
            trace.after_commit.remove(e)
            trace.effects[e.number] = (), {}


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(x: Tensor) -> Tensor:
        found.append(x)
        return x

    rebuilt(tree, note)
    return found


def _sets(trace: StepTrace, r: Rebound) -> list[Effect]:
    """What sets a place after each call, if that is all that is done to it."""
    found: list[Effect] = []
    for a in trace.after_commit:
        args = trace.effects[a.number][0] if isinstance(a, Effect) else ()
        if not args or not isinstance(args[0], Itself) or args[0].it is not r.owner:
            continue
        names = a.action.keywords if isinstance(a.action, partial) else {}
        key = names.get("key", names.get("name", r.key))
        if not names and not isinstance(a.action, partial):
            return []
        if a.action.func not in SETS:
            return []
        if key == r.key:
            found.append(a)
    return found


def _may_stay(trace: StepTrace, r: Rebound, new: Any) -> bool:
    """Whether memory like the old tensor's is right for what the step leaves."""
    if not isinstance(new, Tensor) or not new.is_traced or not trace.made(new):
        return False
    x, shape = r.traced, new.spec.shape
    c = r.owner
    if isinstance(c, CHANGED) and not (type(c) in PLAIN or isinstance(c, Table)):
        return False
    return (
        is_whole(x)
        and not r.written
        and all(type(n) is int for n in shape)
        and new.spec == x.spec
        and shown_strides(new) == shown_strides(x)
        and not new.requires_grad
        and new.grad_fn is None
    )


def release(trace: StepTrace) -> list[Standing]:
    """Once there is a graph: the places, and nothing that holds what stood there in the trace."""
    for k, item in enumerate(trace.inputs):
        if (r := trace.rebound.get(item.storage)) is not None:  # type: ignore[arg-type]
            hollow = Storage(None, r.traced.spec, name=r.traced.storage.name)
            tensor = item.tensor if r.memory else None
            trace.inputs[k] = replace(item, storage=hollow, tensor=tensor, rebound=r.number)
    for storage, r in trace.rebound.items():
        trace.shown.pop(r.traced, None)
        if not r.memory:
            trace.flags.pop(r.traced, None)
        trace.current.pop(storage, None)
        trace.written.pop(storage, None)
    if trace.rebound:
        trace.rebound.clear()
        trace.unwritten.clear()
        trace.effects[:] = [((), {})] * len(trace.effects)
    places, trace.places = trace.places, []
    return [_without_values(r) for r in places]


def _without_values(r: Rebound) -> Standing:
    out = Standing(r.number, r.label, r.owner, r.key, r.row)
    out.put, out.first, out.memory, out.sole = r.put, r.first, r.memory, r.sole
    out.written = r.written
    return out
