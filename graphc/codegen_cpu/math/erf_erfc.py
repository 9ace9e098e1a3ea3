"""erf and erfc of vector lanes, float32 too in double lanes, whose arithmetic costs no accuracy.

For x >= 0 erfc(x) = exp(-x^2) * C(t) / (1 + 2x), t = (x-3)/(x+3): C is smooth and between 1 and
1.27 on all of [0, inf), so erfc keeps its relative accuracy until it underflows (Shepherd and
Laframboise 1981). Coefficients: own Remez fits with 60 digits, errors relative to the function.
"""

from __future__ import annotations

from graphc.codegen_cpu.math.exp_log import EXP, exp_narrow, exp_scaled
from graphc.codegen_cpu.math.lane_arithmetic import (
    Lane,
    at_most,
    fma,
    horner,
    intrinsic,
    select,
    two_product,
)

# erf(x) = x + x P(x^2) for |x| <= 1.
ERF = {
    "float": (  # 2^-29.6
        0.12837916572609673, -0.3761262582337089, 0.11283585144633979, -0.026853811860035836,
        0.005188327647774508, -0.0008010193998526216, 7.853864584883153e-05,
    ),
    "double": (  # 2^-55.9
        0.1283791670955126, -0.376126389031841, 0.11283791670971115, -0.026866170648037795,
        0.005223977652795746, -0.0008548328544262235, 0.00012055386608601684,
        -1.4926894289729918e-05, 1.6481313388752543e-06, -1.6560362530771706e-07,
        1.6038612098405668e-08, -1.657689079374271e-09, 1.4556751816597208e-10,
    ),
}  # fmt: skip
# C(t), to x = LAST[element], where erfc rounds to 0.
ERFC = {
    "float": (  # 2^-29.0
        1.2530080591179866, -0.13562113930693162, -0.04756239926236631, 0.12964641461340215,
        -0.11927097757323568, 0.0682957656644713, -0.023797520342225438, 0.0025673893971884876,
        0.0020018004326777077, -0.0007776070692680375, -0.00026813722286423894,
    ),
    "double": (  # 2^-53.8
        1.2530080582697296, -0.13562110612458056, -0.047562294353449455, 0.12964515870269128,
        -0.11927366341537764, 0.06830802734627364, -0.023770514917070877, 0.0025293917810681904,
        0.001888690338703448, -0.000779831976429912, -0.00010515963150846403,
        0.00012509783317568617, 4.948584861717023e-06, -2.009559197923187e-05,
        -7.28357300680499e-07, 3.461852825713566e-06, 3.496270189336178e-07,
        -6.022878172803253e-07, -1.3104848356263195e-07, 8.993627092459957e-08,
        3.241237098086102e-08, -7.915385928011989e-09, -3.953381549378645e-09,
    ),
}  # fmt: skip
LAST = {"float": 10.1, "double": 27.4}


def _inverse(x: Lane, element: str) -> Lane:
    """1 / x to the accuracy of `element`; a step of Newton costs a third of a double division."""
    if element == "double":
        return 1.0 / x
    rough = (1.0 / x.rounded_to(x.t.of("float"))).to_double()
    return fma(rough, fma(-x, rough, 1.0), rough)


def _erfc_positive(x: Lane, element: str) -> Lane:
    """erfc of double lanes 0 <= x <= LAST[element], to the accuracy of `element`."""
    shifted, stretched = x + 3.0, fma(x, 2.0, 1.0)
    inverse = _inverse(shifted * stretched, element)  # one division for both quotients
    t = fma(stretched * inverse, -6.0, 1.0)
    quotient = horner(t, ERFC[element]) * (shifted * inverse)
    if element == "float":
        return exp_narrow(-(x * x), EXP["float"]) * quotient  # the square of a float32 is exact
    square, lost = two_product(x, x)
    return exp_scaled(-square, -lost, quotient)


def erfc(x: Lane) -> Lane:
    element = x.t.element
    y = _erfc_positive(at_most(abs(x), LAST[element]).to_double(), element)
    return select(x < 0.0, 2.0 - y, y).rounded_to(x.t)


def erf(x: Lane) -> Lane:
    element, wide = x.t.element, x.to_double()
    size = at_most(abs(x), LAST[element]).to_double()
    near = fma(wide, horner(wide * wide, ERF[element]), wide)
    far = intrinsic("copysign", 1.0 - _erfc_positive(size, element), wide)
    return select(size < 1.0, near, far).rounded_to(x.t)
