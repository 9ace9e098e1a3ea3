"""Schedules of the epoch alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import cos, floor, pi
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.trace import after_commit
from graphc.optim.lr_scheduler.base import LRScheduler, refill, without_functions
from graphc.optim.optimizer import Group, Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]


class _Closed(LRScheduler):
    """A schedule that can also say the rate of an epoch from the initial one."""

    def _get_closed_form_lr(self) -> list[float]:
        return [self._closed(base, self.last_epoch) for base in self.base_lrs]

    def _closed(self, base: float, epoch: int) -> float:
        raise NotImplementedError


class LambdaLR(LRScheduler):
    """initial_lr * lr_lambda(epoch).

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer, InvalidArgument for
    another number of functions than groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise InvalidArgument(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self) -> dict[str, Any]:
        """Functions are left out; of those that are objects, their attributes are kept."""
        return super().state_dict() | {"lr_lambdas": without_functions(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        kept = dict(state_dict)
        refill(self.lr_lambdas, kept.pop("lr_lambdas", ()))
        super().load_state_dict(kept)


class MultiplicativeLR(LambdaLR):
    """Times lr_lambda(epoch) at each epoch after the first.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer, InvalidArgument for
    another number of functions than groups.
    """

    def get_lr(self) -> list[float]:
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [lr * f(self.last_epoch) for lr, f in zip(rates, self.lr_lambdas)]


class StepLR(_Closed):
    """Times gamma every step_size epochs.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return float(group["lr"] * self.gamma if due else group["lr"])

    def _closed(self, base: float, epoch: int) -> float:
        return float(base * self.gamma ** (epoch // self.step_size))


class MultiStepLR(_Closed):
    """Times gamma at each milestone.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        return float(group["lr"] * self.gamma ** self.milestones[self.last_epoch])

    def _closed(self, base: float, epoch: int) -> float:
        return float(base * self.gamma ** sum(n for m, n in self.milestones.items() if m <= epoch))


class ConstantLR(_Closed):
    """Times `factor` until epoch total_iters.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer, InvalidArgument for a
    factor outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise InvalidArgument("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        if self.last_epoch == 0:
            return float(group["lr"] * self.factor)
        return float(
            group["lr"] / self.factor if self.last_epoch == self.total_iters else group["lr"]
        )

    def _closed(self, base: float, epoch: int) -> float:
        return float(base * (1.0 if epoch >= self.total_iters else self.factor))


class LinearLR(_Closed):
    """From start_factor to end_factor of the initial rate within total_iters epochs.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer, InvalidArgument for a
    start_factor outside (0, 1] or an end_factor outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise InvalidArgument(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to "
                "1."
            )
        if not 0 <= end_factor <= 1:
            raise InvalidArgument("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        if self.last_epoch == 0:
            return float(group["lr"] * self.start_factor)
        if self.last_epoch > self.total_iters:
            return float(group["lr"])
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return float(group["lr"] * (1.0 + rise / before))

    def _closed(self, base: float, epoch: int) -> float:
        rise = self.end_factor - self.start_factor
        passed = min(self.total_iters, epoch) / self.total_iters
        return float(base * (self.start_factor + rise * passed))


class ExponentialLR(_Closed):
    """Times gamma every epoch.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        return float(group["lr"] * self.gamma if self.last_epoch else group["lr"])

    def _closed(self, base: float, epoch: int) -> float:
        return float(base * self.gamma**epoch)


class PolynomialLR(_Closed):
    """Down to zero within total_iters epochs, as a power of what is left of them.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        epoch, end = self.last_epoch, self.total_iters
        if epoch == 0 or epoch > end:
            return float(group["lr"])
        left = (1.0 - epoch / end) / (1.0 - (epoch - 1) / end)
        return float(group["lr"] * left**self.power)

    def _closed(self, base: float, epoch: int) -> float:
        return float(base * (1 - min(self.total_iters, epoch) / self.total_iters) ** self.power)


class CosineAnnealingLR(_Closed):
    """From the initial rate to eta_min along half a cosine of T_max epochs, and back.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer. Loshchilov and Hutter
    2016.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        if self.last_epoch == 0:
            return float(group["lr"])
        epoch, low = self.last_epoch, self.eta_min
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the ratio below would be 0 / 0
            return float(group["lr"] + (base - low) * (1 - cos(pi / self.T_max)) / 2)
        ratio = (1 + cos(pi * epoch / self.T_max)) / (1 + cos(pi * (epoch - 1) / self.T_max))
        return float(ratio * (group["lr"] - low) + low)

    def _closed(self, base: float, epoch: int) -> float:
        low = self.eta_min
        return float(low + (base - low) * (1 + cos(pi * epoch / self.T_max)) / 2)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to eta_min, again and again, each T_mult times as long as the last.

    An epoch is a call of `step`. Raises InvalidType for what is no Optimizer, InvalidArgument where
    T_0 or T_mult is no positive integer. Loshchilov and Hutter 2016.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise InvalidArgument(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise InvalidArgument(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group, base: float) -> float:
        low = self.eta_min
        return low + (base - low) * (1 + cos(pi * self.T_cur / self.T_i)) / 2

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to `epoch`, which may be a fraction."""
        after_commit(partial(self._to, epoch))

    def _to(self, epoch: float | None) -> None:
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = epoch or 0
            if epoch < 0:
                raise InvalidArgument(f"Expected non-negative epoch, but got {epoch}")
            self.T_cur, self.T_i = epoch, self.T_0
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self._update(floor(epoch))
