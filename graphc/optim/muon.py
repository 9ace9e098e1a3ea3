"""Muon: momentum whose matrix is made nearly orthogonal before each step. Jordan et al. 2024."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import zeros_like
from graphc.frontend.tensor import Tensor
from graphc.ir.types import bf16, f32
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

COEFFICIENTS = (3.4445, -4.775, 2.0315)
ADJUSTMENTS = (None, "original", "match_rms_adamw")


def orthogonalized(x: Tensor, coefficients: tuple[float, ...], steps: int, eps: float) -> Tensor:
    """x with singular values near one, by Newton and Schulz's iteration in bfloat16."""
    if steps >= 100:
        raise InvalidArgument("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise InvalidArgument("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.to(bf16)
    y = _rounded(y.t() if tall else y)
    y = _rounded(y / _rounded(y.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(y @ y.t())
        update = _rounded(gram * b + (gram @ gram) * c)
        y = _rounded(y * a + update @ y)
    return y.t() if tall else y


def _rounded(x: Tensor) -> Tensor:
    """Numbers of bfloat16, in float32 to go on with: each line of the iteration rounds once."""
    return x.to(bf16).to(f32)


class Muon(Optimizer):
    """p - lr * (nearly orthogonal momentum), for matrices; weight decay shrinks p itself.

    Parameters [N, K]; state: one of the same shape. Raises InvalidArgument for a parameter of
    another rank, no parameters or a number outside its range. Jordan et al. 2024.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        non_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in ADJUSTMENTS:
            raise InvalidArgument(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise InvalidArgument(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{p.size()}",
                        fix="give the others to AdamW",
                    )

    def _options(self, group: Group) -> Options:
        numbers = ("ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")
        shaped = {f"{name}={group[name]}": True for name in numbers}
        return chosen(nesterov=group["nesterov"], **shaped)

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        return {"momentum_buffer": zeros_like(p)}

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        for p in active:
            with updating(p):
                self._update(group, p, options)

    def _update(self, group: Group, p: Tensor, options: Options) -> None:
        def number(name: str, value: Any) -> Any:
            return rate(group, name, value, p.dtype)

        momentum = number("momentum", lambda: number_of(group["momentum"]))
        rest = number("rest", lambda: 1.0 - group["momentum"])
        keep = number("keep", lambda: 1.0 - group["lr"] * group["weight_decay"])
        lr = number("lr", lambda: number_of(group["lr"]))
        buffer, g = self.state[p]["momentum_buffer"], gradient(p, options)
        new = widened(buffer)
        new = new + (g - new) * rest
        buffer.copy_(new)
        step = g + (new - g) * momentum if "nesterov" in options else new
        step = orthogonalized(step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        ratio = _ratio(group["adjust_lr_fn"], *p.spec.shape)
        p.copy_(widened(p) * keep - step.to(new.dtype) * (lr * ratio))


def _ratio(adjustment: str | None, rows: int, columns: int) -> float:
    """What the rate is multiplied with, so that steps of all shapes are as large."""
    if adjustment == "match_rms_adamw":
        return 0.2 * sqrt(max(rows, columns))
    return sqrt(max(1.0, rows / columns))
