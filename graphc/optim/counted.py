"""Counted: optimizers whose parameters count their steps.

Parameters that took every step together share one `step` counter (a 0-d float32 tensor in each
one's slots), so a compiled step computes what depends on it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import tensor, zeros
from graphc.frontend.tensor import Tensor
from graphc.ir.types import TensorSpec, f32
from graphc.optim.optimizer import Group, Optimizer, Options

COUNTER = TensorSpec(f32, ())


class Counted(Optimizer):
    """Base of what has a `step` among its slots."""

    def _prepare(self, group: Group, active: list[Tensor], options: Options) -> None:
        self._part_idle(active)
        self._counter: Tensor | None = None
        self._device = active[0].device if active else None  # where a step counts
        super()._prepare(group, active, options)

    def _new_counter(self) -> Tensor:
        """One for all parameters that start at this step."""
        if self._counter is None:
            self._counter = zeros((), dtype=f32, device=self._device)
        return self._counter

    def _part_idle(self, active: list[Tensor]) -> None:
        """Give a parameter that sits this step out, or is in another group by now, a counter of
        its own."""
        moving = {id(p) for p in active}
        counted = {id(self.state[p]["step"]) for p in active if p in self.state}
        for p, slots in list(self.state.items()):
            if slots and id(p) not in moving and id(slots.get("step")) in counted:
                with tracing.paused():
                    slots["step"] = slots["step"].clone()
                self._layout.moves += 1

    def _count(self, active: list[Tensor]) -> None:
        """One more step for each counter."""
        for counter in {id(c): c for c in (self.state[p]["step"] for p in active)}.values():
            counter.add_(1)

    def _load_slots(self, loaded: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Parameters whose loaded counters are one, or as good, share one."""
        steps = {p: s["step"] for p, s in loaded.items() if "step" in s}
        of_value: dict[tuple[float, Any], Tensor] = {}
        counters: dict[Tensor, Tensor] = {}
        for p, step in steps.items():
            at = float(step), p.device
            if at not in of_value:
                plain = (
                    isinstance(step, Tensor) and step.spec == COUNTER and step.device == p.device
                )
                of_value[at] = step if plain else tensor(at[0], dtype=f32, device=p.device)
            counters[p] = of_value[at]
        super()._load_slots(
            {p: {k: counters.get(p) if k == "step" else v for k, v in s.items()}
             for p, s in loaded.items()}
        )  # fmt: skip
