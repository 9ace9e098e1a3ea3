"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.trace import after_commit
from graphc.optim.lr_scheduler.base import LRScheduler, set_rate
from graphc.optim.lr_scheduler.plateau import ReduceLROnPlateau
from graphc.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Several(LRScheduler):
    """What has schedules, all of one optimizer."""

    _schedulers: list[Any]

    def _take(self, schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise InvalidArgument(f"{name}: got no schedules, needs one or more")
        for k, s in enumerate(schedulers):
            if not hasattr(s, "optimizer"):
                raise InvalidType(f"{name}: item {k}, a {type(s).__name__}, has no `optimizer`")
            if isinstance(s, ReduceLROnPlateau):
                raise InvalidArgument(
                    f"{name}: item {k} is a ReduceLROnPlateau, whose step needs a metric"
                )
            if s.optimizer is not (optimizer or schedulers[0].optimizer):
                raise InvalidArgument(
                    f"{name}: item {k}, a {type(s).__name__}, is of another optimizer"
                )
        self.optimizer = schedulers[0].optimizer
        self._schedulers = list(schedulers)

    def step(self) -> None:  # type: ignore[override]  # no epoch, as in PyTorch
        after_commit(self._advance)

    def _undo(self) -> None:
        """Forget the epoch that each schedule began when it was made."""
        for s in self._schedulers:
            if isinstance(s, _Several):
                s._undo()
            else:
                s.last_epoch -= 1

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return state | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for s, state in zip(self._schedulers, state_dict["_schedulers"]):
            s.load_state_dict(state)


class SequentialLR(_Several):
    """Several schedules one after the other, changing at the milestones.

    Raises InvalidArgument for no schedules, such of different optimizers, or another number of
    milestones than changes.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise InvalidArgument(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones, "
                f"got {len(milestones)}"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each schedule set its first rate when it was made; begin again with the one that is due.
        for group in optimizer.param_groups:
            set_rate(group, group["initial_lr"])
        self._undo()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def _begin(self) -> None:
        self._schedulers[0]._begin()

    def _advance(self, epoch: int | None = None) -> None:
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        present = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            present._update(0)
        else:
            present.step()
        self._last_lr = present.get_last_lr()


class ChainedScheduler(_Several):
    """Several schedules at once: their factors multiply.

    Raises InvalidArgument for no schedules or such of different optimizers.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._take(schedulers, optimizer)
        self._note()

    def _begin(self) -> None:
        for s in self._schedulers:
            s._begin()
        self._note()

    def _advance(self, epoch: int | None = None) -> None:
        for s in self._schedulers:
            s.step()
        self._note()

    def _update(self, epoch: int | None = None) -> None:
        for s in self._schedulers:
            s._update(epoch)
        self._note()

    def _note(self) -> None:
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]
