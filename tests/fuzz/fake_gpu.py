"""A graph compiled for a GPU and run on the fake one, whose dead memory is poisoned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from graphc.backends import cudnn
from graphc.frontend.devices import ACCELERATORS, accelerator
from graphc.frontend.step.alone import run_alone
from graphc.ir.graph import Graph
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Array


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Inside, "cuda" is FakeDriver's, with exact float32."""
    before = list(ACCELERATORS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_CUDA", "fake")
        patch.setattr(cudnn, "allow_tf32", False)
        ACCELERATORS.clear()
        try:
            yield
        finally:
            ACCELERATORS[:] = before


def run(graph: Graph, inputs: list[Array]) -> list[Array]:
    with fake_gpu():
        place = accelerator().place(0)
        from graphc.frontend.step.cuda_backend import backend_at

        _, template = backend_at(place).build(graph, 0.0)
        return list(run_alone(graph, template.at(Evaluation({})), inputs, place))
