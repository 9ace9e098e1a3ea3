"""Module: the base of every layer, with PyTorch's registration, traversal, hooks and modes.

Compiled steps rely on one number: `frontend.epoch.modules` moves whenever any module anywhere
changes in a way that could change what a trace records (an attribute, a hook, a mode). An equal
epoch therefore means "no module has changed", at the cost of one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend import epoch
from graphc.frontend import trace as tracing
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType
from graphc.nn import state
from graphc.nn.backward_hooks import Watch
from graphc.nn.hooks import Hook, RemovableHandle, register
from graphc.nn.parameter import Parameter

__all__ = ["Module"]

SIMPLE = (bool, int, float, str, type(None))
_ABSENT = object()
# What a compiled module answers besides its own attributes.
INSPECTION = frozenset({"diff", "explain", "ir", "kernels", "memory", "stages", "stats"})


class Module:
    """A tree of parameters, buffers and submodules with a `forward`."""

    run_time_scalars: ClassVar[frozenset[str]] = frozenset()

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _not_persistent: set[str]
    _forward_hooks: dict[int, Hook]
    _forward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _scope_name: str
    _compiled: Any = None  # set by graphc.compile: what calls of this module go through

    def __init__(self) -> None:
        fields: dict[str, Any] = {
            "training": True,
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_not_persistent": set(),
            "_forward_hooks": {},
            "_forward_pre_hooks": {},
            "_backward_hooks": {},
            "_scope_name": "",
        }
        self.__dict__.update(fields)

    # ---- calling -------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = tracing.active()
        if trace is None:
            compiled = self._compiled
            return self._call_impl(args, kwargs) if compiled is None else compiled(*args, **kwargs)
        trace.called[self] = None
        scope = trace.builder.scope
        if not scope:
            self._name_scopes()
        scope.append(self._scope_name or type(self).__name__)
        try:
            return self._call_impl(args, kwargs)
        finally:
            scope.pop()

    def _call_impl(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks):
            return self.forward(*args, **kwargs)
        for pre in list(self._forward_pre_hooks.values()):
            args, kwargs = pre.before(self, args, kwargs)
        watch = Watch(self, self._backward_hooks.values()) if self._backward_hooks else None
        out = self.forward(*(args if watch is None else watch.inputs(args)), **kwargs)
        for hook in list(self._forward_hooks.values()):
            out = hook.after(self, args, kwargs, out)
        return out if watch is None else watch.outputs(out)

    def traced_options(self) -> str:
        """The plain attributes that a trace of a layer of ours depends on, as text.

        A compiled step compares it when modules have changed. Numbers that the layer reads at each
        call (`run_time_scalars`) count only by whether they are None. A forward of the user's own
        is looked at by its code instead.
        """
        if not type(self).forward.__module__.startswith("graphc."):
            return ""
        plain = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        del plain["training"]
        for name in self.run_time_scalars & plain.keys():
            plain[name] = plain[name] is None
        return repr(plain)

    def _name_scopes(self) -> None:
        """Tell every submodule its path, which then stands in the provenance of what it traces."""
        for name, module in self.named_modules():
            module.__dict__["_scope_name"] = name

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; what it returns replaces the output."""
        return register(
            self._forward_hooks, Hook(hook, with_kwargs), epoch.modules_changed, prepend
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; what it returns replaces the arguments."""
        return register(
            self._forward_pre_hooks, Hook(hook, with_kwargs), epoch.modules_changed, prepend
        )

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in backward; its result replaces grad_input.

        Both are tuples: of positional arguments (None for those without gradient) and of outputs.
        """
        return register(self._backward_hooks, Hook(hook), epoch.modules_changed, prepend)

    # ---- registration --------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own `param` (None keeps the name without one)."""
        self._check_new_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise InvalidType(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(graphc.nn.Parameter or None required)"
            )
        self._parameters[name] = param
        epoch.modules_changed()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own `tensor` as state that no optimizer updates; kept in state_dict if persistent."""
        self._check_new_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise InvalidType(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(graphc Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._not_persistent.discard if persistent else self._not_persistent.add)(name)
        epoch.modules_changed()

    def register_module(self, name: str, module: Module | None) -> None:
        """Own `module` under `name`."""
        if module is not None and not isinstance(module, Module):
            raise InvalidType(f"{type(module).__name__} is not a Module subclass")
        self._check_new_name(name, "_modules")
        self._modules[name] = module
        epoch.modules_changed()

    add_module = register_module

    def _check_new_name(self, name: str, table: str) -> None:
        if table not in self.__dict__:
            raise AttributeError("cannot assign to a module before Module.__init__() call")
        if not isinstance(name, str):
            raise InvalidType(f"a name must be a string, got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'a name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('a name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._forget(name, self.__dict__.get("_parameters"))
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, self.__dict__.get("_modules"))
            self.register_module(name, value)
        elif any(name in table for table in self._tables()):
            self._replace(name, value)
        else:
            self._set_plain(name, value)

    def _tables(self) -> list[dict[str, Any]]:
        own = self.__dict__
        return [own[t] for t in ("_parameters", "_modules", "_buffers") if t in own]

    def _forget(self, name: str, keep: dict[str, Any] | None) -> None:
        """Drop what else stands under `name`, so that one name means one thing."""
        self.__dict__.pop(name, None)
        for table in self._tables():
            if table is not keep:
                table.pop(name, None)

    def _replace(self, name: str, value: Any) -> None:
        """Assign to a registered name: None, or a tensor where a buffer stands."""
        if name in self._buffers and (value is None or isinstance(value, Tensor)):
            old = self._buffers[name]
            if old is not None and value is not None and value.is_traced:
                # The buffer outlives the trace, so a compiled step writes the value into it.
                with no_grad():
                    old.copy_(value.detach())
                return
            self._buffers[name] = value
        elif value is None and name in self._parameters:
            self._parameters[name] = None
        elif value is None and name in self._modules:
            self._modules[name] = None
        else:
            raise InvalidType(
                f"cannot assign '{type(value).__name__}' object to the registered name '{name}' "
                "(a parameter, buffer or module of its kind, or None, expected)"
            )
        epoch.modules_changed()

    def _set_plain(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name, _ABSENT)
        same = type(old) is type(value) and isinstance(value, SIMPLE) and old == value
        object.__setattr__(self, name, value)
        if not (same or (isinstance(value, Tensor) and value.is_traced)):
            epoch.modules_changed()

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in own and name in own[table]:
                return own[table][name]
        if name in INSPECTION and self._compiled is not None:
            return getattr(self._compiled, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in self._tables():
            if name in table:
                del table[name]
                self._not_persistent.discard(name)
                break
        else:
            object.__delattr__(self, name)
        epoch.modules_changed()

    def __dir__(self) -> list[str]:
        names = [n for table in self._tables() for n in table if n.isidentifier()]
        return sorted({*super().__dir__(), *names})

    # ---- traversal -----------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and every one below it with its path, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in owners:
            for name, member in module.__dict__[kind].items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths; a tied one comes once, under its first path."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at the path `target`; "" is this one."""
        module = self
        for name in target.split(".") if target else ():
            found = getattr(module, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        found = self._get_member(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{target}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{target}` is not a buffer")
        return found

    def _get_member(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        return getattr(self.get_submodule(path), name)

    # ---- modes and conversion ------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below."""
        if not isinstance(mode, bool):
            raise InvalidArgument("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        epoch.modules_changed()
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = p.grad.detach().zero_()

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call `fn` on every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert in place; a dtype applies to floating parameters and buffers only."""
        return self._apply(lambda t: t.to(*args, **kwargs))

    def float(self) -> Self:
        return self._apply(lambda t: t.float())

    def double(self) -> Self:
        return self._apply(lambda t: t.double())

    def half(self) -> Self:
        return self._apply(lambda t: t.half())

    def bfloat16(self) -> Self:
        return self._apply(lambda t: t.bfloat16())

    def type(self, dst_type: DType) -> Self:
        return self._apply(lambda t: t.to(dst_type))

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Self:
        return self.to("cuda" if device is None else f"cuda:{device}")

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replace the data of each parameter and buffer; parameters keep their identity."""
        tensors = [*self.parameters(), *self.buffers()]
        with no_grad():
            for t in tensors:
                if t.dtype.is_floating_point:
                    t.data = fn(t.data)
                    if t.grad is not None:
                        t.grad = fn(t.grad.data)
        epoch.modules_changed()
        return self

    # ---- state ---------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, sharing memory with the module."""
        return state.state_dict(self, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values in by path; if strict, any missing or unexpected key raises, all named."""
        return state.load_state_dict(self, state_dict, strict, assign)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, fields: dict[str, Any]) -> None:
        Module.__init__(self)
        self.__dict__.update(fields)

    # ---- printing ------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of repr for a module without children."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        rows = [f"({name}): {_indent(repr(m))}" for name, m in self._modules.items()]
        if len(lines) == 1 and not rows:
            return f"{self._get_name()}({lines[0]})"
        if not lines and not rows:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join([*lines, *rows]) + "\n)"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
