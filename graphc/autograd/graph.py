"""torch.autograd.graph's names: what is saved for backward, which is not offered to hooks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from graphc.errors import Unsupported

__all__ = ["save_on_cpu", "saved_tensors_hooks"]


class save_on_cpu(nullcontext[None]):
    """Changes nothing: what backward needs is kept on the CPU anyway."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__()


class saved_tensors_hooks:
    """Refused: values saved for backward are not handed out."""

    def __init__(self, pack_hook: Any, unpack_hook: Any) -> None:
        raise Unsupported(
            "autograd.graph.saved_tensors_hooks",
            why="the compiler chooses what backward keeps, and may compute it again",
            fix="use utils.checkpoint to save memory",
        )
