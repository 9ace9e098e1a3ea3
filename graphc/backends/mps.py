"""torch.backends.mps: Apple's GPUs, for which there is no back end."""

from __future__ import annotations


def is_available() -> bool:
    return False


def is_built() -> bool:
    return False
