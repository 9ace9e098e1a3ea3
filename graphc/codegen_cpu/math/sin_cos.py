"""sin and cos of vector lanes, float32 and float64 alike reduced in double lanes.

x = q * pi/2 + r, |r| <= pi/4. Below 2^40 pi/2 in three doubles suffices (Cody and Waite 1980).
From there on q and r come from the bits of 1/(2 pi) that the exponent leaves above the point
(Payne and Hanek 1983), in integer lanes and in a branch that is taken if some lane needs it.
"""

from __future__ import annotations

from itertools import pairwise

from graphc.codegen_cpu import masked
from graphc.codegen_cpu.math.lane_arithmetic import Lane, fma, horner, select

# pi/2 = sum; with fma each product is exact, and so is the first difference.
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
TWO_OVER_PI = 0.6366197723675814
HUGE = 2.0**40  # q * HALF_PI[1] must stay below 1 for the first difference to be exact

# sin r = r + r z S(z), cos r = 1 - z/2 + z^2 C(z), z = r^2 <= 1.03 (pi/4)^2; own Remez fits.
SIN = {
    "float": (  # 2^-37.3
        -0.16666666637532154, 0.008333328930041344, -0.0001983919291117322, 2.7169952991240878e-06,
    ),
    "double": (  # 2^-57.6
        -0.16666666666666624, 0.008333333333320392, -0.00019841269828160186,
        2.7557313112367003e-06, -2.505066630803604e-08, 1.5891419587510895e-10,
    ),
}  # fmt: skip
COS = {
    "float": (  # 2^-42.7
        0.04166666661346125, -0.0013888882992900864, 2.479932908809326e-05, -2.71951232786776e-07,
    ),
    "double": (  # 2^-63.6
        0.04166666666666658, -0.0013888888888870866, 2.480158728742014e-05,
        -2.755731375174695e-07, 2.0875641216857713e-09, -1.1355385758013104e-11,
    ),
}  # fmt: skip

# 1/(2 pi) after 32 zero bits; entry i of the table in memory is words i and i+1.
TURN_WORDS = (
    0x00000000, 0x28BE60DB, 0x9391054A, 0x7F09D5F4, 0x7D4D3770, 0x36D8A566, 0x4F10E410,
    0x7F9458EA, 0xF7AEF158, 0x6DC91B8E, 0x909374B8, 0x01924BBA, 0x82746487, 0x3F877AC7,
    0x2C4A69CF, 0xBA208D7D, 0x4BAED121, 0x3A671C09, 0xAD17DF90, 0x4E64758E, 0x60D4CE7D,
    0x272117E2, 0xEF7E4A0E, 0xC7FE25FF, 0xF7816603, 0xFBCBC462, 0xD6829B47, 0xDB4D9FB3,
    0xC9F2C26D, 0xD3D18FD9, 0xA797FA8B, 0x5D49EEB1, 0xFAF97C5E, 0xCF41CE7D, 0xE294A4BA,
    0x9AFED7EC, 0x47E35742, 0x1580CC11, 0xBF1EDAEA, 0xFC33EF08,
)  # fmt: skip
TURN_TABLE = "@graphc.turns"
LOW_WORD = (1 << 32) - 1


def _reduce(x: Lane) -> tuple[Lane, Lane]:
    """The quadrant q in the low two bits of an integer, and r, for |x| < HUGE."""
    magic = 1.5 * 2.0**52  # rounds to an integer and leaves it in the low bits
    shifted = fma(x, TWO_OVER_PI, magic)
    q = shifted - magic
    r = x
    for part in HALF_PI:
        r = fma(q, -part, r)
    return shifted.bits(), r


def _turn_words(offset: Lane, count: int) -> list[Lane]:
    """`count` words of 1/(2 pi) from bit `offset` of TURN_WORDS on."""
    e, t = offset.e, offset.t
    pairs = [high << 32 | low for high, low in pairwise(TURN_WORDS)]
    body = ", ".join(f"i64 {pair}" for pair in pairs)
    array = f"[{len(pairs)} x i64]"
    e.declarations.add(f"{TURN_TABLE} = private unnamed_addr constant {array} [{body}]")
    first, shift = offset.logical_shift(5), 32 - (offset & 31)
    words = []
    for k in range(count):
        at = e.value(f"getelementptr i64, ptr {TURN_TABLE}, {t} {(first + k).name}")
        words.append(_gather(offset, at).logical_shift(shift) & LOW_WORD)
    return words


