"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import zeros, zeros_like
from graphc.frontend.api.elementwise import where
from graphc.frontend.replaced import Call, replaced
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f32
from graphc.optim import rules
from graphc.optim.group import number_of
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
from graphc.optim.together import together


class SGD(Optimizer):
    """p - lr * g, with momentum, dampening, weight decay and Nesterov's variant.

    `foreach` and `fused` are accepted for PyTorch's sake: compiled updates are always fused.

    State of each parameter: a momentum of its shape and dtype if asked. Raises InvalidArgument for
    no parameters or a number outside its range, such as a negative lr.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        non_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise InvalidArgument("Nesterov momentum requires a momentum and zero dampening")
        # Per parameter, 0-d: whether the buffer has been filled. Only dampening needs it, because
        # PyTorch's first step takes the whole gradient.
        self._started: dict[Tensor, Tensor] = {}
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _options(self, group: Group) -> Options:
        return chosen(
            momentum=group["momentum"] != 0,
            dampening=group["dampening"] != 0,
            weight_decay=group["weight_decay"] != 0,
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )

    def _prepare(self, group: Group, active: list[Tensor], options: Options) -> None:
        if "momentum" in options:
            super()._prepare(group, active, options)

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        if "dampening" in options:
            self._started[p] = zeros((), dtype=f32, device=p.device)
        return {"momentum_buffer": zeros_like(p)}

    def _slots_of(self, p: Tensor) -> list[Tensor]:
        started = self._started.get(p)
        return [*super()._slots_of(p), *([] if started is None else [started])]

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        if self._at_once(group, active, options):
            return
        each = [(p, self.state.get(p, {})) for p in active]
        for p, slots in each if "dampening" in options else together(active, self.state):
            with updating(p):
                buffer = slots["momentum_buffer"] if "momentum" in options else None
                new, moved = rules.sgd(
                    widened(p),
                    gradient(p, options),
                    buffer if buffer is None else widened(buffer),
                    self._rates(group, p, options),
                )
                p.copy_(new)
                if buffer is not None and moved is not None:
                    buffer.copy_(moved)

    def _at_once(self, group: Group, active: list[Tensor], options: Options) -> bool:
        """The step of all parameters by one program, if their gradients are taken as they are."""
        if not active or tracing.active() is not None:
            return False
        if "dampening" in options or "maximize" in options:
            return False
        moving = "momentum" in options
        buffers = [self.state[p]["momentum_buffer"] if moving else None for p in active]
        calls = [*map(Call, active, [p.grad for p in active], buffers)]
        rates = self._rates(group, active[0], options)
        return replaced(self, (id(group), *options), rules.sgd, calls, rates)

    def _rates(self, group: Group, p: Tensor, options: Options) -> rules.SGDRates:
        def number(name: str) -> rules.Rate:
            return rate(group, name, lambda: number_of(group[name]), p.dtype)

        return rules.SGDRates(
            lr=number("lr"),
            momentum=number("momentum") if "momentum" in options else 0.0,
            take=self._take(group, p) if "dampening" in options else None,
            weight_decay=number("weight_decay") if "weight_decay" in options else None,
            nesterov="nesterov" in options,
        )

    def _take(self, group: Group, p: Tensor) -> rules.Rate:
        """How much of the gradient the buffer takes: all at first, then 1 - dampening."""
        take = rate(group, "take", lambda: 1.0 - group["dampening"], p.dtype)
        started = self._started.get(p)
        if started is None:  # a loaded buffer
            return take
        first = started == 0
        started.fill_(1)
        if tracing.active() is None:
            return 1.0 if bool(first) else take
        return where(first, 1.0, take)
