"""A version that compares as PyTorch's does: with text, tuples of numbers, and other versions."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["TorchVersion"]


def _release(version: object) -> tuple[int, ...]:
    """The leading numbers: (2, 13, 0) of "2.13.0+graphc"."""
    if isinstance(version, str):
        version = re.split(r"[^0-9.]", version.lstrip("v"), maxsplit=1)[0].strip(".").split(".")
    if not isinstance(version, Sequence):
        raise TypeError(f"a version is compared with text or numbers, not {version!r:.100}")
    numbers = [int(part) for part in version if str(part).isdecimal()]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class TorchVersion(str):
    """Text whose order is that of its numbers: "2.13" > "2.8", == (2, 13)."""

    def __lt__(self, other: object) -> bool:
        return _release(self) < _release(other)

    def __le__(self, other: object) -> bool:
        return _release(self) <= _release(other)

    def __gt__(self, other: object) -> bool:
        return _release(self) > _release(other)

    def __ge__(self, other: object) -> bool:
        return _release(self) >= _release(other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | tuple | list) and _release(self) == _release(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__
