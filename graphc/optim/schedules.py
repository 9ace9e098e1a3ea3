"""Schedules by name, with a warm-up, as training scripts for transformers use them.

Names and formulas are those of `get_scheduler` in Hugging Face transformers: the rate rises
linearly for `num_warmup_steps` steps, then follows the curve that the name stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from graphc.errors import InvalidArgument
from graphc.optim.lr_scheduler import LambdaLR
from graphc.optim.optimizer import Optimizer

Curve = Callable[[float], float]  # of the share of steps done since the warm-up
CURVES: dict[str, Curve] = {
    "linear": lambda share: max(0.0, 1.0 - share),
    "cosine": lambda share: max(0.0, 0.5 * (1.0 + cos(pi * share))),
    "cosine_with_restarts": lambda share: (
        0.0 if share >= 1.0 else max(0.0, 0.5 * (1.0 + cos(pi * (share % 1.0))))
    ),
    "constant": lambda share: 1.0,
    "constant_with_warmup": lambda share: 1.0,
}


def get_scheduler(
    name: str,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
) -> LambdaLR:
    """A schedule called once a step; `name` is one of `CURVES`, "polynomial", "inverse_sqrt".

    "constant" has no warm-up. All but the constant ones and "inverse_sqrt" need
    `num_training_steps`. "polynomial" ends at 1e-7, "inverse_sqrt" falls as 1 / sqrt(step).
    Raises ValueError for an unknown name or a missing number.
    """
    warm = 0 if name == "constant" else num_warmup_steps or 0
    if name not in (*CURVES, "polynomial", "inverse_sqrt"):
        raise InvalidArgument(f"unknown schedule {name!r}; known: {', '.join(CURVES)}")
    if name != "constant" and num_warmup_steps is None:
        raise InvalidArgument(f"{name} requires `num_warmup_steps`, please provide that argument.")
    if name == "inverse_sqrt":
        scale = warm or 10_000
        return LambdaLR(optimizer, lambda k: k / warm if k < warm else (scale / max(1, k)) ** 0.5)
    if name.startswith("constant"):
        return LambdaLR(optimizer, lambda k: min(1.0, k / warm) if warm else 1.0)
    if num_training_steps is None:
        raise InvalidArgument(f"{name} requires `num_training_steps`, please provide it.")
    left = max(1, num_training_steps - warm)
    curve = _polynomial(optimizer) if name == "polynomial" else CURVES[name]
    return LambdaLR(optimizer, lambda k: k / warm if k < warm else curve((k - warm) / left))


def _polynomial(optimizer: Optimizer, end: float = 1e-7) -> Curve:
    """From the optimizer's rate straight to `end`."""
    start = float(optimizer.defaults["lr"])
    return lambda share: end / start if share > 1.0 else 1.0 - share * (1.0 - end / start)
