"""Orthogonal polynomials of a whole degree by their recurrences, and Hurwitz's zeta function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.errors import Unsupported
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.quadrature import in_double
from graphc.frontend.operands import as_float, is_tensor
from graphc.frontend.registry import public

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
    "zeta",
]

Step = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]
MOST = 2048  # steps of a recurrence


def _whole(name: str, n: Any) -> int:
    """The degree, which is one number for all elements."""
    if is_tensor(n):
        if n.spec.numel != 1:
            raise Unsupported(
                f"{name}: degrees {n.spec}", fix="pass the degree as one whole number"
            )
        n = n.item()
    if int(n) != n or n > MOST:
        raise Unsupported(f"{name}: degree {n}", fix=f"pass a whole number up to {MOST}")
    return int(n)


def _polynomial(name: str, first: Callable[[Tensor], Tensor], step: Step, text: str) -> Any:
    """p_0 = 1, p_1 = first(x), p_(k+1) = step(x, p_k, p_(k-1), k); zero for degrees below zero."""

    @public(out=True)
    def function(input: Tensor, n: Any) -> Tensor:
        degree, x = _whole(name, n), as_float(input)
        if degree < 0:
            return x * 0
        before, now = x * 0 + 1, first(x)
        for k in range(1, degree):
            before, now = now, step(x, now, before, k)
        return now if degree else before

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text} of degree n."
    return function


def _chebyshev(x: Tensor, now: Tensor, before: Tensor, k: int) -> Tensor:
    return 2 * x * now - before


def _shifted(step: Step) -> Step:
    return lambda x, now, before, k: step(2 * x - 1, now, before, k)


FIRST: dict[str, Callable[[Any], Any]] = {
    "t": lambda x: x,
    "u": lambda x: 2 * x,
    "v": lambda x: 2 * x - 1,
    "w": lambda x: 2 * x + 1,
}


def _kind(letter: str, shifted: bool) -> Any:
    prefix = "shifted_" if shifted else ""
    first = FIRST[letter]
    return _polynomial(
        f"{prefix}chebyshev_polynomial_{letter}",
        (lambda x: first(2 * x - 1)) if shifted else first,
        _shifted(_chebyshev) if shifted else _chebyshev,
        f"Chebyshev's {letter.upper()}{' on [0, 1]' if shifted else ''}",
    )


chebyshev_polynomial_t, chebyshev_polynomial_u, chebyshev_polynomial_v, chebyshev_polynomial_w = (
    _kind(letter, False) for letter in "tuvw"
)
(
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
) = (_kind(letter, True) for letter in "tuvw")

hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h",
    lambda x: 2 * x,
    lambda x, now, before, k: 2 * x * now - 2 * k * before,
    "Hermite's H (of physics)",
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he",
    lambda x: x,
    lambda x, now, before, k: x * now - k * before,
    "Hermite's He (of probability)",
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    lambda x: 1 - x,
    lambda x, now, before, k: ((2 * k + 1 - x) * now - k * before) / (k + 1),
    "Laguerre's L",
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    lambda x: x,
    lambda x, now, before, k: ((2 * k + 1) * x * now - k * before) / (k + 1),
    "Legendre's P",
)

# ---- zeta --------------------------------------------------------------------------------------

HEAD = 12
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510,
             43867 / 798, -174611 / 330)  # fmt: skip


@public(out=True)
@in_double
def zeta(input: Tensor, other: Tensor) -> Tensor:
    """The sum of (q + k)^-x over k >= 0, by Euler and Maclaurin's formula; x > 1, and q > 0 or
    between poles where x is whole."""
    beyond = input > 1
    between = beyond & (input == E.floor(input)) & (other < 0) & (other != E.floor(other))
    x, part = E.where(beyond, input, 2.0), other - E.floor(other)
    q = E.where(between, part, E.where(other > 0, other, 1.0))
    total = _of_positive(x, q)
    # From q < 0 on, the terms below zero are those of another sum, backwards and up to where q is.
    below = _of_positive(x, E.where(between, 1 - part, 1.0))
    below = below - _of_positive(x, E.where(between, 1 - other, 1.0))
    odd = E.remainder(x, 2) == 1
    total = E.where(between, total + E.where(odd, -below, below), total)
    pole = E.where(input == 1, math.inf, math.nan)
    # At the other poles, q a whole number below one, PyTorch has infinity for x > 1.
    whole = beyond & (other <= 0) & (other == E.floor(other))
    good = beyond & (other > 0) | between
    return E.where(good, total, E.where(whole, math.inf, pole))


def _of_positive(x: Tensor, q: Tensor) -> Tensor:
    total = q * 0
    for k in range(HEAD):
        total = total + E.exp(E.log(q + k) * -x)
    end = q + HEAD
    power = E.exp(E.log(end) * -x)
    total = total + power * end / (x - 1) + power * 0.5
    rising = x
    for k, b in enumerate(BERNOULLI, 1):
        total = total + rising * power / E.pow(end, 2 * k - 1) * (b / math.factorial(2 * k))
        rising = rising * (x + (2 * k - 1)) * (x + 2 * k)
    return total
