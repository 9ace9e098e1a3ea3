"""state_dict and load_state_dict of a module tree, with PyTorch's keys and messages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from graphc.errors import InvalidState, InvalidType
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor

if TYPE_CHECKING:
    from graphc.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What a non-strict load left out, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return tuple.__repr__(self)

    def __str__(self) -> str:
        return repr(self)


def own_state(module: Module) -> dict[str, Tensor]:
    """The parameters and persistent buffers that `module` itself holds."""
    members: dict[str, Tensor | None] = {**module._parameters, **module._buffers}
    return {
        name: t
        for name, t in members.items()
        if t is not None and name not in module._not_persistent
    }


def named_state(module: Module, prefix: str = "") -> dict[str, Tensor]:
    """Every persistent tensor by path; a tied one under each of its paths."""
    found = {f"{prefix}{name}": t for name, t in own_state(module).items()}
    for name, child in module._modules.items():
        if child is not None:
            found.update(named_state(child, f"{prefix}{name}."))
    return found


def state_dict(module: Module, prefix: str, keep_vars: bool) -> dict[str, Tensor]:
    tensors = named_state(module, prefix)
    return OrderedDict((k, t if keep_vars else t.detach()) for k, t in tensors.items())


def load_state_dict(
    module: Module, new: Mapping[str, Tensor], strict: bool, assign: bool
) -> IncompatibleKeys:
    """Check everything first, then copy: a refused load changes nothing."""
    if not isinstance(new, Mapping):
        raise InvalidType(
            f"Expected state_dict to be dict-like, got {type(new)}.",
            why="load_state_dict maps names to tensors",
            fix="pass what state_dict() returned, or graphc.load(path)",
        )
    mine = named_state(module)
    missing = [k for k in mine if k not in new]
    unexpected = [k for k in new if k not in mine]
    shared = [k for k in mine if k in new]
    faults = [fault for k in shared if (fault := _misfit(k, mine[k], new[k]))]
    if strict and missing:
        faults.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if strict and unexpected:
        faults.insert(
            1 if missing else 0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. "
        )
    if faults:
        raise InvalidState(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t"
            + "\n\t".join(faults),
            why="the saved names or shapes are not those of this model; nothing was changed",
            fix="build the model as it was saved, or pass strict=False to ignore absent names",
        )
    for k in shared:
        _load(mine[k], new[k], assign)
    return IncompatibleKeys(missing, unexpected)


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


def _load(mine: Tensor, new: Tensor, assign: bool) -> None:
    with no_grad():
        if assign:
            mine.data = new.data
        else:
            mine.copy_(new.reshape(mine.shape))
