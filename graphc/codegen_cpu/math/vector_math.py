"""Elementary functions of vector lanes as LLVM text: `exp(e, x, t)` emits exp of `x`, of type `t`.

Polynomials, no library, no fast-math flags: the bits of a lane depend neither on the number of
lanes nor on its position. NaN, infinities, signed zeros and denormals are as in the C library.

Largest error measured in ulp, float32 (every 16th argument or more; pow: samples) /
float64 (samples):

    exp   0.89 / 0.76    log   0.96 / 0.75    sin  0.501 / 1.5    erf   0.52 / 0.88
    expm1 1.24 / 0.98    log1p 1.04 / 0.69    cos  0.501 / 1.5    erfc  0.58 / 4.2
    tanh  1.33 / 0.88    pow   0.58 / 0.85    rsqrt 1.50 / 1.4    sigmoid 2.41 / 1.6
    atan  0.51 / 0.91
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.math import erf_erfc, exp_log, power, sin_cos
from graphc.codegen_cpu.math.atan import atan as atan_lanes
from graphc.codegen_cpu.math.lane_arithmetic import Lane, at_most, fma, horner, intrinsic, select

Function = Callable[[Emitter, str, Vec], str]

# tanh(x) = x + x z P(z), z = x^2, |x| < TANH_NEAR; own Remez fits: 2^-31.3 and 2^-60.3.
TANH = {
    "float": (-0.33333328, 0.13333112, -0.053935144, 0.02163869, -0.008028406, 0.002010696),
    "double": (
        -0.333333333333333, 0.1333333333332658, -0.05396825396373833, 0.021869488385279124,
        -0.00886323259188545, 0.0035920919209318537, -0.0014555420002049088,
        0.000588440278139267, -0.00023336877730729057, 8.329497189621777e-05,
        -1.9479452149978355e-05,
    ),
}  # fmt: skip
TANH_NEAR = {"float": 0.65, "double": 0.55}
TANH_LAST = {"float": 9.1, "double": 20.0}  # from here on tanh rounds to 1


def _tanh(x: Lane) -> Lane:
    """The polynomial near 0, else 1 - 2/(exp(2|x|) + 1); both lie below 1 in size."""
    size = at_most(abs(x), TANH_LAST[x.t.element])
    z = x * x
    near = fma(x * z, horner(z, TANH[x.t.element]), x)
    far = 1.0 - 2.0 / (exp_log.exp_narrow(size + size) + 1.0)
    return intrinsic("copysign", select(size < TANH_NEAR[x.t.element], near, far), x)


def _sigmoid(x: Lane) -> Lane:
    """z / (1 + z) or 1 / (1 + z) with z = exp(-|x|), which never overflows."""
    z = exp_log.exp(-abs(x))
    return select(x < 0.0, z, 1.0) / (z + 1.0)


def _rsqrt(x: Lane) -> Lane:
    """Two correctly rounded operations."""
    return 1.0 / intrinsic("sqrt", x)


def _unary(function: Callable[[Lane], Lane]) -> Function:
    return lambda e, x, t: function(Lane(e, x, t)).name


exp = _unary(exp_log.exp)
expm1 = _unary(exp_log.expm1)
log = _unary(exp_log.log)
log1p = _unary(exp_log.log1p)
sin = _unary(sin_cos.sin)
cos = _unary(sin_cos.cos)
atan = _unary(atan_lanes)
tanh = _unary(_tanh)
sigmoid = _unary(_sigmoid)
erf = _unary(erf_erfc.erf)
erfc = _unary(erf_erfc.erfc)
rsqrt = _unary(_rsqrt)


def pow(e: Emitter, x: str, y: str, t: Vec) -> str:
    return power.pow(Lane(e, x, t), Lane(e, y, t)).name
