"""Linear algebra under torch.linalg's names."""

from graphc.frontend.api.factored import (
    cholesky_ex,
    inv_ex,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    solve_ex,
)
from graphc.frontend.api.linalg import *  # noqa: F403  what it lists is this module
from graphc.frontend.api.linalg import __all__ as _all
from graphc.frontend.api.public import namespace as _namespace
from graphc.frontend.api.solvers import tensorinv, tensorsolve, vander

__all__ = [
    *_all,
    "cholesky_ex",
    "inv_ex",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "solve_ex",
    "tensorinv",
    "tensorsolve",
    "vander",
]

globals().update(_namespace(globals(), __name__))
