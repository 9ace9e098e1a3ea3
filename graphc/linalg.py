"""Linear algebra under torch.linalg's names."""

from graphc.frontend.api.linalg import *  # noqa: F403  what it lists is this module
from graphc.frontend.api.public import namespace as _namespace

globals().update(_namespace(globals(), __name__))
