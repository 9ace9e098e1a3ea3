"""Special functions under torch.special's names."""

from __future__ import annotations

import math
from typing import Any

from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic
from graphc.frontend.api.bessel import *
from graphc.frontend.api.bessel import i0 as modified_bessel_i0
from graphc.frontend.api.bessel import i1 as modified_bessel_i1
from graphc.frontend.api.elementwise import erf, erfc, exp2, expm1, log1p, round
from graphc.frontend.api.out import SPECIAL, accept_out
from graphc.frontend.api.polynomials import *
from graphc.frontend.api.quadrature import erfcx, gammainc, gammaincc, log_ndtr, ndtri
from graphc.frontend.api.reductions import log_softmax, logsumexp, softmax
from graphc.frontend.api.special import digamma, erfinv, lgamma, logit, polygamma, sinc, xlogy
from graphc.frontend.operands import as_float
from graphc.frontend.tensor import Tensor

expit, gammaln, psi = E.sigmoid, lgamma, digamma


def entr(input: Tensor) -> Tensor:
    """-x log x; 0 at 0, -inf below."""
    x = as_float(input)
    inside = E.where(x > 0, x, 1.0)
    return E.where(logic.isnan(x), x, E.where(x < 0, -math.inf, -inside * E.log(inside)))


def ndtr(input: Tensor) -> Tensor:
    """The normal distribution function."""
    return E.erfc(as_float(input) * -math.sqrt(0.5)) * 0.5


def xlog1py(input: Any, other: Any) -> Tensor:
    """x log(1 + y), and 0 where x is 0 unless y is NaN."""
    plain = input * E.log1p(E.where(other > -1, other, 0.0)) if isinstance(
        other, Tensor
    ) else input * math.log1p(other)  # fmt: skip
    if not isinstance(other, Tensor):
        return as_float(plain)
    zero = (input == 0) & ~logic.isnan(other)
    outside = E.where(logic.isnan(other) | (other < -1), math.nan, input * -math.inf)
    return E.where(zero, 0.0, E.where(other > -1, plain, outside))


def multigammaln(input: Tensor, p: int) -> Tensor:
    """log of the multivariate gamma function of dimension p."""
    x = as_float(input)
    total = x * 0 + p * (p - 1) / 4 * math.log(math.pi)
    for k in range(p):
        total = total + lgamma(x - k / 2)
    return total


__all__ = [name for name in SPECIAL if name in globals()]
accept_out(globals(), [name for name in __all__ if name not in ("softmax", "log_softmax")])
