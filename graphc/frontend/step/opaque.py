"""Operators of a user's own in a compiled step: traced where that is possible, and else opaque.

`library.custom_op` with a fake, which tells the types of the results, may do what no trace can
follow: read values, call NumPy, branch. Its function is then tried on stand-ins once, beside the
trace; where that fails, each call runs it between the kernels, on the host, as PyTorch always does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import numpy as np

from graphc.errors import AutogradError, GraphcError, Untraceable
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.step.steptrace import StepTrace
from graphc.frontend.step.whiles import unpacked
from graphc.frontend.tape import RuleNode, attach, edge_of
from graphc.frontend.tensor import Tensor, wrapped
from graphc.frontend.trace import Trace, paused
from graphc.ir.extent import is_unknown
from graphc.ir.meaning.opaque import CALLS, Given
from graphc.ir.ops import OPS
from graphc.ir.types import Array

Call = Callable[..., Any]
LITERALS = (bool, int, float, str, type(None))
KINDS: dict[Any, str] = {list: "list", tuple: "tuple"}


class Trial(StepTrace):
    """A trace that ends where a value is looked at, whatever is made of it later."""

    def read(self, x: Tensor, how: Callable[[Tensor], Any]) -> Any:
        return Trace.read(self, x, how)

    def truth(self, x: Any, frame: FrameType) -> bool | None:
        return None


class Opaque:
    """An operator by its name, its function and what gives the types of its results."""

    def __init__(self, name: str, function: Call, fake: Call) -> None:
        self.name, self.function, self.fake = name, function, fake
        self.tried: dict[Any, bool] = {}  # by the arguments' kinds, whether it is traced
        CALLS[name] = self._run

    def __call__(self, *args: Any) -> Any:
        """What it gives for these arguments, in the trace that is active."""
        trace = modes.trace
        assert trace is not None, "eager code calls the function itself"
        if self._traces(args):
            return self.function(*args)
        tensors: list[Tensor] = []
        given = tuple(self._told(a, tensors) for a in args)
        with no_grad():
            like = self.fake(*args)
        specs = [t.spec for t in _tensors(like)]
        if not tensors or not specs:
            raise Untraceable(
                f"{self.name}, which takes or gives no tensor, reads values",
                fix="call it outside the compiled function",
            )
        packed = tensors[0].emit(
            OPS["opaque"], *tensors, call=self.name, given=given,
            dtypes=tuple(s.dtype.name for s in specs), shapes=tuple(s.shape for s in specs),
        )  # fmt: skip
        found = unpacked(packed.detach(), specs)
        self._without_derivative(tensors, found)
        results = iter(found)
        return rebuilt(like, lambda _: next(results))

    def _traces(self, args: Sequence[Any]) -> bool:
        """Whether a trace can follow the function, for arguments of these types."""
        key = tuple((t.dtype, t.ndim) for t in _tensors(args))
        if key not in self.tried:
            trial = Trial()
            with trial.activate():
                count = iter(range(len(_tensors(args))))
                stand_ins = rebuilt(tuple(args), lambda t: _stand_in(trial, t, next(count)))
                try:
                    with no_grad():
                        self.function(*stand_ins)
                    self.tried[key] = not (trial.after_commit or trial.refused)
                except (GraphcError, TypeError, ValueError, AttributeError):
                    self.tried[key] = False
        return self.tried[key]

    def _told(self, x: Any, tensors: list[Tensor]) -> Any:
        """An argument as the op holds it."""
        if isinstance(x, Tensor):
            tensors.append(x)
            return "tensor", len(tensors) - 1
        if type(x) in KINDS:
            return (KINDS[type(x)], *(self._told(item, tensors) for item in x))
        if isinstance(x, LITERALS) or is_unknown(x):
            return "is", x
        what = "a number known only at run time" if isinstance(x, HostValue) else type(x).__name__
        raise Untraceable(
            f"{self.name}, which reads values, is given {what}",
            fix="give it tensors, numbers, texts and lists of them",
        )

    def _run(self, arrays: Sequence[Array], given: Given) -> Sequence[Array]:
        """A call of the step: the function on arrays, of which it has copies."""
        with paused(), no_grad():
            tensors = [wrapped(np.array(a)) for a in arrays]
            out = self.function(*(_built(x, tensors) for x in given))
            return [np.array(t.host()) for t in _tensors(out)]

    def _without_derivative(self, tensors: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        if not modes.grad or not any(t.requires_grad for t in tensors):
            return

        def refuse(cotangents: list[Any]) -> Any:
            raise AutogradError(
                f"the derivative of {self.name}, whose code reads values",
                fix="give it one with register_autograd()",
            )

        node = RuleNode(self.name, [edge_of(t) for t in tensors], refuse, len(found))
        for k, t in enumerate(found):
            if t.dtype.is_floating_point:
                attach(t, node, k)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    rebuilt(tree, found.append)
    return found


def _stand_in(trial: Trace, like: Tensor, number: int) -> Tensor:
    return trial.wrap(trial.builder.input(f"arg{number}", like.spec))


def _built(told: Any, tensors: Sequence[Tensor]) -> Any:
    kind, *rest = told
    if kind == "tensor":
        return tensors[rest[0]]
    if kind == "is":
        return rest[0]
    items = [_built(x, tensors) for x in rest]
    return items if kind == "list" else tuple(items)
