"""Arguments of a compiled step that share memory and are written: as in eager code, each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable

Views = tuple[Any, ...]


def both(x: Any, y: Any) -> Any:
    x.mul_(2)
    y.add_(1)
    return x + 0, y


def of_the_other(x: Any, y: Any) -> Any:
    x.add_(y)
    return y * 1


def three(x: Any, y: Any, z: Any) -> Any:
    x.add_(y)
    y.sub_(2 * z[:4])
    return z


CASES: dict[str, tuple[Callable[..., Any], Callable[[Any], Views]]] = {
    "halves": (of_the_other, lambda b: (b[:8], b[8:])),
    "halves, turned": (of_the_other, lambda b: (b[8:], b[:8])),
    "rows": (of_the_other, lambda b: (b.view(4, 4)[0], b.view(4, 4)[2])),
    "alternating": (of_the_other, lambda b: (b[::2], b[1::2])),
    "overlapping": (both, lambda b: (b[:10], b[6:])),
    "base and view": (both, lambda b: (b, b[2:])),
    "transpose": (both, lambda b: (b.view(4, 4), b.view(4, 4).t())),
    "diagonal": (both, lambda b: (b.view(4, 4), b.view(4, 4).diagonal())),
    "the same view twice, and another": (three, lambda b: (b[:4], b[:4], b[2:])),
    "three": (three, lambda b: (b[:4], b[4:8], b[2:6])),
}


def told(result: Any) -> Any:
    return [t.tolist() for t in result] if isinstance(result, tuple) else result.tolist()


@pytest.mark.parametrize("name", CASES)
def test_written_views_of_one_memory_are_as_in_eager_code(name: str) -> None:
    f, views = CASES[name]
    step, eager, compiled = graphc.compile(f), graphc.arange(16.0), graphc.arange(16.0)
    for _ in range(3):
        for scale in (0.5, 1.0):
            eager.mul_(scale)
            compiled.mul_(scale)
            assert told(step(*views(compiled))) == told(f(*views(eager)))
            assert compiled.tolist() == eager.tolist()
    assert not step.explain().recompiles, "new views of the memory are the same arguments"


def test_other_memory_or_another_overlap_is_a_variant() -> None:
    step = graphc.compile(both)
    for first in (3, 5, 8, 3):
        eager, compiled = graphc.arange(16.0), graphc.arange(16.0)
        pairs = [(b[:8], b[first : first + 8]) for b in (eager, compiled)]
        assert told(step(*pairs[1])) == told(both(*pairs[0]))
        assert compiled.tolist() == eager.tolist()
    apart = graphc.ones(8), graphc.ones(8)
    assert told(step(*apart)) == [[2.0] * 8, [2.0] * 8]


def test_what_is_returned_is_the_argument_of_this_call() -> None:
    def step(x: Any, y: Any) -> Any:
        y.add_(1)
        return x

    compiled, base = graphc.compile(step), graphc.zeros(6)
    for _ in range(2):
        x = base[:4]
        assert compiled(x, base[2:]) is x


def test_a_parameter_and_a_view_of_it_that_is_written() -> None:
    def step(p: Any, view: Any) -> Any:
        loss = (p * p).sum()
        loss.backward()
        view.sub_(p.grad[:2])
        return loss.detach()

    found = []
    for f in (step, graphc.compile(step)):
        p = graphc.nn.Parameter(graphc.arange(4.0))
        losses = [f(p, p.detach()[:2]).item() for _ in range(3)]
        found.append([losses, p.tolist(), p.grad.tolist()])  # type: ignore[union-attr]
    assert found[0] == found[1]


def test_an_array_of_numpy_behind_two_tensors_is_refused() -> None:
    """Once compiled for arguments apart, too: nothing but their addresses tells."""
    step, array = graphc.compile(both), np.arange(8, dtype=np.float32)
    for _ in range(2):
        with pytest.raises(Untraceable, match="whose memory, NumPy's, another argument has, too"):
            step(graphc.from_numpy(array[:6]), graphc.from_numpy(array[2:]))
        step(graphc.ones(6), graphc.ones(6))
    assert array.tolist() == list(range(8))
    parts = graphc.from_numpy(array[:4]), graphc.from_numpy(array[4:])
    step(*parts)
    assert array.tolist() == [0, 2, 4, 6, 5, 6, 7, 8]
