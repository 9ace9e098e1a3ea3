"""What stands in `.grad` after a step compiled with `grads="drop"`; `Tensor.grad` refuses it."""

from __future__ import annotations

from typing import Any

from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.types import TensorSpec, f32


class DroppedGradient(Tensor):
    """A tensor without memory; one for all, because nobody can look at it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> DroppedGradient:
        return self

    def __reduce__(self) -> Any:
        return _the_one, ()


DROPPED = DroppedGradient.__new__(DroppedGradient)
DROPPED.array = None
DROPPED._spec = TensorSpec(f32, ())
DROPPED.storage = Storage(None, DROPPED._spec)


def _the_one() -> DroppedGradient:
    return DROPPED
