"""How views lie inside a step: found once, without types that are inferred again."""

from __future__ import annotations

import pytest

import graphc as torch
from graphc.frontend import views


def test_strides_of_a_view_are_those_of_its_base_one_step_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chain of views asks for no types of its steps, however often its strides are asked for."""
    asked: list[object] = []
    along = views.types_along
    monkeypatch.setattr(views, "types_along", lambda *what: asked.append(what) or along(*what))
    seen: list[tuple[int, ...]] = []

    @torch.compile
    def step(x: torch.Tensor) -> torch.Tensor:
        y = (x * 2).transpose(0, 1)
        z = y.unsqueeze(1)[:, :, 1:]
        for _ in range(3):
            seen.append((*y.stride(), *z.stride(), *z.squeeze(1).stride()))
        return z.reshape(-1) + 1

    x = torch.arange(12.0).reshape(3, 4)
    step(x)
    assert not asked
    y = (x * 2).transpose(0, 1)
    z = y.unsqueeze(1)[:, :, 1:]
    assert {*seen} == {(*y.stride(), *z.stride(), *z.squeeze(1).stride())}


def test_a_view_shows_where_its_memory_lies_after_its_base_is_another() -> None:
    """What was found for a view is not used once it has other views or memory."""

    @torch.compile
    def step(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = (x + 1).t()
        first = torch.tensor(y.stride()[0])
        y.t_()
        return first, torch.tensor(y.stride()[0])

    first, second = step(torch.ones(3, 5))
    assert (int(first), int(second)) == (1, 5)
