"""What a compiled function depends on besides its arguments: outside values and modules.

Modules are recognised by their interface (`named_parameters`), because `nn` is built on this
package. Every change of a module moves the epoch, so what belongs to one is compared only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from graphc.frontend.step.guards import Content, Guards, Same
from graphc.frontend.step.reads import Read, reads


def is_module(x: object) -> bool:
    return hasattr(x, "named_parameters") and hasattr(x, "forward")


class Observed:
    """The outside values read by a function, taken before it is traced, because tracing runs it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._found: list[Read] = []
        self.modules: list[Any] = []  # those that the function or its callees name
        self._seen: set[int] = set()
        found = reads(function)
        self._found += found
        roots = [r.get() for r in found]
        bound = getattr(function, "__self__", None)
        self.visit(m for m in (bound, *roots) if is_module(m))
        self.guards = Guards(self._found, is_module)

    def visit(self, roots: Iterable[Any]) -> None:
        """Look at modules and all inside them, once each."""
        for root in roots:
            if id(root) not in self._seen:
                self.modules.append(root)
            for module in root.modules():
                if id(module) not in self._seen:
                    self._seen.add(id(module))
                    self._found += [*_state_of(module), *reads(module.forward)]

    def add(self, modules: Iterable[Any], answers: Iterable[tuple[Callable[[], Any], Any]]) -> None:
        """After the trace: modules found only by running, and what the trace asked to guard."""
        known = len(self._found)
        self.visit(m for m in modules if id(m) not in self._seen)
        self.guards.extend(self._found[known:], is_module)
        self.guards.expect(answers)

    def name_parameters(self) -> None:
        """Give parameters and buffers their paths, which then stand in every dump and error."""
        for module in self.modules:
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                tensor.storage.name = name


def _state_of(module: Any) -> list[Read]:
    """Mode, parts, hooks, gradient flags and options of one module."""
    kind = type(module).__name__
    label = f"{module._scope_name or kind}"
    parts = (
        (f"train mode of `{label}`", partial(getattr, module, "training")),
        (f"parts and hooks of `{label}`", partial(_parts, module)),
        (f"requires_grad in `{label}`", partial(_flags, module)),
        (f"options of `{label}`", module.traced_options),
    )
    return [Read(what, "", 0, get, module) for what, get in parts]


def _parts(module: Any) -> Content:
    tables = (module._parameters, module._buffers, module._modules)
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    items: list[Any] = [(k, Same(v)) for table in tables for k, v in table.items()]
    items += [Same(getattr(h, "fn", h)) for table in hooks for h in table.values()]
    return Content(type(module), tuple(items))


def _flags(module: Any) -> Content:
    flags = [p.requires_grad for p in module._parameters.values() if p is not None]
    return Content(type(module), tuple(flags))
