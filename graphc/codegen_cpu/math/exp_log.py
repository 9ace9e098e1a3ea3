"""Exponentials and logarithms of vector lanes: argument reduction and minimax polynomials.

exp: x = k*ln2 + r with |r| <= ln2/2, exp(x) = 2^k * (1 + r + r^2 Q(r)).
log: x = 2^k * m with m in [0.75, 1.5), log(x) = k*ln2 + log(m), k*ln2 in two parts.

Coefficients: own Remez fits with 60 digits, lowest coefficient rounded first and the rest fitted
again. Each table states the largest error relative to the function. Constants are keyed by
element; float32 constants also serve double lanes that only need float32's accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen_cpu.math.lane_arithmetic import (
    Lane,
    at_least,
    at_most,
    fast_two_sum,
    fma,
    horner,
    select,
)

INF, NAN = float("inf"), float("nan")
LOG2_E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class Format:
    """What exp and log need to know of a float format."""

    fraction: int  # stored bits of the fraction
    bias: int  # of the exponent
    ln2: tuple[float, float]  # in two parts; k times the first is exact for every exponent k
    exp_range: tuple[float, float]  # beyond these exp is 0 and infinity
    smallest_normal: float
    identity: float  # below this expm1(x) and log1p(x) round to x


FORMATS = {
    "float": Format(
        23, 127, (0.693145751953125, 1.428606765330187e-06), (-104.0, 89.0), 2.0**-126, 2.0**-25
    ),
    "double": Format(
        52, 1023, (0.6931471805598903, 5.497923018708371e-14), (-746.0, 710.0), 2.0**-1022, 2.0**-54
    ),
}  # fmt: skip

# exp(r) = 1 + r + r^2 Q(r) for |r| <= ln2/2: 2^-28.2 of exp in float, 2^-61.6 of expm1 in double.
EXP = {
    "float": (0.49999994, 0.16666515, 0.04166808, 0.008369368, 0.001384184),
    "double": (
        0.5, 0.16666666666666677, 0.04166666666666667, 0.008333333333321721,
        0.0013888888888900497, 0.00019841269885645293, 2.4801587267034137e-05,
        2.7557244765159193e-06, 2.755733847673657e-07, 2.5108844538998924e-08,
        2.0891492068607925e-09,
    ),
}  # fmt: skip
# The same Q fitted relative to expm1: 2^-28.1, where EXP's has 2^-26.
EXPM1 = {
    "float": (0.5, 0.16666636, 0.04166651, 0.008341578, 0.0013930803, 0.00014972572),
    "double": EXP["double"],
}
# log(1 + f) = f + f^2 T(f) for -1/4 <= f < 1/2: 2^-27.5.
LOG_FLOAT = (
    -0.5, 0.33333462, -0.25000194, 0.19990376, -0.16642587, 0.14475618, -0.13209294, 0.10589906,
    -0.04602158,
)  # fmt: skip
# log((1 + s) / (1 - s)) = 2s + s z R(z), z = s^2 <= 0.04 (the form of fdlibm's e_log.c).
LOG_RATIO = {
    "short": (  # 2^-34.3
        0.6666666305950368, 0.40000867417447594, 0.28506794813797054, 0.24103478654444455,
    ),
    "long": (  # 2^-61.5
        0.666666666666666, 0.4000000000005674, 0.28571428555793077, 0.22222224302271773,
        0.18181665451125334, 0.1539112756428342, 0.1317331599561847, 0.13845057927239232,
    ),
}  # fmt: skip


def format_of(x: Lane) -> Format:
    return FORMATS[x.t.element]


# ---- exp ---------------------------------------------------------------------------------------


def reduce_exp(x: Lane, bias: int) -> tuple[Lane, Lane, Lane]:
    """k + bias in the low bits of an integer, and x - k*ln2 in two parts.

    Adding 1.5 * 2^fraction rounds to an integer and leaves it in the low bits: no conversion.
    """
    form = format_of(x)
    magic = 1.5 * 2.0**form.fraction + bias
    shifted = fma(x, LOG2_E, magic)
    k = shifted - magic
    high, low = form.ln2
    return shifted.bits(), fma(k, -high, x), k * -low


def _exp_of_reduced(r: Lane, coefficients: Sequence[float]) -> Lane:
    return horner(r, (1.0, 1.0, *coefficients))


def exp_narrow(x: Lane, coefficients: Sequence[float] | None = None) -> Lane:
    """exp where the result is normal and finite: one scaling instead of two. NaN may pass."""
    form = format_of(x)
    k, high, low = reduce_exp(x, form.bias)
    scale = (k << form.fraction).as_float()
    return _exp_of_reduced(high + low, coefficients or EXP[x.t.element]) * scale


def exp_scaled(x: Lane, tail: Lane | None = None, factor: Lane | None = None) -> Lane:
    """factor * exp(x + tail) for x with |k| < 2 * bias, overflow and underflow gradual.

    The scale is 2^k as two powers of two, each normal; only the last product may round.
    """
    form = format_of(x)
    k, high, low = reduce_exp(x, 2 * form.bias)
    first = k.logical_shift(1) << form.fraction
    second = (k << form.fraction) - first
    r = high + (low if tail is None else low + tail)
    p = _exp_of_reduced(r, EXP[x.t.element])
    if factor is not None:
        p = p * factor
    return p * first.as_float() * second.as_float()


def exp(x: Lane) -> Lane:
    """Below its range 0 without a product that underflows.

    That takes a microcode assist on x86: 14 times as slow, in every masked softmax.
    """
    low, high = format_of(x).exp_range
    vanishes = x < low
    inside = select(vanishes, x.constant(0.0), at_most(x, high))
    return select(vanishes, x.constant(0.0), exp_scaled(inside))


def expm1(x: Lane) -> Lane:
    """2 * (2^(k-1) * (exp(r) - 1) + (2^(k-1) - 1/2)): halved, as 2^128 is no float.

    The high part of r enters exactly, so that for k = +-1 the cancellation costs nothing.
    """
    form = format_of(x)
    inside = at_most(at_least(x, -(form.fraction + 3.0)), form.exp_range[1])
    k, high, low = reduce_exp(inside, form.bias - 1)
    half = (k << form.fraction).as_float()
    r = high + low
    tail = fma(r * r, horner(r, EXPM1[x.t.element]), low)
    near = fma(half, high, half - 0.5)
    return select(abs(x) < form.identity, x, fma(half, tail, near) * 2.0)


# ---- log ---------------------------------------------------------------------------------------


def split_exponent(x: Lane) -> tuple[Lane, Lane]:
    """k as an integer and m in [0.75, 1.5) with x = 2^k * m, for normal x > 0."""
    form = format_of(x)
    above = x.bits() - x.constant(0.75).bits()
    m = x.bits() - (above & -(1 << form.fraction))
    return above >> form.fraction, m.as_float()


def split_normalized(x: Lane) -> tuple[Lane, Lane]:
    """`split_exponent` with k as a float, for denormal x too."""
    form = format_of(x)
    tiny = x < form.smallest_normal
    k, m = split_exponent(select(tiny, x * 2.0**form.fraction, x))
    return k.to_float() - select(tiny, x.constant(form.fraction), 0.0), m


def _log_tail(f: Lane, ratio: Sequence[float]) -> Lane:
    """log(1 + f) - f for -1/4 <= f < 1/2."""
    if f.t.element == "float":
        return f * f * horner(f, LOG_FLOAT)
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    return s * fma(z, horner(z, ratio), half_square) - half_square


def log_of_parts(k: Lane, f: Lane, correction: Lane | None, ratio: Sequence[float]) -> Lane:
    """k*ln2 + log(1 + f) + correction; the largest terms are added without error."""
    high, low = format_of(f).ln2
    total, error = fast_two_sum(k * high, f)
    tail = _log_tail(f, ratio)
    small = fma(k, low, tail if correction is None else tail + correction)
    return total + (error + small)


def _at_edges(y: Lane, x: Lane, zero: float) -> Lane:
    """log's values where its argument is 0 (`x` is `zero`), negative, infinite or NaN."""
    y = select(x < INF, y, x)
    y = select(x < zero, x.constant(NAN), y)
    return select(x.equals(zero), x.constant(-INF), y)


def log_positive(x: Lane, ratio: Sequence[float] = LOG_RATIO["long"]) -> Lane:
    """log of finite x > 0."""
    k, m = split_normalized(x)
    return log_of_parts(k, m - 1.0, None, ratio)


def log(x: Lane) -> Lane:
    return _at_edges(log_positive(x), x, 0.0)


def log1p(x: Lane) -> Lane:
    """log(u) for u = 1 + x rounded, plus the rounding error over u."""
    form = format_of(x)
    u = x + 1.0
    taken = u - 1.0
    lost = (1.0 - (u - taken)) + (x - taken)
    k, m = split_exponent(u)
    y = log_of_parts(k.to_float(), m - 1.0, lost / u, LOG_RATIO["long"])
    return select(abs(x) < form.identity, x, _at_edges(y, x, -1.0))
