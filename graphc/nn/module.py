"""Module: the base of every layer, with PyTorch's registration, traversal, hooks and modes.

Compiled steps rely on one number: `frontend.epoch.modules` moves whenever any module anywhere
changes in a way that could change what a trace records (an attribute, a hook, a mode). An equal
epoch therefore means "no module has changed", at the cost of one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, Self, TypeVar

from graphc.errors import InvalidArgument, InvalidState, InvalidType, Untraceable
from graphc.frontend import epoch, notebook
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import empty_like
from graphc.frontend.modes import no_grad
from graphc.frontend.places import settle
from graphc.frontend.step.compile import compile
from graphc.frontend.tensor import Tensor
from graphc.frontend.told import Told
from graphc.ir.types import DType
from graphc.nn import state
from graphc.nn.hooked import TABLES, Hooked
from graphc.nn.parameter import Buffer, Parameter
from graphc.nn.registry import Buffers, Registry
from graphc.nn.tree import Tree

__all__ = ["Module"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
SIMPLE = (bool, int, float, str, type(None))
_ABSENT = object()
_EXPECTED = {
    "_parameters": ("parameter", "graphc.nn.Parameter or None"),
    "_buffers": ("buffer", "graphc.nn.Buffer, graphc.Tensor or None"),
    "_modules": ("child module", "graphc.nn.Module or None"),
}
# What a compiled module answers besides its own attributes.
INSPECTION = {
    "diff", "explain", "ir", "kernels", "line", "memory", "profile", "profile_over", "report",
    "stages", "stats",
}  # fmt: skip


class Forward(Protocol[P, R]):
    """What has a `forward`, for type checkers."""

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What a call of it does."""


def _keeps(module: Module, name: str, value: Tensor) -> None:
    """Tell a trace, which sees no code of ours such as a hook, that a module keeps a tensor."""
    trace = tracing.active()
    if trace is not None and trace.wrote is not None and trace.stored is not None:
        trace.wrote("attr", module, name)
        trace.stored(module, name, value)


