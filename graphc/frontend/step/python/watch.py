"""Watch: sees every instruction of a user's own code that reads or writes while a step is traced.

A trace function (`sys.settrace`, from CPython 3.12 on `sys.monitoring`) is told of each frame, and
of each instruction of the user's, of installed packages and of what these called of Python's own.
Before an instruction runs, its operands lie on the frame's value stack. graphc's own code is left
alone; that which can call no code of a user's runs with tracing off, since tracing is slow.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import resolve_name
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any, cast

from graphc.errors import InvalidState
from graphc.frontend import epoch
from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.step.python import (
    asked,
    counts,
    deep,
    lazy,
    printed,
    stack,
    writes,
)  # fmt: skip
from graphc.frontend.step.python.affairs import is_its_own_affair
from graphc.frontend.step.python.calls import Calls, imported
from graphc.frontend.step.python.code import (
    BY_ARGUMENT,
    BY_BACKWARD,
    LIBRARY,
    OWN,
    WATCHED,
    after_maps,
    after_reads,
    decoded,
    keywords,
    leaf,
    whose_code,
)  # fmt: skip
from graphc.frontend.step.python.ended import settling
from graphc.frontend.step.python.found import given, in_classes
from graphc.frontend.step.python.guards import Guard
from graphc.frontend.step.python.held import CONTAINERS, FIXED, advances, mapping_of
from graphc.frontend.step.python.numbers import ReadNumbers
from graphc.frontend.step.python.ours import length, ours
from graphc.frontend.step.python.paused import Resume, resumed_by_errors
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.refused import asks_system
from graphc.frontend.step.python.sets import Kept
from graphc.frontend.step.python.stack import MISSING, top
from graphc.frontend.step.python.stores import CHANGED
from graphc.frontend.tensor import Tensor

NEW_CALL = sys.version_info >= (3, 13)  # [callable, self or NULL, arguments] on the stack
Tracer = Callable[[FrameType, str, Any], Any]
Find = Callable[[int], Any]
MONITORING: Any = getattr(sys, "monitoring", None)
_TOOL = threading.Lock()  # one step is watched at a time


class Watch:
    """Watches one function being traced; `kept()` gives the guards of what it read."""

    def __init__(self, function: Callable[..., Any], numbers: ReadNumbers | None = None) -> None:
        if not stack.works():
            raise InvalidState(
                f"compile() on Python {sys.version.split()[0]}",
                why="what a step reads is found on the interpreter's stack, of unknown form here",
                fix="use CPython 3.11, 3.12 or 3.13",
            )
        self._function = function
        self._numbers = numbers
        self.reads = Reads()
        self._calls = Calls(self.reads)
        self._locals: dict[int, tuple[CodeType, str, Any]] = {}
        self._finds: dict[int, Find] = {}  # of functions being watched
        self.slow = False  # whether all Python is traced
        self.missed = False  # whether something may have run unseen: again, then, and slowly
        self.running = False
        self.lost = False  # whether a debugger took over

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch what runs inside, from the beginning."""
        self.reads = Reads(self._numbers)
        self._calls = Calls(self.reads)
        self._locals.clear()
        self.missed = False
        gc.collect(0)  # so that what is made from here on can be told by its age
        seen = self._monitoring() if MONITORING else self._tracing()
        with settling(self.reads), ours(print=printed.show, len=length), seen:
            yield

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        before, self.running = sys.gettrace(), True
        sys.settrace(self.entered)
        try:
            with resumed_by_errors(self.entered):
                yield
            self.lost = sys.gettrace() != self.entered
        finally:
            self.running = False
            sys.settrace(before)

    @contextmanager
    def _monitoring(self) -> Iterator[None]:
        """The same from CPython 3.12 on, where only the functions watched are slower."""
        with _TOOL:
            tool = next(k for k in (4, 3, 5, 2, 1, 0) if MONITORING.get_tool(k) is None)
            MONITORING.use_tool_id(tool, "graphc")
            events, thread = MONITORING.events, threading.get_ident()

            def started(code: CodeType, at: int) -> Any:
                if threading.get_ident() != thread:
                    return None
                frame = sys._getframe(1)
                if (find := self._begun(frame)) is None:
                    return MONITORING.DISABLE if self._locals[id(code)][1] == OWN else None
                self._finds[id(code)] = find
                MONITORING.set_local_events(tool, code, events.INSTRUCTION)
                return None

            def ran(code: CodeType, at: int) -> None:
                found = self._finds[id(code)](at)
                if found is not None and threading.get_ident() == thread:
                    frame = sys._getframe(1)
                    if self._locals[id(code)][1] in WATCHED or self._is_reached(frame):
                        found[0](self, frame, found[1])

            MONITORING.register_callback(tool, events.PY_START, started)
            MONITORING.register_callback(tool, events.INSTRUCTION, ran)
            MONITORING.set_events(tool, events.PY_START)
            MONITORING.restart_events()
            try:
                yield
            finally:
                MONITORING.set_events(tool, 0)
                for key in self._finds:
                    MONITORING.set_local_events(tool, self._locals[key][0], 0)
                self._finds.clear()
                MONITORING.register_callback(tool, events.PY_START, None)
                MONITORING.register_callback(tool, events.INSTRUCTION, None)
                MONITORING.free_tool_id(tool)

    def kept(self) -> Kept:
        kept = self.reads.finish()
        if self.lost:
            kept.always.append(Guard("a debugger", "", 0, bool, 0, True))  # never holds
        return kept

    # ---- frames --------------------------------------------------------------------------------

    def entered(self, frame: FrameType, event: str, arg: Any) -> Tracer | None:
        """A function is called, and told to the trace function."""
        find = self._begun(frame)
        if find is None:
            _, who, how = self._locals[id(frame.f_code)]
            if who == OWN and how:
                self._pause(frame, frame.f_code, how)
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False

        def traced(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "opcode":
                found = find(frame.f_lasti)
                if found is not None:
                    found[0](self, frame, found[1])
            return frame.f_trace  # itself: by name it would be a ring, which outlives the step

        return traced

    def _begun(self, frame: FrameType) -> Find | None:
        """A function is called: what finds the action at a place of it, if it is watched."""
        code = frame.f_code
        known = self._locals.get(id(code))
        if known is None:
            who = whose_code(code, frame.f_globals)
            known = self._locals[id(code)] = code, who, self._finder(code, who)
        _, who, find = known
        if who == OWN or (who == LIBRARY and not self._is_reached(frame)):
            return None
        self._arguments(frame, code, who)
        return cast(Find, find)

    def _is_reached(self, frame: FrameType) -> bool:
        """Whether a function of Python's, or of what graphc needs, was called by what is seen."""
        caller = frame.f_back
        if caller is None:
            return False
        watched = id(caller.f_code) in self._finds if MONITORING else caller.f_trace is not None
        return watched and not is_its_own_affair(frame)

    def _pause(self, frame: FrameType, code: CodeType, how: str) -> None:
        """Trace nothing until a function of ours returns: its frame holds what goes on then."""
        if self.slow or (BY_BACKWARD in how and (epoch.hooks or epoch.functions)):
            return
        if BY_ARGUMENT in how and any(map(self._calls_back, stack.locals_of(frame, code))):
            return
        sys.settrace(None)
        frame.f_trace = Resume(self, frame.f_back)

    def _calls_back(self, x: Any) -> bool:
        """Whether an argument may lead to a function of a user's."""
        x = given(x)
        kind = type(x)
        if kind is Tensor or kind in FIXED:
            return False
        if kind is tuple:
            return any(map(self._calls_back, x))
        return callable(x) or self.reads.is_users(kind)

    def _finder(self, code: CodeType, who: str) -> Any:
        if who == OWN:
            return leaf(code)
        actions = USER_ACTIONS if who in WATCHED else LIBRARY_ACTIONS
        rows = decoded(code).items()
        found = {at: (actions[kind], arg) for at, (kind, arg) in rows if kind in actions}
        found |= {at: (Watch._made_map, found.get(at)) for at in after_maps(code)}
        if who in WATCHED:
            for end in printed.texts(code).values():
                found |= {at: (Watch._text, found.get(at)) for at in end.at}
            found |= {at: (Watch._text_given, found.get(at)) for at in printed.returns(code)}
            if self.reads.stands.any:
                found |= {at: (Watch._stand_in, found.get(at)) for at in after_reads(code)}
        return found.get

    def _arguments(self, frame: FrameType, code: CodeType, who: str) -> None:
        """The function that runs, where its class has it, and what it was given."""
        reads = self.reads
        fn = stack.function(frame)
        if who in WATCHED:
            reads.function(frame, fn)
        if code.co_argcount:
            name = code.co_name
            if who in WATCHED and name[:2] == "__" == name[-2:] and isinstance(fn, FunctionType):
                self._special(frame, stack.local(frame, 0), name)
        for k in range(code.co_argcount + code.co_kwonlyargcount):
            if (x := given(stack.local(frame, k))) is not MISSING:
                reads.know(x, code.co_varnames[k])
        if (x := given(stack.named(frame, code))) is not MISSING:
            reads.know(x, "keyword arguments", new=True)

    def _special(self, frame: FrameType, x: Any, name: str) -> None:
        """A method that Python itself looks up: in the class."""
        kind = type(x)
        if self.reads.is_users(kind):
            place = ("class", id(kind), name)
            if place not in self.reads.notes:
                rows = in_classes(kind.__mro__, name)
                self.reads.note(place, frame, f"`{kind.__name__}.{name}`", kind, rows)

    # ---- instructions --------------------------------------------------------------------------

    def _taking(self, frame: FrameType, read: Callable[..., None], *what: Any) -> None:
        """Note a read whose value is on top next."""
        if self.reads.stands.any and self._locals[id(frame.f_code)][1] in WATCHED:
            self.reads.stands.taking(read, frame, *what)
        else:
            read(frame, *what)

    def _stand_in(self, frame: FrameType, action: Any) -> None:
        """After a read."""
        self.reads.stands.put(frame)
        if action is not None:
            action[0](self, frame, action[1])

    def _global(self, frame: FrameType, name: str) -> None:
        self._taking(frame, self.reads.variable, name)

    def _cell(self, frame: FrameType, at: tuple[int, str]) -> None:
        cell = stack.local(frame, at[0])
        if isinstance(cell, CellType):
            self._taking(frame, self.reads.cell, cell, at[1])

    def attribute(self, frame: FrameType, name: str) -> None:
        x = top(frame)
        if x is not MISSING:
            lazy.touched(self.reads, x, name)
            self._taking(frame, self.reads.attribute, x, name)
            self._in_c(frame, x, name)

    def _in_c(self, frame: FrameType, x: Any, name: str) -> None:
        """A property whose function is no Python code."""
        kept = getattr(type(x), name, None) if self.reads.is_users(type(x)) else None
        if isinstance(kept, property) and not isinstance(kept.fget, FunctionType):
            self._calls.called(frame, kept.fget, (x,))

    def _super(self, frame: FrameType, name: str) -> None:
        self.reads.attribute(frame, super(top(frame, 2), top(frame)), name)

    def item(self, frame: FrameType, _: Any) -> None:
        lazy.check_untouched(self.reads, top(frame, 2))
        self.reads.fill(top(frame, 2), top(frame))
        self._taking(frame, self.reads.item, top(frame, 2), top(frame))

    def _slice(self, frame: FrameType, _: Any) -> None:
        self.reads.whole(frame, top(frame, 3))

    def _whole(self, frame: FrameType, _: Any) -> None:
        x = top(frame)
        if isinstance(x, CONTAINERS):
            lazy.check_untouched(self.reads, x)
            self.reads.whole(frame, x)

    def _shown(self, frame: FrameType, count: int) -> None:
        """A value and, of two, what it is formatted with on top of it."""
        for depth in range(1, count + 1):
            deep.shown(self.reads, frame, top(frame, depth))

    def _import(self, frame: FrameType, name: str) -> None:
        level = top(frame, 2)
        package = frame.f_globals.get("__package__") or ""
        imported(self.reads, frame, resolve_name("." * level + name, package) if level else name)

    def _iterate(self, frame: FrameType, _: Any) -> None:
        self._look(frame, top(frame))

    def _look(self, frame: FrameType, x: Any) -> None:
        """All items of x are taken."""
        lazy.check_untouched(self.reads, x)
        if isinstance(x, CONTAINERS):
            self.reads.whole(frame, x, deep=False)  # what is done to an item is seen
        elif advances(x):
            self.reads.iterator(frame, x)

    def _sent(self, frame: FrameType, _: Any) -> None:
        x = top(frame, 2)
        if advances(x):
            self.reads.iterator(frame, x)

    def _both(self, frame: FrameType, in_place: Any) -> None:
        left, right = top(frame, 2), top(frame)
        stand_in: Any = lazy.percent(frame, left, right)
        if in_place:
            stand_in = lazy.counted(frame, left, right, self.reads)
        if stand_in is not None:
            stack.put(frame, 2, stand_in)
            return
        code = getattr(type(left), in_place, None) if in_place else None
        repeated = isinstance(left, CHANGED) and code and not isinstance(code, FunctionType)
        for x in (right,) if repeated else (left, right):
            deep.shown(self.reads, frame, x)
        if in_place:
            self.reads.changing(left)
            if repeated:
                self.reads.stores.method(left, in_place, (right,), {})

    def _text(self, frame: FrameType, action: Any) -> None:
        """A text is whole: one that has marks in it is computed at each call."""
        x, trace = top(frame), tracing.active()
        marks = trace is not None and type(x) is str and printed.OPEN in x
        if marks and not printed.goes_on(trace, frame):
            stack.put(frame, 1, printed.whole(trace, x))
        if action is not None:
            action[0](self, frame, action[1])

    def _text_given(self, frame: FrameType, action: Any) -> None:
        """What a `__str__` returns."""
        x, trace = top(frame), tracing.active()
        if isinstance(x, HostValue) and trace is not None and printed.goes_on(trace, frame):
            stack.put(frame, 1, printed.remarked(trace, x))
        if action is not None:
            action[0](self, frame, action[1])

    def _made_map(self, frame: FrameType, action: Any) -> None:
        """A dict was made, of which the collector cannot tell its age."""
        self.reads.know(top(frame), "dict", new=True)
        if action is not None:
            action[0](self, frame, action[1])

    def _call(self, frame: FrameType, count: int) -> None:
        self._called(frame, count, 0)

    def _call_named(self, frame: FrameType, count: int) -> None:
        self._called(frame, count, 1)

    def _called(self, frame: FrameType, count: int, names: int) -> None:
        f, args = self._operands(frame, count, names)
        if (stand_in := lazy.replaced(frame, f, args, self.reads)) is not None:
            upper = not NEW_CALL and top(frame, count + 2 + names) is MISSING
            stack.put(frame, count + names + (1 if upper else 2), stand_in)
            return
        self._calls.keywords = (
            top(frame) if names else keywords(frame.f_code).get(frame.f_lasti, ())
        )
        self._calls.called(frame, f, args)
        self._calls.keywords = ()

    def _both_in_library(self, frame: FrameType, in_place: Any) -> None:
        if any(self.reads.is_known(x) for x in (top(frame, 2), top(frame))):
            self._both(frame, in_place)

    def _called_in_library(self, frame: FrameType, count: int) -> None:
        self._in_library(frame, *self._operands(frame, count, 0))

    def _called_named_in_library(self, frame: FrameType, count: int) -> None:
        self._in_library(frame, *self._operands(frame, count, 1))

    def _called_with_containers_in_library(self, frame: FrameType, flags: int) -> None:
        self._in_library(frame, *self._spread(frame, flags))

    def _in_library(self, frame: FrameType, f: Any, args: list[Any]) -> None:
        """In a library only what the user's code has met counts."""
        if asks_system(self.reads, frame, f):
            return
        known = self.reads.is_known
        theirs = any(known(x) or self.reads.is_users(type(x)) for x in args)
        if theirs or known(f) or known(getattr(f, "__self__", None)):
            self._calls.called(frame, f, args)

    def _operands(self, frame: FrameType, count: int, names: int) -> tuple[Any, list[Any]]:
        """The callable and its arguments, of which the first may be `self`."""
        args = [top(frame, k + names) for k in range(count, 0, -1)]
        upper, lower = top(frame, count + 1 + names), top(frame, count + 2 + names)
        f, me = (lower, upper) if NEW_CALL or lower is not MISSING else (upper, MISSING)
        return f, args if me is MISSING else [me, *args]

    def _call_containers(self, frame: FrameType, flags: int) -> None:
        named = flags & 1
        if not isinstance(args := top(frame, 1 + named), tuple):
            self._look(frame, args)
        f, values = self._spread(frame, flags)
        if (stand_in := lazy.replaced(frame, f, values, self.reads)) is not None:
            stack.put(frame, (3 if NEW_CALL else 2) + named, stand_in)
            return
        self._calls.called(frame, f, values)

    def _spread(self, frame: FrameType, flags: int) -> tuple[Any, list[Any]]:
        """The callable, and what is in the containers of arguments."""
        named = flags & 1
        args, f = top(frame, 1 + named), top(frame, (3 if NEW_CALL else 2) + named)
        given = list(args) if isinstance(args, list | tuple) else []
        return f, [*given, *(top(frame).values() if named else ())]


USER_ACTIONS: dict[str, Callable[[Watch, FrameType, Any], None]] = {
    "global": Watch._global, "set global": writes.of_global,
    "cell": Watch._cell, "set cell": writes.of_cell,
    "attribute": Watch.attribute, "super": Watch._super, "set attribute": writes.of_attribute,
    "delete attribute": writes.of_no_attribute, "delete item": writes.of_no_item,
    "test": counts.of_test, "count": counts.of_count, "count item": counts.of_count_item,
    "count stored": writes.of_counted, "count item stored": writes.of_counted_item,
    "item": Watch.item, "set item": writes.of_item,
    "slice": Watch._slice, "set slice": writes.of_slice,
    "whole": Watch._whole, "iterate": Watch._iterate, "advance": Watch._iterate,
    "shown": Watch._shown, "import": Watch._import, "sent": Watch._sent, "both": Watch._both,
    "truth": asked.of_truth, "length": asked.of_length, "contains": asked.of_key,
    "match": asked.of_keys, "match class": asked.of_class,
    "call": Watch._call, "call with names": Watch._call_named,
    "call with containers": Watch._call_containers,
}  # fmt: skip


def _if_known(depth: int, action: Callable[..., None], self: Watch, frame: Any, arg: Any) -> None:
    """In a library only what the user's code has met counts: its own caches are its own affair."""
    x = top(frame, depth)
    if self.reads.is_known(mapping_of(x)) or self.reads.is_users(type(x)):
        action(self, frame, arg)


LIBRARY_ACTIONS: dict[str, Callable[[Watch, FrameType, Any], None]] = {
    kind: partial(_if_known, depth, USER_ACTIONS[kind])
    for kind, depth in (
        ("attribute", 1), ("test", 1), ("count", 1), ("count item", 2),
        ("count stored", 1), ("count item stored", 2),
        ("set attribute", 1), ("item", 2), ("set item", 2), ("slice", 3),
        ("delete attribute", 1), ("delete item", 2),
        ("set slice", 3), ("whole", 1), ("iterate", 1), ("advance", 1), ("super", 1),
        ("truth", 1), ("length", 1), ("contains", 1),
    )
}  # fmt: skip
LIBRARY_ACTIONS |= {
    "call": Watch._called_in_library, "call with names": Watch._called_named_in_library,
    "call with containers": Watch._called_with_containers_in_library,
    "both": Watch._both_in_library,
}  # fmt: skip
