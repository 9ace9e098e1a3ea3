"""A reader of pickles that cannot run code: a small stack machine over `pickletools.genops`.

graphc's own files hold no pickles; PyTorch's do, and this reads those. The machine knows the
opcodes that build plain containers, numbers and texts, and calls only functions that it was given.
The module `pickle` takes no part. Source: CPython's Lib/pickletools.py, which explains the opcodes.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from graphc.errors import FileFormatError

Persistent = Callable[[Any], Any]
MAX_MEMO = 1 << 24
DAMAGE = (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


class Call(NamedTuple):
    """A function that a pickle may call."""

    function: Callable[..., Any]


class Machine:
    """Stack, marks and memo of one pickle."""

    def __init__(self, names: Mapping[str, Any], persistent: Persistent) -> None:
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int = 1) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("nothing left on the stack")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def pop_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, key: int) -> None:
        if not 0 <= key < MAX_MEMO:
            raise ValueError(f"memo {key}")
        self.memo[key] = self.stack[-1]

    def named(self, module: Any, name: Any) -> Any:
        """What `module.name` stands for, from the table; nothing is imported."""
        wanted = f"{module}.{name}"
        if wanted not in self.names:
            raise FileFormatError(
                f"the file asks for {wanted[:200]}, which is neither a tensor nor plain data",
                why="loading it would run code of the file's choice",
                fix="save a state_dict(), or numbers, texts, lists and dicts, and load that",
            )
        return self.names[wanted]

    def call(self) -> None:
        function, args = self.pop(2)
        if not isinstance(function, Call) or not isinstance(args, tuple):
            raise ValueError("a call of what is no function")
        self.push(function.function(*args))

    def build(self) -> None:
        """State of an object: only OrderedDict has some (`_metadata` of a state dict), unused."""
        (state,) = self.pop()
        if not isinstance(self.stack[-1], OrderedDict) or not isinstance(state, dict):
            raise ValueError(f"state for {type(self.stack[-1]).__name__}")

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("append to what is no list")
        self.stack[-1].extend(items)

    def add(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not set:
            raise ValueError("add to what is no set")
        self.stack[-1].update(map(key, items))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for what is no dict")
        target.update((key(k), v) for k, v in zip(items[::2], items[1::2]))


def key(value: Any) -> Any:
    """A key of plain data. Hashing a deeply nested tuple would overflow the C stack."""
    for part in value if type(value) is tuple else (value,):
        if part is not None and not isinstance(part, str | int | float | bytes):
            raise ValueError(f"a key of type {type(part).__name__}")
    return value


Operation = Callable[[Machine, Any], None]


def _value(m: Machine, argument: Any) -> None:
    m.push(argument)


def _nothing(m: Machine, argument: Any) -> None:
    pass


VALUES = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BINSTRING SHORT_BINSTRING"
)

OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(VALUES.split(), _value),
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "LIST": lambda m, a: m.push(m.pop_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.pop_mark())),
    "TUPLE1": lambda m, a: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, a: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, a: m.push(tuple(m.pop(3))),
    "APPEND": lambda m, a: m.append(m.pop()),
    "APPENDS": lambda m, a: m.append(m.pop_mark()),
    "ADDITEMS": lambda m, a: m.add(m.pop_mark()),
    "SETITEM": lambda m, a: m.set_items(m.pop(2)),
    "SETITEMS": lambda m, a: m.set_items(m.pop_mark()),
    "BINPUT": lambda m, a: m.remember(a),
    "LONG_BINPUT": lambda m, a: m.remember(a),
    "MEMOIZE": lambda m, a: m.remember(len(m.memo)),
    "BINGET": lambda m, a: m.push(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.push(m.memo[a]),
    "GLOBAL": lambda m, a: m.push(m.named(*a.split(" ", 1))),
    "STACK_GLOBAL": lambda m, a: m.push(m.named(*m.pop(2))),
    "BINPERSID": lambda m, a: m.push(m.persistent(*m.pop())),
    "REDUCE": lambda m, a: m.call(),
    "BUILD": lambda m, a: m.build(),
}


def read_pickle(data: bytes | IO[bytes], names: Mapping[str, Any], persistent: Persistent) -> Any:
    """The value of a pickle that uses no name but those of the table; else FileFormatError.

    names: "module.name" -> a value, or a `Call`. persistent: the value of a persistent id. An open
    file stands behind the pickle afterwards.
    """
    machine = Machine(names, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                (value,) = machine.pop()
                return value
            if opcode.name not in OPERATIONS:
                raise ValueError(f"opcode {opcode.name}, which plain data does not need")
            OPERATIONS[opcode.name](machine, argument)
    except FileFormatError:
        raise
    except DAMAGE as e:
        raise FileFormatError(f"the pickle in the file is damaged: {e!s:.200}") from None
    raise FileFormatError("the pickle in the file has no end")
