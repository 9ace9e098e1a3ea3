"""Which outside Python values a function's code reads: globals, closure cells, attributes, items.

Found in the bytecode, not by running it: a chain that begins at a global, a closure cell or a known
`self` and goes on through attributes and constant items. Functions of the user's own that the code
calls by name are searched too; graphc, the standard library and installed packages are not.
"""

from __future__ import annotations

import dis
import inspect
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from graphc.errors import is_own

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()
LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
Getter = Callable[[], Any]


class Read(NamedTuple):
    """One value: how a person would write it, where it is read, how to get it, and the object
    whose attribute or item it is (None for a global or a closure cell)."""

    label: str
    file: str
    line: int
    get: Getter
    owner: object


def reads(fn: Callable[..., Any], self_value: object = None) -> list[Read]:
    """Every outside value that `fn`, or a user's function it calls, reads."""
    return list(_Search().search(fn, self_value))


def is_users(code: CodeType) -> bool:
    """Whether the code is the user's own, not a library's."""
    file = code.co_filename
    return not is_own(file) and not file.startswith(LIBRARIES)


class _Search:
    """A walk over functions that visits each (code, self) once."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()

    def search(self, fn: Any, self_value: object = None) -> Iterator[Read]:
        if isinstance(fn, MethodType):
            self_value = fn.__self__
            fn = fn.__func__
        fn = inspect.unwrap(fn)
        if not isinstance(fn, FunctionType) or not is_users(fn.__code__):
            return
        key = (fn.__code__, id(self_value))
        if key in self.seen:
            return
        self.seen.add(key)
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or ()))
        roots: dict[str, tuple[str, Getter]] = {
            name: (f"closure `{name}`", partial(_cell, cell)) for name, cell in cells.items()
        }
        if self_value is not None and fn.__code__.co_argcount:
            roots[fn.__code__.co_varnames[0]] = ("self", partial(_same, self_value))
        yield from self._code(fn.__code__, roots, fn.__globals__)

    def _code(
        self, code: CodeType, roots: Mapping[str, tuple[str, Getter]], space: dict[str, Any]
    ) -> Iterator[Read]:
        root: tuple[str, Getter]
        for name, kind, path, line in _chains(code):
            if kind == "global":
                if name not in space:
                    continue  # a builtin, or defined later
                root = (f"global `{name}`", partial(space.get, name, MISSING))
            elif name in roots:
                root = roots[name]
            else:
                continue
            yield from self._chain(root, path, code.co_filename, line)
        for const in code.co_consts:
            if isinstance(const, CodeType):
                yield from self._code(const, roots, space)

    def _chain(
        self, root: tuple[str, Getter], path: tuple[Any, ...], file: str, line: int
    ) -> Iterator[Read]:
        """The read of a chain, shortened where it leaves plain data, and of what it calls."""
        label, get = root
        owner: object = None
        value = get()
        for step in path:
            if isinstance(value, ModuleType) and not _users_module(value):
                return
            following = partial(_step, get, step)
            found = _plain_step(value, step)
            if found is MISSING:
                break
            if isinstance(found, BuiltinMethodType) and not isinstance(value, ModuleType):
                break  # an object new at each look: what it belongs to is read
            if isinstance(found, MethodType):
                yield from self.search(found)
                break
            label, get, owner, value = _label(label, step), following, value, found
        if isinstance(value, ModuleType):
            return
        if label != "self":
            yield Read(label, file, line, get, owner)
        yield from self.search(_function_of(value))


def _function_of(value: Any) -> Any:
    """The function that runs when a value is called, if that is written in Python."""
    if isinstance(value, partial):
        return _function_of(value.func)
    if isinstance(value, FunctionType | MethodType | type) or hasattr(value, "__wrapped__"):
        return value
    call = inspect.getattr_static(type(value), "__call__", None)
    return MethodType(call, value) if isinstance(call, FunctionType) else value


def _users_module(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or ""
    return bool(file) and not is_own(file) and not file.startswith(LIBRARIES)


def _chains(code: CodeType) -> Iterator[tuple[str, str, tuple[Any, ...], int]]:
    """(name, "global" or "local", attributes and ("item", key) steps, line) of each load."""
    rows = list(dis.get_instructions(code))
    line = code.co_firstlineno
    for k, row in enumerate(rows):
        line = row.starts_line if isinstance(row.starts_line, int) else line
        if row.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            kind = "global"
        elif row.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")):
            kind = "local"
        else:
            continue
        if isinstance(row.argval, str):
            yield row.argval, kind, _path(rows, k + 1), line


def _path(rows: list[dis.Instruction], k: int) -> tuple[Any, ...]:
    path: list[Any] = []
    while k < len(rows):
        if rows[k].opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path.append(rows[k].argval)
            k += 1
        elif rows[k].opname == "LOAD_CONST" and rows[k + 1].opname == "BINARY_SUBSCR":
            path.append(("item", rows[k].argval))
            k += 2
        else:
            break
    return tuple(path)


def _plain_step(value: object, step: Any) -> Any:
    """An attribute or item that is stored, not computed; MISSING for properties and the like."""
    if isinstance(step, tuple):
        try:
            return value[step[1]] if isinstance(value, dict | list | tuple) else MISSING
        except (KeyError, IndexError, TypeError):
            return MISSING
    static = inspect.getattr_static(value, step, MISSING)
    if isinstance(static, property) or (static is MISSING and not hasattr(value, "_parameters")):
        return MISSING
    return getattr(value, step, MISSING)


def _label(label: str, step: Any) -> str:
    bare = label.split("`")[1] if "`" in label else label
    text = f"[{step[1]!r}]" if isinstance(step, tuple) else f".{step}"
    return f"`{bare}{text}`"


def _same(value: object) -> object:
    return value


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # deleted since, or not yet assigned
        return MISSING


def _step(get: Getter, step: Any) -> Any:
    value = get()
    try:
        return value[step[1]] if isinstance(step, tuple) else getattr(value, step, MISSING)
    except (KeyError, IndexError, TypeError):
        return MISSING
