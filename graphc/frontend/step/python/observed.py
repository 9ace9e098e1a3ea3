"""What a compiled function depends on besides its arguments: what it read, and its modules.

Modules are recognised by their interface (`named_parameters`), because `nn` is built on this
package. Every change of a module moves the epoch, so what belongs to one is compared only then;
but not a change of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from operator import attrgetter, call
from typing import Any

from graphc.frontend.places import place_of
from graphc.frontend.step.python.found import in_classes
from graphc.frontend.step.python.guards import Content, Guard, Same, same
from graphc.frontend.step.python.sets import Guards, Kept
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.tensor import Tensor

Look = Callable[[Any], Any]  # at one module
LASTING = (bool, int, str, type(None))  # a getter gives the same one, mostly


class Equal:
    """A getter of what is made anew at each look: the first answer while it is equal."""

    __slots__ = ("kept",)

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __call__(self, get: Callable[..., Any], *args: Any) -> Any:
        now = get(*args)
        return self.kept if same(now, self.kept) else now


def observed(
    kept: Kept,
    called: Iterable[Any],
    answers: Iterable[tuple[Callable[[], Any], Any]],
    shown: Container[Tensor] = (),
) -> Guards:
    """The guards of a trace: what was read, the modules met, what the tracer itself asked. Buffers
    that are `shown` in it are its state; of others it knows no more than what they are like."""
    always, on_epoch = list(kept.always), list(kept.on_epoch)
    modules = {id(m): m for root in called for m in root.modules()}
    kinds = {type(m) for m in modules.values()}
    for kind in kinds:
        for name in (
            ("forward",) if kind.__module__.startswith("graphc.") else ("forward", "__call__")
        ):
            for row in in_classes(kind.__mro__, name):
                always.append(Guard(f"`{kind.__name__}.{name}`", "", 0, *row))
    for module in modules.values():
        on_epoch += _state_of(module, shown)
    for get, value in answers:
        made = call if isinstance(value, LASTING) else Equal(value)
        file, line = getattr(get, "where", ("", 0))
        always.append(Guard(getattr(get, "label", "an option"), file, line, made, get, value))
    return Guards(Kept(always, on_epoch))


def _state_of(module: Any, shown: Container[Tensor]) -> Iterator[Guard]:
    """Mode, parts, hooks, gradient flags, options and own forward of one module."""
    label = f"{module._scope_name or type(module).__name__}"
    state = frozenset(k for k, b in module._buffers.items() if b is not None and b in shown)
    looks: dict[str, Look] = {**STATE, "buffers of": partial(_buffers, state=state)}
    for what, get in looks.items():
        yield Guard(f"{what} `{label}`", "", 0, get, module, get(module))


def _parts(module: Any) -> Content:
    tables = (module._parameters, module._modules)
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    items: list[Any] = [(k, Same(v)) for table in tables for k, v in table.items()]
    items += [Same(getattr(h, "fn", h)) for table in hooks for h in table.values()]
    items.append(Same(vars(module).get("forward", MISSING)))
    return Content(type(module), tuple(items))


def _buffers(module: Any, state: frozenset[str]) -> Content:
    rows = [(k, Same(b) if k in state else _kind(b)) for k, b in module._buffers.items()]
    return Content(type(module), tuple(rows))


def _kind(b: Tensor | None) -> Any:
    return None if b is None else (type(b), str(b._spec), b.requires_grad, place_of(b.array).name)


def _flags(module: Any) -> Content:
    flags = [p.requires_grad for p in module._parameters.values() if p is not None]
    return Content(type(module), tuple(flags))


def _options(module: Any) -> Any:
    return module.traced_options()


STATE: dict[str, Look] = {
    "train mode of": attrgetter("training"),
    "parts and hooks of": _parts,
    "requires_grad in": _flags,
    "options of": _options,
}
