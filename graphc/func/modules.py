"""torch.func's modules as functions: called with other tensors in place of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from graphc.errors import InvalidArgument, InvalidType, RefusedArgument
from graphc.frontend import epoch
from graphc.frontend.api.shapes import stack
from graphc.frontend.table import changing
from graphc.frontend.tensor import Tensor
from graphc.nn.module import Module
from graphc.nn.normalization import _BatchNorm

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]

M = TypeVar("M", bound=Module)
Place = tuple[dict[str, Any], str]  # a module's table of parameters or buffers, and a name in it


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)`, with tensors by name in place of its parameters and buffers.

    A name given stands for all names of a tied tensor, unless `tie_weights` is False. With
    `strict` every parameter and buffer must be given, and no other name.

    Tensors have the shapes of what they stand for. Where the module itself replaces one (a buffer
    that it sets anew), the dict, if only one was given, holds the new one afterwards.
    """
    given = _merged(parameter_and_buffer_dicts)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    left: dict[str, Tensor] = {}
    try:
        with _replaced(module, given, left, tie_weights, strict):
            return module(*args, **(kwargs or {}))
    finally:
        if left and isinstance(parameter_and_buffer_dicts, MutableMapping):
            if type(parameter_and_buffer_dicts) is dict:
                changing(parameter_and_buffer_dicts)  # a step does so at each call
            parameter_and_buffer_dicts.update(left)


def _merged(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, Mapping):
        return dict(dicts)
    if not isinstance(dicts, Sequence) or not all(isinstance(d, Mapping) for d in dicts):
        kind = type(dicts).__name__
        raise InvalidArgument(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, got "
            + kind
        )
    found: dict[str, Tensor] = {}
    for d in dicts:
        if twice := found.keys() & d.keys():
            raise InvalidArgument(f"{sorted(twice)} appear in several of the dictionaries")
        found.update(d)
    return found


def _places(module: Module) -> dict[str, Place]:
    """Where each parameter and buffer of the module stands, by its full name."""
    return {
        f"{path}.{name}" if path else name: (table, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for table in (owner._parameters, owner._buffers)
        for name in table
    }


@contextmanager
def _replaced(
    module: Module, given: Mapping[str, Tensor], left: dict[str, Any], tied: bool, strict: bool
) -> Iterator[None]:
    """Inside, the module has what is given; `left` gets what stands in its place in the end."""
    places = _places(module)
    missing, unknown = places.keys() - given.keys(), given.keys() - places.keys()
    if strict and (missing or unknown):
        raise RefusedArgument(
            f"functional_call: missing {sorted(missing)}, unexpected {sorted(unknown)}"
        )
    if unknown:
        raise InvalidArgument(f"{sorted(unknown)} are no parameters or buffers of the module")
    for name, x in given.items():
        if not isinstance(x, Tensor):
            raise InvalidType(f"functional_call: {name!r} is given as {type(x).__name__}")
    new = _for_all_names(places, given) if tied else dict(given)
    old = {name: places[name][0][places[name][1]] for name in new}
    try:
        _put(places, new)
        yield
    finally:
        now = {name: places[name][0].get(places[name][1]) for name in given}
        left.update({name: x for name, x in now.items() if x is not given[name]})
        _put(places, old)


def _for_all_names(places: Mapping[str, Place], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given`, and the same for the other names of its tensors."""
    names: dict[int, str] = {}  # by the tensor of the module, a name that is given
    for name, x in given.items():
        table, key = places[name]
        first = names.setdefault(id(table[key]), name)
        if table[key] is not None and given[first] is not x:
            raise InvalidArgument(
                f"functional_call: {first!r} and {name!r} are tied, but are given two values",
                fix="give one of them, or pass tie_weights=False",
            )
    new = dict(given)
    for name, (table, key) in places.items():
        if table[key] is not None and id(table[key]) in names:
            new.setdefault(name, given[names[id(table[key])]])
    return new


def _put(places: Mapping[str, Place], tensors: Mapping[str, Any]) -> None:
    for name, x in tensors.items():
        table, key = places[name]
        table[key] = x
    epoch.modules_changed()


def stack_module_state(
    models: Sequence[Module],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one class, each stacked along a new first
    dimension, for `vmap` over `functional_call`.

    n of [...] -> [n, ...].
    """
    if not models:
        raise RefusedArgument("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RefusedArgument("the models must have the same training/eval mode")
    if len({type(m) for m in models}) > 1:
        raise RefusedArgument("the models must be of the same class")
    named = [dict(m.named_parameters()) for m in models]
    found = {
        name: stack([n[name].detach() for n in named]).requires_grad_(x.requires_grad)
        for name, x in named[0].items()
    }
    kept = [dict(m.named_buffers()) for m in models]
    return found, {name: stack([k[name] for k in kept]) for name in kept[0]}


def replace_all_batch_norm_modules_(root: M) -> M:
    """`root`, its batch norms without running statistics, which each slice would have to share."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
