"""The base of schedules."""

from __future__ import annotations

import warnings
from typing import Any

from graphc.errors import InvalidType
from graphc.frontend.trace import after_commit
from graphc.optim.optimizer import Group, Optimizer

__all__ = ["LRScheduler"]


class LRScheduler:
    """Base of schedules; a subclass gives the rate of a group from its rate one step before."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise InvalidType(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{k}] when resuming"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self._step_count = 0
        self.step()

    def get_lr(self) -> list[float]:
        """The rates of epoch `last_epoch`, from those in effect now."""
        return [
            self._rate(group, base)
            for group, base in zip(self.optimizer.param_groups, self.base_lrs)
        ]

    def _rate(self, group: Group, base: float) -> float:
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self) -> None:
        """Go on by one epoch (or whatever the caller counts); in a compiled step, after it."""
        after_commit(self._advance)

    def _advance(self) -> None:
        self._count()
        self.last_epoch += 1
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = lr

    def _count(self) -> None:
        """Count the steps; the first after construction warns if the optimizer took none."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order: else the first value of the schedule is skipped.",
                UserWarning,
                stacklevel=5,
            )
        self._step_count += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions."""
        return {
            k: v
            for k, v in self.__dict__.items()
            if k not in ("optimizer", "lr_lambdas") and not callable(v)
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
