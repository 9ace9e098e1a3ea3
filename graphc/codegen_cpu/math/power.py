"""pow of vector lanes: exp(y * log|x|) in double lanes, then the special cases of IEEE 754.

float32 takes the plain logarithm: its error 2^-35 times |y log x| <= 104 is a thirtieth of an ulp.
float64 needs log|x| to 2^-64, as a sum of two doubles (Dekker's arithmetic).
"""

from __future__ import annotations

from graphc.codegen_cpu.math.exp_log import (
    EXP,
    FORMATS,
    INF,
    LOG_RATIO,
    NAN,
    exp_narrow,
    exp_scaled,
    log_positive,
    split_normalized,
)
from graphc.codegen_cpu.math.lane_arithmetic import (
    Lane,
    at_least,
    at_most,
    fast_two_sum,
    fma,
    horner,
    intrinsic,
    select,
    two_product,
)

# atanh(s) = s (1 + z/3 + z^2 P(z)), z = s^2 <= 0.04; own Remez fit: 2^-75 of atanh.
ATANH = (
    0.2, 0.1428571428571341, 0.1111111111135964, 0.09090909055059931, 0.07692310694266906,
    0.06666512009526118, 0.05887321669308055, 0.051664809815669295, 0.0579239451863449,
)  # fmt: skip
THIRD = (0.3333333333333333, 1.850371707708594e-17)  # 1/3 in two doubles

Pair = tuple[Lane, Lane]  # an unevaluated sum, the larger first


def _product(x: Pair, y: Pair) -> Pair:
    high, error = two_product(x[0], y[0])
    return fast_two_sum(high, fma(x[0], y[1], fma(x[1], y[0], error)))


def _log_pair(x: Lane) -> Pair:
    """log of finite x > 0 to about 2^-64: k*ln2 + 2 atanh((m - 1) / (m + 1))."""
    k, m = split_normalized(x)
    f = m - 1.0
    below, below_error = fast_two_sum(2.0, f)
    s = f / below
    residue = fma(-s, below, f)
    pair = s, fma(-s, below_error, residue) / below
    z = _product(pair, pair)
    third, lost = fast_two_sum(THIRD[0], z[0] * horner(z[0], ATANH))
    cubic = _product(z, (third, lost + THIRD[1]))
    small = _product(pair, cubic)  # atanh(s) - s
    high, low = FORMATS["double"].ln2
    total, first = fast_two_sum(k * high, 2.0 * pair[0])
    total, second = fast_two_sum(total, 2.0 * small[0])
    rest = fma(k, low, 2.0 * (pair[1] + small[1]))
    return fast_two_sum(total, first + second + rest)


def _exp_of_product(y: Lane, log: Pair) -> Lane:
    """exp(y * log), the product to twice double's precision."""
    high, error = two_product(y, log[0])
    low = fma(y, log[1], error)
    inside = at_most(at_least(high, -746.0), 710.0)
    return exp_scaled(inside, select(inside.is_not(high), low.constant(0.0), low))


def _magnitude(x: Lane, y: Lane, element: str) -> Lane:
    """x ** y of double lanes for finite x > 0, to the accuracy of `element`."""
    if element == "double":
        bounded = at_most(at_least(y, -(2.0**100)), 2.0**100)  # so that 0 * y is not NaN
        return _exp_of_product(bounded, _log_pair(x))
    power = at_most(at_least(y, -(2.0**100)), 2.0**100) * log_positive(x, LOG_RATIO["short"])
    return exp_narrow(at_most(at_least(power, -200.0), 200.0), EXP["float"])


def pow(x: Lane, y: Lane) -> Lane:
    """x ** y with the special cases of IEEE 754-2019, 9.2.1."""
    t, element = x.t, x.t.element
    x, y = x.to_double(), y.to_double()
    size = abs(x)
    result = _magnitude(size, y, element)
    shrinks = (y < 0.0) ^ (size < 1.0)  # where |x| is 0 or infinite: the result is 0
    edge = size.equals(0.0)
    edge = edge | size.equals(INF)
    result = select(edge, select(shrinks, x.constant(0.0), INF), result)
    half = y * 0.5
    is_whole, is_even = y.equals(intrinsic("trunc", y)), half.equals(intrinsic("trunc", half))
    is_odd = is_whole ^ (is_whole & is_even)
    result = select(is_odd, intrinsic("copysign", result, x), result)
    invalid = (x < 0.0) & (size < INF) & y.is_not(intrinsic("trunc", y))
    result = select(invalid | x.is_unordered(y), x.constant(NAN), result)
    one = x.equals(1.0)
    one = one | y.equals(0.0)
    return select(one, x.constant(1.0), result).rounded_to(t)
