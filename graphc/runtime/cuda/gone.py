"""gone: handles of the driver whose objects are gone, until the driver may be told.

The garbage collector runs anywhere, in the middle of a capture, too, which CUDA ends with an error
where a graph or stream is destroyed meanwhile. So finalizers only note what is gone; who allocates,
and who is about to capture, gives it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from graphc.errors import CudaError


class Gone:
    """What one device has to give back."""

    def __init__(self) -> None:
        self._noted: deque[tuple[Callable[[int], None], int]] = deque()

    def note(self, give_back: Callable[[int], None], handle: int) -> None:
        """The driver's call for a handle that nobody uses any more; made later."""
        self._noted.append((give_back, handle))

    def give_back(self) -> None:
        """Outside of a capture. A device that is lost has none of it any more."""
        while self._noted:
            call, handle = self._noted.popleft()
            with suppress(CudaError):
                call(handle)
