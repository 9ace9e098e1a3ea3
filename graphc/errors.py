"""Every error graphc raises: a code, what is wrong, where, why and the fix, in one format.

Each class also derives from the built-in that PyTorch would raise, so `except IndexError` works in
a ported script. `format_error` is the only place that lays the text out:

    graphc.errors.ShapeMismatch [GC001]: add: shapes (3,) and (4,) do not broadcast
      train.py:41 in train_step
         41 |     loss = a + b
      why   ...
      fix   ...
      more  python -m graphc explain GC001
"""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import ClassVar

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
CLI = PACKAGE + "cli" + os.sep


on_error: list[Callable[[], None]] = []  # is told when an error is about to leave our code


def leaving() -> None:
    """An error is made, which a user's code may catch."""
    for told in tuple(on_error):
        told()


class GraphcError(Exception):
    """Base of all coded errors: `what` is wrong, `why`, how to `fix` it, `where` it happened."""

    code: ClassVar[str] = "GC900"
    why: ClassVar[str] = "an internal invariant does not hold"
    fix: ClassVar[str] = "report this with the program that shows it"

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", where: tuple[str, int, str] | None = None
    ) -> None:
        self.what = what
        self.reason = why or self.why
        self.remedy = fix or self.fix
        self.where = where or user_location()
        leaving()
        super().__init__(what)

    def __str__(self) -> str:
        return format_error(self)


def format_error(e: GraphcError) -> str:
    """The one layout of every message; absent parts are left out."""
    file, line, function = e.where
    source = linecache.getline(file, line).strip() if file else ""
    rows = [f"{e.what} [{e.code}]"]
    if file:
        rows.append(f"  {os.path.basename(file)}:{line}" + (f" in {function}" if function else ""))
    if source:
        rows.append(f"     {line} | {source[:200]}")
    rows += [f"  why   {e.reason}", f"  fix   {e.remedy}"]
    return "\n".join([*rows, f"  more  python -m graphc explain {e.code}"])


class _Own(dict[str, bool]):
    """By file: whether a line of it tells a user nothing."""

    def __missing__(self, file: str) -> bool:
        own = self[file] = file.startswith(PACKAGE) and not file.startswith(CLI)
        return own


_own = _Own()  # asked of each frame between the user's line and each value of a trace


