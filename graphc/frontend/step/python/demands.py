"""What a step demands of values: `assert ok.all()`, `if labels.max() >= n: raise ValueError(...)`.

Of such a test one side does nothing but raise, so the step has one way on. The trace takes it, and
each call tests that its values do (`check`), before anything is written. Where they do not, the
function is traced once more, with that one test answered as the values answer it (`failing`): it
raises what the user wrote, with the values in its text, and nothing has changed.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import lru_cache, partial
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphc.errors import DataDependentBranch
from graphc.frontend.checked import checked
from graphc.frontend.eager.rows import FAST
from graphc.frontend.hostvalue import UNKNOWN, HostValue
from graphc.frontend.laid import as_lying
from graphc.frontend.noted import Input
from graphc.frontend.origins import origin
from graphc.frontend.places import on_host
from graphc.frontend.reading import Readable
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tensor import Tensor, wrapped
from graphc.frontend.trace import paused
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, topological
from graphc.ir.interpret import interpret
from graphc.ir.types import Array

if TYPE_CHECKING:
    from graphc.frontend.step.steptrace import StepTrace

Row = dis.Instruction
T = TypeVar("T")
FLIPS = {"UNARY_NOT": True, "TO_BOOL": False}  # what may stand between a value and the jump
GOES = ("JUMP_FORWARD", "JUMP_ABSOLUTE")
ACTS = (
    "STORE_", "DELETE_", "RETURN_", "YIELD_", "IMPORT_", "POP_TOP", "JUMP_BACKWARD", "FOR_ITER",
    "SEND", "BEFORE_", "PUSH_EXC_INFO", "RERAISE", "LOAD_BUILD_CLASS", "MAKE_FUNCTION",
)  # fmt: skip
FIX = "let the values meet the test; where the step goes on either way, use graphc.where or cond"


def truth(trace: StepTrace, x: Tensor | HostValue, frame: FrameType) -> bool | None:
    """The answer to what `frame` asks with which the step goes on, which each call is to give; None
    if it may go on with both."""
    if trace.ending:
        return read(trace, x, bool) if isinstance(x, Tensor) else bool(_value(trace, x))
    good = _answers(frame.f_code).get(frame.f_lasti)
    met = None if good is None else _met(x, good)
    if good is None or met is None:
        return None
    number = len(trace.demands)
    if number == trace.failing or (number < trace.failing and not read(trace, met, bool)):
        trace.ending = True
        return not good
    told = origin(x) if isinstance(x, Tensor) else x.origin
    what = f"test {number + 1} of the step: {told} came out {not good}"
    trace.demands.append(what)
    checked(met, met, what, DataDependentBranch, fix=FIX)
    return good


def _met(x: Tensor | HostValue, good: bool) -> Tensor | None:
    """Whether x gives the answer, as a tensor; None where no tensor tells."""
    if isinstance(x, HostValue):
        try:
            x = x.as_tensor()
        except DataDependentBranch:
            return None
    if is_unknown(x.numel()) or x.numel() != 1:
        return None
    found: Tensor = x.detach().reshape(()) != 0
    return found if good else ~found


# ---- code ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _answers(code: CodeType) -> dict[int, bool]:
    """By the offset of what asks for a truth before a jump, the answer that does not raise."""
    rows = [r for r in dis.get_instructions(code) if r.opname not in ("CACHE", "EXTENDED_ARG")]
    index = _index(code, rows)
    found: dict[int, bool] = {}
    for k, row in enumerate(rows):
        flipped, at = False, k
        while rows[at].opname in FLIPS and at + 1 < len(rows):
            flipped ^= FLIPS[rows[at].opname]
            at += 1
        jump = rows[at]
        if not _decides(jump) or (jumps := _only_raises(rows, index, index[jump.argval])) == (
            _only_raises(rows, index, at + 1)
        ):
            continue
        found[row.offset] = (jump.opname.endswith("TRUE") != jumps) != flipped
    return found


def _index(code: CodeType, rows: list[Row]) -> dict[int, int]:
    """The row that runs at each offset, that of a prefix as well."""
    index: dict[int, int] = {}
    k = 0
    for row in dis.get_instructions(code):
        index[row.offset] = k
        k += row.opname not in ("CACHE", "EXTENDED_ARG")
    return index


def _decides(row: Row) -> bool:
    return row.opname.startswith("POP_JUMP") and row.opname.endswith(("IF_TRUE", "IF_FALSE"))


def _only_raises(rows: list[Row], index: dict[int, int], k: int, left: int = 8) -> bool:
    """Whether what follows makes an error and raises it, whatever it asks on the way."""
    while left and k < len(rows):
        row = rows[k]
        if row.opname == "RAISE_VARARGS":
            return bool(row.arg)
        if row.opname.startswith(ACTS):
            return False
        if row.opcode in dis.hasjrel or row.opcode in dis.hasjabs:
            target = index[row.argval]
            if row.opname not in GOES:
                return _only_raises(rows, index, target, left - 1) and (
                    _only_raises(rows, index, k + 1, left - 1)
                )
            k = target - 1
        k += 1
    return False


# ---- the failing call ----------------------------------------------------------------------------


def shown(trace: StepTrace, x: Tensor | HostValue, form: str | None) -> str:
    """The text of x in the error of a call that fails."""
    if isinstance(x, Tensor):
        return read(trace, x, partial(_text, form=form))
    return _text(_value(trace, x), form)


def _text(x: Any, form: str | None) -> str:
    return repr(x) if form is None else format(x, form)


def read(trace: StepTrace, x: Tensor, how: Callable[[Any], T]) -> T:
    """`how(x)`, of what x is in the call that is traced because it fails."""
    wanted, known = trace.value(x), {i.value: i for i in trace.inputs}
    given = tuple(v for v in topological([wanted]) if v.is_input)
    graph = Graph("wanted", given, ("state",) * len(given), (wanted,), (None,))
    (found,) = interpret(graph, *(_array(known[v]) for v in given), rows=FAST)
    with paused():
        return how(wrapped(np.array(found)))


def _value(trace: StepTrace, x: HostValue) -> Any:
    if x.now is not UNKNOWN:
        return x.now
    if x.tensor is not None:
        return read(trace, x.tensor, Readable.item)
    if x.recipe is None:
        return f"<{x.origin}>"
    action, args = x.recipe
    return action(*rebuilt(args, partial(_value, trace), HostValue))


def _array(given: Input) -> Array:
    """What an input of the trace holds, as the graph reads it."""
    if given.getter is not None:
        return np.asarray(given.getter(), given.value.spec.dtype.numpy)
    if given.role == "arg":
        assert given.tensor is not None and given.tensor.array is not None, "of a call"
        return as_lying(on_host(given.tensor.array), given.order)
    assert given.storage is not None and given.storage.array is not None, "state is concrete"
    return as_lying(on_host(given.storage.array), given.order)
