"""What a step does besides computing: calls of Python that run after the commit of each call.

`record` notes a call while a step is traced. The tensors it is given become results of the program,
with the values that they have at that moment, and at each call of the step, the first included, the
function is given concrete ones, in the order of the notes. A step that fails runs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from graphc.errors import ShapeMismatch, Untraceable
from graphc.frontend import epoch
from graphc.frontend.hostvalue import HostValue, Kind
from graphc.frontend.modes import modes
from graphc.frontend.noted import Effect
from graphc.frontend.origins import origin
from graphc.frontend.reading import Readable
from graphc.frontend.step.python.observers import Hook, looks_only
from graphc.frontend.step.signature import is_record, rebuilt
from graphc.frontend.tensor import Tensor, wrapped
from graphc.frontend.trace import Trace, paused, refill
from graphc.ir.extent import is_unknown
from graphc.ir.sugar import reshape

KINDS = (bool, int, float)  # of numbers, by the category of a dtype
Call = tuple[Sequence[Any], Mapping[str, Any]]
Passed = Mapping[tuple[Any, ...], Any]  # containers among the arguments, by their keys; Made
MADE = "made"
UNSURE = "return None and write no tensor, or compute inside the module's forward"


class Itself:
    """An argument of an Effect that is the same object at each call, no copy."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def of(self, passed: Passed) -> Any:
        return self.it

    def token(self) -> Hashable:
        """Equal for the same one of two traces."""
        return id(self.it)


class Argument(Itself):
    """A container among the arguments of each call, by the keys that lead to it."""

    def of(self, passed: Passed) -> Any:
        return passed[self.it]

    def found(self, call: Call) -> Any:
        """Which one it is."""
        x: Any = call
        for key in self.it:
            x = getattr(x, key) if is_record(x) else x[key]
        return x

    def token(self) -> Hashable:
        keys: tuple[Hashable, ...] = self.it
        return keys


class Made(Itself):
    """A container that the step makes and that several get, by the number of what holds it among
    what Effects are given."""

    def of(self, passed: Passed) -> Any:
        return passed[MADE, self.it]

    def token(self) -> Hashable:
        return MADE, self.it


