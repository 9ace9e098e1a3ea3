"""What a step was seen to read while it was traced, as it was before the step changed it.

`Reads` takes notes of globals, cells, attributes, items and whole containers, each once. What the
step wrote before it read it is its own and no note; what it made itself is left out at the end.
"""

from __future__ import annotations

import builtins
import contextvars
import gc
import threading
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from operator import attrgetter
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from graphc.errors import Unguarded, is_own
from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import Carried
from graphc.frontend.step.names import key_text
from graphc.frontend.step.python.ages import held_by, reached, youngest
from graphc.frontend.step.python.changed import OWN_ITEM, stays
from graphc.frontend.step.python.code import is_library
from graphc.frontend.step.python.found import (
    HEAP_TYPE,
    STORED,
    Row,
    classes_after,
    contents,
    in_class,
    in_classes,
    in_globals,
    in_mapping,
    in_object,
    is_module,
    own,
    raw,
    stored,
)  # fmt: skip
from graphc.frontend.step.python.guards import Guard
from graphc.frontend.step.python.held import (
    BYTES,
    CONTAINERS,
    FIXED,
    UNSIZED,
    Count,
    Item,
    Note,
    Place,
    Whole,
    advanced,
    cached,
    context,
    mapping_of,
    results_of,
    where,
)  # fmt: skip
from graphc.frontend.step.python.met import Met
from graphc.frontend.step.python.numbers import ReadNumbers
from graphc.frontend.step.python.sets import Kept
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.stand_ins import StandIns
from graphc.frontend.step.python.stores import Stores, arguments
from graphc.frontend.table import Table
from graphc.frontend.tensor import Tensor

MAX_ITEMS = 10_000
MAX_BYTES = 1 << 16
OF_FUNCTIONS = ("__code__", "__defaults__", "__kwdefaults__")
OF_HISTORY = ("is_leaf", "grad_fn")
OF_CALL = (*OF_HISTORY, "_version", "storage_offset")  # what a stand-in cannot know
OF_EACH = ("data", "grad", "shape", "dtype", "requires_grad")  # of tensors: no methods


