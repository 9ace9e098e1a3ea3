"""Numbers that a step adds to (`x.n += 1`), and tests of numbers (`if x.n % 100 == 0:`).

A number that is only counted is no read that matters: it is put back when the trace ends, and each
call of the step counts again, in the order of the code. Of one that is only tested the outcome is
compared at each call, not the number.
"""

from __future__ import annotations

from functools import partial
from types import FrameType, MemberDescriptorType, ModuleType
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import Carried, HostValue
from graphc.frontend.step.python.beforehand import current
from graphc.frontend.step.python.found import kept_by, own, raw, sets_by_code
from graphc.frontend.step.python.held import Asked, Count, Place, add
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stack import MISSING, top
from graphc.frontend.step.python.stores import arguments
from graphc.frontend.table import Table, is_followed
from graphc.frontend.trace import Trace


def test(
    reads: Reads, frame: FrameType, x: Any, name: str, how: tuple[tuple[str, float], ...]
) -> bool:
    """Only a comparison with `x.name` decides: its outcome is noted, not the number."""
    place = ("attr", id(x), name)
    found = raw(type(x).__mro__, name)
    plain = found is MISSING or isinstance(found, MemberDescriptorType)
    if place in reads.stands:
        return False
    if isinstance(x, type | ModuleType) or not plain or type(kept_by(x, name)) not in (int, float):
        return False
    if place in reads.notes or place in reads.written:
        return True
    counted = (
        [("+", s.args[-1]) for s in reads.counted[place].steps] if place in reads.counted else []
    )
    get = Asked(name, (*counted, *how))
    before = reads.counted[place].before if counted else kept_by(x, name)
    asked: Place = "test", id(x), (name, get.how)
    if asked not in reads.notes:
        label = f"`{reads.name(x)}.{name}` in a test"
        reads.note(asked, frame, label, x, [(get, x, get.of(before))])
    return True


def count(reads: Reads, frame: FrameType, what: str, x: Any, key: Any, by: float) -> bool:
    """`x.key += by`, or of an item: no read that matters, and done again at each call."""
    trace = tracing.active()
    if trace is None or id(x) in arguments(trace):
        return False
    place = (what, id(x), key)
    table = own(x) if what == "attr" else x
    if not (counts_in(table) or isinstance(table, Table)):
        return False
    before: Any = kept_by(x, key) if what == "attr" else table.get(key, MISSING)
    if type(before) not in (int, float):
        return False
    if place in trace.carried:
        return False
    if place in reads.written or (what == "attr" and sets_by_code(x, key)):
        return place in reads.written
    if is_followed(table):
        if place in trace.settled or id(table) in reads.made():
            return False
        if place in reads.notes or not reads.stands.any:
            raise Carried(place)  # what it is in the end is set again
        trace.carried.append(place)  # nothing has read it yet: no need to trace again
        return False
    if place not in reads.counted:
        read_too = place in reads.notes and place not in trace.settled
        if read_too and id(x) not in reads.made():
            raise Carried(place)
        known = place in reads.notes
        reads.attribute(frame, x, key) if what == "attr" else reads.item(frame, x, key)
        if place not in reads.notes:
            return False
        reads.changing(table)
        note = reads.notes[place] if known else reads.notes.pop(place)
        reads.counted[place] = Count(note, what, x, key, before, [])
        if not reads.stores.keeps(table):  # else it is put back as a whole, as the step began
            reads.begun.setdefault(place, reads.counted[place])
    reads.counted[place].steps.append(step := partial(add, what, x, key, by))
    trace.after_commit.append(step)
    return True


def counts_in(x: Any) -> bool:
    """Whether x is a dict whose items are set and found by no code of a class, as a Counter's."""
    kind = type(x)
    plain = issubclass(kind, dict) and kind.__setitem__ is dict.__setitem__
    return plain and kind.__getitem__ is dict.__getitem__


def of_test(watch: Any, frame: FrameType, how: tuple[str, Any]) -> None:
    """`x.name` is only compared, perhaps."""
    x, name = top(frame), how[0]
    if not test(watch.reads, frame, x, *how):
        watch.attribute(frame, name)


def of_count(watch: Any, frame: FrameType, how: tuple[str, float]) -> None:
    """`x.name += by`."""
    x, name = top(frame), how[0]
    if not count(watch.reads, frame, "attr", x, *how):
        watch.attribute(frame, name)
        watch.reads.wrote("attr", x, name)


def of_count_item(watch: Any, frame: FrameType, how: tuple[Any, float]) -> None:
    """`c[key] += by`."""
    c, key = top(frame, 2), top(frame)
    if not count(watch.reads, frame, "item", c, key, how[1]):
        watch.item(frame, None)
        watch.reads.wrote("item", c, key)


def foresee(trace: Trace, reads: Reads) -> None:
    """Of a number that the step reads and leaves another for (`x.at = (x.at + 1) % 8`) know that
    the next call will find another: a trace that comes to it then reads it at each call."""
    for place in reads.rewritten:
        note = reads.notes.get(place)
        if note is None or not note.rows or place[1] in reads.made():
            continue
        before = note.rows[-1][2]
        none = before is MISSING or before is False  # there was none yet
        if not (none or type(before) in (int, float)) or sets_by_code(note.owner, str(place[2])):
            continue
        now = _now(*place, note.owner)
        if type(now) is HostValue or (type(now) in (int, float) and (none or now != before)):
            reads.stands.will_change((note.label, note.file, note.line))


def _now(what: str, _: int, key: Any, owner: Any) -> Any:
    """What stands at a place, if anything does."""
    try:
        return current(what, owner, key) if what in ("attr", "item", "cell") else None
    except (AttributeError, LookupError, ValueError):
        return None


def put_back(reads: Reads) -> None:
    """Give what the step counted its old value when the trace ends: last of all, as a container is
    put back as it was when the step first stored into it, which may be after it was counted in."""
    trace = tracing.active()
    if trace is None or not reads.begun:
        return
    made = reads.made()
    for place, count in reads.begun.items():
        if place[1] not in made:
            trace.first(("count", *place), partial(count.put, count.before))


def repeat_counts(reads: Reads) -> None:
    """Count again after each call what is older than the step."""
    trace = tracing.active()
    if trace is None or not any(map(_is_count, trace.after_commit)):
        return
    made = reads.made()
    kept = [count.steps for place, count in reads.counted.items() if place[1] not in made]
    repeated = {id(step) for steps in kept for step in steps}
    trace.after_commit[:] = [a for a in trace.after_commit if not _is_count(a) or id(a) in repeated]


def _is_count(action: Any) -> bool:
    return isinstance(action, partial) and action.func is add
