"""torch.backends.cudnn's switches; nothing reads them."""

from __future__ import annotations

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    return False


def version() -> int | None:
    """None: there is no cuDNN."""
    return None
