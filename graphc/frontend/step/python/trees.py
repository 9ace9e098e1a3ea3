"""Containers of tensors that a step finds anew in each call, as a tensor that stands in a place:

    self.hidden = tuple(h.detach() for h in self.cell(x, self.hidden))
    self.old = [p.detach().clone() for p in params]        rows.append(x); rows.pop(0)

A list, tuple, dict, deque or dataclass that the step replaces or changes is no constant of the
trace. Each call compares its form (`LikeTree`) and reads the tensors that it finds there; what the
step leaves is set by Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from graphc.frontend.hostvalue import Settled
from graphc.frontend.step.python.forms import Get, LikeTree, Path, now, parts
from graphc.frontend.step.python.found import own
from graphc.frontend.step.python.held import Note, Place, Whole
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.standing import is_plain
from graphc.frontend.step.signature import is_record
from graphc.frontend.tensor import Tensor

OF_ITEMS = {"item", "whole", "attr", "dict", "type"}  # notes that tell of what a container holds
MOST = 256  # tensors of one container: each call looks at each


def tensors(x: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """All tensors in nested containers."""
    if isinstance(x, Tensor):
        yield path, x
    for key, item in (parts(x) or {}).items():
        yield from tensors(item, (*path, key))


def containers(x: Any) -> Iterator[Any]:
    """x, and all containers in it."""
    if (inside := parts(x)) is not None:
        yield x
        for item in inside.values():
            yield from containers(item)


def is_tree(x: Any) -> bool:
    """Whether each container in it is there once: none in itself, none by two ways."""
    seen: set[int] = set()
    pending = [x]
    while pending:
        inside = parts(c := pending.pop())
        if inside is None:
            continue
        if id(c) in seen:
            return False
        seen.add(id(c))
        pending += inside.values()
    return True


class Tree(NamedTuple):
    """A place that holds a container; `get` and `subject` find it, `value` is what was traced."""

    place: Place
    note: Note
    get: Get
    subject: Any
    value: Any
    numbers: frozenset[Path] = frozenset()

    def leaves(self) -> Iterator[tuple[Path, Tensor]]:
        return ((path, x) for path, x in tensors(self.value) if is_plain(x))

    def loosened(self, loose: frozenset[Path]) -> Note:
        """The note of a trace that takes any tensors at these paths."""
        guard = LikeTree(self.get, self.value, loose, self.numbers)
        row = guard, self.subject, guard.kept
        return self.note._replace(rows=(*self.note.rows[:-1], row), of_module=False)


def found(reads: Reads, made: set[int]) -> list[Tree]:
    """Those that the step replaces or changes, or that earlier calls have found replaced."""
    trees = []
    for place, note in reads.notes.items():
        if not note.rows or id(note.owner) in made:
            continue
        get, subject, x = note.rows[-1]
        numbers: frozenset[Path] = frozenset()
        if place in reads.stands.apart:
            get, x, copied, numbers = reads.stands.apart[place]
            if any(_touched(reads, c) for c in containers(copied)):
                raise Settled(place)  # what the step changes is the container itself
        if isinstance(get, Whole):
            moves = reads.has_changed(subject) or _seen(reads, note)
            if type(x) is tuple and moves and is_tree(x):
                trees.append(Tree(place, note, get.items, subject, x))
        elif place[0] in ("attr", "item", "cell") and parts(x) is not None and id(x) not in made:
            moves = now(get, subject) is not x or _seen(reads, note)
            if moves and is_tree(x) and not any(_touched(reads, c) for c in containers(x)):
                trees.append(Tree(place, note, get, subject, x, numbers))
    return [t for t in trees if 0 < sum(1 for _ in t.leaves()) <= MOST]


def _touched(reads: Reads, c: Any) -> bool:
    """Whether the step itself changes a container."""
    if not is_record(c):
        return reads.has_changed(c)
    sets = (*reads.written, *reads.rewritten, *reads.counted)
    return reads.has_changed(own(c)) or any(place[1] in (id(c), id(own(c))) for place in sets)


def _seen(reads: Reads, note: Note) -> bool:
    return reads.stands.moves((note.label, note.file, note.line))


def alone(reads: Reads, trees: list[Tree]) -> list[tuple[Tree, set[Place]]]:
    """The trees whose containers are read by way of them alone, each with the notes it covers."""
    kept: list[tuple[Tree, set[Place]]] = []
    for tree in trees:
        whole = tree.place[0] == "whole"
        inner = [*containers(tree.value)][whole:]  # without the items of a container, as a tuple
        ids = {id(c) for c in inner} | {id(own(c)) for c in inner if is_record(c)}
        inside = {p for p in reads.notes if p[1] in ids and p[0] in OF_ITEMS}
        if whole:
            inside |= {p for p in reads.notes if p[:2] == ("item", id(tree.subject))}
        others = (n for p, n in reads.notes.items() if p not in inside and p != tree.place)
        held = {id(n.rows[-1][2]) for n in others if n.rows}
        if held.isdisjoint({id(c) for c in inner}) and not any(p in reads.stands for p in inside):
            kept.append((tree, inside))
    covered = {p for _, inside in kept for p in inside}
    return [(tree, inside) for tree, inside in kept if tree.place not in covered]
