"""Methods: what a Tensor can do that is a function of it, learned from `registry`.

For type checkers and editors `methods.pyi` lists the same; `python -m tests.frontend.stub` writes
it, and a test compares the two.
"""

from __future__ import annotations

from graphc.ir.sugar import Sugar


class Methods(Sugar):
    """Empty until `api/methods.py` has bound what the functions' own modules mark."""
