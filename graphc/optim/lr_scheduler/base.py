"""The base of schedules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import after_commit
from graphc.optim.optimizer import Group, Optimizer

__all__ = ["LRScheduler", "_LRScheduler"]


class LRScheduler:
    """Base of schedules; a subclass gives the rate of a group from its rate one step before.

    last_epoch: -1 begins. Raises InvalidType for what is no Optimizer.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked(optimizer)
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param_groups[{k}] has no 'initial_lr' to resume from epoch {last_epoch}: "
                    "load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self._begin()

    def _begin(self) -> None:
        """The step that sets the first rates."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rates of epoch `last_epoch`, from those in effect now."""
        groups = self.optimizer.param_groups
        later = [group.get("initial_lr", group["lr"]) for group in groups[len(self.base_lrs) :]]
        return [self._rate(group, base) for group, base in zip(groups, [*self.base_lrs, *later])]

    def _rate(self, group: Group, base: float) -> float:
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch (or whatever the caller counts); in a compiled step, after it.

        To go to `epoch` instead is deprecated, as in PyTorch.
        """
        after_commit(partial(self._advance, epoch))

    def _advance(self, epoch: int | None = None) -> None:
        self._count()
        if epoch is not None:
            warn_of_epoch()
        self._update(epoch)

    def _update(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch, or those of `epoch`, whatever they are now."""
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            rates = getattr(self, "_get_closed_form_lr", self.get_lr)()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_rate(group, lr)
        self._last_lr = rates

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
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


_LRScheduler = LRScheduler  # its former name, which custom schedules still subclass


def checked(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise InvalidType(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def warn_of_epoch() -> None:
    warnings.warn(
        "scheduler.step(epoch) is deprecated: call step() once an epoch, without a number",
        UserWarning,
        stacklevel=4,
    )


def set_rate(group: Group, lr: float) -> None:
    """Where the rate is a tensor, it stays that tensor."""
    if not isinstance(group["lr"], Tensor):
        group["lr"] = lr
        return
    with no_grad():
        group["lr"].fill_(lr)


def each(name: str, value: float | Sequence[float], groups: Sequence[Group]) -> list[float]:
    """One number for each group."""
    if not isinstance(value, Sequence):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise InvalidArgument(
            f"{name}: got {len(value)} values for an optimizer of {len(groups)} param_groups"
        )
    return list(value)


def without_functions(fns: Sequence[Any]) -> list[dict[str, Any] | None]:
    """What a state dict keeps of functions: the attributes of those that are objects."""
    return [dict(vars(f)) if hasattr(f, "__dict__") and not _is_plain(f) else None for f in fns]


def refill(fns: Sequence[Any], kept: Sequence[dict[str, Any] | None]) -> None:
    """Give function objects the attributes that `without_functions` kept."""
    for f, attributes in zip(fns, kept):
        if attributes is not None:
            vars(f).update(attributes)


def _is_plain(f: Any) -> bool:
    return f is None or hasattr(f, "__code__")
