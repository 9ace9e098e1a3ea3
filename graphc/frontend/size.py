"""Size: the shape of a tensor, a tuple that prints as PyTorch's and stays one in arithmetic."""

from __future__ import annotations

import builtins
from typing import Any, SupportsIndex, overload

import numpy as np

__all__ = ["Size"]


class Size(tuple[int, ...]):
    """A shape that prints as PyTorch's."""

    def numel(self) -> builtins.int:
        return int(np.prod(self, dtype=np.int64))

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Size:
        return Size(tuple.__add__(other, self))

    def __mul__(self, count: Any) -> Size:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    @overload
    def __getitem__(self, at: SupportsIndex) -> builtins.int: ...
    @overload
    def __getitem__(self, at: slice) -> Size: ...
    def __getitem__(self, at: Any) -> Any:
        found = tuple.__getitem__(self, at)
        return Size(found) if isinstance(at, slice) else found

    def __repr__(self) -> str:
        return f"graphc.Size([{', '.join(map(str, self))}])"
