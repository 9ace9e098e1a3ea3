"""Schedules that rise and fall, and move momentum the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, floor, pi
from typing import Any

from graphc.errors import InvalidArgument
from graphc.optim.lr_scheduler.base import (
    LRScheduler,
    checked,
    each,
    refill,
    set_rate,
    without_functions,
)
from graphc.optim.optimizer import Group, Optimizer

__all__ = ["CyclicLR", "OneCycleLR"]

# How high a cycle goes: what it is a function of, and that function with its gamma.
SCALES: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "triangular": ("cycle", lambda x, gamma: 1.0),
    "triangular2": ("cycle", lambda x, gamma: 1.0 / 2.0 ** (x - 1)),
    "exp_range": ("iterations", lambda x, gamma: gamma**x),
}


def set_momentum(group: Group, momentum: float) -> None:
    """Momentum, or beta1 where a group has betas."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def check_momentum(optimizer: Optimizer) -> None:
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise InvalidArgument(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )


class CyclicLR(LRScheduler):
    """Up and down between base_lr and max_lr; momentum or beta1 the other way. Smith 2015.

    `step` is called after each batch; step_size_up and step_size_down count these calls. Raises
    InvalidArgument for another mode.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = checked(optimizer).param_groups
        base_lrs = each("base_lr", base_lr, groups)
        self.max_lrs = each("max_lr", max_lr, groups)
        if scale_fn is None and mode not in SCALES:
            raise InvalidArgument("mode is invalid and scale_fn is None")
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.cycle_momentum = cycle_momentum
        self._scale_fn_custom = scale_fn
        self.scale_mode = SCALES[mode][0] if scale_fn is None else scale_mode
        if cycle_momentum:
            check_momentum(optimizer)
            self.base_momentums = each("base_momentum", base_momentum, groups)
            self.max_momentums = each("max_momentum", max_momentum, groups)
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums):
                if last_epoch == -1:
                    group["max_momentum"], group["base_momentum"] = high, low
        if last_epoch == -1:
            for group, lr in zip(groups, base_lrs):
                set_rate(group, lr)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of cycle (or of step) x."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return SCALES[self.mode][1](x, self.gamma)

    def get_lr(self) -> list[float]:
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        rates = [
            low + (high - low) * share * scale for low, high in zip(self.base_lrs, self.max_lrs)
        ]
        if self.cycle_momentum:
            for k, group in enumerate(self.optimizer.param_groups):
                high, low = self.max_momentums[k], self.base_momentums[k]
                set_momentum(group, high - (high - low) * share * scale)
        return rates

    def state_dict(self) -> dict[str, Any]:
        (kept,) = without_functions([self._scale_fn_custom])
        return super().state_dict() | {"_scale_fn_custom": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        kept = dict(state_dict)
        refill([self._scale_fn_custom], [kept.pop("_scale_fn_custom", None)])
        super().load_state_dict(kept)


class OneCycleLR(LRScheduler):
    """Up to max_lr and down again within total_steps steps; momentum or beta1 the other way.

    `step` is called after each batch. Raises InvalidArgument unless total_steps, or epochs and
    steps_per_epoch, are given, and where `step` is called more often. Smith and Topin 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = checked(optimizer).param_groups
        total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float | int) or not 0 <= pct_start <= 1:
            raise InvalidArgument(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise InvalidArgument(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self.total_steps = total_steps
        self.cycle_momentum = cycle_momentum
        self.anneal_strategy = anneal_strategy
        self._phases = _one_cycle_phases(total_steps, pct_start, three_phase)
        peaks = each("max_lr", max_lr, groups)
        if cycle_momentum:
            check_momentum(optimizer)
            high = each("max_momentum", max_momentum, groups)
            low = each("base_momentum", base_momentum, groups)
        if last_epoch == -1:
            for k, (group, peak) in enumerate(zip(groups, peaks)):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = high[k], low[k]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise InvalidArgument(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        rates = []
        for group in self.optimizer.param_groups:
            low, high, momentum_from, momentum_to, share = self._at()
            rates.append(self._between(group[low], group[high], share))
            if self.cycle_momentum:
                set_momentum(group, self._between(group[momentum_from], group[momentum_to], share))
        return rates

    def _at(self) -> tuple[str, str, str, str, float]:
        """Between which numbers of a group the present step is, and how far."""
        start = 0.0
        for k, (end, lr_from, lr_to, m_from, m_to) in enumerate(self._phases):
            if self.last_epoch <= end or k == len(self._phases) - 1:
                share = (self.last_epoch - start) / (end - start)
                return lr_from, lr_to, m_from, m_to, share
            start = end
        raise AssertionError("the last phase returns")

    def _between(self, a: float, b: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (b - a) * share + a
        return b + (a - b) / 2.0 * (1 + cos(pi * share))


def _total_steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is None and (epochs is None or steps_per_epoch is None):
        raise InvalidArgument("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"total_steps": total} if total is not None else {
        "epochs": epochs, "steps_per_epoch": steps_per_epoch
    }  # fmt: skip
    count = 1
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise InvalidArgument(f"Expected positive integer {name}, but got {value}")
        count *= value
    return count


Phase = tuple[float, str, str, str, str]


def _one_cycle_phases(total: int, rise: float, three_phase: bool) -> list[Phase]:
    """(last step, rate from, rate to, momentum from, momentum to) of each phase."""
    up = (rise * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three_phase:
        return [up, (total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    return [
        up,
        (2 * rise * total - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
        (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
    ]
