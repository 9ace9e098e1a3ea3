"""Full backward hooks: two identities around a module's forward see the gradients pass.

The one on the outputs runs first in backward and keeps the output gradients; the one on the inputs
then calls the hooks, whose result may replace the input gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.frontend.function import Function
from graphc.frontend.step.python.effects import told
from graphc.frontend.tensor import Tensor
from graphc.nn.hooks import Hook

Gradients = tuple[Tensor | None, ...]


class Watch:
    """One call of a module that has backward hooks."""

    def __init__(self, module: object, before: Iterable[Hook], hooks: Iterable[Hook]) -> None:
        self._module = module
        self._before = list(before)
        self._hooks = list(hooks)
        self._places: list[int] = []  # of the arguments that need a gradient
        self._count = 0
        self._grad_output: Gradients = ()

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, watched."""
        self._count = len(args)
        self._places = [k for k, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not self._places:
            return args
        seen = _Inputs.apply(self, *(args[k] for k in self._places))
        watched = dict(zip(self._places, seen))
        return tuple(watched.get(k, a) for k, a in enumerate(args))

    def outputs(self, out: Any) -> Any:
        """The output, a tensor or a tuple of them, watched."""
        outs = out if isinstance(out, tuple) else (out,)
        if not any(isinstance(o, Tensor) and o.requires_grad for o in outs):
            return out
        seen = _Outputs.apply(self, *outs)
        return seen if isinstance(out, tuple) else seen[0]

    def leave(self, grads: Gradients) -> Gradients:
        """Backward has reached the outputs: call the pre-hooks, and give what goes on."""
        for hook in self._before:
            changed = told(hook.fn, self._module, grads)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        self._grad_output = grads
        if not self._places:
            self.enter(())
        return grads

    def enter(self, grads: Gradients) -> Gradients:
        """Backward has reached the inputs: call the hooks, and give what goes on."""
        given = dict(zip(self._places, grads))
        full: Gradients = tuple(given.get(k) for k in range(self._count))
        for hook in self._hooks:
            changed = told(hook.fn, self._module, full, self._grad_output)
            if changed is not None:
                full = changed if isinstance(changed, tuple) else (changed,)
        return tuple(full[k] for k in self._places)


class _Inputs(Function):
    @staticmethod
    def forward(ctx: Any, watch: Watch, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.watch = watch
        return xs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *ctx.watch.enter(grads))


class _Outputs(Function):
    @staticmethod
    def forward(ctx: Any, watch: Watch, *xs: Any) -> tuple[Any, ...]:
        ctx.watch = watch
        return xs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *ctx.watch.leave(grads))
