"""ASGD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.frontend.api.creation import zeros_like
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.ternary import clamp
from graphc.frontend.tensor import Tensor
from graphc.optim.optimizer import Options, Slots, non_negative
from graphc.optim.ruled import Change, Rates, Ruled, scalar_slot


class ASGD(Ruled):
    """Gradient descent whose slot `ax` averages the parameter. Polyak and Juditsky 1992.

    State of each parameter: one of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        non_negative(lr=lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
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
            "eta": scalar_slot(lr),
            "mu": scalar_slot(1.0),
            "ax": zeros_like(p),
        }

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        return {
            "next_eta": r["lr"] / (1.0 + r["lambd"] * r["lr"] * t) ** r["alpha"],
            "next_mu": 1.0 / clamp(t - r["t0"], 1.0),
        }

    def _rule(
        self, p: Tensor, g: Tensor, s: Mapping[str, Tensor], r: Rates, options: Options
    ) -> Change:
        eta, mu = s["eta"].double(), s["mu"].double()
        step = (p * r["lambd"] + g) * eta
        new, old = p - step, s["ax"]
        next_eta, next_mu = r["next_eta"], r["next_mu"]
        assert isinstance(next_eta, Tensor) and isinstance(next_mu, Tensor)
        slots = {
            "eta": next_eta.float(),
            "mu": next_mu.float(),
            "ax": where(mu == 1.0, new, old + (new - old) * mu),
        }
        return Change(step, slots)
