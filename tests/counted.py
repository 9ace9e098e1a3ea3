"""A step of which is counted what it writes and how many of its calls run Python code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.frontend.step import ready
from graphc.frontend.tensor import Tensor

WARM_UP = 6  # calls, after which those like the last one run no Python


def _turned(shape: tuple[int, ...], order: tuple[int, ...]) -> Callable[[str], Tensor]:
    return lambda device: graphc.randn(shape, device=device).permute(order).clone()


# Arguments that are dense in another order than row-major; some say so of what is both.
ORDERS = {
    "turned": _turned((4, 3), (1, 0)), "channels last": _turned((2, 4, 4, 3), (0, 3, 1, 2)),
    "of one channel": _turned((3, 4, 3, 1), (0, 3, 1, 2)),
    "of one image": _turned((1, 4, 3, 5), (0, 3, 1, 2)),
}  # fmt: skip


class Counted:
    """Adds 1 to its weight, which its argument is then multiplied by and summed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: str = "cpu", size: int = 3) -> None:
        """`size`: of the argument's last dimension."""
        self.weight, self.device = graphc.ones(size, device=device), device
        self.short = 0
        call = ready.Ready.call

        def counted(own: Any, args: Any) -> Any:
            self.short += 1
            return call(own, args)

        monkeypatch.setattr(ready.Ready, "call", counted)
        weight = self.weight

        @graphc.compile
        def step(x: Tensor) -> Tensor:
            with graphc.no_grad():
                weight.add_(1.0)
            return (x * weight).sum()

        self.step: Any = step

    def expected(self, x: Tensor) -> float:
        """What the next call gives."""
        return float(
            (x.detach().cpu().numpy() * (self.weight.cpu().numpy() + 1.0)).sum(dtype=float)
        )

    def run(self, times: int = WARM_UP, x: Tensor | None = None) -> None:
        """Calls with `x`, or each with another tensor."""
        for _ in range(times):
            given = graphc.randn(3, device=self.device) if x is None else x
            expected = self.expected(given)
            assert self.step(given).item() == pytest.approx(expected, abs=1e-3)

    def latched(self, x: Tensor) -> Tensor:
        """The result of a call that has to run no Python code."""
        expected, before, version = self.expected(x), self.short, self.weight._version
        out: Tensor = self.step(x)
        assert self.short == before, "went the long way"
        assert (
            out.item() == pytest.approx(expected, abs=1e-3) and self.weight._version == version + 1
        )
        return out

    def latched_among_others(self, x: Tensor) -> None:
        """Calls with x run no Python code; those with what lies otherwise in between are right."""
        self.run(WARM_UP, x)
        for _ in range(5):
            self.latched(x)
        others = [x.contiguous(), x + 1.0, x[..., :1].expand_as(x), x.flip(0)]
        for other in others:
            self.run(1, other)
            self.run(1, x)
