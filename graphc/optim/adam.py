"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import zeros_like
from graphc.frontend.replaced import Call, replaced
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, f32, f64
from graphc.optim import rules
from graphc.optim.counted import Counted
from graphc.optim.group import number_of
from graphc.optim.optimizer import (
    Group,
    Options,
    Slots,
    check_betas,
    chosen,
    gradient,
    non_negative,
    rate,
    updating,
    widened,
)
from graphc.optim.together import together


class Adam(Counted):
    """Steps by the running mean of gradients over the root of that of their squares.

    A compiled step computes its bias corrections once for each counter, in float64. Kingma and Ba
    2014; decoupled weight decay: Loshchilov and Hutter 2017.

    State of each parameter: two of its shape and dtype (three with `amsgrad`), and a counter.
    Raises InvalidArgument for no parameters or a number outside its range, such as a negative lr.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        non_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    # ---- slots ---------------------------------------------------------------------------------

    def _options(self, group: Group) -> Options:
        decays, decoupled = group["weight_decay"] != 0, group["decoupled_weight_decay"]
        return chosen(
            amsgrad=group["amsgrad"],
            weight_decay=decays and not decoupled,
            keep=decays and decoupled,
            maximize=group["maximize"],
        )

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        slots = {"step": self._new_counter()}
        slots |= {"exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
        if "amsgrad" in options:
            slots["max_exp_avg_sq"] = zeros_like(p)
        return slots

    # ---- the step ------------------------------------------------------------------------------

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        self._count(active)
        if self._at_once(group, active, options):
            return
        rates: dict[tuple[int, DType], rules.AdamRates] = {}
        for p, slots in together(active, self.state):
            counter = slots["step"]
            key = (id(counter), p.dtype)
            if key not in rates:
                rates[key] = self._rates(group, counter, p.dtype, options)
            with updating(p):
                self._update(p, slots, rates[key], options)

    def _at_once(self, group: Group, active: list[Tensor], options: Options) -> bool:
        """The step of all parameters by one program, if they have one counter."""
        each = [self.state[p] for p in active]
        counters = {id(slots["step"]) for slots in each}
        if len(counters) != 1 or "maximize" in options or tracing.active() is not None:
            return False
        names = _moments(options)
        moments = [rules.Moments(*[slots[name] for name in names]) for slots in each]
        calls = [*map(Call, active, [p.grad for p in active], moments)]
        rates = self._rates(group, each[0]["step"], active[0].dtype, options)
        return replaced(self, (id(group), *options), rules.adam, calls, rates)

    def _update(self, p: Tensor, slots: Slots, rates: rules.AdamRates, options: Options) -> None:
        names = _moments(options)
        old = rules.Moments(*(widened(slots[name]) for name in names))
        new, moments = rules.adam(widened(p), gradient(p, options), old, rates)
        p.copy_(new)
        for name, value in zip(names, moments):
            slots[name].copy_(value)

    def _rates(
        self, group: Group, counter: Tensor, dtype: DType, options: Options
    ) -> rules.AdamRates:
        def number(name: str, getter: Callable[[], float]) -> rules.Rate:
            return rate(group, name, getter, dtype)

        step_size, root = self._corrections(group, counter, dtype)
        weight_decay = keep = None
        if "weight_decay" in options:
            weight_decay = number("weight_decay", lambda: number_of(group["weight_decay"]))
        if "keep" in options:
            keep = number("keep", lambda: 1.0 - number_of(group["lr"]) * group["weight_decay"])
        return rules.AdamRates(
            rest1=number("rest1", lambda: 1.0 - group["betas"][0]),
            beta2=number("beta2", lambda: number_of(group["betas"][1])),
            rest2=number("rest2", lambda: 1.0 - group["betas"][1]),
            eps=number("eps", lambda: number_of(group["eps"])),
            weight_decay=weight_decay,
            keep=keep,
            step_size=step_size,
            root_correction=root,
        )

    def _corrections(
        self, group: Group, counter: Tensor, dtype: DType
    ) -> tuple[rules.Rate, rules.Rate]:
        """lr / (1 - beta1^t) and sqrt(1 - beta2^t), in float64 whatever the parameter is."""
        if tracing.active() is None:
            t = float(counter)
            beta1, beta2 = group["betas"]
            return number_of(group["lr"]) / (1.0 - beta1**t), sqrt(1.0 - beta2**t)
        t64 = counter.to(f64)
        lr = rate(group, "lr", lambda: number_of(group["lr"]), f64)
        b1 = rate(group, "beta1", lambda: number_of(group["betas"][0]), f64)
        b2 = rate(group, "beta2", lambda: number_of(group["betas"][1]), f64)
        wide = f64 if dtype is f64 else f32
        return (lr / (1.0 - b1**t64)).to(wide), (1.0 - b2**t64).sqrt().to(wide)


def _moments(options: Options) -> list[str]:
    """The names of the slots that hold means."""
    return ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if "amsgrad" in options else [])]


class AdamW(Adam):
    """Adam with weight decay applied to the parameter, not to the gradient.

    State of each parameter: two of its shape and dtype (three with `amsgrad`), and a counter.
    Raises InvalidArgument for no parameters or a number outside its range, such as a negative lr.
    Loshchilov and Hutter 2017.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
