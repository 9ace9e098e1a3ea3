"""Linear algebra under torch.linalg's names."""

from graphc.frontend.api.linalg import *  # noqa: F403  what it lists is this module
from graphc.frontend.api.out import LINALG as _LINALG
from graphc.frontend.api.out import accept_out as _accept_out
from graphc.frontend.api.public import public as _public

globals().update(_public(globals(), __name__))
_accept_out(globals(), _LINALG)
