"""Which hooks only look: their code can return nothing but None and writes no tensor.

Found from the code alone, without a call: what it calls and stores into is resolved through the
function's globals, closure and the arguments it is about to get. What cannot be told counts as a
hook that matters, and is traced.
"""

from __future__ import annotations

import builtins
import dis
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from graphc.errors import leaving
from graphc.frontend.step.python.code import USERS, whose
from graphc.frontend.step.python.found import contents
from graphc.frontend.step.python.stack import MISSING, heights
from graphc.frontend.tensor import Tensor

Hook = Callable[..., Any]
DEPTH = 4  # of calls that are followed
GENERATING = 0x20 | 0x80 | 0x100 | 0x200  # flags of generators and coroutines
CONTAINERS = (list, dict, set, deque)
SILENT = {
    "append", "appendleft", "extend", "extendleft", "insert", "clear", "sort", "reverse", "remove",
    "update", "add", "discard", "subtract", "rotate", "__setitem__",
}  # fmt: skip
LOGGED = {"debug", "info", "warning", "error", "critical", "exception", "log"}
WRITING = {
    "backward", "step", "zero_grad", "load_state_dict", "__setitem__", "set_data", "setattr",
    "__setattr__", "__iadd__", "__imul__", "train", "eval", "manual_seed", "register_hook",
    "exec",
}  # fmt: skip
TENSOR_ATTRIBUTES = {"data", "grad", "requires_grad", "training"}
WRITING_KEYWORDS = {"out", "inplace"}
FILLING = {"append", "appendleft", "extend", "insert"}
MAKES = {"BUILD_MAP": dict, "BUILD_LIST": list, "BUILD_SET": set}
LOADS = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CONST")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
SKIPPED = ("RESUME", "COPY_FREE_VARS", "CACHE", "EXTENDED_ARG", "PRECALL", "KW_NAMES")


class Inlined(BaseException):
    """The step looks at what `hook` may change: trace again, with the hook in it."""

    def __init__(self, hook: Hook) -> None:
        leaving()
        self.hook = hook


def looks_only(hook: Hook, args: Sequence[Any]) -> bool:
    """Whether `hook(*args)` is sure to return None and to write no tensor."""
    return _silent(hook, args, DEPTH)


def _silent(f: Any, args: Sequence[Any] | None, depth: int) -> bool:
    """Whether a callable returns None and writes nothing; `args`: None where they are unknown."""
    if f is print or _is_silent_method(f) or (type(f) is partial and f.func is print):
        return True
    found = _function(f, args)
    if found is None or depth == 0:
        return False
    body = Body(*found, depth)
    return body.returns_none() and body.writes_nothing()


def _is_silent_method(f: Any) -> bool:
    me, name = getattr(f, "__self__", None), getattr(f, "__name__", "")
    if isinstance(me, logging.Logger) or getattr(f, "__module__", "") == "logging":
        return name in LOGGED
    counting = isinstance(me, Counter) and isinstance(f, MethodType)
    builtin = isinstance(f, BuiltinFunctionType) and isinstance(me, CONTAINERS)
    return (builtin or counting) and name in SILENT


def _function(f: Any, args: Sequence[Any] | None) -> tuple[FunctionType, Sequence[Any]] | None:
    """The Python function that runs when f is called, and what it is given as far as is known."""
    given = list(args or ())
    while True:
        if isinstance(f, FunctionType):
            return f, given
        if isinstance(f, MethodType):
            f, given = f.__func__, [f.__self__, *given]
        elif type(f) is partial and not f.keywords:
            f, given = f.func, [*f.args, *given]
        else:
            call = getattr(type(f), "__call__", None)  # noqa: B004  # of the class, to follow it
            if not isinstance(call, FunctionType):
                return None
            f, given = call, [f, *given]


class Row(NamedTuple):
    """An instruction and how high the stack is before it."""

    name: str
    arg: Any
    value: Any
    text: str
    height: int
    is_target: bool


