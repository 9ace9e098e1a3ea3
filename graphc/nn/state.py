"""state_dict and load_state_dict of a module tree, with PyTorch's keys and messages."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.errors import InvalidState, InvalidType
from graphc.frontend.modes import no_grad
from graphc.frontend.places import settle
from graphc.frontend.tensor import Tensor
from graphc.nn.parameter import Parameter

if TYPE_CHECKING:
    from graphc.nn.module import Module


EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What a non-strict load left out, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        missing, unexpected = self
        return f"_IncompatibleKeys(missing_keys={missing}, unexpected_keys={unexpected})"

    def __str__(self) -> str:
        return repr(self)


class Notes(NamedTuple):
    """What loading has found so far."""

    missing: list[str]
    unexpected: list[str]
    faults: list[str]


class _Faults(list[str]):
    """Messages, and what to do at the end if there are none: a refused load changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.deferred: list[Callable[[], None]] = []


def own_state(module: Module) -> dict[str, Tensor]:
    """The parameters and persistent buffers that `module` itself holds."""
    members: dict[str, Tensor | None] = {**module._parameters, **module._buffers}
    return {
        name: t
        for name, t in members.items()
        if t is not None and name not in module._not_persistent
    }


def save(
    module: Module, destination: dict[str, Any] | None, prefix: str, keep_vars: bool
) -> dict[str, Any]:
    """The state of `module` and those below, with their versions as attribute `_metadata`."""
    out: Any = destination
    if out is None:
        out = OrderedDict()
        out._metadata = OrderedDict()
    metadata = {"version": module._version}
    if hasattr(out, "_metadata"):
        out._metadata[prefix[:-1]] = metadata
    for hook in list(module._state_dict_pre_hooks.values()):
        hook.fn(module, prefix, keep_vars)
    module._save_to_state_dict(out, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=out, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in list(module._state_dict_hooks.values()):
        hook.fn(module, out, prefix, metadata)
    return out  # type: ignore[no-any-return]  # an OrderedDict with an attribute


def save_own(module: Module, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    for name, t in own_state(module).items():
        destination[prefix + name] = t if keep_vars else t.detach()
    if _overrides(module, "get_extra_state"):
        destination[prefix + EXTRA] = module.get_extra_state()


def _overrides(module: Module, method: str) -> bool:
    return not getattr(type(module), method).__module__.startswith("graphc.nn.")


def load(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Check everything first, then copy: a refused load changes nothing."""
    if not isinstance(given, Mapping):
        raise InvalidType(
            f"Expected state_dict to be dict-like, got {type(given)}.",
            why="load_state_dict maps names to tensors",
            fix="pass what state_dict() returned, or graphc.load(path)",
        )
    keys = IncompatibleKeys([], [])
    faults = _Faults()
    versions = getattr(given, "_metadata", {})
    hooked: list[Module] = []
    notes = Notes(keys.missing_keys, keys.unexpected_keys, faults)
    _load_below(module, OrderedDict(given), "", versions, assign, notes, hooked)
    refused = strict and not hooked and bool(keys.missing_keys or keys.unexpected_keys)
    if not faults and not refused:
        for act in faults.deferred:
            act()
    for owner in hooked:  # may empty the lists, so before they are looked at
        for hook in list(owner._load_state_dict_post_hooks.values()):
            if hook.fn(owner, keys) is not None:
                raise InvalidState(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                    "expected to return new values, if incompatible_keys need to be modified, "
                    "it should be done inplace."
                )
    _refuse(module, keys, faults, strict)
    return keys


def _load_below(
    module: Module,
    given: Mapping[str, Any],
    prefix: str,
    versions: Mapping[str, Any],
    assign: bool,
    notes: Notes,
    hooked: list[Module],
) -> None:
    """Collect from the whole tree what is to be copied and what does not fit."""
    metadata = dict(versions.get(prefix[:-1], {}))
    if assign:
        metadata["assign_to_params_buffers"] = True
    module._load_from_state_dict(given, prefix, metadata, True, *notes)
    for name, child in module._modules.items():
        if child is not None:
            path = f"{prefix}{name}."
            part = OrderedDict((k, v) for k, v in given.items() if k.startswith(path))
            _load_below(child, part, path, versions, assign, notes, hooked)
    if module._load_state_dict_post_hooks:
        hooked.append(module)


def load_own(
    module: Module, given: Mapping[str, Any], prefix: str, strict: bool, assign: bool, notes: Notes
) -> None:
    """Copy what `module` itself holds; at the end of the whole load, if it is part of one."""
    mine = own_state(module)
    for name, t in mine.items():
        key = prefix + name
        if key not in given:
            if strict:
                notes.missing.append(key)
        elif fault := _misfit(key, t, given[key]):
            notes.faults.append(fault)
        elif assign:
            _act(notes, partial(_assign, module, name, t, given[key]))
        else:
            _act(notes, partial(_load, key, t, given[key]))
    key = prefix + EXTRA
    if _overrides(module, "set_extra_state"):
        if key in given:
            _act(notes, partial(module.set_extra_state, given[key]))
        elif strict:
            notes.missing.append(key)
    elif strict and key in given:
        notes.unexpected.append(key)
    if strict:
        notes.unexpected.extend(_strangers(module, mine, given, prefix))


def _act(notes: Notes, act: Callable[[], None]) -> None:
    if isinstance(notes.faults, _Faults):
        notes.faults.deferred.append(act)
    else:
        act()


def _strangers(
    module: Module, mine: Mapping[str, Tensor], given: Mapping[str, Any], prefix: str
) -> Iterator[str]:
    """Keys below `prefix` that are neither of `module` itself nor of a child."""
    for key in given:
        if key.startswith(prefix) and key != prefix + EXTRA:
            first, dot, _ = key[len(prefix) :].partition(".")
            if first not in (module._modules if dot else mine):
                yield key


def _refuse(module: Module, keys: IncompatibleKeys, faults: list[str], strict: bool) -> None:
    texts = list(faults)
    if strict and keys.unexpected_keys:
        texts.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}. ")
    if strict and keys.missing_keys:
        texts.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}. ")
    if texts:
        raise InvalidState(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(texts),
            why="the saved names or shapes are not those of this model",
            fix="build the model as it was saved, or pass strict=False to ignore absent names",
        )


def _misfit(key: str, mine: Tensor, new: object) -> str:
    """Why `new` cannot be copied into `mine`; "" if it can."""
    if not isinstance(new, Tensor):
        return (
            f'While copying the parameter named "{key}", expected graphc.Tensor from checkpoint '
            f"but received {type(new)}"
        )
    if tuple(new.shape) == tuple(mine.shape) or (not mine.shape and tuple(new.shape) == (1,)):
        return ""
    return (
        f"size mismatch for {key}: copying a param with shape {new.shape} from checkpoint, "
        f"the shape in current model is {mine.shape}."
    )


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{k}"' for k in keys)


def _load(key: str, mine: Tensor, new: Tensor) -> None:
    if mine.is_meta and not new.is_meta:
        warnings.warn(
            f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter "
            "in the current model, which is a no-op. (Did you mean to pass `assign=True`?)",
            stacklevel=2,
        )
    with no_grad():
        mine.copy_(new.reshape(mine.shape))


def _assign(module: Module, name: str, mine: Tensor, new: Tensor) -> None:
    """Put `new` itself in the place of `mine`; a parameter requires grad as the old one did."""
    settle(new.array)
    if isinstance(mine, Parameter):
        if not isinstance(new, Parameter):
            new = Parameter(new.detach(), requires_grad=mine.requires_grad)
        new.requires_grad_(mine.requires_grad)
    setattr(module, name, new)


def consume_prefix(state_dict: dict[str, Any], prefix: str) -> None:
    """Strip `prefix` from the names that have it, as of what DataParallel has saved."""
    for key in list(state_dict):
        if key.startswith(prefix):
            state_dict[key[len(prefix) :]] = state_dict.pop(key)
    metadata: dict[str, Any] = getattr(state_dict, "_metadata", {})
    for key in list(metadata):
        if key in (prefix.rstrip("."), prefix) or key.startswith(prefix):
            metadata[key[len(prefix) :]] = metadata.pop(key)
