"""Checkpointing: forget what a function saves for backward, and run it again when asked.

The function is recorded as usual; then its nodes give up what they saved. The first of them that
the gradient walk reaches runs the function again, whose nodes, made in the same order, hand theirs
over. So gradients reach everything the function reads, parameters included, second derivatives
work, and random numbers are those of the first run. In a compiled step the function is just called.
Chen et al. 2016.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from graphc.errors import AutogradError, InvalidArgument, InvalidState
from graphc.frontend import epoch
from graphc.frontend import trace as tracing
from graphc.frontend.api.random import get_rng_state, set_rng_state
from graphc.frontend.modes import enable_grad, is_grad_enabled
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tape import OpNode, mark_now, saved_since
from graphc.frontend.tensor import Tensor

__all__ = [
    "CheckpointError",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]


Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """The default of `context_fn`."""
    return nullcontext(), nullcontext()


class CheckpointError(AutogradError):
    """The function did something else when it ran again."""


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, computed a second time in backward to save memory.

    `context_fn` gives two context managers, for the first run and for the second. `use_reentrant`,
    `debug` and `early_stop` are accepted: both values of the first behave as False does in
    PyTorch, and the second run is always whole. Raises RuntimeError in backward if an argument was
    changed in place meanwhile, or the function took another path.
    """
    if determinism_check not in ("default", "none"):
        raise InvalidArgument(f"determinism_check={determinism_check!r}", fix='pass "default"')
    if use_reentrant and (debug or context_fn is not noop_context_fn or kwargs):
        raise InvalidArgument(
            "context_fn, debug and the function's keyword arguments need use_reentrant=False"
        )
    first, second = context_fn()
    if tracing.active() is not None or not is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    random = get_rng_state() if preserve_rng_state else None
    mark = mark_now()
    with first:
        out = function(*args, **kwargs)
    nodes = saved_since(mark, _tensors(out))
    if nodes:
        epoch.functions_changed()
        again = _Again(function, args, kwargs, random, nodes, second)
        for node in nodes:
            node.operands = node.output = None
            node.restore = again
    return out


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **options: Any,
) -> Any:
    """Run functions (or a Sequential) one after the other; all segments but the last forget."""
    parts = list(functions.children() if hasattr(functions, "children") else functions)
    size = max(len(parts) // segments, 1)
    for k in range(segments - 1):
        run = _chain(parts[k * size : (k + 1) * size])
        input = checkpoint(run, input, use_reentrant=use_reentrant, **options)
    return _chain(parts[size * (segments - 1) :])(input)


def set_checkpoint_early_stop(enable: bool) -> AbstractContextManager[None]:
    """Accepted: the second run of a function is always whole here."""
    return nullcontext()


def set_checkpoint_debug_enabled(enabled: bool | None) -> AbstractContextManager[None]:
    """Accepted: an error names what differed between the two runs."""
    return nullcontext()


def detach_variable(inputs: Any) -> tuple[Any, ...]:
    """A tuple of arguments, its tensors without their history, each requiring grad as before."""
    if not isinstance(inputs, tuple):
        kind = type(inputs).__name__
        raise InvalidState(
            f"Only tuple of tensors is supported. Got Unsupported input type: {kind}"
        )
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where no tensor requires grad, so that backward would reach none."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        text = "None of the inputs have requires_grad=True. Gradients will be None"
        warnings.warn(text, stacklevel=2)


def _chain(functions: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        for f in functions:
            x = f(x)
        return x

    return run


def _tensors(x: Any) -> list[Tensor]:
    found: list[Tensor] = []
    rebuilt(x, found.append)
    return found


class _Again:
    """Runs the function a second time and gives its nodes what they gave up."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        random: Tensor | None,
        nodes: list[OpNode],
        context: AbstractContextManager[Any],
    ) -> None:
        self._function, self._args, self._kwargs = function, args, kwargs
        self._random, self._nodes, self._context = random, nodes, context
        self._versions = [t.storage.version for t in _tensors((args, kwargs))]

    def __call__(self) -> None:
        given = _tensors((self._args, self._kwargs))
        if [t.storage.version for t in given] != self._versions:
            raise CheckpointError(
                "an argument of a checkpointed function was changed in place before backward",
                fix="pass a clone() of it",
            )
        mark, now = mark_now(), get_rng_state()
        if self._random is not None:
            set_rng_state(self._random)
        try:
            with enable_grad(), self._context:
                out = self._function(*self._args, **self._kwargs)
        finally:
            if self._random is not None:
                set_rng_state(now)
        found = saved_since(mark, _tensors(out))
        if [n.op for n in found] != [n.op for n in self._nodes]:
            raise CheckpointError(
                f"a checkpointed function took another path when it ran again: {len(found)} "
                f"operations saved something, {len(self._nodes)} the first time",
                fix="let it depend on its arguments and on graphc's random numbers only",
            )
        for old, new in zip(self._nodes, found):
            old.operands, old.output, old.restore = new.operands, new.output, None
        self._nodes = []


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """Of no device: one generator draws for all of them, and `get_rng_state` is its state."""
    return [], []


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Nothing: `set_rng_state` is for all devices."""