def _gather(like: Lane, address: str) -> Lane:
    """The i64 at each lane's address."""
    e, t = like.e, like.t
    if t.lanes == 1:
        return Lane(e, e.value(f"load i64, ptr {address}, align 8"), t)
    return Lane(e, masked.gather(e, t, address, ""), t)


def _turn_fraction(digits: list[Lane], words: list[Lane]) -> list[Lane]:
    """digits * 0.words modulo 1, by schoolbook products of 32-bit words.

    `digits` from the lowest, `words` and the result from the highest; a word of the result needs
    one word to its right for each digit.
    """
    products = [[digit * word for word in words] for digit in digits]
    carry = digits[0].constant(0)
    fraction: list[Lane] = []
    for k in reversed(range(len(words) - len(digits))):
        total = carry
        for j, row in enumerate(products):
            total = total + (row[k + j] & LOW_WORD) + row[k + j + 1].logical_shift(32)
        fraction.insert(0, total & LOW_WORD)
        carry = total.logical_shift(32)
    return fraction


def _reduce_huge(x: Lane, element: str) -> tuple[Lane, Lane]:
    """`_reduce` for finite |x| >= HUGE: turns modulo 1, of which the top two bits are q.

    r may be as small as 2^-29 for float32, 2^-61 for float64: 64 and 128 bits leave enough of it.
    """
    bits = x.bits()
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    offset = bits.logical_shift(52) & 0x7FF  # the exponent, and what TURN_WORDS has in front
    if element == "float":
        digits, offset = [mantissa.logical_shift(29)], offset - (1075 - 29 - 32)
    else:
        digits, offset = [mantissa & LOW_WORD, mantissa.logical_shift(32)], offset - (1075 - 32)
    fraction = _turn_fraction(digits, _turn_words(offset, 3 * len(digits)))
    high = (fraction[0] << 32) | fraction[1]
    q = (high + (1 << 61)).logical_shift(62)
    turns = (high - (q << 62)).to_float() * 2.0**-64
    if len(fraction) == 4:
        low = (fraction[2] << 32) | fraction[3]
        turns = fma(low.logical_shift(11).to_float(), 2.0**-117, turns)
    r = turns * 6.283185307179586
    negative = x < 0.0
    return select(negative, -q, q), select(negative, -r, r)


def _reduce_any(x: Lane, element: str) -> tuple[Lane, Lane]:
    """`_reduce`, and a branch to `_reduce_huge` if a lane is huge; infinity gives NaN."""
    e = x.e
    q, r = _reduce(x)
    huge = (abs(x) < float("inf")) & (abs(x) > HUGE)
    before, rare, done = e.label, e.fresh("huge"), e.fresh("reduced")
    e.do(f"br i1 {e.any_lane(huge.name, x.t.lanes)}, label %{rare}, label %{done}")
    e.block(rare)
    q_huge, r_huge = _reduce_huge(select(huge, x, 2.0 * HUGE), element)
    q_mixed, r_mixed = select(huge, q_huge, q), select(huge, r_huge, r)
    after = e.label
    e.do(f"br label %{done}")
    e.block(done)
    q, r = (
        Lane(e, e.value(f"phi {a.t} [ {a.name}, %{before} ], [ {b.name}, %{after} ]"), a.t)
        for a, b in ((q, q_mixed), (r, r_mixed))
    )
    return q, r


def _sin_of(x: Lane, quarter_turns: int) -> Lane:
    """sin(x + quarter_turns * pi/2)."""
    q, r = _reduce_any(x.to_double(), x.t.element)
    q = q + quarter_turns
    z = r * r
    sine = fma(r * z, horner(z, SIN[x.t.element]), r)
    cosine = fma(z * z, horner(z, COS[x.t.element]), fma(z, -0.5, 1.0))
    chosen = select((q & 1).equals(0), sine, cosine)
    sign = (q & 2) << 62
    return (chosen.bits() ^ sign).as_float().rounded_to(x.t)


def sin(x: Lane) -> Lane:
    tiny = abs(x) < 2.0**-30  # sin(x) rounds to x, also -0
    return select(tiny, x, _sin_of(x, 0))


def cos(x: Lane) -> Lane:
    return _sin_of(x, 1)
