"""What stands around training; `utils.data` feeds it."""

from graphc.utils import _pytree, checkpoint, data

__all__ = ["_pytree", "checkpoint", "data"]