class Reads(Met):
    """The notes of one trace."""

    def __init__(self, numbers: ReadNumbers | None = None) -> None:
        super().__init__()
        self.stands = StandIns(numbers)
        self.notes: dict[Place, Note] = {}
        self._refused: list[tuple[Any, Unguarded]] = []  # with what must be older than the trace
        self.uses: Counter[Place] = Counter()  # how often each was looked up
        self.changed_later: dict[int, Any] = {}  # given to calls that wait for the step's end
        self.modules: dict[int, Any] = {}  # those met, called or not
        self._parts: dict[int, int] = {}  # dicts of objects, which may be younger than these
        self.written: set[Place] = set()
        self.rewritten: set[Place] = set()  # read before that
        self._deep: set[int] = set()  # containers read whole with those inside
        self._before: dict[int, Whole] = {}  # containers as they were when first written
        self._iterators: list[tuple[Any, tuple[str, int, str]]] = []
        self.counted: dict[Place, Count] = {}
        self.begun: dict[Place, Count] = {}  # counted, whatever was set there afterwards
        self._late: list[tuple[FrameType, Any, str]] = []
        self.anew: set[int] = set()  # containers of which each call finds others like them
        self.stores = Stores(self.know)
        self._filled: set[Place] = set()  # items that a look-up made
        self._kept: list[Any] = []  # what keeps things as if they had been there before the step
        self.filters = warnings.filters  # another list, where the step changes what is shown

    def note(
        self, place: Place, frame: FrameType, label: str, owner: Any, rows: Iterable[Row],
        of_module: bool = False,
    ) -> None:  # fmt: skip
        self.know(owner, self.name(owner))
        file, line, _ = where(frame)
        found = self.stands.loosened(place, owner, (label, file, line), tuple(rows), self.made)
        self.notes[place] = Note(label, file, line, owner, found, of_module)
        for _, _, kept in found[-1:]:
            self.know(kept, label.split("`")[1])
            if is_module(kept):
                self.modules[id(kept)] = kept

    def _known(self, place: Place) -> bool:
        self.uses[place] += 1
        self.stands.met(place)
        if place in self.counted and place not in self.written:
            trace = tracing.active()
            if trace is not None and place not in trace.carried and place[1] not in self.made():
                raise Carried(place)
            self.notes[place] = self.counted[place].note  # read for more than to count
        return place in self.notes or place in self.written

    # ---- reads ---------------------------------------------------------------------------------

    def variable(self, frame: FrameType, name: str) -> None:
        """A global, or a builtin, which a global may come to stand before."""
        place = ("item", id(table := frame.f_globals), name)
        if not self._known(place) and (rows := in_globals(table, frame.f_builtins, name)):
            self.note(place, frame, f"global `{name}`", table, rows)

    def cell(self, frame: FrameType, cell: Any, name: str) -> None:
        place = ("cell", id(cell), name)
        if not self._known(place):
            row = attrgetter("cell_contents"), cell, contents(cell)
            self.note(place, frame, f"closure `{name}`", cell, [row])

    def attribute(self, frame: FrameType, x: Any, name: str) -> None:
        """What `x.name` finds."""
        kind = type(x)
        if kind in FIXED:
            return
        if name == "__class__":
            self._of_type(frame, x)
            return
        if name == "__dict__":
            self.table(frame, x)
            return
        place: Place = "attr", id(x), name
        if self._known(place):
            return
        label = f"`{self.name(x)}.{name}`"
        if isinstance(x, ModuleType):
            self._of_python_module(place, frame, label, x, name)
        elif isinstance(x, type):
            if self.is_users(x):
                self.note(place, frame, label, x, in_class(x, name))
        elif isinstance(x, super):
            of, after = classes_after(x)
            self.note(place, frame, label, of, in_classes(after, name))
        elif is_module(x):
            self._of_module(place, frame, label, x, name)
        elif isinstance(x, Tensor):
            self._of_tensor(place, frame, label, x, name)
        elif isinstance(x, (np.ndarray, *BYTES)):
            self.whole(frame, x)
        else:
            self._of_object(place, frame, label, x, name)

    def _of_type(self, frame: FrameType, x: Any) -> None:
        """`x.__class__`: an object may become one of another class."""
        place: Place = ("type", id(x), None)
        if self.is_users(type(x)) and place not in self.notes:
            self.note(place, frame, f"class of `{self.name(x)}`", x, [(type, x, type(x))])

    def table(self, frame: FrameType, x: Any) -> None:
        """Somebody takes the dict of an object's attributes."""
        self.know(x, self.name(x))
        self.know(table := own(x), f"{self.name(x)}.__dict__")
        self._parts[id(table)] = id(x)
        place: Place = ("dict", id(x), None)
        if table is own(x) and place not in self.notes:  # it has one
            self.note(place, frame, f"`{self.name(x)}.__dict__`", x, [(own, x, table)])

    def _of_python_module(
        self, place: Place, frame: FrameType, label: str, x: ModuleType, name: str
    ) -> None:
        file = vars(x).get("__file__") or ""
        if name not in vars(x) and (is_own(file) or is_library(file)):
            getattr(x, name, None)  # it may put there what it has for the name
        elif name not in vars(x) and "__getattr__" in vars(x):
            self.item(frame, vars(x), "__getattr__")
        value = vars(x).get(name)
        if isinstance(value, ModuleType) and not value.__name__.startswith(x.__name__):
            return
        if value is builtins.print:  # ours, while a step is traced
            return
        self._parts[id(vars(x))] = id(x)
        place = ("item", id(vars(x)), name)
        if not self._known(place):
            self.note(place, frame, label, vars(x), [in_mapping(vars(x), name)])

    def _of_module(self, place: Place, frame: FrameType, label: str, x: Any, name: str) -> None:
        """An attribute of an nn.Module: what it registers is looked at if modules changed, all else
        at each call, for it may be set past the module: by what repeats the step's own writes."""
        kind = type(x)
        if raw(kind.__mro__, name) is not MISSING:
            if self.is_users(kind):
                self._of_class(frame, kind, name)
            if name not in own(x):
                self.note(place, frame, label, x, [(own(x).__contains__, name, False)])
                return
        value = own(x).get(name, MISSING)
        if value is not MISSING:
            self.note(place, frame, label, x, [(own(x).get, name, value)])
            return
        if name in (buffers := own(x).get("_buffers", {})):
            self._buffer(frame, label, buffers, name)
            return
        value = getattr(x, name, MISSING)  # a parameter or child: a look-up of ours
        if value is MISSING:  # what repeats the step's own writes moves no epoch
            self.note(place, frame, label, x, [(own(x).__contains__, name, False)])
            place = ("registered", id(x), name)
        self.note(place, frame, label, x, [(attrgetter(name), x, value)], of_module=True)

    def _buffer(self, frame: FrameType, label: str, table: Any, name: str) -> None:
        """By the place that it has by any other way to it, too: a step may rebind that."""
        place: Place = "item", id(table), name
        if not self._known(place):
            row = in_mapping(table, name)
            self.note(place, frame, label, table, [row], of_module=True)

    def _of_tensor(self, place: Place, frame: FrameType, label: str, x: Tensor, name: str) -> None:
        if name in own(x) and not hasattr(Tensor, name):
            self.note(place, frame, label, x, in_object(x, name))
        elif name in OF_CALL and x.is_traced:
            argument = x.storage in getattr(tracing.active(), "stand_ins", ())
            if argument and (name not in OF_HISTORY or (x._node is None and x.requires_grad)):
                self.refuse(
                    frame, None, f"`{self.name(x)}.{name}` is read inside a compiled step",
                    "ask outside, and pass the answer as an argument",
                    "another call's tensor may answer otherwise, and Python runs once",
                )  # fmt: skip
        elif name == "_version":
            self.note(place, frame, label, x, [(attrgetter(name), x, x._version)])
        elif name not in OF_EACH:
            self._of_class(frame, Tensor, name)

    def _of_class(self, frame: FrameType, kind: type, name: str) -> None:
        place = ("class", id(kind), name)
        if not self._known(place):
            rows = in_classes(kind.__mro__, name)
            self.note(place, frame, f"`{kind.__name__}.{name}`", kind, rows)

    def _of_object(self, place: Place, frame: FrameType, label: str, x: Any, name: str) -> None:
        kind = type(x)
        kept = raw(kind.__mro__, name)
        if kind is FunctionType and name in OF_FUNCTIONS:
            self.note(place, frame, label, x, [(attrgetter(name), x, getattr(x, name))])
            return
        ours = not self.is_users(kind) and kind.__module__.startswith("graphc.")
        getter = raw(kind.__mro__, "__getattribute__")
        by_code = getter is not object.__getattribute__ and not isinstance(getter, FunctionType)
        local = isinstance(x, threading.local) and not hasattr(kept, "__get__")
        if local or (kept is MISSING and by_code and kind.__module__ != "builtins"):
            self.note(place, frame, label, x, [(attrgetter(name), x, getattr(x, name, MISSING))])
            return
        if name not in own(x):
            fixed = not kind.__flags__ & HEAP_TYPE or ours or isinstance(x, FunctionType)
            if fixed and not (isinstance(kept, STORED) and stored(x, kept) is not MISSING):
                return
        self.note(place, frame, label, x, in_object(x, name))
        if isinstance(kept, cached_property) and name not in own(x):
            self._late.append((frame, x, name))

    def fill(self, c: Any, key: Any) -> None:
        """`c[key]` of a defaultdict makes the item: it counts as there before the step."""
        if type(c) is defaultdict and key not in c and id(c) not in self._made():
            self._kept.append(c[key])
            self._filled.add(("item", id(c), key))

    def item(self, frame: FrameType, c: Any, key: Any) -> None:
        """What c[key] finds."""
        numbered = type(key) is Tensor and not isinstance(mapping_of(c), dict)
        if numbered or isinstance(c, Tensor | type) or is_module(c):
            return
        if isinstance(c, contextvars.Context) and isinstance(key, contextvars.ContextVar):
            self.context(frame, key)
        c = mapping_of(c)
        if isinstance(c, (np.ndarray, *BYTES)) or isinstance(key, slice):
            self.whole(frame, c)
        elif isinstance(c, dict | list | tuple | deque):
            self._item(frame, c, key)

    def _item(self, frame: FrameType, c: Any, key: Any) -> None:
        try:
            place: Place = ("item", id(c), key)
            if self._known(place) or (type(c) is tuple and self.is_known(c)):
                return
            plain = type(c) is dict or isinstance(c, Table)
            row = in_mapping(c, key) if plain else (Item(key), c, Item(key)(c))
            if id(c) in self._before and place not in self._filled:
                then = stays(c, key, self._before[id(c)], chain(self.written, self.rewritten))
                if then is MISSING:
                    self.whole(frame, c, deep=False)
                if then is not key:
                    place, row = ("item", id(c), then), (Item(then), c, row[2])
                    if then in (MISSING, OWN_ITEM) or self._known(place):
                        return
        except TypeError:  # no hash: the step will find that out
            return
        self.note(place, frame, f"`{self.name(c)}[{key_text(key)}]`", c, [row])

    def has_changed(self, c: Any) -> bool:
        """Whether the step has written to a container."""
        return id(c) in self._before

    def whole(self, frame: FrameType, c: Any, deep: bool = True) -> None:
        """All the items of a container, and where `deep` those of the containers inside it."""
        pending = [c]
        while pending:
            c = mapping_of(pending.pop())
            if not isinstance(c, CONTAINERS) or id(c) in self._deep:
                continue
            if (place := ("whole", id(c), None)) not in self.notes:
                self._items(frame, c)
            inside = self._inside(c) if place in self.notes else []
            if deep:
                pending += inside
                self._deep |= {id(c)} & self.held.keys()

    def _items(self, frame: FrameType, c: Any) -> None:
        place = ("whole", id(c), None)
        if not isinstance(c, (np.ndarray, UNSIZED)) and len(c) > MAX_ITEMS:
            self.refuse(
                frame, c, f"`{self.name(c)}`, a {type(c).__name__} of {len(c)} items, is read",
                "make it a tensor, or read it outside the step and pass what is needed",
            )  # fmt: skip
            return
        if isinstance(c, np.ndarray) and c.nbytes > MAX_BYTES:
            self._large(frame, c)
            return
        keys = frozenset(k for what, of, k in self.written if of == id(c) and what == "item")
        if type(c) in (tuple, frozenset):
            self.notes[place] = Note("", "", 0, c, (), False)
            self.know(c, self.name(c))
            return
        get = self._before.get(id(c)) or Whole(c, keys if isinstance(c, dict) else frozenset())
        self.note(place, frame, f"items of `{self.name(c)}`", c, [(get, c, get.kept)])

    def _inside(self, c: Any) -> list[Any]:
        """The containers among the items."""
        if not isinstance(c, dict | list | tuple | deque):
            return []
        rows = c.items() if isinstance(c, dict) else enumerate(c)
        found = [(k, x) for k, x in rows if isinstance(x, CONTAINERS)]
        for k, x in found:
            self.know(x, f"{self.name(c)}[{key_text(k)}]")
        return [x for _, x in found]

    def _large(self, frame: FrameType, array: Any) -> None:
        if self.is_known(array) or isinstance(array.base, np.ndarray):
            self.refuse(
                frame, None, f"`{self.name(array)}`, an array of {array.nbytes} bytes, is read",
                "make it a tensor outside the step: graphc.from_numpy(array)",
            )  # fmt: skip

    def function(self, frame: FrameType, fn: Any) -> None:
        """The code and the defaults of a function that ran."""
        fn = fn.__func__ if isinstance(fn, MethodType) else fn
        if (place := ("function", id(fn), None)) in self.notes or not isinstance(fn, FunctionType):
            return
        rows: list[Row] = [(attrgetter("__code__"), fn, fn.__code__)]
        for name in ("__defaults__", "__kwdefaults__"):
            if getattr(fn, name):
                rows.append((attrgetter(name), fn, getattr(fn, name)))
        if fn.__kwdefaults__:
            self.whole(frame, fn.__kwdefaults__)
        self.note(place, frame, f"function `{fn.__name__}`", fn, rows)

    def context(self, frame: FrameType, variable: Any) -> None:
        """A contextvars.ContextVar."""
        place = ("context", id(variable), None)
        if place not in self.notes:
            row = context, variable, context(variable)
            self.note(place, frame, f"context variable `{variable.name}`", variable, [row])

    def iterator(self, frame: FrameType, it: Any) -> None:
        """An iterator that the step advances."""
        if not isinstance(type(it).__next__, FunctionType) and not any(
            known is it for known, _ in self._iterators
        ):
            self.know(it, self.name(it))
            self._iterators.append((it, where(frame)))

    def refuse(self, frame: FrameType, x: Any, what: str, fix: str, why: str = "") -> None:
        """Once the trace has ended; but not if the step itself made x."""
        self.know(x, self.name(x))
        self._refused.append((x, Unguarded(what, why=why, fix=fix, where=where(frame))))

    # ---- writes --------------------------------------------------------------------------------

    def wrote(self, what: str, x: Any, key: Any) -> None:
        """The step itself set an attribute ("attr"), item ("item") or cell; read before, or not."""
        if isinstance(x, ModuleType):
            what, x = "item", vars(x)
        self.know(x, self.name(x))
        try:
            self.stands.forget((what, id(x), key), self._parts, x)
            self.counted.pop((what, id(x), key), None)
            read = (what, id(x), key) in self.notes
            (self.rewritten if read else self.written).add((what, id(x), key))
        except TypeError:
            return
        if what == "item":
            self.changing(x)

    def set_mode(self, module: Any, mode: bool) -> None:
        """The step calls train() or eval()."""
        self.wrote("attr", module, "training")
        self.stores.attribute(module, "training", mode)

    def changing(self, c: Any) -> None:
        """The step is about to change a container: keep it as it is."""
        if isinstance(c, dict | list | set | deque | bytearray) and id(c) not in self._before:
            self.know(c, self.name(c))
            if len(c) <= MAX_ITEMS:
                keys = {k for what, of, k in self.written if of == id(c) and what == "item"}
                without = frozenset(keys) if isinstance(c, dict) else frozenset()
                self._before[id(c)] = Whole(c, without)

    def made(self) -> set[int]:
        """What is younger than the trace, or a copy made for it."""
        return self._made() | arguments(tracing.active()).keys()

    def places(self) -> tuple[list[Place], set[int]]:
        """What was read or written, and which containers changed."""
        return [*self.notes, *self.written], set(self._before)

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> Kept:
        """Guards for what was not made by the step itself; raises what cannot be guarded."""
        for frame, x, name in self._late:
            if name in own(x):
                place = ("late", id(x), name)
                self.note(place, frame, f"`{self.name(x)}.{name}`", x, in_object(x, name))
                self.notes.pop(("attr", id(x), name), None)
                self.notes.pop(("item", id(own(x)), name), None)
        made = self._made()
        known = self._reached(made)
        self._refused += [
            (it, advanced(it, self.name(it), at))
            for it, at in self._iterators
            if gc.is_tracked(it) or id(it) in known  # the age of the others is not known
        ]
        for x, error in self._refused:
            if id(x) not in made:
                raise error
        always = self.specials(made)
        on_epoch: list[Guard] = []
        for (what, of, key), note in self.notes.items():
            if self._parts.get(of, of) in made:
                continue
            into = on_epoch if note.of_module else always
            rows: Iterable[Row] = note.rows
            if what == "cached" and results_of(note.owner).isdisjoint(made):
                rows = cached(note.owner, key)  # but an object in it is made by no later call
            rows = self.weakly(rows) if self.weak else rows
            into += [Guard(note.label, note.file, note.line, *row) for row in rows]
        return Kept(always, on_epoch)

    def _made(self) -> set[int]:
        """Which of the objects met were made since the trace began: they are the youngest."""
        young = youngest(self.held)
        young -= held_by(self._kept) if self._kept else set()
        doubtful = young & self.unseen
        while doubtful:  # an old one, looked at since it holds more, is reached from what is old
            found = doubtful & self._reached(young)
            if not found:
                break
            young -= found
            doubtful -= found
        return young | self.new

    def older(self) -> set[int]:
        """What was found in what is older than the trace, and is no copy made for it."""
        made = self.made()
        return self._reached(made) - made

    def _reached(self, young: set[int]) -> set[int]:
        """What was read from objects that are older than the trace, and the dicts of these."""
        return reached(self._parts, self.notes, young)