class Module(Hooked, Tree):
    """A tree of parameters, buffers and submodules with a `forward`."""

    run_time_scalars: ClassVar[frozenset[str]] = frozenset()

    training: bool
    _version: int = 1
    _not_persistent: set[str]
    _scope_name: str
    _compiled: Any = None  # set by graphc.compile: what calls of this module go through

    def __init__(self) -> None:
        fields: dict[str, Any] = {
            "training": True,
            "_parameters": Registry(),
            "_buffers": Buffers(),
            "_modules": Registry(),
            "_not_persistent": set(),
            "_scope_name": "",
        }
        self.__dict__.update(fields)
        self.__dict__.update({name: {} for name in TABLES})

    # ---- calling -------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def _called(self, *args: Any, **kwargs: Any) -> Any:
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

    if TYPE_CHECKING:  # a call takes and gives what `forward` of the class does

        def __call__(self: Forward[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:
        __call__ = _called

    def traced_options(self) -> str:
        """The plain attributes that a trace of a layer of ours depends on, as text.

        A compiled step compares it when modules have changed. Numbers that the layer reads at each
        call (`run_time_scalars`) count only by whether they are None. A forward of the user's own
        is looked at by its code instead, and so is what a module without one is used for.
        """
        forward = type(self).forward
        if forward is Module.forward or not forward.__module__.startswith("graphc."):
            return ""
        plain = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        del plain["training"]
        for name in self.run_time_scalars & plain.keys():
            plain[name] = plain[name] is None
        return repr(plain)

    def _number(self, name: str, get: Callable[[], float]) -> Callable[[], float]:
        """`get`, which computes with the attribute `name`, for a compiled step to read at each
        call; told of changes unless a class of a user's may have made something else of it."""
        own = type(self).__module__.startswith("graphc.")
        return Told(get, self, reads=[name]) if own else get

    def _name_scopes(self) -> None:
        """Tell every submodule and tensor its path, which then stands in dumps and errors."""
        for name, module in self.named_modules():
            module.__dict__["_scope_name"] = name
        for name, tensor in (*self.named_parameters(), *self.named_buffers()):
            tensor.storage.name = name

    # ---- registration --------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own `param` (None keeps the name without one)."""
        self._check_new_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise InvalidType(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(graphc.nn.Parameter or None required)"
            )
        settle(param.array if param is not None else None)
        self._parameters[name] = param
        epoch.modules_changed()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own `tensor` as state that no optimizer updates; kept in state_dict if persistent."""
        self._check_new_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise InvalidType(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(graphc Tensor or None required)"
            )
        settle(tensor.array if tensor is not None else None)
        self._buffers[name] = tensor
        (self._not_persistent.discard if persistent else self._not_persistent.add)(name)
        epoch.modules_changed()

    def register_module(self, name: str, module: Module | None) -> None:
        """Own `module` under `name`."""
        if module is not None and not isinstance(module, Module):
            raise _no_module(module)
        self._check_new_name(name, "_modules", "module")
        self._modules[name] = module
        epoch.modules_changed()

    add_module = register_module

    def _check_new_name(self, name: str, table: str, kind: str) -> None:
        if table not in self.__dict__:
            raise AttributeError("cannot assign to a module before Module.__init__() call")
        if not isinstance(name, str):
            raise InvalidType(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._forget(name, self.__dict__.get("_parameters"))
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in self.__dict__:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, self._modules)
            self._modules[name] = value  # unasked: that would run a __getattr__ of one's own
            epoch.modules_changed()
        elif isinstance(value, Buffer):
            self._forget(name, self.__dict__.get("_buffers"))
            self.register_buffer(name, value, value.persistent)
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
            settle(value.array if value is not None else None)
            self._buffers[name] = value
        elif value is None and name in self._parameters:
            self._parameters[name] = None
        elif value is None and name in self._modules:
            self._modules[name] = None
        else:
            kind, wanted = next(v for k, v in _EXPECTED.items() if name in self.__dict__[k])
            given = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise InvalidType(f"cannot assign '{given}' as {kind} '{name}' ({wanted} expected)")
        epoch.modules_changed()

    def _set_plain(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name, _ABSENT)
        same = type(old) is type(value) and isinstance(value, SIMPLE) and old == value
        if name in self.run_time_scalars and not (same or old is _ABSENT) and tracing.active():
            raise Untraceable(
                f"the step sets `{name}` of a {self._get_name()}",
                why="a compiled step reads it when a call begins, and would not set it again",
                fix="set it before the call",
            )
        if isinstance(value, Tensor) and value.is_traced:
            _keeps(self, name, value)
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

    # ---- modes and conversion ------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below."""
        if not isinstance(mode, bool):
            raise InvalidArgument("training mode is expected to be boolean")
        trace = tracing.active()
        for module in self.modules():
            if trace is not None and trace.setting is not None:
                trace.setting(module, mode)
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
        """Convert in place; a dtype applies to floating parameters and buffers only, a memory
        format to those of 4 or 5 dimensions."""
        for wanted in (*args, *kwargs.values()):
            if isinstance(wanted, DType) and not wanted.is_floating_point:
                raise InvalidType(
                    "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                    f"dtype={wanted!r}"
                )
        memory_format = kwargs.pop("memory_format", None)

        def converted(t: Tensor) -> Tensor:
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(*args, **kwargs, memory_format=memory_format)
            return t.to(*args, **kwargs) if t.dtype.is_floating_point else t.to(*place, **named)

        place = [x.device if isinstance(x, Tensor) else x for x in args if not isinstance(x, DType)]
        named = {name: x for name, x in kwargs.items() if name != "dtype"}
        return self._apply(converted, every=bool(place or "device" in named))

    def float(self) -> Self:
        return self._apply(lambda t: t.float())

    def double(self) -> Self:
        return self._apply(lambda t: t.double())

    def half(self) -> Self:
        return self._apply(lambda t: t.half())

    def bfloat16(self) -> Self:
        return self._apply(lambda t: t.bfloat16())

    def type(self, dst_type: DType) -> Self:
        return self._apply(lambda t: t.to(dst_type), every=True)

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Self:
        return self.to("cuda" if device is None else f"cuda:{device}")

    def to_empty(self, *, device: object, recurse: bool = True) -> Self:
        """Move to `device`, where the values may be anything."""
        return self._apply(lambda t: empty_like(t, device=device), every=True)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile this module's calls in place; options as graphc.compile."""
        compile(self, *args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], every: bool = False) -> Self:
        """Replace the data of each floating (or every) tensor; parameters keep their identity."""
        tensors = [*self.parameters(), *self.buffers()]
        with no_grad():
            for t in tensors:
                if every or t.dtype.is_floating_point:
                    t.data = fn(t.data)
                    if t.grad is not None:
                        t.grad = fn(t.grad.data)
        epoch.modules_changed()
        return self

    # ---- state ---------------------------------------------------------------------------------

    def state_dict(
        self,
        *args: Any,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by path, sharing memory with the module.

        They are added to `destination` if given. Extra state stands under "_extra_state".
        """
        given = dict(zip(("destination", "prefix", "keep_vars"), args))
        target = given.get("destination", destination)
        return state.save(
            self, target, given.get("prefix", prefix), given.get("keep_vars", keep_vars)
        )

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Enter what this module itself holds."""
        state.save_own(self, destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take what this module itself holds, and note what is missing, unexpected or unfit."""
        for hook in list(self._load_state_dict_pre_hooks.values()):
            hook.fn(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        assign = local_metadata.get("assign_to_params_buffers", False)
        notes = state.Notes(missing_keys, unexpected_keys, error_msgs)
        state.load_own(self, state_dict, prefix, strict, assign, notes)

    def get_extra_state(self) -> Any:
        """What else a class wants saved; it must then take it in set_extra_state."""
        raise InvalidState(
            "Reached a code path in Module.get_extra_state() that should never be called."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take what get_extra_state gave."""
        raise InvalidState(
            "Reached a code path in Module.set_extra_state() that should never be called."
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values in by path; if strict, any missing or unexpected key raises, all named."""
        return state.load(self, state_dict, strict, assign)

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

    def _repr_html_(self) -> str:
        """For notebooks: the tree, and how many numbers it learns."""
        known = [p for p in self.parameters() if not hasattr(p, "materialize")]
        count = sum(p.numel() for p in known if p.requires_grad)
        return notebook.text(repr(self), f"{self._get_name()}: {count:,} parameters")

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


def _no_module(thing: Any) -> InvalidType:
    """What is wrong with a thing in a module's place; a class is one that nobody has called."""
    if isinstance(thing, type) and issubclass(thing, Module):
        name = thing.__name__
        return InvalidType(f"{name} is a class, not a module", fix=f"make one: nn.{name}()")
    foreign = type(thing).__module__.startswith("torch.")
    return InvalidType(
        f"{type(thing).__name__}{' of PyTorch' * foreign} is not a Module subclass",
        fix="build it from graphc.nn, and load its state_dict()"
        if foreign
        else "pass modules, as nn.Linear(2, 3)",
    )
