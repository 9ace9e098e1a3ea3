"""Whose code runs, and which of its instructions read or write Python state.

`decoded(code)` maps the place of an instruction to what it does, as a (kind, argument) pair; the
names are those of CPython 3.11 to 3.13, and an instruction that only moves values is not there.
"""

from __future__ import annotations

import dis
import operator
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from graphc.errors import PACKAGE, is_own
from graphc.frontend.table import FOLLOWED

LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
# Whose code runs: the user's, an installed package's, that of Python or what graphc needs, ours.
PACKAGES = "site-packages", "dist-packages"  # as folders of packages are called
USERS, INSTALLED, LIBRARY, OWN = "user's", "installed", "library", "own"
WATCHED = (USERS, INSTALLED)  # whose state counts, whoever has handed it what
NEEDED = {  # packages that graphc computes and works with: their state is no step's
    "numpy", "ml_dtypes", "llvmlite", "networkx", "safetensors", "platformdirs", "tqdm", "triton",
    "cuda", "_distutils_hack", "pytest", "_pytest", "pluggy", "xdist", "execnet", "coverage",
}  # fmt: skip
CO_GENERATOR = 0x20
LEAVES = tuple(
    os.path.join(PACKAGE, *path.split("/"))
    for path in (
        "ir/", "passes/", "frontend/api/", "frontend/operands.py", "frontend/tensor.py",
        "frontend/trace.py", "frontend/views.py", "frontend/storage.py", "nn/functional/",
        "optim/rules.py",
    )
)  # fmt: skip
ALONE = ("_update_group", "_prepare", "_name_scopes", "zero_grad")
# Of files above, but what they call may call a user's hooks or functions.
CALLING = ("backward", "visit", "_run_hooks", "grad", "__getattr__")
WRAPPING = "called"  # of files above, what goes around any method, `backward` too
NEVER, BY_BACKWARD, BY_ARGUMENT = "never", "by a hook or Function", "by an argument"
BY_BOTH = f"{BY_BACKWARD}, {BY_ARGUMENT}"

# Kind of each instruction. "whole": the top of the stack is looked at with all its items.
KINDS = {
    "LOAD_GLOBAL": "global", "LOAD_NAME": "global", "STORE_GLOBAL": "set global",
    "LOAD_DEREF": "cell", "LOAD_CLASSDEREF": "cell", "LOAD_FROM_DICT_OR_DEREF": "cell",
    "STORE_DEREF": "set cell",
    "LOAD_ATTR": "attribute", "LOAD_METHOD": "attribute", "IMPORT_FROM": "attribute",
    "LOAD_SUPER_ATTR": "super", "STORE_ATTR": "set attribute", "DELETE_ATTR": "delete attribute",
    "BINARY_SUBSCR": "item", "STORE_SUBSCR": "set item", "DELETE_SUBSCR": "delete item",
    "BINARY_SLICE": "slice", "STORE_SLICE": "set slice",
    "GET_ITER": "iterate", "FOR_ITER": "advance", "GET_YIELD_FROM_ITER": "iterate",
    "SEND": "sent",
    "UNPACK_SEQUENCE": "iterate", "UNPACK_EX": "iterate", "LIST_EXTEND": "iterate",
    "SET_UPDATE": "iterate", "DICT_UPDATE": "iterate", "DICT_MERGE": "iterate",
    "GET_LEN": "length", "MATCH_MAPPING": "whole", "MATCH_SEQUENCE": "whole",
    "MATCH_KEYS": "match", "MATCH_CLASS": "match class",
    "FORMAT_VALUE": "shown", "FORMAT_SIMPLE": "shown", "FORMAT_WITH_SPEC": "shown",
    "IMPORT_NAME": "import", "UNARY_NOT": "truth", "TO_BOOL": "truth",
    "BINARY_OP": "both", "COMPARE_OP": "both", "CONTAINS_OP": "contains",
    "CALL": "call", "CALL_KW": "call with names", "CALL_FUNCTION_EX": "call with containers",
}  # fmt: skip

