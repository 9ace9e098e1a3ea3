"""The interpreter first: Triton decides at its first import whether it compiles or interprets."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("triton") is not None:
    import graphc.runtime.cuda.interp  # noqa: F401
