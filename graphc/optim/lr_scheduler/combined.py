"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from graphc.errors import InvalidArgument
from graphc.optim.lr_scheduler.base import LRScheduler
from graphc.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class SequentialLR(LRScheduler):
    """Several schedules one after the other, changing at the milestones."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise InvalidArgument(
                f"Sequential Schedulers expects number of schedulers provided to be one more than "
                f"the number of milestone points, but got {len(schedulers)} and {len(milestones)}"
            )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each schedule set its first rate when it was made; begin again with the first one's.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for s in self._schedulers:
            s.last_epoch, s._step_count = -1, 0
        self._schedulers[0].step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def _advance(self) -> None:
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            self._schedulers[k].last_epoch = -1
        self._schedulers[k].step()
        self._last_lr = self._schedulers[k].get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {
            "last_epoch": self.last_epoch,
            "_last_lr": self._last_lr,
            "_schedulers": [s.state_dict() for s in self._schedulers],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["last_epoch"]
        self._last_lr = state_dict["_last_lr"]
        for s, state in zip(self._schedulers, state_dict["_schedulers"]):
            s.load_state_dict(state)


class ChainedScheduler(LRScheduler):
    """Several schedules at once: their factors multiply."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise InvalidArgument("ChainedScheduler expects at least one scheduler, but got none")
        first = optimizer or schedulers[0].optimizer
        if any(s.optimizer is not first for s in schedulers):
            raise InvalidArgument(
                "ChainedScheduler expects all schedulers to belong to the same optimizer"
            )
        self.optimizer = first
        self._schedulers = list(schedulers)
        self.last_epoch = schedulers[-1].last_epoch
        self._last_lr = [group["lr"] for group in first.param_groups]

    def _advance(self) -> None:
        for s in self._schedulers:
            s._advance()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    state_dict = SequentialLR.state_dict
    load_state_dict = SequentialLR.load_state_dict
