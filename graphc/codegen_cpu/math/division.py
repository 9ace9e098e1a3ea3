"""Integer and floating division with PyTorch's rounding; nothing here can trap.

`sdiv` by zero or of INT_MIN by -1 is undefined in LLVM, so the divisor is made safe first and a
zero is reported through the error cell. `frem` would call the C library, and a quotient rounded to
float loses the remainder of large ratios, so `fmod` subtracts multiples of the divisor until it
fits: each step is exact, because r - round(r / b) * b is representable.
"""

from __future__ import annotations

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.ir.types import DType

RARE = '!{!"branch_weights", i32 1, i32 9999}'
# Twice this factor brings any quotient into range; once, a divisor below 1 does not overflow.
BIG = {"float": 2.0**100, "double": 2.0**600}


def report(
    e: Emitter, lanes: int, bad: str, site: str, value: str, bound: str, mark: int = 1
) -> None:
    """If a lane of `bad` is active: put (mark, site, value, bound) of the first in the error cell.

    site, value and bound are i64 in `lanes` lanes. The first reporter of all threads wins.
    """
    if e.active:
        bad = e.value(f"and {Vec('i1', lanes)} {bad}, {e.active}")
    some = e.any_lane(bad, lanes)
    failed, write, passed = e.fresh("failed"), e.fresh("report"), e.fresh("passed")
    e.do(f"br i1 {some}, label %{failed}, label %{passed}, !prof {RARE}")
    e.block(failed)
    fields = [site, value, bound]
    if lanes > 1:
        bits = e.value(f"bitcast <{lanes} x i1> {bad} to i{lanes}")
        t = Vec(f"i{lanes}")
        first = e.call(f"llvm.cttz.i{lanes}", t, (t, bits), (Vec("i1"), "true"))
        fields = [e.value(f"extractelement <{lanes} x i64> {x}, i{lanes} {first}") for x in fields]
    cell = e.value("load ptr, ptr %args")
    pair = e.value(f"cmpxchg ptr {cell}, i64 0, i64 {mark} seq_cst seq_cst")
    won = e.value(f"extractvalue {{ i64, i1 }} {pair}, 1")
    e.do(f"br i1 {won}, label %{write}, label %{passed}")
    e.block(write)
    for k, x in enumerate(fields, 1):
        place = e.value(f"getelementptr i64, ptr {cell}, i64 {k}")
        e.do(f"store i64 {x}, ptr {place}")
    e.do(f"br label %{passed}")
    e.block(passed)


def widen(e: Emitter, x: str, t: Vec, dtype: DType) -> str:
    """An integer as i64, for the error cell."""
    if t.bits == 64:
        return x
    extend = "zext" if dtype.name in ("u8", "bool") else "sext"
    return e.value(f"{extend} {t} {x} to {t.of('i64')}")