class Body:
    """The instructions of a function, and what its names stand for."""

    def __init__(self, f: FunctionType, args: Sequence[Any], depth: int) -> None:
        self.function, self.code, self.depth = f, f.__code__, depth
        levels = heights(f.__code__)
        self.rows = [
            Row(i.opname, i.arg, i.argval, i.argrepr, levels[i.offset] + taken(i), i.is_jump_target)
            for i in dis.get_instructions(f.__code__)
            if i.opname not in SKIPPED and i.offset in levels
        ]
        self.keywords = {
            k
            for i in dis.get_instructions(f.__code__)
            if i.opname == "KW_NAMES"
            for k in f.__code__.co_consts[i.arg or 0]
        }
        names = f.__code__.co_varnames[: f.__code__.co_argcount]
        stored = {r.value for r in self.rows if r.name.startswith("STORE_FAST")}
        self.known = {n: x for n, x in zip(names, args) if n not in stored} | self._made()

    def _made(self) -> dict[str, Any]:
        """Local names of numbers and of containers that the function makes, with one such."""
        made: dict[str, Any] = {}
        others: set[str] = set()
        for before, row in pairwise(self.rows):
            if row.name != "STORE_FAST" or (before.name == "BINARY_OP" and "=" in before.text):
                continue
            kind = MAKES.get(before.name)
            number = before.name == "LOAD_CONST" and isinstance(before.value, int | float)
            if row.is_target or not (kind or number):
                others.add(row.value)
            else:
                made[row.value] = kind() if kind else 0
        return {
            n: x
            for n, x in made.items()
            if n not in others | set(self.code.co_varnames[: self.code.co_argcount])
        }

    # ---- what a name or a chain of attributes stands for ---------------------------------------

    def load(self, row: Row) -> Any:
        if row.name in ("LOAD_FAST", "LOAD_FAST_CHECK"):
            return self.known.get(row.value, MISSING)
        if row.name in ("LOAD_GLOBAL", "LOAD_NAME"):
            space = self.function.__globals__
            return space.get(row.value, getattr(builtins, row.value, MISSING))
        if row.name == "LOAD_CONST":
            return row.value
        free = self.code.co_freevars
        if row.value not in free or self.function.__closure__ is None:
            return MISSING
        cell = self.function.__closure__[free.index(row.value)]
        return contents(cell)

    def resolved(self, k: int, height: int, end: int) -> Any:
        """What the expression before row k is whose value begins at `height` on the stack, and
        ends below `end`; MISSING if that is no chain of names and items of something known."""
        at = k - 1
        while at > 0 and self.rows[at].height > height:
            at -= 1
        x: Any = MISSING
        key: Any = MISSING
        for here in range(at, k):
            row, after = self.rows[here], self.rows[here + 1]
            if row.name in LOADS and x is MISSING:
                x = self.load(row)
            elif row.name in LOADS:
                key = self.load(row)
            elif row.name in ATTRIBUTES:
                x = attribute(x, row.value)
            elif row.name == "BINARY_SUBSCR":
                x = item(x, key)
            elif row.name != "PUSH_NULL":
                return MISSING
            if x is MISSING and row.name != "PUSH_NULL":
                return MISSING
            whole = after.height == end and not self._goes_on(here + 1)
            if whole and all(r.height >= end for r in self.rows[here + 1 : k]):
                return x
        return MISSING

    def _goes_on(self, k: int) -> bool:
        """Whether row k takes the value that lies on top."""
        row = self.rows[k]
        if row.name in LOADS:  # of a key?
            after = self.rows[k + 1]
            return after.name == "BINARY_SUBSCR" and after.height == row.height + 1
        return row.name in (*ATTRIBUTES, "PUSH_NULL")

    def callee(self, k: int) -> Any:
        row = self.rows[k]
        if row.name not in ("CALL", "CALL_KW"):
            return MISSING
        first = row.height - row.arg - (row.name == "CALL_KW")
        return self.resolved(k, first - 2, first)

    # ---- the questions -------------------------------------------------------------------------

    def returns_none(self) -> bool:
        return not self.code.co_flags & GENERATING and all(
            self._returns_none(k) for k, r in enumerate(self.rows) if r.name.startswith("RETURN")
        )

    def _returns_none(self, k: int) -> bool:
        row, before = self.rows[k], self.rows[k - 1]
        if row.name == "RETURN_CONST":
            return row.value is None
        if row.is_target or row.name != "RETURN_VALUE":
            return False
        if before.name == "LOAD_CONST":
            return before.value is None
        f = self.callee(k - 1)
        return self._fills(k - 1) if f is MISSING else _silent(f, None, self.depth - 1)

    def _fills(self, k: int) -> bool:
        """`d[key].append(x)`, `d.setdefault(key, []).append(x)` of a known container d."""
        row = self.rows[k]
        if row.name not in ("CALL", "CALL_KW"):
            return False
        first = row.height - row.arg - (row.name == "CALL_KW")
        rows = [r for r in self.rows[:k] if r.height < first]
        at = max((j for j, r in enumerate(rows) if r.height <= first - 2), default=0)
        root = self.load(rows[at]) if rows[at].name in LOADS else MISSING
        return isinstance(root, CONTAINERS) and rows[-1].value in FILLING

    def writes_nothing(self) -> bool:
        if self.keywords & WRITING_KEYWORDS or not all(map(_reads_only, _inner(self.code))):
            return False
        return all(self._writes_nothing(k, row) for k, row in enumerate(self.rows))

    def _writes_nothing(self, k: int, row: Row) -> bool:
        counted = self.rows[k - 1].name == "SWAP"  # of `+=`, looked at there
        if row.name == "STORE_SUBSCR":
            x = self.resolved(k, row.height - 2, row.height - 1)
            return counted or (x is not MISSING and not isinstance(x, Tensor))
        if row.name == "STORE_ATTR":
            x = self.resolved(k, row.height - 1, row.height)
            return counted or self._sets_no_tensor(x, row.value)
        if row.name == "BINARY_OP" and "=" in row.text:
            return isinstance(self._added_to(k), int | float | str)
        if row.name in ("CALL_FUNCTION_EX", "STORE_SLICE"):
            return False
        if row.name in ("CALL", "CALL_KW"):
            return self._calls_reader(k)
        return not (row.name in (*ATTRIBUTES, "LOAD_GLOBAL") and writes(row.value))

    def _added_to(self, k: int) -> Any:
        """The left operand of `x += y`, `x.n += y` or `x[key] += y`."""
        height = self.rows[k].height
        at = k - 1
        while at > 0 and self.rows[at].height > height - 2:
            at -= 1
        row, copy = self.rows[at], self.rows[at - 1]
        if row.name == "COPY":
            names = [r.value for r in self.rows[at + 1 : k] if r.name == "LOAD_ATTR"]
            x = self.resolved(at, height - 3, height - 2)
            if row.arg == 1 and names:
                return attribute(x, names[0]) if x is not MISSING else MISSING
            if copy.name == "COPY" or row.arg == 2:
                return self._item_added_to(at, height)
        return self.resolved(k, height - 2, height - 1)

    def _item_added_to(self, at: int, height: int) -> Any:
        x = self.resolved(at, height - 4, height - 3)
        key = self.resolved(at, height - 3, height - 2)
        return item(x, key)

    @staticmethod
    def _sets_no_tensor(x: Any, name: str) -> bool:
        if x is MISSING or isinstance(x, Tensor) or name in TENSOR_ATTRIBUTES:
            return False
        tables = (vars(x).get(t, ()) for t in ("_parameters", "_buffers", "_modules"))
        return not hasattr(x, "__dict__") or not any(name in t for t in tables)

    def _calls_reader(self, k: int) -> bool:
        """Whether a call writes nothing: a method by its name, a function of a user's by its own
        code."""
        f = self.callee(k)
        if f is MISSING:  # of what is computed here: only its name is known
            return self._is_method(k)
        found = _function(f, None)
        if isinstance(f, type) or found is None:
            return True
        if whose(found[0].__code__.co_filename) != USERS:
            return not writes(getattr(f, "__name__", ""))
        return self.depth > 0 and Body(*found, self.depth - 1).writes_nothing()

    def _is_method(self, k: int) -> bool:
        row = self.rows[k]
        if self.rows[k - 1].name == "GET_ITER":  # a comprehension, whose code is looked at, too
            return True
        if [r.value for r in self.rows[k - 3 : k]] == [None] * 3 and row.arg == 2:
            return True  # the end of a `with` block
        first = row.height - row.arg - (row.name == "CALL_KW")
        for at in range(k - 1, -1, -1):
            if self.rows[at].height < first:
                return self.rows[at].name in ATTRIBUTES
        return False


