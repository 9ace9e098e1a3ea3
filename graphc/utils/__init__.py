"""What stands around training; `utils.data` feeds it."""

from graphc.utils import data

__all__ = ["data"]
