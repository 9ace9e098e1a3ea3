"""Functions over a model's parameters: clipping gradients, parameters as one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from math import isinf

from graphc.errors import InvalidState
from graphc.frontend.api.creation import zeros
from graphc.frontend.api.elementwise import add, maximum
from graphc.frontend.api.shapes import cat
from graphc.frontend.checked import checked
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.tensor import Tensor
from graphc.frontend.update import as_calls
from graphc.ir.types import f32
from graphc.nn.old_names import old_name

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]

Tensors = Tensor | Iterable[Tensor]


def _listed(parameters: Tensors) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


@no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as one vector, 0-d; `foreach` changes nothing.

    Tensors of any shapes -> [].
    """
    given = tuple(_listed(tensors))
    if not given:
        return zeros(())
    (total,) = _norm_of(norm_type)(given)
    if not error_if_nonfinite:
        return total
    return checked(
        total,
        total.isfinite(),
        f"The total norm of order {norm_type} for gradients is non-finite, so it cannot be clipped",
        InvalidState,
        fix="pass error_if_nonfinite=False to scale by the non-finite norm: a gradient holds inf "
        "or NaN",
    )


@lru_cache(maxsize=16)
def _norm_of(p: float) -> Callable[[tuple[Tensor, ...]], tuple[Tensor]]:
    """The joint norm of order p, in eager mode as one list of calls."""

    def norm(tensors: tuple[Tensor, ...]) -> tuple[Tensor]:
        parts = [_part(t, p) for t in tensors]
        # A chain of additions, not a stack: it is one scalar kernel however many tensors there are.
        total = reduce(maximum if isinf(p) else add, parts)
        if p == 2:
            return (total.sqrt(),)
        return (total if isinf(p) else total ** (1.0 / p),)

    return as_calls(norm)


def _part(t: Tensor, p: float) -> Tensor:
    """What a tensor adds to the norm before the root is taken: the sum of its p-th powers."""
    x = t.to(f32) if t.dtype.is_half else t
    if isinf(p):
        return x.abs().amax() if x.numel() else x.sum()
    return (x * x if p == 2 else x.abs() ** p).sum()


@no_grad()
def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients so that their joint norm is at most max_norm; the norm before that.

    The factor is min(1, max_norm / (norm + 1e-6)); a NaN norm makes every gradient NaN.

    Tensors of any shapes -> [].
    """
    given = _listed(parameters)
    grads = [g for p in given if (g := p.grad) is not None]
    total = get_total_norm(grads, float(norm_type), error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


clip_grad_norm = old_name("clip_grad_norm", clip_grad_norm_)


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by min(1, max_norm / (total_norm + 1e-6)).

    Tensors of any shapes; total_norm [].
    """
    grads = tuple(g for p in _listed(parameters) if (g := p.grad) is not None)
    if modes.trace is None and _alike(grads, total_norm):
        for g, new in zip(grads, _scaled(grads, total_norm, max_norm)):
            g.copy_(new)
        return
    factor = _factor(total_norm, max_norm)
    for g in grads:
        g.mul_(factor.to(g.dtype))


def _factor(total_norm: Tensor, max_norm: float) -> Tensor:
    return (max_norm / (total_norm + 1e-6)).clamp(max=1.0)


@as_calls
def _scaled(grads: tuple[Tensor, ...], total_norm: Tensor, max_norm: float) -> tuple[Tensor, ...]:
    factor = _factor(total_norm, max_norm)
    return tuple(g * factor.to(g.dtype) for g in grads)


def _alike(grads: tuple[Tensor, ...], total_norm: Tensor) -> bool:
    """Whether all are of the norm's type, and none is another's memory, which would be scaled
    twice."""
    apart = len({g.storage for g in grads}) == len(grads)
    return apart and all(g.dtype is total_norm.dtype for g in grads)


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every gradient element to [-clip_value, clip_value]."""
    for p in _listed(parameters):
        if p.grad is not None:
            p.grad.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened and joined. -> [number of all elements]."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy consecutive stretches of `vec` into the parameters. vec [number of all elements]."""
    start = 0
    for p in parameters:
        p.copy_(vec[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
