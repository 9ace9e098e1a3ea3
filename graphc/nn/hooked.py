"""Calling a module through its hooks, and registering them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from graphc.frontend import epoch
from graphc.nn.backward_hooks import Watch
from graphc.nn.hooks import Hook, RemovableHandle, register

# Every table of hooks that a module holds.
TABLES = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
Any_ = Callable[..., Any]


class Hooked:
    """What surrounds a module's forward, and its state's saving and loading."""

    forward: Any_
    _forward_pre_hooks: dict[int, Hook]
    _forward_hooks: dict[int, Hook]
    _backward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _state_dict_pre_hooks: dict[int, Hook]
    _state_dict_hooks: dict[int, Hook]
    _load_state_dict_pre_hooks: dict[int, Hook]
    _load_state_dict_post_hooks: dict[int, Hook]

    def _call_impl(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        backward = self._backward_hooks or self._backward_pre_hooks
        if not (self._forward_pre_hooks or self._forward_hooks or backward):
            return self.forward(*args, **kwargs)
        called: set[int] = set()
        try:
            return self._call_hooked(args, kwargs, called)
        except Exception:
            self._call_always(args, kwargs, called)
            raise

    def _call_hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> Any:
        for pre in list(self._forward_pre_hooks.values()):
            args, kwargs = pre.before(self, args, kwargs)
        watch = None
        if self._backward_hooks or self._backward_pre_hooks:
            hooks = self._backward_pre_hooks.values(), self._backward_hooks.values()
            watch = Watch(self, *hooks)
        out = self.forward(*(args if watch is None else watch.inputs(args)), **kwargs)
        for number, hook in list(self._forward_hooks.items()):
            called.add(number)
            out = hook.after(self, args, kwargs, out)
        return out if watch is None else watch.outputs(out)

    def _call_always(self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> None:
        """After an error: those hooks that asked for it and were not reached see None."""
        for number, hook in list(self._forward_hooks.items()):
            if not hook.always or number in called:
                continue
            try:
                hook.after(self, args, kwargs, None)
            except Exception as e:  # the first error is the one to tell
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {e}",
                    stacklevel=3,
                )

    def _enter(self, table: dict[int, Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
        return register(table, hook, epoch.modules_changed, prepend)

    def register_forward_hook(
        self,
        hook: Any_,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; what it returns replaces the output.

        With always_call also when forward raises; its output is None then.
        """
        return self._enter(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_forward_pre_hook(
        self, hook: Any_, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; what it returns replaces the arguments."""
        return self._enter(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_full_backward_hook(self, hook: Any_, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in backward; its result replaces grad_input.

        Both are tuples: of positional arguments (None for those without gradient) and of outputs.
        """
        return self._enter(self._backward_hooks, Hook(hook), prepend)

    def register_backward_hook(self, hook: Any_) -> RemovableHandle:
        """register_full_backward_hook, under its old name."""
        return self.register_full_backward_hook(hook)

    def register_full_backward_pre_hook(self, hook: Any_, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's backward; its result replaces it."""
        return self._enter(self._backward_pre_hooks, Hook(hook), prepend)

    def register_state_dict_pre_hook(self, hook: Any_) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before the module's state is taken."""
        return self._enter(self._state_dict_pre_hooks, Hook(hook))

    def register_state_dict_post_hook(self, hook: Any_) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after; it may change the dict."""
        return self._enter(self._state_dict_hooks, Hook(hook))

    def register_load_state_dict_pre_hook(self, hook: Any_) -> RemovableHandle:
        """Call `hook` before the module loads its part.

        Its arguments: module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs. It may change the dict, which is a copy.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Any_, with_module: bool = False
    ) -> RemovableHandle:
        bound = partial(hook, self) if with_module else hook
        return self._enter(self._load_state_dict_pre_hooks, Hook(bound))

    def register_load_state_dict_post_hook(self, hook: Any_) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after loading; it may empty those lists."""
        return self._enter(self._load_state_dict_post_hooks, Hook(hook))
