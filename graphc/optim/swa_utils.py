"""Averages of weights over training, equal (SWA) or exponential (EMA), under PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from graphc.errors import AssertedArgument, InvalidArgument
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.elementwise import where
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64
from graphc.nn.module import Module
from graphc.nn.normalization import _BatchNorm
from graphc.optim.lr_scheduler import LRScheduler
from graphc.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay * average + (1 - decay) * model, for one tensor."""
    if not 0.0 <= decay <= 1.0:
        raise InvalidArgument(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """The mean of all models so far, for one tensor."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        away: Tensor = (current_param - averaged_param) / (num_averaged + 1)
        return averaged_param + away

    return swa_update


def _multiple(average: Average) -> MultiAverage:
    @no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        for mine, theirs in zip(averaged, current, strict=True):
            mine.copy_(average(mine, theirs, num_averaged))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """decay * average + (1 - decay) * model in place, for lists."""
    return _multiple(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> MultiAverage:
    """The mean of all models so far in place, for lists."""
    return _multiple(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of `model` that `update_parameters` moves towards it; the first time it is copied.

    `avg_fn(average, model, count)` gives a new average; `multi_avg_fn` writes lists of one dtype in
    place; the mean of all if neither is given. Buffers are averaged too, or else copied.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertedArgument("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=i64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the weights that `model` has now into the average; also inside a compiled step."""
        pairs: list[tuple[Tensor, Tensor]] = []
        pairs += zip(self.module.parameters(), model.parameters(), strict=True)
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        if self.use_buffers:
            pairs += buffers
        by_dtype: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for mine, theirs in pairs:
            by_dtype.setdefault(mine.dtype, []).append((mine.detach(), theirs.detach()))
        for group in by_dtype.values():
            self._average(*map(list, zip(*group)))
        if not self.use_buffers:
            for mine, theirs in buffers:
                mine.copy_(theirs)
        self.n_averaged.add_(1)

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        if self.avg_fn is not None:
            pairs = zip(averaged, current)
            new = [self.avg_fn(mine, theirs, self.n_averaged) for mine, theirs in pairs]
        else:
            new = [x.clone() for x in averaged]
            (self.multi_avg_fn or get_swa_multi_avg_fn())(new, current, self.n_averaged)
        first = self.n_averaged == 0
        for mine, theirs, average in zip(averaged, current, new, strict=True):
            mine.copy_(where(first, theirs, average.to(mine.dtype)))


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Take the statistics of every BatchNorm below `model` anew, from one pass over `loader`."""
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None
    for batch in loader:
        input = batch[0] if isinstance(batch, list | tuple) else batch
        model(input if device is None else input.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneals each group's rate to `swa_lr` within `anneal_epochs`, then keeps it."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, Sequence) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise InvalidArgument(
                f"swa_lr must have the same length as optimizer.param_groups: {len(rates)} and "
                f"{len(groups)}"
            )
        for group, lr in zip(groups, rates):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise InvalidArgument(
                f'anneal_strategy must by one of "cos" or "linear", instead got {anneal_strategy}'
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise InvalidArgument(
                f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}"
            )
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way has been gone."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            lr, swa_lr = float(group["lr"]), group["swa_lr"]
            start = swa_lr if before == 1 else (lr - before * swa_lr) / (1 - before)
            rates.append(swa_lr * now + start * (1 - now))
        return rates
