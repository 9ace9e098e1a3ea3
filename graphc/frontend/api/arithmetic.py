"""Tensor's operators and elementwise methods: free functions bound under PyTorch's names.

A name with a trailing _ is the same function written into the tensor (`inplace.inplace`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic
from graphc.frontend.api import special as F
from graphc.frontend.api.operators import operator
from graphc.frontend.inplace import InPlace, inplace
from graphc.ir.sugar import Sugar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


Comparison = Callable[..., Any]


class Arithmetic(Sugar):
    """What a Tensor can do element by element."""

    # ---- functions -----------------------------------------------------------------------------
    add = E.add
    sub = subtract = E.sub
    mul = multiply = E.mul
    div = divide = true_divide = E.div
    neg = negative = E.neg
    abs = absolute = E.abs
    trunc = fix = E.trunc
    clamp = clip = E.clamp
    exp = E.exp
    exp2 = E.exp2
    expm1 = E.expm1
    log = E.log
    log2 = E.log2
    log10 = E.log10
    log1p = E.log1p
    sin = E.sin
    cos = E.cos
    tan = E.tan
    sinh = E.sinh
    cosh = E.cosh
    tanh = E.tanh
    sigmoid = E.sigmoid
    erf = E.erf
    erfc = E.erfc
    sqrt = E.sqrt
    rsqrt = E.rsqrt
    square = E.square
    reciprocal = E.reciprocal
    floor = E.floor
    ceil = E.ceil
    round = E.round
    relu = E.relu
    sign = E.sign
    nan_to_num = E.nan_to_num
    remainder = E.remainder
    fmod = E.fmod
    pow = E.pow
    floor_divide = E.floor_divide
    lerp = E.lerp
    addcmul = E.addcmul
    addcdiv = E.addcdiv
    masked_fill = E.masked_fill
    clamp_min = E.clamp_min
    clamp_max = E.clamp_max
    asin = arcsin = F.asin
    acos = arccos = F.acos
    atan = arctan = F.atan
    asinh = arcsinh = F.asinh
    acosh = arccosh = F.acosh
    atanh = arctanh = F.atanh
    atan2 = arctan2 = F.atan2
    sgn = F.sgn
    deg2rad = F.deg2rad
    rad2deg = F.rad2deg
    sinc = F.sinc
    frac = F.frac
    logit = F.logit
    digamma = F.digamma
    lgamma = F.lgamma
    erfinv = F.erfinv
    hypot = F.hypot
    xlogy = F.xlogy
    copysign = F.copysign
    heaviside = F.heaviside
    ldexp = F.ldexp
    float_power = F.float_power
    ne = not_equal = logic.ne
    lt = less = logic.lt
    le = less_equal = logic.le
    gt = greater = logic.gt
    ge = greater_equal = logic.ge
    eq = logic.eq
    bitwise_and = logic.bitwise_and
    bitwise_or = logic.bitwise_or
    bitwise_xor = logic.bitwise_xor
    bitwise_left_shift = logic.bitwise_left_shift
    bitwise_right_shift = logic.bitwise_right_shift
    bitwise_not = logic.bitwise_not
    logical_and = logic.logical_and
    logical_or = logic.logical_or
    logical_xor = logic.logical_xor
    logical_not = logic.logical_not
    polygamma = F.polygamma_of
    maximum = E.maximum
    minimum = E.minimum
    fmax = E.fmax
    fmin = E.fmin
    positive = E.positive
    logaddexp = F.logaddexp
    logaddexp2 = F.logaddexp2
    signbit = F.signbit
    isnan = logic.isnan
    isinf = logic.isinf
    isfinite = logic.isfinite
    isposinf = logic.isposinf
    isneginf = logic.isneginf
    isreal = logic.isreal
    isclose = logic.isclose

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """self where the condition holds, else `other`."""
        return E.where(condition, self, other)

    # ---- the same in place ---------------------------------------------------------------------
    add_: InPlace = inplace(E.add)
    sub_: InPlace = inplace(E.sub)
    subtract_ = sub_
    mul_: InPlace = inplace(E.mul)
    multiply_ = mul_
    div_: InPlace = inplace(E.div)
    divide_ = true_divide_ = div_
    neg_: InPlace = inplace(E.neg)
    negative_ = neg_
    abs_: InPlace = inplace(E.abs)
    absolute_ = abs_
    trunc_: InPlace = inplace(E.trunc)
    fix_ = trunc_
    clamp_: InPlace = inplace(E.clamp)
    clip_ = clamp_
    exp_: InPlace = inplace(E.exp)
    exp2_: InPlace = inplace(E.exp2)
    expm1_: InPlace = inplace(E.expm1)
    log_: InPlace = inplace(E.log)
    log2_: InPlace = inplace(E.log2)
    log10_: InPlace = inplace(E.log10)
    log1p_: InPlace = inplace(E.log1p)
    sin_: InPlace = inplace(E.sin)
    cos_: InPlace = inplace(E.cos)
    tan_: InPlace = inplace(E.tan)
    sinh_: InPlace = inplace(E.sinh)
    cosh_: InPlace = inplace(E.cosh)
    tanh_: InPlace = inplace(E.tanh)
    sigmoid_: InPlace = inplace(E.sigmoid)
    erf_: InPlace = inplace(E.erf)
    erfc_: InPlace = inplace(E.erfc)
    sqrt_: InPlace = inplace(E.sqrt)
    rsqrt_: InPlace = inplace(E.rsqrt)
    square_: InPlace = inplace(E.square)
    reciprocal_: InPlace = inplace(E.reciprocal)
    floor_: InPlace = inplace(E.floor)
    ceil_: InPlace = inplace(E.ceil)
    round_: InPlace = inplace(E.round)
    relu_: InPlace = inplace(E.relu)
    sign_: InPlace = inplace(E.sign)
    nan_to_num_: InPlace = inplace(E.nan_to_num)
    remainder_: InPlace = inplace(E.remainder)
    fmod_: InPlace = inplace(E.fmod)
    pow_: InPlace = inplace(E.pow)
    floor_divide_: InPlace = inplace(E.floor_divide)
    lerp_: InPlace = inplace(E.lerp)
    addcmul_: InPlace = inplace(E.addcmul)
    addcdiv_: InPlace = inplace(E.addcdiv)
    masked_fill_: InPlace = inplace(E.masked_fill)
    clamp_min_: InPlace = inplace(E.clamp_min)
    clamp_max_: InPlace = inplace(E.clamp_max)
    asin_: InPlace = inplace(F.asin)
    arcsin_ = asin_
    acos_: InPlace = inplace(F.acos)
    arccos_ = acos_
    atan_: InPlace = inplace(F.atan)
    arctan_ = atan_
    asinh_: InPlace = inplace(F.asinh)
    arcsinh_ = asinh_
    acosh_: InPlace = inplace(F.acosh)
    arccosh_ = acosh_
    atanh_: InPlace = inplace(F.atanh)
    arctanh_ = atanh_
    atan2_: InPlace = inplace(F.atan2)
    arctan2_ = atan2_
    sgn_: InPlace = inplace(F.sgn)
    deg2rad_: InPlace = inplace(F.deg2rad)
    rad2deg_: InPlace = inplace(F.rad2deg)
    sinc_: InPlace = inplace(F.sinc)
    frac_: InPlace = inplace(F.frac)
    logit_: InPlace = inplace(F.logit)
    digamma_: InPlace = inplace(F.digamma)
    lgamma_: InPlace = inplace(F.lgamma)
    erfinv_: InPlace = inplace(F.erfinv)
    hypot_: InPlace = inplace(F.hypot)
    xlogy_: InPlace = inplace(F.xlogy)
    copysign_: InPlace = inplace(F.copysign)
    heaviside_: InPlace = inplace(F.heaviside)
    ldexp_: InPlace = inplace(F.ldexp)
    float_power_: InPlace = inplace(F.float_power)
    ne_: InPlace = inplace(logic.ne)
    not_equal_ = ne_
    lt_: InPlace = inplace(logic.lt)
    less_ = lt_
    le_: InPlace = inplace(logic.le)
    less_equal_ = le_
    gt_: InPlace = inplace(logic.gt)
    greater_ = gt_
    ge_: InPlace = inplace(logic.ge)
    greater_equal_ = ge_
    eq_: InPlace = inplace(logic.eq)
    bitwise_and_: InPlace = inplace(logic.bitwise_and)
    bitwise_or_: InPlace = inplace(logic.bitwise_or)
    bitwise_xor_: InPlace = inplace(logic.bitwise_xor)
    bitwise_left_shift_: InPlace = inplace(logic.bitwise_left_shift)
    bitwise_right_shift_: InPlace = inplace(logic.bitwise_right_shift)
    bitwise_not_: InPlace = inplace(logic.bitwise_not)
    logical_and_: InPlace = inplace(logic.logical_and)
    logical_or_: InPlace = inplace(logic.logical_or)
    logical_xor_: InPlace = inplace(logic.logical_xor)
    logical_not_: InPlace = inplace(logic.logical_not)
    polygamma_: InPlace = inplace(F.polygamma_of)

    # ---- operators -----------------------------------------------------------------------------
    __add__ = operator(E.add)
    __radd__ = operator(E.add)
    __sub__ = operator(E.sub)
    __rsub__ = operator(E.rsub)
    __mul__ = operator(E.mul)
    __rmul__ = operator(E.mul)
    __truediv__ = operator(E.div)
    __rtruediv__ = operator(E.rdiv, "__rtruediv__")
    __floordiv__ = operator(E.floor_divide)
    __rfloordiv__ = operator(E.rfloordiv)
    __mod__ = operator(E.remainder)
    __rmod__ = operator(E.rrem)
    __pow__ = operator(E.pow, "__pow__")
    __rpow__ = operator(E.rpow, "__rpow__")
    __neg__ = E.neg
    __pos__ = E.positive
    __abs__ = E.abs
    __invert__ = logic.invert
    __and__ = operator(logic.bitwise_and)
    __rand__ = operator(logic.bitwise_and)
    __or__ = operator(logic.bitwise_or)
    __ror__ = operator(logic.bitwise_or)
    __xor__ = operator(logic.bitwise_xor)
    __rxor__ = operator(logic.bitwise_xor)
    __lshift__ = operator(logic.bitwise_left_shift)
    __rlshift__ = operator(logic.rshl)
    __rshift__ = operator(logic.bitwise_right_shift)
    __rrshift__ = operator(logic.rshr)
    __lt__ = operator(logic.lt)
    __le__ = operator(logic.le)
    __gt__ = operator(logic.gt)
    __ge__ = operator(logic.ge)
    __eq__: Comparison = operator(logic.eq)
    __ne__: Comparison = operator(logic.ne)
    __iadd__ = operator(add_)
    __isub__ = operator(sub_)
    __imul__ = operator(mul_)
    __itruediv__ = operator(div_)
    __ifloordiv__ = operator(floor_divide_)
    __imod__ = operator(remainder_)
    __ipow__ = operator(pow_)
    __iand__ = operator(bitwise_and_)
    __ior__ = operator(bitwise_or_)
    __ixor__ = operator(bitwise_xor_)
    __ilshift__ = operator(bitwise_left_shift_)
    __irshift__ = operator(bitwise_right_shift_)
