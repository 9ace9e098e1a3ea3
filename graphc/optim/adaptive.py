"""Optimizers that scale each element's step by its gradients so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import full_like, zeros_like
from graphc.frontend.api.elementwise import maximum, where
from graphc.frontend.tensor import Tensor
from graphc.optim.optimizer import Group, Options, Slots, check_betas, non_negative
from graphc.optim.ruled import Change, Rates, Ruled, scalar_slot

Old = Mapping[str, Tensor]


class Adamax(Ruled):
    """Adam with the largest gradient in place of the root mean square. Kingma and Ba 2014.

    State of each parameter: two of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True
    zero_slots = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
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
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        return {"size": r["lr"] / (1.0 - r["beta1"] ** t)}

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        mean = s["exp_avg"] + (g - s["exp_avg"]) * (1.0 - r["beta1"])
        largest = maximum(s["exp_inf"] * r["beta2"], g.abs() + r["eps"])
        return Change(mean / largest * r["size"], {"exp_avg": mean, "exp_inf": largest})


class NAdam(Ruled):
    """Adam with Nesterov momentum. Dozat 2016.

    State of each parameter: two of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    zero_slots = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        non_negative(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _flags(self, group: Group) -> dict[str, object]:
        return {"decoupled": group["decoupled_weight_decay"]}

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        return {
            "step": self._new_counter(),
            "mu_product": scalar_slot(1.0),
            "exp_avg": zeros_like(p),
            "exp_avg_sq": zeros_like(p),
        }

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        def momentum(at: Tensor) -> Tensor:
            return r["beta1"] * (1.0 - 0.5 * 0.96 ** (at * r["momentum_decay"]))

        return {
            "mu": momentum(t),
            "mu_next": momentum(t + 1.0),
            "correction2": 1.0 - r["beta2"] ** t,
        }

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        mu, mu_next = r["mu"], r["mu_next"]
        assert isinstance(mu, Tensor)
        product = s["mu_product"] * mu.to(s["mu_product"].dtype)
        wide = product.double()
        mean = s["exp_avg"] + (g - s["exp_avg"]) * (1.0 - r["beta1"])
        square = s["exp_avg_sq"] * r["beta2"] + g * g * (1.0 - r["beta2"])
        size = (square / r["correction2"]).sqrt() + r["eps"]
        now = r["lr"] * (1.0 - mu) / (1.0 - wide)
        ahead = r["lr"] * mu_next / (1.0 - wide * mu_next)
        slots = {"mu_product": product, "exp_avg": mean, "exp_avg_sq": square}
        return Change(g / size * now + mean / size * ahead, slots)


class RAdam(Ruled):
    """Adam that waits for its second moment to be known well. Liu et al. 2019.

    State of each parameter: two of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True
    zero_slots = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _flags(self, group: Group) -> dict[str, object]:
        return {"decoupled": group["decoupled_weight_decay"]}

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        power = r["beta2"] ** t
        longest = 2.0 / (1.0 - r["beta2"]) - 1.0
        length = longest - 2.0 * t * power / (1.0 - power)
        known = length > 5.0
        safe = where(known, length, 6.0)
        ratio = (safe - 4.0) * (safe - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * safe)
        return {
            "correction1": 1.0 - r["beta1"] ** t,
            "root": (1.0 - power).sqrt(),
            "known": known,
            "rectified": ratio.sqrt(),
        }

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        mean = s["exp_avg"] + (g - s["exp_avg"]) * (1.0 - r["beta1"])
        square = s["exp_avg_sq"] * r["beta2"] + g * g * (1.0 - r["beta2"])
        plain = mean / r["correction1"] * r["lr"]
        known = r["known"]
        assert isinstance(known, Tensor)
        adapted = plain * (r["root"] / (square.sqrt() + r["eps"])) * r["rectified"]
        return Change(where(known, adapted, plain), {"exp_avg": mean, "exp_avg_sq": square})


class Adagrad(Ruled):
    """Gradient over the root of the sum of its squares. Duchi et al. 2011.

    State of each parameter: one of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        non_negative(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        start = self.defaults["initial_accumulator_value"]
        return {"step": self._new_counter(), "sum": full_like(p, start)}

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        return {"size": r["lr"] / (1.0 + (t - 1.0) * r["lr_decay"])}

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        total = s["sum"] + g * g
        return Change(g / (total.sqrt() + r["eps"]) * r["size"], {"sum": total})


class Adadelta(Ruled):
    """Steps as long as recent ones, in units of the parameter. Zeiler 2012.

    State of each parameter: two of its shape and dtype. Raises InvalidArgument for no parameters or
    a number outside its range, such as a negative lr.
    """

    elementwise = True
    zero_slots = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        non_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise InvalidArgument(f"Invalid rho value: {rho}")
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        rest = 1.0 - r["rho"]
        square = s["square_avg"] * r["rho"] + g * g * rest
        delta = (s["acc_delta"] + r["eps"]).sqrt() / (square + r["eps"]).sqrt() * g
        moved = s["acc_delta"] * r["rho"] + delta * delta * rest
        return Change(delta * r["lr"], {"square_avg": square, "acc_delta": moved})


class RMSprop(Ruled):
    """Gradient over the root of its running mean square; centered and with momentum if asked.

    Tieleman and Hinton 2012; centered: Graves 2013.

    State of each parameter: one to three of its shape and dtype. Raises InvalidArgument for no
    parameters or a number outside its range, such as a negative lr.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
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
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _flags(self, group: Group) -> dict[str, object]:
        return {"momentum": group["momentum"] > 0, "centered": group["centered"]}

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        slots = {"step": self._new_counter(), "square_avg": zeros_like(p)}
        if "momentum" in options:
            slots["momentum_buffer"] = zeros_like(p)
        if "centered" in options:
            slots["grad_avg"] = zeros_like(p)
        return slots

    def _rule(self, p: Tensor, g: Tensor, s: Old, r: Rates, options: Options) -> Change:
        rest = 1.0 - r["alpha"]
        square = s["square_avg"] * r["alpha"] + g * g * rest
        slots, spread = {"square_avg": square}, square
        if "centered" in options:
            mean = slots["grad_avg"] = s["grad_avg"] + (g - s["grad_avg"]) * rest
            spread = square - mean * mean
        step = g / (spread.sqrt() + r["eps"])
        if "momentum" in options:
            step = slots["momentum_buffer"] = s["momentum_buffer"] * r["momentum"] + step
        return Change(step * r["lr"], slots)