READS = ("global", "cell", "attribute", "item")
MAPS = ("BUILD_MAP", "BUILD_CONST_KEY_MAP")
IN_PLACE = {
    "+=": "__iadd__", "-=": "__isub__", "*=": "__imul__", "|=": "__ior__", "&=": "__iand__",
    "^=": "__ixor__", "//=": "__ifloordiv__", "/=": "__itruediv__", "%=": "__imod__",
    "**=": "__ipow__", "@=": "__imatmul__", "<<=": "__ilshift__", ">>=": "__irshift__",
}  # fmt: skip
ASKED: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "%": operator.mod,
    "//": operator.floordiv, "<": operator.lt, "<=": operator.le, "==": operator.eq,
    "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
ADDED = "LOAD_CONST", "BINARY_OP"
COUNTS = {
    "LOAD_ATTR": (*ADDED, "SWAP", "STORE_ATTR"),
    "BINARY_SUBSCR": (*ADDED, "SWAP", "SWAP", "STORE_SUBSCR"),
}


@lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package: of this environment, of the
    user (`pip install --user`), of the system, or of another that a .pth file names."""
    return file.startswith(LIBRARIES) or file.startswith("<frozen ") or _is_installed(file)


def _is_installed(file: str) -> bool:
    return not set(PACKAGES).isdisjoint(file.split(os.sep))


def is_pythons(file: str) -> bool:
    """Whether a file belongs to Python itself."""
    return file.startswith("<frozen ") or (
        file.startswith(LIBRARIES[:2]) and not _is_installed(file)
    )


MADE = "<string>", "<class "  # how names of files begin that there are none of


@lru_cache(maxsize=4096)
def whose(file: str) -> str:
    if is_own(file):
        return OWN
    if not is_library(file):
        return USERS
    return LIBRARY if is_pythons(file) or _package(file) in NEEDED else INSTALLED


def _package(file: str) -> str:
    """The package of an installed file, or the module that is one."""
    roots = [i + len(n) for n in PACKAGES if (i := file.rfind(n)) >= 0]
    roots = roots or [len(r) for r in LIBRARIES if file.startswith(r)]
    return file[max(roots) :].lstrip(os.sep).partition(os.sep)[0].partition(".")[0]


def whose_code(code: CodeType, space: dict[str, Any]) -> str:
    """USERS, LIBRARY or OWN; code without a file (of a dataclass, of a decorator that writes code)
    by its module, if it names one."""
    if code in FOLLOWED:
        return USERS
    file = code.co_filename
    if file.startswith(MADE) and "__name__" in space:
        module = sys.modules.get(space.get("__name__", ""))
        file = getattr(module, "__file__", None) or ("<frozen " if module is None else file)
    return whose(file)


def leaf(code: CodeType) -> str:
    """How a function of graphc's may come to call a user's: one of the four above, or ""."""
    if not is_own(code.co_filename) or code.co_flags & CO_GENERATOR:
        return ""
    if code.co_name in ALONE:
        return NEVER
    if code.co_name == "backpropagate":
        return BY_BACKWARD
    if not code.co_filename.startswith(LEAVES) or code.co_name in CALLING:
        return ""
    return BY_BOTH if code.co_name == WRAPPING else BY_ARGUMENT


@lru_cache(maxsize=4096)
def decoded(code: CodeType) -> dict[int, tuple[str, Any]]:
    """What the instructions of a function do that is of interest, by their offset."""
    found: dict[int, tuple[str, Any]] = {}
    start = None
    rows: list[dis.Instruction] = []
    starts: list[int] = []
    for row in dis.get_instructions(code):
        start = row.offset if start is None else start
        if row.opname in ("EXTENDED_ARG", "CACHE"):
            continue
        rows.append(row)
        starts.append(start)
        kind = _kind(row)
        if kind is not None:
            found[start] = found[row.offset] = kind, _argument(kind, row)
        start = None
    for k in range(len(rows)):
        if rows[k].opname == "LOAD_ATTR" and (how := _test(rows[k + 1 : k + 6])):
            found[starts[k]] = found[rows[k].offset] = "test", (rows[k].argval, how)
        _find_count(rows[k : k + 6], starts[k : k + 6], found)
    return found


def after_maps(code: CodeType) -> Iterator[int]:
    """Offsets of the instructions before which a dict has just been made."""
    return _after(code, lambda name: name in MAPS)


def after_reads(code: CodeType) -> Iterator[int]:
    """Offsets of the instructions before which a value has just been read from somewhere."""
    return _after(code, lambda name: KINDS.get(name) in READS)


def _after(code: CodeType, wanted: Callable[[str], bool]) -> Iterator[int]:
    """Offsets of the instructions that follow those of the names wanted."""
    found = False
    for row in dis.get_instructions(code):
        if found and row.opname != "CACHE":
            yield row.offset
        if row.opname not in ("CACHE", "EXTENDED_ARG"):
            found = wanted(row.opname)


def _kind(row: dis.Instruction) -> str | None:
    kind, name = KINDS.get(row.opname), row.opname
    decides = "JUMP" in name and "_IF_" in name and "NONE" not in name  # not by identity
    return "truth" if kind is None and decides else kind


def _argument(kind: str, row: dis.Instruction) -> Any:
    if kind == "both":
        return IN_PLACE.get(row.argrepr, "") if row.opname == "BINARY_OP" else ""
    if kind == "shown":  # how many lie on the stack: the value, and what it is formatted with
        spec = row.opname == "FORMAT_WITH_SPEC" or (
            row.opname == "FORMAT_VALUE" and (row.arg or 0) & 4
        )
        return 2 if spec else 1
    if kind.endswith("cell"):
        return row.arg, row.argval
    return row.arg if kind[:4] == "call" else row.argval


def _test(rows: list[dis.Instruction]) -> tuple[tuple[str, float], ...]:
    """`x.n > 3`, `x.n % 100 == 0` before a jump: what the number is asked; () if it goes on."""
    asked: list[tuple[str, float]] = []
    while len(rows) > 2 and rows[0].opname == "LOAD_CONST" and type(rows[0].argval) in (int, float):
        how = rows[1].argval if rows[1].opname == "COMPARE_OP" else rows[1].argrepr
        if how not in ASKED:
            return ()
        asked.append((how, rows[0].argval))
        if rows[1].opname == "COMPARE_OP":
            jump = rows[2].opname
            return tuple(asked) if jump.startswith("POP_JUMP") and "_IF_" in jump else ()
        rows = rows[2:]
    return ()


def _find_count(
    rows: list[dis.Instruction], starts: list[int], found: dict[int, tuple[str, Any]]
) -> None:
    """`x.n += 1` and `d[k] += 1`: a number that is read only to be stored again."""
    form = COUNTS.get(rows[0].opname)
    if form is None or tuple(r.opname for r in rows[1 : 1 + len(form)]) != form:
        return
    step, sign, last = rows[1].argval, rows[2].argrepr, len(form)
    if type(step) not in (int, float) or sign not in ("+=", "-="):
        return
    name = rows[0].argval
    if rows[0].opname == "LOAD_ATTR" and rows[last].argval != name:
        return
    kind = "count" if rows[0].opname == "LOAD_ATTR" else "count item"
    by = step if sign == "+=" else -step
    for k in (0, last):
        for at in {starts[k], rows[k].offset}:
            found[at] = (kind, (name, by)) if k == 0 else (f"{kind} stored", name)


@lru_cache(maxsize=4096)
def keywords(code: CodeType) -> dict[int, tuple[str, ...]]:
    """By the offset of a call, the names of its last arguments, before CPython 3.13."""
    found: dict[int, tuple[str, ...]] = {}
    names: tuple[str, ...] = ()
    for row in dis.get_instructions(code):
        if row.opname == "KW_NAMES":
            names = code.co_consts[row.arg or 0]
        elif row.opname == "CALL":
            if names:
                found[row.offset] = names
            names = ()
    return found
