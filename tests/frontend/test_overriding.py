"""TorchFunctionMode: what it sees and changes, eager and compiled, is what PyTorch's does."""

from __future__ import annotations

from typing import Any

import pytest

import graphc


def modes(T: Any) -> tuple[Any, Any]:
    class Seen(T.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    class Doubled(T.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        def __init__(self, factor: float = 2.0) -> None:
            super().__init__()
            self.factor = factor

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            return out * self.factor if func in (T.exp, T.Tensor.exp) else out

    return Seen, Doubled


def test_a_mode_sees_and_changes_what_runs_inside() -> None:
    torch = pytest.importorskip("torch")
    for T in (graphc, torch):
        Seen, Doubled = modes(T)
        x = T.zeros(2)
        with Seen() as seen:
            y = T.exp(x).add(1)
            T.nn.functional.relu(y)
            T.matmul(y, y)
        assert seen.names == ["exp", "add", "relu", "matmul"]
        with Doubled(), Doubled(3.0):
            assert T.exp(x).tolist() == [6, 6] and x.exp().tolist() == [6, 6]
        assert T.exp(x).tolist() == [1, 1]


def test_operators_and_initialisers_go_through_it() -> None:
    Seen, _ = modes(graphc)
    with Seen() as seen:
        (graphc.ones(2) + 1) * 2
        graphc.nn.init.zeros_(graphc.empty(2))
    assert [n for n in seen.names if n in ("add", "mul", "zeros_")] == ["add", "mul", "zeros_"]


def test_a_step_is_another_inside_a_mode() -> None:
    _, Doubled = modes(graphc)
    step = graphc.compile(lambda x: graphc.exp(x))
    x, mode = graphc.zeros(2), Doubled()
    for _ in range(3):
        assert step(x).tolist() == [1, 1]
        with mode:
            assert step(x).tolist() == [2, 2]
    assert "inside Doubled" in str(step.explain())
    assert len(step.explain().recompiles) == 1


def test_a_mode_that_raises_leaves_all_as_it_was() -> None:
    class Raising(graphc.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            raise KeyError(func.__name__)

    x = graphc.zeros(1)
    with pytest.raises(KeyError, match="exp"), Raising():
        graphc.exp(x)
    assert graphc.exp(graphc.zeros(1)).tolist() == [1]
