"""HostValue: what `.item()`, `float()` and texts of a traced tensor give: a value of Python's that
only a call knows.

It can be computed with, formatted, printed, stored and returned; each call does that anew, after
its commit, with what the tensor is then. Where a function takes a number, it is that 0-d tensor.
What Python has to decide now (a branch, a length, a key) is refused.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from graphc.errors import DataDependentBranch, GraphcError, TracerLeak, is_own, leaving
from graphc.frontend.hostforms import COMPARED, LOGICAL, computed
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec, bool_, f64, i64

if TYPE_CHECKING:
    from graphc.frontend.trace import Trace

Kind = type | None  # of the value, where that is known
Action = Callable[..., Any]
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "<unknown>"})()
NUMERIC = (bool, int, float)
TEXTS = {"ljust", "rjust", "center", "format", "strip", "replace", "upper", "lower", "join"}


class Settled(BaseException):
    """The step decides by a number that it counts itself: trace again, with that number read."""

    def __init__(self, place: Any) -> None:
        leaving()
        self.place = place


class Carried(Settled):
    """The step shows a number that it counts itself: trace again, with such a value for it."""


class HostValue:
    """The `number`-th value that Python computes after each call.

    `origin` says what it is, for messages; `tensor` is the traced tensor it was read from; `recipe`
    the function and operands it was computed by; `place` what Python state it counts on from;
    `now` what it is while the step is traced, if the state that a call begins with tells: then it
    can be asked, and its answer is a guard, and be an operand of tensors as a number of each call.
    """

    __slots__ = ("kind", "length", "now", "number", "origin", "place", "recipe", "tensor", "trace")
    is_traced = True

    def __init__(
        self,
        trace: Trace,
        number: int,
        kind: Kind,
        origin: str,
        *,
        tensor: Any = None,
        recipe: tuple[Action, tuple[Any, ...]] | None = None,
        place: Any = None,
    ) -> None:
        self.trace, self.number, self.kind, self.origin = trace, number, kind, origin
        self.tensor, self.recipe, self.place = tensor, recipe, place
        self.length: int | None = None  # of a list, if it is the same at each call
        self.now = UNKNOWN

    # ---- what cannot be known --------------------------------------------------------------------

    def refuse(self, why: str, fix: str = "") -> DataDependentBranch | TracerLeak:
        """The error of whoever needs the value now."""
        self.check()
        if self.place is not None:
            raise Settled(self.place)
        return DataDependentBranch(f"Python {why} {self.origin}, known only at run time", fix=fix)

    def check(self) -> None:
        from graphc.frontend.modes import modes

        if modes.trace is not self.trace:
            raise TracerLeak(f"{self.origin} was read in a compiled step, which has ended")

    def asked(self, what: Callable[[Any], Any], why: str = "needs", fix: str = "") -> Any:
        """`what(self)`, which Python has to know now."""
        self.check()
        if self.now is not UNKNOWN:
            return self.trace.asked(self, what)
        if (constant := self.of_constants()) is not UNKNOWN:
            return what(constant)
        raise self.refuse(why, fix or DataDependentBranch.instead)

    def of_constants(self) -> Any:
        """The value, if it is computed of constants alone."""
        if self.tensor is not None:
            known = self.trace.known(self.tensor)
            return UNKNOWN if known is None else known.item()
        action, args = self.recipe or (None, ())
        found = [a.of_constants() if isinstance(a, HostValue) else a for a in args]
        return UNKNOWN if action is None or UNKNOWN in found else action(*found)

    def varies(self) -> bool:
        """Whether an index or a slice of tensors has to be this number as a tensor: nobody knows it
        before the call, or it was another so often that each call reads it."""
        self.check()
        if self.kind is not int:
            return False
        known = self.now is not UNKNOWN
        return self.trace.varies(self) if known else self.of_constants() is UNKNOWN

    def __bool__(self) -> bool:
        self.check()
        if self.now is UNKNOWN and self.of_constants() is UNKNOWN:
            answer = self.trace.truth(self, sys._getframe(1))
            if answer is not None:
                return answer
        return bool(self.asked(bool, "decides by", DataDependentBranch.fix))

    def __float__(self) -> float:
        return float(self.asked(float))

    def __int__(self) -> int:
        return int(self.asked(int))

    def __index__(self) -> int:
        return int(self.asked(operator.index))

    def __len__(self) -> int:
        if self.kind is list and self.length is not None:
            return self.length
        raise self.refuse("needs the length of", DataDependentBranch.instead)

    def __hash__(self) -> int:
        raise self.refuse("looks up", DataDependentBranch.instead)

    def __contains__(self, x: Any) -> bool:
        raise self.refuse("searches", DataDependentBranch.instead)

    def __iter__(self) -> Iterator[Any]:
        if self.kind is not list or self.length is None:
            raise self.refuse("goes through", DataDependentBranch.instead)
        return (self[k] for k in range(self.length))

    def __reduce__(self) -> Any:
        raise self.refuse("pickles", DataDependentBranch.instead)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.refuse("makes an array of", DataDependentBranch.instead)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            raise self.refuse("needs", DataDependentBranch.instead)
        return self.apply(ufunc, *inputs)

    def __deepcopy__(self, memo: Any) -> HostValue:
        return self

    def __copy__(self) -> HostValue:
        return self

    # ---- what each call does ---------------------------------------------------------------------

    def apply(self, action: Action, *args: Any, kind: Kind = None) -> Any:
        """`action(*args)` at each call."""
        self.check()
        if any(isinstance(a, P.Sugar) for a in args):
            return NotImplemented  # a tensor's own operator computes with it
        out = self.trace.computed(action, *args, kind=kind or _kind(action, args))
        out.recipe = action, args
        out.place = next((a.place for a in args if isinstance(a, HostValue) and a.place), None)
        self.trace.foresee(out)
        return out

    def __getattr__(self, name: str) -> Any:
        """A method of a text or number."""
        method = getattr(self.kind, name, None)
        if name.startswith("__") or not callable(method):
            raise AttributeError(f"a value known only at run time has no attribute {name!r}")
        return lambda *args: self.apply(method, self, *args, kind=str if name in TEXTS else None)

    def __getitem__(self, key: Any) -> Any:
        return self.apply(operator.getitem, self, key)

    def __round__(self, digits: int | None = None) -> Any:
        return self.apply(round, self, digits, kind=int if digits is None else self.kind)

    def __trunc__(self) -> Any:
        return self.apply(math.trunc, self, kind=int)

    def __floor__(self) -> Any:
        return self.apply(math.floor, self, kind=int)

    def __ceil__(self) -> Any:
        return self.apply(math.ceil, self, kind=int)

    def __format__(self, form: str) -> str:
        return self._shown(form)

    def __str__(self) -> str:
        return self._shown("")

    def __repr__(self) -> str:
        return self._shown(None)

    def _shown(self, form: str | None) -> str:
        if is_own(sys._getframe(2).f_code.co_filename):
            return f"<{self.origin}>"
        self.check()
        return self.trace.text(self, form)

    # ---- as an operand of tensors ----------------------------------------------------------------

    def operand(self, spec: TensorSpec) -> Any:
        """A tensor of this type, each element of which is what it holds of this value."""
        x = self.as_tensor()
        if spec.dtype.is_floating_point and x.spec.dtype is i64:
            x = P.cast(x, f64)  # as Python's float() of it
        alone = P.reshape(P.cast(x, spec.dtype), (1,) * len(spec.shape))
        return P.expand(alone, spec.shape)

    def checked(
        self, holds: Callable[[Any], Any], what: str, error: type[GraphcError], fix: str = ""
    ) -> HostValue:
        """The same where `holds`, of a tensor, is true of it, or the call raises `error`."""
        x = self.as_tensor()
        attrs = {"what": what, "error": error.__name__} | ({"fix": fix} if fix else {})
        sure = x.emit(OPS["check"], x, holds(x), **attrs)
        return HostValue(self.trace, self.number, self.kind, self.origin, tensor=sure,
                         recipe=self.recipe, place=self.place)  # fmt: skip

    def as_tensor(self) -> Any:
        """A 0-d tensor of the step with this value, as an operand of other tensors."""
        self.check()
        if self.now is not UNKNOWN:
            return self.trace.number_before(self)
        if self.tensor is not None and self.kind in NUMERIC:
            return P.cast(self.tensor, {bool: bool_, int: i64, float: f64}[self.kind])
        action, args = self.recipe or (None, ())
        given = [a for a in args if a is not None]  # digits that round() is not given
        found = None
        if all(isinstance(a, HostValue | bool | int | float) for a in given):
            operands = [a.as_tensor() if isinstance(a, HostValue) else a for a in given]
            found = computed(action, self.kind, operands)
        if found is None:
            raise self.refuse("computes tensors by", "compute it with tensors: drop the .item()")
        return found


def of_numbers(f: Callable[..., float], *xs: Any) -> Any:
    """`f(*xs)` of numbers, at each call if one of them is known only then."""
    known = next((x for x in xs if isinstance(x, HostValue)), None)
    return f(*xs) if known is None else known.apply(f, *xs, kind=float)


def is_undecided(x: object) -> bool:
    """Whether x is a number that the call itself finds, so that Python can ask nothing of it."""
    return isinstance(x, HostValue) and x.now is UNKNOWN


def is_surely(x: Any, number: float) -> bool:
    """Whether x is this number at each call: nobody asks those that may change."""
    return not isinstance(x, HostValue) and bool(x == number)


def at_least(x: Any, least: float) -> Any:
    """`max(x, least)`; a 0-d tensor of what only a call knows."""
    if not is_undecided(x):
        return max(x, least)
    found = x.as_tensor()
    return P.where(found < least, least, found)


def _kind(action: Action, args: tuple[Any, ...]) -> Kind:
    """Of what an operator gives."""
    if action in COMPARED:
        return bool
    kinds = [a.kind if isinstance(a, HostValue) else a.__class__ for a in args]  # of sizes, int
    if action in LOGICAL and set(kinds) == {bool}:
        return bool
    if str in kinds or not all(k in NUMERIC for k in kinds):
        return str if str in kinds and action in (operator.add, operator.mod) else None
    return float if action is operator.truediv or float in kinds else int


def _binary(action: Action) -> Action:
    def forward(self: HostValue, other: Any) -> Any:
        return self.apply(action, self, other)

    return forward


def _reflected(action: Action) -> Action:
    def backward(self: HostValue, other: Any) -> Any:
        return self.apply(action, other, self)

    return backward


def _unary(action: Action) -> Action:
    def act(self: HostValue) -> Any:
        return self.apply(action, self)

    return act


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(HostValue, f"__{_name}__", _binary(getattr(operator, _name)))
    setattr(HostValue, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(HostValue, f"__{_name}__", _binary(getattr(operator, _name)))
for _name in ("and", "or"):
    setattr(HostValue, f"__{_name}__", _binary(getattr(operator, f"{_name}_")))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(HostValue, f"__{_name}__", _unary(getattr(operator, _name)))
