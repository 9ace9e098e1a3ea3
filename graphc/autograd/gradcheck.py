"""gradcheck and gradgradcheck: derivatives against central differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc.errors import AutogradError, InvalidArgument
from graphc.frontend.api.creation import zeros_like
from graphc.frontend.api.random import randn_like
from graphc.frontend.autograd import grad
from graphc.frontend.device_ops import transfer
from graphc.frontend.modes import enable_grad, no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Array, f64

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(AutogradError):
    """A derivative differs from the central difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` at float64 inputs are those of central differences.

    Compares each entry of each Jacobian by |a - n| <= atol + rtol * |n|; `fast_mode` looks at all
    of them, too. Raises GradcheckError (a RuntimeError) with both Jacobians, or returns False if
    not `raise_exception`. Forward mode and batched gradients do not exist here and are refused.
    """
    if check_forward_ad or check_batched_grad or check_batched_forward_grad:
        raise InvalidArgument(
            "gradcheck of forward-mode or batched gradients, which graphc does not have",
            fix="leave check_forward_ad and check_batched_grad off",
        )
    xs = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise InvalidArgument(
            "gradcheck expects at least one input tensor to require gradient, but none of the them "
            "have requires_grad=True."
        )
    if any(x.dtype is not f64 for x in wanted):
        warnings.warn("gradcheck of inputs that are not float64 will likely fail", stacklevel=2)
    try:
        for problem in _problems(func, xs, wanted, (eps, atol, rtol, nondet_tol)):
            raise GradcheckError(problem, fix="look at backward, or at a kink near the inputs")
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradient: by the inputs and by `grad_outputs` (random unless given)."""
    xs = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    if grad_outputs is None:
        with enable_grad():
            outs = _differentiable(func(*xs))
        seeds = [randn_like(y.detach()).requires_grad_() for y in outs]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, tuple | list) else [grad_outputs]

    def gradient(*args: Any) -> Any:
        given, gs = args[: len(xs)], args[len(xs) :]
        wanted = [x for x in given if isinstance(x, Tensor) and x.requires_grad]
        outs = _differentiable(func(*given))
        found = grad(outs, wanted, list(gs), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient,
        [*xs, *seeds],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
    )


def _differentiable(out: Any) -> list[Tensor]:
    outs = out if isinstance(out, tuple | list) else [out]
    return [y for y in outs if isinstance(y, Tensor) and y.requires_grad]


def _problems(
    func: Callable[..., Any],
    xs: Sequence[Any],
    wanted: Sequence[Tensor],
    tolerances: tuple[float, float, float, float],
) -> Iterator[str]:
    """What is wrong, in words."""
    eps, atol, rtol, nondet_tol = tolerances
    with enable_grad():
        outs = _differentiable(func(*xs))
    numerical = [_numerical(func, xs, x, eps) for x in wanted]
    for i, y in enumerate(outs):
        first, again = (_analytical(y, wanted) for _ in range(2))
        for j in range(len(wanted)):
            n = numerical[j][i]
            if not np.allclose(first[j], n, rtol, atol, equal_nan=True):
                yield (
                    f"Jacobian mismatch for output {i} with respect to input {j},\n"
                    f"numerical:{n}\nanalytical:{first[j]}\n"
                )
            if not np.allclose(first[j], again[j], 0.0, nondet_tol, equal_nan=True):
                yield (
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values."
                )


def _analytical(y: Tensor, wanted: Sequence[Tensor]) -> list[Array]:
    """The Jacobian of one output by each input: [input elements, output elements]."""
    columns: list[list[Array]] = []
    for k in range(y.numel()):
        seed = zeros_like(y.detach())
        seed.view(-1)[k] = 1
        found = grad(y, list(wanted), seed, retain_graph=True, allow_unused=True)
        columns.append(
            [
                np.zeros(x.numel()) if g is None else g.detach().host().reshape(-1)
                for x, g in zip(wanted, found)
            ]
        )
    return [
        np.stack([c[j] for c in columns], 1) if columns else np.zeros((x.numel(), 0))
        for j, x in enumerate(wanted)
    ]


def _numerical(func: Callable[..., Any], xs: Sequence[Any], x: Tensor, eps: float) -> list[Array]:
    """The Jacobian of each output by one input, which is moved in its own memory and put back."""
    array = x.host()
    if any(s == 0 and n > 1 for s, n in zip(x.stride(), array.shape)):
        raise InvalidArgument(
            f"gradcheck of an input {x.spec} whose elements share memory", fix="clone() it"
        )
    rows: list[list[Array]] = []
    for place in np.ndindex(array.shape):
        kept, ends = array[place].copy(), []
        for step in (eps, -eps):
            _put(x, array, place, kept + step)
            ends.append(_values(func, xs))
        _put(x, array, place, kept)
        rows.append([(a - b) / (2 * eps) for a, b in zip(*ends)])
    if not rows:
        return [np.zeros((0, len(v))) for v in _values(func, xs)]
    return [np.stack(column) for column in zip(*rows)]


def _put(x: Tensor, array: Array, place: tuple[int, ...], value: Any) -> None:
    """One element of x anew: past autograd in its memory, which `array` is on the host."""
    array[place] = value
    if x.array is not array and x.array is not None:
        transfer(x.array, array)


def _values(func: Callable[..., Any], xs: Sequence[Any]) -> list[Array]:
    with enable_grad():
        outs = _differentiable(func(*xs))
    with no_grad():
        return [np.array(y.detach().host(), np.float64).reshape(-1) for y in outs]
