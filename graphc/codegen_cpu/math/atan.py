"""atan of vector lanes, float32 too in double lanes, whose arithmetic costs no accuracy.

With t = tan(pi/8): atan(x) = atan(x), pi/4 + atan((x-1)/(x+1)) or pi/2 + atan(-1/x) for |x| up to
t, up to 1/t and beyond, so one division leaves an argument of at most t. Coefficients: own
Chebyshev fits with 60 digits, errors relative to the function.
"""

from __future__ import annotations

from graphc.codegen_cpu.math.lane_arithmetic import Lane, fma, horner, intrinsic, select

# atan(r) = r + r z P(z), z = r^2 <= tan(pi/8)^2.
ATAN = {
    "float": (  # 2^-33.5
        -0.33333333279254224, 0.1999997725848901, -0.14284151182874424, 0.11071364822568436,
        -0.08624674658887398, 0.050481346766857296,
    ),
    "double": (  # 2^-58.1
        -0.3333333333333333, 0.19999999999999804, -0.14285714285659826, 0.11111111105155354,
        -0.09090908753496267, 0.07692296374898855, -0.06666424883344288, 0.05878928970308955,
        -0.05230454067920057, 0.04551592295864986, -0.034570538198393154, 0.016285730498129317,
    ),
}  # fmt: skip
NEAR, FAR = 0.41421356237309503, 2.414213562373095  # tan(pi/8) and 1/tan(pi/8)
HALF_PI = (1.5707963267948966, 6.123233995736766e-17)  # in two parts


def atan(x: Lane) -> Lane:
    size = abs(x).to_double()
    beyond, middle = size > FAR, size > NEAR
    above = select(beyond, size.constant(-1.0), select(middle, size - 1.0, size))
    below = select(beyond, size, select(middle, size + 1.0, 1.0))
    r = above / below
    z = r * r
    turn = select(beyond, size.constant(1.0), select(middle, size.constant(0.5), 0.0))
    high, low = HALF_PI
    tail = fma(r * z, horner(z, ATAN[x.t.element]), turn * low)
    y = turn * high + (r + tail)
    return intrinsic("copysign", y.rounded_to(x.t), x)
