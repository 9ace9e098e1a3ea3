"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import zeros, zeros_like
from graphc.frontend.api.elementwise import minimum
from graphc.frontend.api.limits import finfo
from graphc.frontend.api.ternary import clamp
from graphc.frontend.tensor import Tensor
from graphc.optim.optimizer import Group, Options, Slots, non_negative
from graphc.optim.ruled import Change, Rates, Ruled
from graphc.optim.rules import Rate


class Adafactor(Ruled):
    """Second moments of a matrix kept as a row and a column. Shazeer and Stern 2018.

    State of each parameter: a row and a column of a matrix, else one of its shape. Raises
    InvalidArgument for no parameters or a number outside its range, such as a negative lr.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        non_negative(lr=lr, weight_decay=weight_decay)
        _must(beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        _must(eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        _must(eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        _must(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _flags(self, group: Group) -> dict[str, object]:
        return {"own_eps1": group["eps"][0] is not None}

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        shape = tuple(p.shape)
        if len(shape) < 2:
            return {"step": self._new_counter(), "variance": zeros_like(p)}
        return {
            "step": self._new_counter(),
            "row_var": zeros((*shape[:-1], 1), dtype=p.dtype, device=p.device),
            "col_var": zeros((*shape[:-2], 1, shape[-1]), dtype=p.dtype, device=p.device),
        }

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        root = 1.0 / t.sqrt()
        return {"rest": t ** r["beta2_decay"], "rho": minimum(root, root * 0.0 + r["lr"])}

    def _rule(
        self, p: Tensor, g: Tensor, s: Mapping[str, Tensor], r: Rates, options: Options
    ) -> Change:
        least = r.get("eps1", finfo(p.dtype).eps)
        scale = max(p.numel(), 1) ** 0.5
        size = clamp(p.norm().double() / scale, r["eps2"]) * r["rho"]
        new = _moments(g, s, r)
        update = clamp(_estimate(new, least), least * least).rsqrt() * g
        longest = clamp(update.norm().double() / (scale * r["d"]), 1.0)
        return Change(update * (size / longest), new)


def _must(holds: bool, text: str) -> None:
    if not holds:
        raise InvalidArgument(text)


def _moments(g: Tensor, s: Mapping[str, Tensor], r: Rates) -> dict[str, Tensor]:
    """The running mean squares: of each element, or of rows and of columns."""
    square = g * g
    means = {
        "row_var": lambda: square.mean(-1, keepdim=True),
        "col_var": lambda: square.mean(-2, keepdim=True),
        "variance": lambda: square,
    }
    return {k: x + (means[k]() - x) * r["rest"] for k, x in s.items()}


def _estimate(s: Mapping[str, Tensor], least: Rate) -> Tensor:
    """The mean square of each element."""
    if "variance" in s:
        return s["variance"]
    row = s["row_var"]
    return row * s["col_var"] / clamp(row.mean(-2, keepdim=True), least)
