"""Linear algebra under torch.linalg's names."""

from graphc.frontend.api.linalg import *  # noqa: F403  what it lists is this module
from graphc.frontend.api.numpy_names import numpy_named as _numpy_named
from graphc.frontend.api.out import LINALG as _LINALG
from graphc.frontend.api.out import accept_out as _accept_out

globals().update(_numpy_named(globals(), __name__))
_accept_out(globals(), _LINALG)
