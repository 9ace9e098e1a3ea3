"""Which device an argument of torch.cuda's functions means."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.devices import device
from graphc.runtime.cuda import device as gpus


def device_index(where: Any) -> int:
    """None is the current device; a number, a name or a device is that one."""
    if isinstance(where, int) and not isinstance(where, bool):
        return gpus.current_index() if where < 0 else where
    if where is None:
        return gpus.current_index()
    named = device(where)
    if named.type != "cuda":
        raise InvalidArgument(f"expected a cuda device, but got: {named}", fix='use "cuda"')
    return gpus.current_index() if named.index is None else named.index


def the_device(where: Any) -> gpus.Device:
    """Raises DeviceUnavailable, and says what is missing."""
    return gpus.current(device_index(where))
