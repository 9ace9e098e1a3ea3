"""The interpreter first: Triton decides at its first import whether it compiles or interprets."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from graphc.frontend.devices import ACCELERATORS

if find_spec("triton") is not None:
    import graphc.runtime.cuda.interp  # noqa: F401


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, "cuda" is what FakeDriver plays; it goes on to be what it was."""
    monkeypatch.setenv("GRAPHC_CUDA", "fake")
    before = list(ACCELERATORS)
    ACCELERATORS.clear()
    yield
    ACCELERATORS[:] = before