def taken(row: dis.Instruction) -> int:
    """CPython 3.11 has a PRECALL count as if it took the arguments off the stack."""
    return row.arg or 0 if row.opname == "CALL" and "PRECALL" in dis.opmap else 0


def attribute(x: Any, name: str) -> Any:
    """`x.name` where finding it runs no code of a user's."""
    if isinstance(x, (ModuleType, type, Tensor, logging.Logger, *CONTAINERS)):
        return getattr(x, name, MISSING)
    table = getattr(x, "__dict__", {})
    if name in table:
        return table[name]
    kept = next((vars(c)[name] for c in type(x).__mro__ if name in vars(c)), MISSING)
    return MethodType(kept, x) if isinstance(kept, FunctionType) else MISSING


def item(x: Any, key: Any) -> Any:
    """`x[key]` of a plain container."""
    if isinstance(x, dict):
        return dict.get(x, key, 0 if isinstance(x, Counter) else MISSING)
    if isinstance(x, list | tuple) and isinstance(key, int) and -len(x) <= key < len(x):
        return x[key]
    return MISSING


def writes(name: str) -> bool:
    """Whether a method of this name may write a tensor or change the step."""
    return name in WRITING or (name.endswith("_") and not name.endswith("__"))


def _inner(code: CodeType) -> Iterator[CodeType]:
    """Comprehensions and functions defined inside."""
    for x in code.co_consts:
        if isinstance(x, CodeType):
            yield x
            yield from _inner(x)


