"""Where what is loaded goes: to the devices it was on, or as `map_location` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.errors import DeviceUnavailable, InvalidType
from graphc.frontend.api.memory import UntypedStorage, untyped_storage
from graphc.frontend.devices import CPU, device, resolve
from graphc.frontend.tensor import Tensor

Place = Callable[[Tensor, str], Tensor]


def placing(map_location: Any) -> Place:
    """What moves a tensor, read on the CPU, from the location that its file names.

    None keeps locations, and the CPU stands in for a GPU that is not there; a device is for all; a
    dict has a location for each; a function of storage and location gives the storage moved, or
    None for the location itself.
    """
    if map_location is None:
        return as_saved
    if isinstance(map_location, str | int | device):
        where = resolve(map_location)
        return lambda x, location: x.to(where)
    if isinstance(map_location, Mapping):
        return lambda x, location: _mapped(x, location, map_location)
    if callable(map_location):
        return lambda x, location: _chosen(x, location, map_location)
    raise InvalidType(f"load: map_location {map_location!r:.100} is no device, dict or function")


def as_saved(x: Tensor, location: str) -> Tensor:
    if location == "cpu":
        return x
    try:
        return x.to(resolve(location))
    except DeviceUnavailable:
        return x


def _mapped(x: Tensor, location: str, chosen: Mapping[Any, Any]) -> Tensor:
    by_name = {str(k): v for k, v in chosen.items()}
    return x.to(resolve(by_name[location])) if location in by_name else as_saved(x, location)


def _chosen(x: Tensor, location: str, choose: Callable[[Any, str], Any]) -> Tensor:
    found = choose(untyped_storage(x), location)
    if found is None:
        return as_saved(x, location)
    if not isinstance(found, UntypedStorage):
        kind = type(found).__name__
        raise InvalidType(f"load: map_location gave a {kind}, not a storage or None")
    return x.to(found.device)


def location_of(x: Tensor) -> list[str]:
    """What a file says of where a tensor is; nothing of the CPU."""
    return [] if x.device is CPU else [str(x.device)]