def after(action: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call `action` now, or in a trace after each call of the step."""
    if modes.trace is None:
        action(*args, **kwargs)
    else:
        record(modes.trace, action, *args, **kwargs)


def record(trace: Trace, action: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Have each call of the step call `action` with what its tensors are now."""
    given = rebuilt((args, kwargs), partial(_now, trace))
    repeat(trace, action, given)


def repeat(trace: Trace, action: Callable[..., object], given: tuple[Any, Any]) -> None:
    """Have each call of the step call `action` with what is given, as it is when the step ends."""
    trace.after_commit.append(Effect(action, len(trace.effects)))
    trace.effects.append(given)


def computed(trace: Trace, action: Callable[..., Any], *args: Any, kind: Kind = None) -> HostValue:
    """What `action(*args)` gives after each call, with what its tensors are now."""
    given = rebuilt((args, {}), partial(_now, trace))
    number, trace.host_values = trace.host_values, trace.host_values + 1
    trace.after_commit.append(Effect(action, len(trace.effects), number))
    trace.effects.append(given)
    known = [a.origin for a in args if isinstance(a, HostValue)]
    name = getattr(action, "__name__", "a value")
    return HostValue(trace, number, kind, f"{name} of {known[0]}" if known else name)


def read(trace: Trace, x: Tensor, how: Callable[[Tensor], Any]) -> Any:
    """`how(x)`, item() or tolist(), after each call; now, if x is computed of constants alone."""
    if how is Readable.item and not is_unknown(x.numel()) and x.numel() != 1:
        what = f"a tensor with {x.numel()} elements cannot be converted to a Python number"
        raise ShapeMismatch(what, fix="index or reduce it to one element")
    if (known := trace.known(x, fixing=False)) is not None:
        with paused():
            return how(wrapped(known.copy()))
    out = computed(trace, how, x, kind=KINDS[x.dtype.category] if how is Readable.item else list)
    out.origin = origin(x)
    if how is Readable.item:
        kept = trace.wrap(trace.value(x))
        out.tensor = reshape(kept, ())
    elif x.ndim and not is_unknown(x.shape[0]):
        out.length = x.shape[0]
    return out


def _now(trace: Trace, x: Tensor) -> Tensor:
    """What shows the value that x has now, whatever the step writes to it later."""
    out = trace.wrap(trace.value(x))
    if not x.is_traced and x.storage not in trace.written:
        trace.unwritten[out] = x
    return out


def carried_out(trace: Trace) -> list[Any]:
    """What the effects are given: state that the step does not write is given itself."""

    def concrete(t: Tensor) -> Tensor:
        x = trace.unwritten.get(t)
        return t if x is None or x.storage in trace.written else x

    return [rebuilt(given, concrete) for given in trace.effects]


def drop_unused(trace: Trace, result: Any) -> None:
    """No call computes after its commit what it knew before, unless something is told of it."""
    if not trace.foreseen:
        return
    used: list[int] = []
    rebuilt(result, lambda h: used.append(h.number), HostValue)
    kept: list[Any] = []
    for action in reversed(trace.after_commit):
        if isinstance(action, Effect):
            if action.result in trace.foreseen and action.result not in used:
                trace.effects[action.number] = (), {}
                continue
            rebuilt(trace.effects[action.number], lambda h: used.append(h.number), HostValue)
        kept.append(action)
    trace.after_commit[:] = reversed(kept)


def renumber(trace: Trace, result: Any) -> None:
    """Keep what the Effects that are left are given, and what these and the result name of it: each
    call fills in what there is."""
    given: list[Any] = []

    def kept(number: int) -> int:
        given.append(trace.effects[number])
        return len(given) - 1

    for k, action in enumerate(trace.after_commit):
        if isinstance(action, Effect):
            trace.after_commit[k] = action._replace(number=kept(action.number))
    made = {id(a): a for a in named_in((result, given)) if isinstance(a, Made)}
    moved = {number: kept(number) for number in {a.it for a in made.values()}}
    for a in made.values():
        a.it = moved[a.it]
    trace.effects[:] = given


def named_in(tree: Any) -> list[Itself]:
    """What is named in it of which each call has another."""
    found: list[Itself] = []
    rebuilt(tree, found.append, Itself)
    return [a for a in found if isinstance(a, Argument | Made)]


def passed(names: Sequence[Itself], given: Sequence[Any], call: Call) -> Passed:
    """Which they are in a call, before an Effect has changed what leads to them."""
    made = {(MADE, a.it): given[a.it][0][0] for a in names if isinstance(a, Made)}
    return made | {a.it: a.found(call) for a in names if isinstance(a, Argument)}


def names_any(*trees: Any) -> bool:
    """Whether there is an `Itself` in them."""
    found: list[Itself] = []
    rebuilt(trees, found.append, Itself)
    return bool(found)


def shows_values(tree: Any) -> bool:
    """Whether there is a value of the call in it."""
    found: list[HostValue] = []
    rebuilt(tree, found.append, HostValue)
    return bool(found)


def nested(given: Sequence[Call]) -> set[int]:
    """The Effects given what has an `Itself` or a value of the call in it, as a part of that."""
    found = set()
    for number, (args, named) in enumerate(given):
        parts = [a for a in (*args, *named.values()) if not isinstance(a, Itself | HostValue)]
        inside: list[Any] = []
        rebuilt(parts, inside.append, (Itself, HostValue))
        if inside:
            found.add(number)
    return found


def of_call(tree: Any, passed: Passed) -> Any:
    """The tree with what each `Itself` in it stands for."""
    return rebuilt(tree, lambda a: a.of(passed), Itself)


def run(
    actions: Sequence[Any], given: Sequence[Any], passed: Passed, nested: Container[int]
) -> dict[int, Any]:
    """All actions in their order; returns the values of HostValues by number. After the error of
    one no other effect happens, as in eager code, but what the package itself keeps in step with
    the program does. `nested`: numbers of Effects, as the function of that name finds them."""
    values: dict[int, Any] = {}
    failed: BaseException | None = None
    for action in actions:
        if not isinstance(action, Effect):
            action()
        elif failed is None:
            args, kwargs = given[action.number]
            if action.number in nested:
                args, kwargs = of_call(resolved((args, kwargs), values), passed)
            args = [_now_of(a, passed, values) for a in args]
            if kwargs:
                kwargs = {k: _now_of(a, passed, values) for k, a in kwargs.items()}
            try:
                result = action.action(*args, **kwargs)
                if action.result >= 0:
                    values[action.result] = result
            except BaseException as e:
                failed = e
    if failed is not None:
        raise failed
    return values


def _now_of(a: Any, passed: Passed, values: Mapping[int, Any]) -> Any:
    if isinstance(a, Itself):
        return a.of(passed)
    return values[a.number] if type(a) is HostValue else a


def resolved(tree: Any, values: Mapping[int, Any]) -> Any:
    """The tree with the values of a call in place of HostValues."""
    return rebuilt(tree, lambda h: values[h.number], HostValue)


# ---- hooks -------------------------------------------------------------------------------------


def told(hook: Hook, *args: Any) -> Any:
    """What a hook returns; one that only looks is called after each call of the step."""
    trace = modes.trace
    if trace is None or not _deferred(trace, hook, args):
        return hook(*args)
    record(trace, partial(_looking, hook), *args)
    return None


def hooks_changed(trace: Trace) -> None:
    """Have each call add and remove the hooks that the step leaves added or removed."""
    for table, before, attach in trace.tables:
        gone, new = (_without(a, b) for a, b in ((before, table), (table, before)))
        if gone or new:
            repeat(trace, partial(_change_hooks, table, gone, new, attach), ((), {}))


def _without(table: Any, other: Any) -> Any:
    """What is in the one table only."""
    if isinstance(table, dict):
        return {k: h for k, h in table.items() if k not in other}
    return [h for h in table if not any(h is o for o in other)]


def _change_hooks(table: Any, gone: Any, new: Any, attach: Callable[[], None] | None) -> None:
    if attach is not None:
        attach()
    refill(table, _without(table, gone))
    table.extend(new) if isinstance(table, list) else table.update(new)
    epoch.hooks_changed()
    epoch.modules_changed()


def told_of_gradient(hook: Hook, x: Tensor) -> None:
    """Call a hook that follows the accumulation of x's gradient."""
    trace = modes.trace
    if trace is None or x.is_traced or not _deferred(trace, hook, (x,)):
        hook(x)
    else:
        record(trace, partial(_looking_at_gradient, hook, x), trace.grad_of(x))


def _deferred(trace: Trace, hook: Hook, args: tuple[Any, ...]) -> bool:
    if any(_same(known, hook) for known in trace.inlined) or not looks_only(hook, args):
        return False
    trace.deferred.append(hook)
    return True


def _same(known: Hook, hook: Hook) -> bool:
    """Whether it is that hook, or one that the step makes again whenever it is traced."""
    return known is hook or _code(known) is _code(hook)


def _code(hook: Any) -> Any:
    while isinstance(hook, partial):
        hook = hook.func
    function = getattr(hook, "__func__", hook)
    return getattr(function, "__code__", type(function))


def _looking(hook: Hook, *args: Any) -> None:
    tensors: list[Tensor] = []
    rebuilt(args, tensors.append)
    before = [t.storage.version for t in tensors]
    result = hook(*args)
    name = getattr(hook, "__name__", type(hook).__name__)
    if result is not None:
        raise Untraceable(
            f"the hook `{name}` returned a {type(result).__name__}, which nobody foresaw",
            why="its code was taken for one that only looks, so it ran after the step",
            fix=UNSURE,
        )
    if [t.storage.version for t in tensors] != before:
        raise Untraceable(
            f"the hook `{name}` wrote a tensor, which nobody foresaw",
            why="its code was taken for one that only looks, so it ran after the step",
            fix=UNSURE,
        )


def _looking_at_gradient(hook: Hook, x: Tensor, grad: Tensor | None) -> None:
    """The hook finds in `x.grad` what was there when the gradient had arrived."""
    before, x._grad = x._grad, grad
    try:
        _looking(hook, x)
    finally:
        if x._grad is grad:
            x._grad = before
