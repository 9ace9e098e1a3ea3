"""What stands around training; `utils.data` feeds it."""

from graphc.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