def is_own(file: str) -> bool:
    """Whether a line of `file` tells a user nothing; the demo's net is written as theirs is."""
    return _own[file]


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame outside the graphc package, found by file."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _own[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def user_stack(frame: FrameType | None) -> tuple[tuple[str, int, str], ...]:
    """Path, line and function of each frame of the user's from this one outwards."""
    found = []
    while frame is not None:
        code = frame.f_code
        if not is_own(code.co_filename):
            found.append((code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return tuple(found)


def user_location() -> tuple[str, int, str]:
    """File, line and function of the user's code that led here; ("", 0, "") when there is none."""
    frame = user_frame(2)
    if frame is None:
        return "", 0, ""
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def raised_at(error: BaseException) -> tuple[str, int, str]:
    """The same of what led to an error: the innermost line on its way that is a user's."""
    found, at = ("", 0, ""), error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if not is_own(code.co_filename):
            found = code.co_filename, at.tb_lineno, code.co_name
        at = at.tb_next
    return found


def warn(text: str) -> None:
    """A UserWarning at the user's line, however many frames of the package lie between."""
    level, frame = 2, sys._getframe(1)
    while is_own(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=level)


# ---- GC0: usage --------------------------------------------------------------------------------


class ShapeMismatch(GraphcError, RuntimeError):
    """Operand shapes do not fit the operation."""

    code = "GC001"
    why = "the operation's shape rule does not hold"
    fix = "reshape or expand one operand so that the shapes agree"


class DTypeMismatch(GraphcError, RuntimeError):
    """Operand dtypes do not fit the operation."""

    code = "GC002"
    why = "the operation is not defined for these element types"
    fix = "convert one operand with .to(dtype)"


class DTypeNotImplemented(DTypeMismatch, NotImplementedError):
    """The same where PyTorch raises NotImplementedError, which is a RuntimeError, too."""


class InvalidArgument(GraphcError, ValueError):
    """A constructor or function argument is outside its domain."""

    code = "GC003"
    why = "the value is outside what the argument may be"
    fix = "pass a value in the stated range"


class RefusedArgument(InvalidArgument, RuntimeError):
    """The same where PyTorch raises RuntimeError."""


class WideInteger(InvalidArgument, OverflowError):
    """An integer that no 64 bits hold, where PyTorch raises OverflowError."""


class AssertedArgument(InvalidArgument, AssertionError):
    """The same where PyTorch asserts."""


class AssertedShape(ShapeMismatch, AssertionError):
    """Shapes do not fit where PyTorch asserts."""


class InvalidIndex(GraphcError, IndexError):
    """A dimension or index is out of range."""

    code = "GC004"
    why = "the index does not exist in the tensor"
    fix = "use an index in range"


class InvalidType(GraphcError, TypeError):
    """A Python argument has a type the function does not take."""

    code = "GC005"
    why = "the function does not take this type"
    fix = "pass a tensor or number as documented"


class AutogradError(GraphcError, RuntimeError):
    """backward() cannot run, or an in-place write would corrupt a gradient."""

    code = "GC006"
    why = "autograd cannot give a correct gradient here"
    fix = "see the message"


class InvalidState(GraphcError, RuntimeError):
    """An object is not in a state that allows the call (load_state_dict keys, a freed graph)."""

    code = "GC007"
    why = "the object is not in a state that allows this call"
    fix = "see the message"


class DeviceUnavailable(GraphcError, RuntimeError, AssertionError):
    """The requested device is not there; without CUDA, PyTorch raises AssertionError for it."""

    code = "GC008"
    why = "this machine or this build has no such device"
    fix = 'use device="cpu"'


class NotAvailable(GraphcError, AttributeError):
    """Something that this build, device or mode does not produce."""

    code = "GC009"
    why = "it does not exist for this device or mode"
    fix = "see the message"


class Unsupported(GraphcError, NotImplementedError):
    """A form of an operation that is not defined: a mode, or a mode for this rank."""

    code = "GC010"
    why = "the operation is not defined for this mode and rank"
    fix = "see the message for what is"


class DevicesMixed(GraphcError, RuntimeError):
    """An operation has operands on more than one device."""

    code = "GC011"
    why = "an operation runs where all of its operands are"
    fix = "move them to one device with .to(device)"


# ---- GC1: tracing ------------------------------------------------------------------------------


class DataDependentBranch(GraphcError, RuntimeError):
    """Python control flow or a host read on a value known only at run time."""

    code = "GC104"
    why = "the step is compiled once; Python cannot branch on a traced tensor"
    fix = "use graphc.where(condition, a, b) or graphc.cond, or move the test out of the step"
    instead = "compute with the tensor itself, or return it and read it after the call"


class TracerLeak(GraphcError, RuntimeError):
    """A tensor of a finished trace is used outside it."""

    code = "GC105"
    why = "the tensor stood for a value inside a compiled step, which has ended"
    fix = "return the value from the step instead of storing it"


class Untraceable(GraphcError, RuntimeError):
    """Python the tracer cannot turn into a program."""

    code = "GC106"
    why = "a compiled step replays tensor operations only"
    fix = "move this out of the compiled function"


# ---- GC2: guards -------------------------------------------------------------------------------


class TooManyCompiles(GraphcError, RuntimeError):
    """`assert_max_compiles` was exceeded."""

    code = "GC201"
    why = "an input, attribute or mode changed, so the step was compiled again"
    fix = "see step.explain() for what changed"


class Unguarded(GraphcError, RuntimeError):
    """A step reads what cannot be compared at each call."""

    code = "GC202"
    why = "Python runs once; that a later call would read something else could not be noticed"
    fix = "read it outside the step and pass it as an argument"


# ---- GC3: run time -----------------------------------------------------------------------------


class IndexOutOfRange(GraphcError, IndexError, RuntimeError):
    """An index held in a tensor is outside the dimension it selects from."""

    code = "GC301"
    why = "a run-time index is outside its dimension; nothing was changed"
    fix = "clamp or check the indices (class targets, embedding ids) before the step"


class OutOfMemory(GraphcError, MemoryError):
    """The planned memory does not fit."""

    code = "GC302"
    why = "the planned arena is larger than the memory that is free"
    fix = "use a smaller batch"


class DeviceOutOfMemory(OutOfMemory, RuntimeError):
    """The same on a device; PyTorch's is a RuntimeError."""

    why = "the device's memory is in use, by this process or by others"


class IntegerDivisionByZero(GraphcError, RuntimeError):
    """An integer division or remainder by zero."""

    code = "GC303"
    why = "integers have no infinity to return; nothing was changed"
    fix = "mask zero divisors with graphc.where before dividing"


class LinAlgError(GraphcError, RuntimeError):
    """A decomposition does not exist or did not converge: a singular or indefinite matrix."""

    code = "GC304"
    why = "the matrix has no such inverse or factor; nothing was changed"
    fix = "add a small multiple of the identity, or use lstsq() or pinv()"


class NotFinite(GraphcError, RuntimeError, ArithmeticError):
    """A step compiled with `check="nan"` or `"finite"` met such a value; nothing was changed."""

    code = "GC305"
    why = "an operation was given what it has no finite answer for"
    fix = "keep its operands in range: clamp, add a small number, or lower the learning rate"


# ---- GC4, GC5, GC9 -----------------------------------------------------------------------------


class BackendError(GraphcError, RuntimeError):
    """Code generation or the native compiler failed."""

    code = "GC401"


class CudaError(GraphcError, RuntimeError):
    """A call of the CUDA driver failed: `call` by name, its `number`, the `kernel` if one ran."""

    code = "GC402"
    why = "the CUDA driver refused the call, or work before it failed on the device"
    fix = "run with GRAPHC_CUDA=fake, which checks every access, and report what it says"

    def __init__(
        self, what: str, *, call: str, number: int, kernel: str = "", why: str = ""
    ) -> None:
        super().__init__(what, why=why)
        self.call, self.number, self.kernel = call, number, kernel


class CacheError(GraphcError, RuntimeError):
    """The disk cache cannot be used (refused directory)."""

    code = "GC501"
    why = "the cache folder is not private to this user"
    fix = "set GRAPHC_CACHE_DIR to a folder only you can write"


class FileFormatError(GraphcError, RuntimeError):
    """A file is not what it claims to be."""

    code = "GC502"
    why = "the file is damaged or of another format"
    fix = "write it again with graphc.save"


class InternalError(GraphcError, RuntimeError):
    """An invariant of the compiler itself was broken."""

    code = "GC901"


class OutOfBounds(GraphcError, RuntimeError):
    """A kernel reached outside a buffer, which GRAPHC_CHECK_BOUNDS=1 has seen and stopped."""

    code = "GC902"
    why = "the kernel's addresses and the plan of memory disagree: an error of the compiler"


class Mismatch(GraphcError, AssertionError):
    """`graphc.verify` found that a compiled step does not compute what its code says."""

    code = "GC903"
    why = "compiled, eager and float64 results agree up to rounding in a right program"
    fix = "find the pass or kernel with `python -m graphc bisect script.py`, and report it"


# What checks of values may raise, by the name that a graph and a program hold.
CHECKED: dict[str, type[GraphcError]] = {
    c.__name__: c
    for c in (
        ShapeMismatch,
        DTypeMismatch,
        InvalidArgument,
        RefusedArgument,
        InvalidState,
        DataDependentBranch,
        IntegerDivisionByZero,
        NotFinite,
        Unsupported,
        LinAlgError,
    )
}


def absent(module: str, name: str) -> AttributeError:
    """The error of a name that a namespace has not."""
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    complex_ = "complex" in name or name in ("cfloat", "cdouble", "chalf", "polar")
    return NotAvailable(
        f"module {module!r} has no attribute {name!r}",
        why="graphc has no complex tensors" if complex_ else "graphc has no function of this name",
        fix="docs/coverage.md lists what there is",
    )


def all_errors() -> dict[str, type[GraphcError]]:
    """Every coded error class by its code."""
    return {c.code: c for c in GraphcError.__subclasses__()}