def _reads_only(code: CodeType) -> bool:
    """The same of inner code, whose names are not resolved."""
    rows = list(dis.get_instructions(code))
    stores = any(r.opname in ("STORE_SUBSCR", "STORE_ATTR", "STORE_SLICE") for r in rows)
    updates = any(r.opname == "BINARY_OP" and "=" in r.argrepr for r in rows)
    return not stores and not updates and not any(map(writes, code.co_names))


# ---- what a hook may change --------------------------------------------------------------------


class Touched(NamedTuple):
    """Containers that a hook can reach, names of attributes and cells that it sets."""

    containers: list[Any]
    attributes: set[str]
    cells: list[Any]
    variables: list[tuple[Any, str]]  # globals: the table and the name

    def meets(self, places: Iterable[Any], changed: set[int]) -> bool:
        """Whether one of them is among the places that a step looks at, or that it changes."""
        places = [*places]
        owners = {of for _, of, _ in places} | changed
        if any(id(c) in owners for c in self.containers):
            return True
        names = {k[0] if what == "test" else k for what, _, k in places if what in ("attr", "test")}
        cells = {("cell", id(c)) for c in self.cells}
        variables = {("item", id(table), name) for table, name in self.variables}
        met = not names.isdisjoint(self.attributes) or not variables.isdisjoint(places)
        return met or any(p[:2] in cells for p in places)


def touched(hook: Hook) -> Touched:
    out = Touched([], set(), [], [])
    found = _function(hook, None)
    me = getattr(hook, "__self__", None)
    if isinstance(me, CONTAINERS):
        out.containers.append(me)
    if found is None:
        return out
    f, given = found
    cells = dict(zip(f.__code__.co_freevars, f.__closure__ or ()))
    held = [*given, *map(contents, cells.values())]
    for code in (f.__code__, *_inner(f.__code__)):
        held += [f.__globals__.get(name) for name in code.co_names]
        for row in dis.get_instructions(code):
            if row.opname == "STORE_ATTR":
                out.attributes.add(row.argval)
            elif row.opname == "STORE_DEREF" and row.argval in cells:
                out.cells.append(cells[row.argval])
            elif row.opname == "STORE_GLOBAL":
                out.variables.append((f.__globals__, row.argval))
    for x in held:
        inside = (
            [] if isinstance(x, ModuleType | type) else list(getattr(x, "__dict__", {}).values())
        )
        out.containers.extend(c for c in (x, *inside) if isinstance(c, CONTAINERS))
    return out
