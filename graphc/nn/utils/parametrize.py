"""Parameters computed by modules from others: `register_parametrization`, under PyTorch's names.

A parametrized module gets a class of its own with a property for each such tensor. What is trained
stands below `parametrizations.<name>` as `original` (or original0, original1, ..).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.errors import InvalidArgument, InvalidState
from graphc.frontend import epoch
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.nn.containers import ModuleDict, ModuleList
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache(threading.local):
    """Computed tensors by module and name, inside `cached()`."""

    depth = 0

    def __init__(self) -> None:
        self.values: dict[tuple[int, str], Any] = {}


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Inside, each parametrized tensor is computed once."""
    _cache.depth += 1
    try:
        yield
    finally:
        _cache.depth -= 1
        if not _cache.depth:
            _cache.values = {}


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor in the order they are applied, and their originals."""

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ) -> None:
        if not modules:
            raise InvalidArgument("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new: Any = original
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    new = module.right_inverse(new)
        self.is_tensor = isinstance(new, Tensor)
        if not self.is_tensor and not isinstance(new, Sequence):
            raise InvalidArgument(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            self._keep_one(original, new)
        else:
            for k, part in enumerate(new):
                self._keep_part(f"original{k}", part.detach().clone(), original)
        if not unsafe:
            self._check(original)

    def _keep_one(self, original: Tensor, new: Tensor) -> None:
        """The parameter itself stays, so that optimizers keep hold of it."""
        if original.dtype is not new.dtype and not self.unsafe:
            raise InvalidArgument(
                "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
            )
        with no_grad():
            if new is not original:
                original.data = new.detach().clone()
        name = "original"
        if isinstance(original, Parameter):
            self.register_parameter(name, original)
        else:
            self.register_buffer(name, original)

    def _keep_part(self, name: str, part: Tensor, like: Tensor) -> None:
        if isinstance(like, Parameter):
            self.register_parameter(name, Parameter(part, like.requires_grad))
        else:
            self.register_buffer(name, part)

    def _check(self, original: Tensor) -> None:
        wanted = original.spec if not self.is_tensor else None
        made = self()
        if not isinstance(made, Tensor):
            raise InvalidArgument(
                f"A parametrization must return a tensor. Got {type(made).__name__}."
            )
        if wanted is not None and (
            made.dtype is not wanted.dtype or made.spec.shape != wanted.shape
        ):
            raise InvalidArgument(
                "Registering a parametrization may not change the dtype or shape of the tensor, "
                f"unless `unsafe` flag is enabled.\nunparametrized: {wanted}\n"
                f"parametrized: {made.spec}"
            )

    def originals(self) -> list[Tensor]:
        names = ["original"] if self.is_tensor else [f"original{k}" for k in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes `value`."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise InvalidState(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                new = module.right_inverse(new)
            parts = [new] if self.is_tensor else list(new)
            for original, part in zip(self.originals(), parts):
                original.data = part.detach().clone() if part is value else part.detach()

    def forward(self) -> Any:
        first, *rest = self
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        return x


def _property(name: str) -> property:
    def get(module: Any) -> Any:
        if not _cache.depth:
            return module.parametrizations[name]()
        key = (id(module), name)
        if key not in _cache.values:
            _cache.values[key] = module.parametrizations[name]()
        return _cache.values[key]

    def put(module: Any, value: Tensor) -> None:
        module.parametrizations[name].right_inverse(value)

    return property(get, put)


def _reclass(module: Module, names: Iterable[str]) -> None:
    """Give `module` a class of its own with a property for each name; its old one without any.

    A new one each time: copies of the module share the class that it has now.
    """
    kind = type_before_parametrizations(module)
    members = {"__module__": kind.__module__, **{name: _property(name) for name in names}}
    made = type(f"Parametrized{kind.__name__}", (kind,), members)
    made._parametrized = kind  # type: ignore[attr-defined]  # what it was
    module.__class__ = made if len(members) > 1 else kind


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let `module.<tensor_name>` be `parametrization(original)`, computed when it is read.

    A parametrization with `right_inverse` also sets what is read by assignment. Several are applied
    in the order they were registered. Unless `unsafe`, shape and dtype must stay.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        _extend(module, tensor_name, parametrization, unsafe)
        return module
    own: dict[str, Any] = {**module._buffers, **module._parameters}
    if tensor_name not in own:
        raise InvalidArgument(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    original = own[tensor_name]
    made = ParametrizationList([parametrization], original, unsafe=unsafe)
    made.train(module.training)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.register_module("parametrizations", ModuleDict())
    parametrizations: Any = module.parametrizations
    parametrizations[tensor_name] = made
    _reclass(module, parametrizations)
    epoch.modules_changed()
    return module


def _extend(module: Any, name: str, parametrization: Module, unsafe: bool) -> None:
    """One more, applied after those that are there; its inverse comes first."""
    known = module.parametrizations[name]
    value = getattr(module, name)
    if not unsafe:
        new = parametrization(value)
        if not isinstance(new, Tensor) or new.spec != value.spec:
            raise InvalidArgument(
                "Registering a parametrization may not change the dtype or shape of the tensor, "
                f"unless the `unsafe` flag is enabled.\nbefore: {value.spec}\n"
                f"after: {new.spec if isinstance(new, Tensor) else type(new)}"
            )
    if hasattr(parametrization, "right_inverse"):
        with no_grad():
            known.right_inverse(parametrization.right_inverse(value))
    known.append(parametrization)
    epoch.modules_changed()


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module, or the tensor of that name, is parametrized."""
    found = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor plain again: with its value now, or (not leave_parametrized) the original."""
    if not is_parametrized(module, tensor_name):
        raise InvalidArgument(f"Module {module} does not have a parametrization on {tensor_name}")
    table: Any = module.parametrizations
    known = table[tensor_name]
    originals = known.originals()
    if not known.is_tensor and not leave_parametrized:
        raise InvalidArgument(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    original = originals[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach().clone()
            if known.is_tensor:
                original.data = value
            else:
                trains = any(t.requires_grad for t in originals)
                original = Parameter(value, trains)
    del table[tensor_name]
    _reclass(module, table)
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    if not len(table):
        delattr(module, "parametrizations")
    epoch.modules_changed()
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of the module without its parametrizations."""
    found: type = getattr(type(module), "_parametrized", type(module))
    return found


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Register the parametrizations of one module on another, and copy the originals."""
    table: Any = from_module.parametrizations if is_parametrized(from_module) else {}
    for name in [tensor_name] if tensor_name is not None else list(table):
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for module in table[name]:
            register_parametrization(to_module, name, module, unsafe=table[name].unsafe)
        made: Any = to_module.parametrizations
        with no_grad():
            for mine, theirs in zip(made[name].originals(), table[name].originals()):
                mine.data = theirs.detach().clone()
    return to_module
