"""Hooks of optimizers: before and after a step, and around their state dicts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from graphc.errors import InvalidState
from graphc.frontend import trace as tracing
from graphc.frontend.autograd import RemovableHandle
from graphc.frontend.step.python.effects import told
from graphc.frontend.told import Told

Hook = Callable[..., Any]
KINDS = ("step_pre", "step_post", "saving", "saved", "loading", "loaded")


class Hooked:
    """What has hooks; a subclass's `step` runs those of a step around it. One that wraps another
    optimizer, and was never initialised itself, has none."""

    _stepping = True  # no hooks are to be called, as inside a step

    def __init__(self) -> None:
        self._hooks: dict[str, list[tuple[Hook]]] = {kind: [] for kind in KINDS}
        self._stepping = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _around(cls.__dict__["step"])  # type: ignore[attr-defined]  # just found

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new ones."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before state_dict()."""
        return self._register("saving", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after state_dict(); it may return another one."""
        return self._register("saved", hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; it may return another one."""
        return self._register("loading", hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return self._register("loaded", hook, prepend)

    def _register(self, kind: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        hooks = self._hooks[kind]
        handle = RemovableHandle(hooks, (hook,))
        if prepend:
            hooks.insert(0, hooks.pop())
        return handle

    def _watched(self) -> AbstractContextManager[None]:
        """What goes around the step itself."""
        return nullcontext()

    def _step_hooks(self) -> Any:
        """What a compiled step compares at each call: 0 for none."""
        return (*self._hooks["step_pre"], *self._hooks["step_post"]) or 0

    def _told(self, kind: str, *args: Any) -> Any:
        """Run the hooks of a kind; what they make of the last argument."""
        for (hook,) in tuple(self._hooks[kind]):
            new = hook(self, *args)
            if new is not None and args:
                args = (*args[:-1], new)
        return args[-1] if args else None


def _around(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` with the hooks before and after; a `super().step()` in it runs them no second time."""

    @functools.wraps(step)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        self = args[0]  # hooks see it among the arguments, as in PyTorch
        if self._stepping:
            return step(*args, **kwargs)
        hooks = self._hooks
        parts = self, hooks, hooks["step_pre"], hooks["step_post"]
        tracing.guard(Told(self._step_hooks, *parts))
        self._stepping = True
        try:
            for (hook,) in tuple(self._hooks["step_pre"]):
                args, kwargs = _replaced(told(hook, self, args, kwargs), args, kwargs)
            with self._watched():
                out = step(*args, **kwargs)
            for (hook,) in tuple(self._hooks["step_post"]):
                told(hook, self, args, kwargs)
        finally:
            self._stepping = False
        self._opt_called = True
        return out

    return hooked


def _replaced(new: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    if new is None:
        return args, kwargs
    if not isinstance(new, tuple) or len(new) != 2:
        raise InvalidState(
            f"a step pre-hook must return None or a tuple of (new_args, new_kwargs), but got {new}."
        )
    return new