def _whole_parts(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> tuple[str, str, str]:
    """(quotient, remainder) rounded to zero, and the mask of lanes that divide by -1."""
    x, y = args[:2]
    mask = t.of("i1")
    zero = e.value(f"icmp eq {t} {y}, {literal(0, t)}")
    wide = t.of("i64")
    site = args[2] if len(args) > 2 else literal(0, wide)
    report(e, t.lanes, zero, site, widen(e, x, t, dtype), literal(0, wide))
    if dtype.name == "u8":
        safe = e.value(f"select {mask} {zero}, {t} {literal(1, t)}, {t} {y}")
        parts = [e.value(f"{op} {t} {x}, {safe}") for op in ("udiv", "urem")]
        return parts[0], parts[1], literal(False, mask)
    minus = e.value(f"icmp eq {t} {y}, {literal(-1, t)}")
    unsafe = e.value(f"or {mask} {zero}, {minus}")
    safe = e.value(f"select {mask} {unsafe}, {t} {literal(1, t)}, {t} {y}")
    quotient = e.value(f"sdiv {t} {x}, {safe}")
    remainder = e.value(f"srem {t} {x}, {safe}")
    return quotient, remainder, minus


def _sign_differs(e: Emitter, t: Vec, remainder: str, y: str) -> str:
    """Whether a non-zero remainder and the divisor differ in sign: the quotient rounded up."""
    signs = e.value(f"xor {t} {remainder}, {y}")
    below = e.value(f"icmp slt {t} {signs}, {literal(0, t)}")
    some = e.value(f"icmp ne {t} {remainder}, {literal(0, t)}")
    return e.value(f"and {t.of('i1')} {below}, {some}")


def whole_floordiv(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    quotient, remainder, minus = _whole_parts(e, t, dtype, args)
    if dtype.name == "u8":
        return quotient
    mask = t.of("i1")
    high = _sign_differs(e, t, remainder, args[1])
    less = e.value(f"sub {t} {quotient}, {literal(1, t)}")
    floor = e.value(f"select {mask} {high}, {t} {less}, {t} {quotient}")
    negated = e.value(f"sub {t} {literal(0, t)}, {args[0]}")
    return e.value(f"select {mask} {minus}, {t} {negated}, {t} {floor}")


def whole_fmod(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return _whole_parts(e, t, dtype, args)[1]  # by -1 it is x % 1 = 0, as it should be


def whole_rem(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    remainder = _whole_parts(e, t, dtype, args)[1]
    if dtype.name == "u8":
        return remainder
    high = _sign_differs(e, t, remainder, args[1])
    moved = e.value(f"add {t} {remainder}, {args[1]}")
    return e.value(f"select {t.of('i1')} {high}, {t} {moved}, {t} {remainder}")


def float_fmod(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """Exact: NaN for an infinite dividend or a zero divisor, else |result| < |divisor|."""
    x, y = args[:2]
    mask = t.of("i1")
    a = e.call(f"llvm.fabs.{t.suffix}", t, (t, x))
    b = e.call(f"llvm.fabs.{t.suffix}", t, (t, y))
    inf, zero = literal(float("inf"), t), literal(0.0, t)
    finite = e.value(f"fcmp olt {t} {a}, {inf}")
    divides = e.value(f"fcmp ogt {t} {b}, {zero}")
    valid = e.value(f"and {mask} {finite}, {divides}")

    def live(r: str) -> str:
        size = e.call(f"llvm.fabs.{t.suffix}", t, (t, r))
        large = e.value(f"fcmp oge {t} {size}, {b}")
        return e.value(f"and {mask} {large}, {valid}")

    def step(values: list[str]) -> list[str]:
        r = values[0]
        going = live(r)
        divisor = _finite_divisor(e, t, r, _finite_divisor(e, t, r, b))
        q = e.value(f"fdiv {t} {r}, {divisor}")
        q = e.call(f"llvm.trunc.{t.suffix}", t, (t, q))
        q = e.value(f"fneg {t} {q}")
        less = e.call(f"llvm.fma.{t.suffix}", t, (t, q), (t, divisor), (t, r))
        return [e.value(f"select {mask} {going}, {t} {less}, {t} {r}")]

    r = e.repeat_while([(t, a)], lambda v: e.any_lane(live(v[0]), t.lanes), step)[0]
    # A quotient rounded up left r - b: one exact addition away.
    below = e.value(f"fcmp olt {t} {r}, {zero}")
    raised = e.value(f"fadd {t} {r}, {b}")
    r = e.value(f"select {mask} {below}, {t} {raised}, {t} {r}")
    signed = e.call(f"llvm.copysign.{t.suffix}", t, (t, r), (t, x))
    defined = e.value(f"fcmp ord {t} {x}, {y}")
    defined = e.value(f"and {mask} {defined}, {valid}")
    return e.value(f"select {mask} {defined}, {t} {signed}, {t} {literal(float('nan'), t)}")


def _finite_divisor(e: Emitter, t: Vec, r: str, b: str) -> str:
    """b, or a multiple of it where r / b overflows: that leaves the same remainder mod b."""
    ratio = e.value(f"fdiv {t} {r}, {b}")
    size = e.call(f"llvm.fabs.{t.suffix}", t, (t, ratio))
    over = e.value(f"fcmp oeq {t} {size}, {literal(float('inf'), t)}")
    scaled = e.value(f"fmul {t} {b}, {literal(BIG[t.element], t)}")
    return e.value(f"select {t.of('i1')} {over}, {t} {scaled}, {t} {b}")


def _moved_to_divisor(e: Emitter, t: Vec, r: str, y: str) -> tuple[str, str]:
    """(whether r is non-zero with a sign unlike the divisor's, r with the divisor's sign)."""
    mask, zero = t.of("i1"), literal(0.0, t)
    some = e.value(f"fcmp une {t} {r}, {zero}")
    r_below = e.value(f"fcmp olt {t} {r}, {zero}")
    y_below = e.value(f"fcmp olt {t} {y}, {zero}")
    differ = e.value(f"xor {mask} {r_below}, {y_below}")
    moves = e.value(f"and {mask} {some}, {differ}")
    moved = e.value(f"fadd {t} {r}, {y}")
    return moves, e.value(f"select {mask} {moves}, {t} {moved}, {t} {r}")


def float_rem(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return _moved_to_divisor(e, t, float_fmod(e, t, dtype, args), args[1])[1]


def float_floordiv(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """floor(x / y) from the exact remainder, as Python's: (x - rem) / y, then to the nearest."""
    x, y = args[:2]
    mask = t.of("i1")
    r = float_fmod(e, t, dtype, args)
    moves, _ = _moved_to_divisor(e, t, r, y)
    whole = e.value(f"fsub {t} {x}, {r}")
    q = e.value(f"fdiv {t} {whole}, {y}")
    less = e.value(f"fsub {t} {q}, {literal(1.0, t)}")
    q = e.value(f"select {mask} {moves}, {t} {less}, {t} {q}")
    floor = e.call(f"llvm.floor.{t.suffix}", t, (t, q))
    rest = e.value(f"fsub {t} {q}, {floor}")
    up = e.value(f"fcmp ogt {t} {rest}, {literal(0.5, t)}")
    more = e.value(f"fadd {t} {floor}, {literal(1.0, t)}")
    nearest = e.value(f"select {mask} {up}, {t} {more}, {t} {floor}")
    plain = e.value(f"fdiv {t} {x}, {y}")
    signed = e.call(f"llvm.copysign.{t.suffix}", t, (t, literal(0.0, t)), (t, plain))
    none = e.value(f"fcmp oeq {t} {q}, {literal(0.0, t)}")
    nearest = e.value(f"select {mask} {none}, {t} {signed}, {t} {nearest}")
    by_zero = e.value(f"fcmp oeq {t} {y}, {literal(0.0, t)}")
    return e.value(f"select {mask} {by_zero}, {t} {plain}, {t} {nearest}")
