"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.frontend.creation import zeros, zeros_like
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f32
from graphc.optim import rules
from graphc.optim.optimizer import (
    Group,
    Optimizer,
    Options,
    Slots,
    chosen,
    gradient,
    non_negative,
    rate,
    updating,
    widened,
)


class RMSprop(Optimizer):
    """Gradient over the root of its running mean square; centered and with momentum if asked."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        non_negative(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _options(self, group: Group) -> Options:
        return chosen(
            momentum=group["momentum"] > 0,
            centered=group["centered"],
            weight_decay=group["weight_decay"] != 0,
            maximize=group["maximize"],
        )

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        slots = {"step": zeros((), dtype=f32), "square_avg": zeros_like(p)}
        if "momentum" in options:
            slots["momentum_buffer"] = zeros_like(p)
        if "centered" in options:
            slots["grad_avg"] = zeros_like(p)
        return slots

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        for p in active:
            with updating(p):
                self._update(p, group, options)

    def _update(self, p: Tensor, group: Group, options: Options) -> None:
        slots = self.state[p]
        names = {"square": "square_avg"}
        if "centered" in options:
            names["mean"] = "grad_avg"
        if "momentum" in options:
            names["buffer"] = "momentum_buffer"
        old = rules.RMSpropSlots(**{field: widened(slots[k]) for field, k in names.items()})
        slots["step"].add_(1)
        new, made = rules.rmsprop(
            widened(p), gradient(p, options), old, self._rates(group, p, options)
        )
        p.copy_(new)
        for field, k in names.items():
            slots[k].copy_(getattr(made, field))

    def _rates(self, group: Group, p: Tensor, options: Options) -> rules.RMSpropRates:
        def number(name: str) -> rules.Rate:
            return rate(group, name, lambda: float(group[name]), p.dtype)

        return rules.RMSpropRates(
            lr=number("lr"),
            alpha=number("alpha"),
            rest=rate(group, "rest", lambda: 1.0 - group["alpha"], p.dtype),
            eps=number("eps"),
            momentum=number("momentum") if "momentum" in options else 0.0,
            weight_decay=number("weight_decay") if "weight_decay" in options else None,
        )
