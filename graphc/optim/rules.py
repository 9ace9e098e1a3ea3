"""Update rules as pure functions: tensors and rates in, new tensors out.

A rate is a Python number, or in a compiled step a 0-d tensor read at each call. Complements such as
1 - beta are rates of their own, so that both cases round the same double once.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from graphc.frontend.api.elementwise import maximum
from graphc.frontend.tensor import Tensor
from graphc.frontend.update import update

Rate = float | Tensor


class SGDRates(NamedTuple):
    lr: Rate
    momentum: Rate
    take: Rate | None  # 1 - dampening, or 1 at a buffer's first step; None without dampening
    weight_decay: Rate | None
    nesterov: bool


@partial(update, single=True)
def sgd(p: Tensor, g: Tensor, buffer: Tensor | None, r: SGDRates) -> tuple[Tensor, Tensor | None]:
    """Stochastic gradient descent; the buffer is None without momentum."""
    if r.weight_decay is not None:
        g = g + p * r.weight_decay
    if buffer is not None:
        buffer = buffer * r.momentum + (g if r.take is None else g * r.take)
        g = g + buffer * r.momentum if r.nesterov else buffer
    return p - g * r.lr, buffer


class AdamRates(NamedTuple):
    rest1: Rate  # 1 - beta1
    beta2: Rate
    rest2: Rate  # 1 - beta2
    eps: Rate
    weight_decay: Rate | None  # added to the gradient (Adam)
    keep: Rate | None  # the factor 1 - lr * weight_decay of the parameter (AdamW)
    step_size: Rate  # lr / (1 - beta1^t)
    root_correction: Rate  # sqrt(1 - beta2^t)


class Moments(NamedTuple):
    """Adam's slots: running means of g and g^2, and the largest of the latter (amsgrad)."""

    mean: Tensor
    square: Tensor
    peak: Tensor | None = None


@partial(update, single=True)
def adam(p: Tensor, g: Tensor, slots: Moments, r: AdamRates) -> tuple[Tensor, Moments]:
    """Adam and AdamW."""
    if r.keep is not None:
        p = p * r.keep
    if r.weight_decay is not None:
        g = g + p * r.weight_decay
    mean = slots.mean + (g - slots.mean) * r.rest1
    square = slots.square * r.beta2 + g * g * r.rest2
    peak = None if slots.peak is None else maximum(slots.peak, square)
    size = (square if peak is None else peak).sqrt() / r.root_correction + r.eps
    return p - mean / size * r.step_size, Moments(mean, square, peak)
