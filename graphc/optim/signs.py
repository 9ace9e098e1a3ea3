"""Optimizers that go by the signs of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import full_like, zeros_like
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.ternary import clamp
from graphc.frontend.tensor import Tensor
from graphc.optim.optimizer import Options, Slots, check_betas, non_negative
from graphc.optim.ruled import Change, Rates, Ruled

Old = Mapping[str, Tensor]


class Rprop(Ruled):
    """A step size of its own for each element, longer while the sign stays. Riedmiller 1993.

    State of each parameter: two of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        non_negative(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise InvalidArgument(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        lr = next(g["lr"] for g in self.param_groups if any(q is p for q in g["params"]))
        return {
            "step": self._new_counter(),
            "prev": zeros_like(p),
            "step_size": full_like(p, float(lr)),
        }

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        same = g * s["prev"]
        size = s["step_size"]
        size = where(same > 0, size * r["eta_plus"], where(same < 0, size * r["eta_minus"], size))
        size = clamp(size, r["least"], r["most"])
        g = where(same < 0, 0.0, g)  # after a change of sign, wait
        return Change(g.sign() * size, {"prev": g, "step_size": size})


class Lion(Ruled):
    """The sign of an interpolated momentum. Chen et al. 2023 (not in PyTorch).

    State of each parameter: one of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True
    zero_slots = ("exp_avg",)
    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        non_negative(lr=lr, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        mean = s["exp_avg"]
        direction = mean * r["beta1"] + g * (1.0 - r["beta1"])
        slots = {"exp_avg": mean * r["beta2"] + g * (1.0 - r["beta2"])}
        return Change(direction.sign() * r["lr"], slots)
