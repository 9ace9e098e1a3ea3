"""What each elementwise op is in LLVM: one row of `SCALAR` per op, one lane or many alike.

A value in a register is not the value in memory: half floats are widened to float32 (and stay
rounded to their own precision), a bool is an i1. `register` gives that type, `from_memory` and
`to_memory` convert, `apply` calls the row and rounds once. Rows use no fast-math flag and no fused
multiply-add, so a lane's bits do not depend on its position, and no C library.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.codegen_cpu.emitter import LLVM_ELEMENT, Emitter, Vec, literal
from graphc.codegen_cpu.math import division, vector_math
from graphc.codegen_cpu.math.philox import random_bits
from graphc.ir.ops import OPS
from graphc.ir.types import DType, f32, i64

Row = Callable[[Emitter, Vec, DType, list[str]], str]

MEMORY_ELEMENT = LLVM_ELEMENT | {"bool": "i8", "bf16": "i16"}


def register(dtype: DType, lanes: int) -> Vec:
    """The type a value of `dtype` has in a register."""
    return Vec("float" if dtype.is_half else LLVM_ELEMENT[dtype.name], lanes)


def in_memory(dtype: DType, lanes: int) -> Vec:
    """The type it has in memory; bfloat16 as bits, because LLVM may call a library for it."""
    return Vec(MEMORY_ELEMENT[dtype.name], lanes)


def from_memory(e: Emitter, dtype: DType, lanes: int, raw: str) -> str:
    t = in_memory(dtype, lanes)
    if dtype.name == "bool":
        return e.value(f"icmp ne {t} {raw}, {literal(0, t)}")
    if dtype.name == "bf16":
        word = t.of("i32")
        bits = e.value(f"zext {t} {raw} to {word}")
        bits = e.value(f"shl {word} {bits}, {literal(16, word)}")
        return e.value(f"bitcast {word} {bits} to {t.of('float')}")
    if dtype.name == "f16":
        return e.value(f"fpext {t} {raw} to {t.of('float')}")
    return raw


def to_memory(e: Emitter, dtype: DType, lanes: int, x: str) -> str:
    """`x` must be rounded to its dtype already."""
    t, held = in_memory(dtype, lanes), register(dtype, lanes)
    if dtype.name == "bool":
        return e.value(f"zext {held} {x} to {t}")
    if dtype.name == "bf16":
        word = t.of("i32")
        bits = e.value(f"bitcast {held} {x} to {word}")
        bits = e.value(f"lshr {word} {bits}, {literal(16, word)}")
        return e.value(f"trunc {word} {bits} to {t}")
    if dtype.name == "f16":
        return e.value(f"fptrunc {held} {x} to {t}")
    return x


def rounded(e: Emitter, dtype: DType, lanes: int, x: str) -> str:
    """A float32 value rounded to the half type `dtype`, still in float32; others unchanged."""
    t = Vec("float", lanes)
    if dtype.name == "f16":
        half = e.value(f"fptrunc {t} {x} to {t.of('half')}")
        return e.value(f"fpext {t.of('half')} {half} to {t}")
    if dtype.name != "bf16":
        return x
    # To nearest even by integers: the hardware instruction would flush denormals.
    word = t.of("i32")
    bits = e.value(f"bitcast {t} {x} to {word}")
    odd = e.value(f"lshr {word} {bits}, {literal(16, word)}")
    odd = e.value(f"and {word} {odd}, {literal(1, word)}")
    bump = e.value(f"add {word} {odd}, {literal(0x7FFF, word)}")
    up = e.value(f"add {word} {bits}, {bump}")
    quiet = e.value(f"or {word} {bits}, {literal(0x400000, word)}")
    nan = e.value(f"fcmp uno {t} {x}, {x}")
    kept = e.value(f"select {t.of('i1')} {nan}, {word} {quiet}, {word} {up}")
    kept = e.value(f"and {word} {kept}, {literal(-0x10000, word)}")
    return e.value(f"bitcast {word} {kept} to {t}")


def cast(e: Emitter, lanes: int, source: DType, target: DType, x: str) -> str:
    """PyTorch's conversion; an out-of-range float gives some integer, never a trap."""
    if source is target:
        return x
    s, t = register(source, lanes), register(target, lanes)
    if target.name == "bool":
        return e.value(f"{'fcmp une' if s.is_float else 'icmp ne'} {s} {x}, {literal(0, s)}")
    if s.is_float and t.is_float:
        if s.bits != t.bits:
            x = e.value(f"{'fpext' if s.bits < t.bits else 'fptrunc'} {s} {x} to {t}")
        return rounded(e, target, lanes, x)
    unsigned = source.name in ("bool", "u8")
    if t.is_float:
        x = e.value(f"{'uitofp' if unsigned else 'sitofp'} {s} {x} to {t}")
        return rounded(e, target, lanes, x)
    if s.is_float:
        wide = t.of("i64" if t.bits == 64 else "i32")
        x = e.call(f"llvm.fptosi.sat.{wide.suffix}.{s.suffix}", wide, (s, x))
        return x if wide == t else e.value(f"trunc {wide} {x} to {t}")
    if s.bits == t.bits:
        return x
    op = "trunc" if s.bits > t.bits else "zext" if unsigned else "sext"
    return e.value(f"{op} {s} {x} to {t}")


# ---- rows --------------------------------------------------------------------------------------


def _is_unsigned(dtype: DType) -> bool:
    return dtype.name in ("bool", "u8")


def _binary(floating: str, integer: str, boolean: str) -> Row:
    def row(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
        op = floating if t.is_float else boolean if t.element == "i1" else integer
        return e.value(f"{op} {t} {args[0]}, {args[1]}")

    return row


def _compare(floating: str, signed: str, unsigned: str) -> Row:
    def row(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
        integer = unsigned if _is_unsigned(dtype) else signed
        code = f"fcmp {floating}" if t.is_float else f"icmp {integer}"
        return e.value(f"{code} {t} {args[0]}, {args[1]}")

    return row


def _math(function: Callable[..., str]) -> Row:
    return lambda e, t, dtype, args: function(e, *args, t)


def _intrinsic(name: str) -> Row:
    """A float intrinsic that every target has as an instruction; the identity on integers."""

    def row(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
        return e.call(f"llvm.{name}.{t.suffix}", t, (t, args[0])) if t.is_float else args[0]

    return row


def _choose(e: Emitter, t: Vec, condition: str, x: str, y: str) -> str:
    return e.value(f"select {t.of('i1')} {condition}, {t} {x}, {t} {y}")


def _neg(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return e.value(f"fneg {t} {args[0]}" if t.is_float else f"sub {t} {literal(0, t)}, {args[0]}")


def _abs(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    if t.is_float:
        return e.call(f"llvm.fabs.{t.suffix}", t, (t, args[0]))
    if _is_unsigned(dtype):
        return args[0]
    return e.call(f"llvm.abs.{t.suffix}", t, (t, args[0]), (Vec("i1"), "false"))


def _sign(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """0 for NaN, as neither comparison holds."""
    x, zero = args[0], literal(0, t)
    if _is_unsigned(dtype):
        return _choose(e, t, e.value(f"icmp ne {t} {x}, {zero}"), literal(1, t), zero)
    above, below = ("fcmp ogt", "fcmp olt") if t.is_float else ("icmp sgt", "icmp slt")
    high = e.value(f"{above} {t} {x}, {zero}")
    low = e.value(f"{below} {t} {x}, {zero}")
    return _choose(e, t, high, literal(1, t), _choose(e, t, low, literal(-1, t), zero))


def _relu(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """One `vmaxps`; this order of operands keeps NaN and -0."""
    x, zero = args[0], literal(0, t)
    if _is_unsigned(dtype):
        return x
    below = e.value(f"{'fcmp olt' if t.is_float else 'icmp slt'} {t} {x}, {zero}")
    return _choose(e, t, below, zero, x)


def _extreme(floating: str, signed: str, unsigned: str, boolean: str) -> Row:
    """maximum or minimum, NaN if either is: two instructions fewer than `llvm.maximum`."""

    def row(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
        x, y = args
        if t.element == "i1":
            return e.value(f"{boolean} {t} {x}, {y}")
        if not t.is_float:
            name = unsigned if _is_unsigned(dtype) else signed
            return e.call(f"llvm.{name}.{t.suffix}", t, (t, x), (t, y))
        beyond = e.value(f"fcmp {floating} {t} {x}, {y}")
        chosen = _choose(e, t, beyond, x, y)
        return _choose(e, t, e.value(f"fcmp uno {t} {x}, {x}"), x, chosen)

    return row


def _not(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return e.value(f"xor {t} {args[0]}, {literal(True if t.element == 'i1' else -1, t)}")


def _shl(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """0 by the width or more, or by a negative count (large when read as unsigned)."""
    x, count = args
    inside = e.value(f"icmp ult {t} {count}, {literal(t.bits, t)}")
    safe = _choose(e, t, inside, count, literal(0, t))
    return _choose(e, t, inside, e.value(f"shl {t} {x}, {safe}"), literal(0, t))


def _shr(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """The sign fills, also by the width or more; 0 for unsigned."""
    x, count = args
    inside = e.value(f"icmp ult {t} {count}, {literal(t.bits, t)}")
    last = literal(t.bits - 1, t)
    if not _is_unsigned(dtype):
        return e.value(f"ashr {t} {x}, {_choose(e, t, inside, count, last)}")
    moved = e.value(f"lshr {t} {x}, {_choose(e, t, inside, count, last)}")
    return _choose(e, t, inside, moved, literal(0, t))


def _whole_pow(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """By squaring, wrapping; a negative exponent gives 1 / base rounded to zero."""
    base, exponent = args
    zero, one, mask = literal(0, t), literal(1, t), t.of("i1")

    def more(values: list[str]) -> str:
        return e.any_lane(e.value(f"icmp sgt {t} {values[2]}, {zero}"), t.lanes)

    def step(values: list[str]) -> list[str]:
        result, power, rest = values
        low = e.value(f"and {t} {rest}, {one}")
        odd = e.value(f"icmp ne {t} {low}, {zero}")
        product = e.value(f"mul {t} {result}, {power}")
        square = e.value(f"mul {t} {power}, {power}")
        return [
            _choose(e, t, odd, product, result), square, e.value(f"lshr {t} {rest}, {one}")
        ]  # fmt: skip

    if _is_unsigned(dtype):  # an exponent of 128 or more would look negative
        wide = t.of("i32")
        base, exponent = (e.value(f"zext {t} {x} to {wide}") for x in args)
        return e.value(f"trunc {wide} {_whole_pow(e, wide, i64, [base, exponent])} to {t}")
    plain = e.repeat_while([(t, one), (t, base), (t, exponent)], more, step)[0]
    negative = e.value(f"icmp slt {t} {exponent}, {zero}")
    low = e.value(f"and {t} {exponent}, {one}")
    odd = e.value(f"icmp ne {t} {low}, {zero}")
    is_one = e.value(f"icmp eq {t} {base}, {one}")
    is_minus = e.value(f"icmp eq {t} {base}, {literal(-1, t)}")
    minus_power = _choose(e, t, odd, literal(-1, t), one)
    inverse = _choose(e, t, is_one, one, _choose(e, t, is_minus, minus_power, zero))
    return e.value(f"select {mask} {negative}, {t} {inverse}, {t} {plain}")


def _where(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return _choose(e, t, *args)


def _check_index(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """The index, or 0 where it is outside [0, bound), which is reported; bound and site are i64."""
    index, bound, site = args
    wide = t.of("i64")
    value = division.widen(e, index, t, dtype)
    bad = e.value(f"icmp uge {wide} {value}, {bound}")
    division.report(e, t.lanes, bad, site, value, bound)
    return _choose(e, t, bad, literal(0, t), index)


def _check(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    """The value itself; where the condition does not hold, that is reported for the i64 site."""
    x, condition, site = args
    mask, none = t.of("i1"), literal(0, t.of("i64"))
    bad = e.value(f"xor {mask} {condition}, {literal(True, mask)}")
    division.report(e, t.lanes, bad, site, none, none)
    return x


def _random_bits(e: Emitter, t: Vec, dtype: DType, args: list[str]) -> str:
    return random_bits(e, t.lanes, *args)


def _by_kind(floating: Row, integer: Row) -> Row:
    return lambda e, t, dtype, args: (floating if t.is_float else integer)(e, t, dtype, args)


# Called with the register type and dtype of the operands (for `where`, of the branches).
SCALAR: dict[str, Row] = {
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "relu": _relu,
    "exp": _math(vector_math.exp),
    "expm1": _math(vector_math.expm1),
    "log": _math(vector_math.log),
    "log1p": _math(vector_math.log1p),
    "sin": _math(vector_math.sin),
    "cos": _math(vector_math.cos),
    "atan": _math(vector_math.atan),
    "tanh": _math(vector_math.tanh),
    "sigmoid": _math(vector_math.sigmoid),
    "erf": _math(vector_math.erf),
    "erfc": _math(vector_math.erfc),
    "rsqrt": _math(vector_math.rsqrt),
    "sqrt": _intrinsic("sqrt"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "round": _intrinsic("roundeven"),
    "trunc": _intrinsic("trunc"),
    "not": _not,
    "add": _binary("fadd", "add", "or"),
    "sub": _binary("fsub", "sub", "xor"),
    "mul": _binary("fmul", "mul", "and"),
    "div": _binary("fdiv", "sdiv", "and"),
    "floordiv": _by_kind(division.float_floordiv, division.whole_floordiv),
    "rem": _by_kind(division.float_rem, division.whole_rem),
    "fmod": _by_kind(division.float_fmod, division.whole_fmod),
    "pow": _by_kind(_math(vector_math.pow), _whole_pow),
    "maximum": _extreme("ogt", "smax", "umax", "or"),
    "minimum": _extreme("olt", "smin", "umin", "and"),
    "and": _binary("", "and", "and"),
    "or": _binary("", "or", "or"),
    "xor": _binary("", "xor", "xor"),
    "shl": _shl,
    "shr": _shr,
    "lt": _compare("olt", "slt", "ult"),
    "le": _compare("ole", "sle", "ule"),
    "eq": _compare("oeq", "eq", "eq"),
    "ne": _compare("une", "ne", "ne"),
    "where": _where,
    "check_index": _check_index,
    "check": _check,
    "random_bits": _random_bits,
}


def reports(op: str) -> bool:
    """Whether `op` may write the error cell: it runs only where its lane and loop really run."""
    return OPS[op].may_fail != "never"


def operand_dtype(op: str, dtypes: list[DType]) -> DType:
    """The dtype that `op` computes in, of its arguments' dtypes."""
    return dtypes[1] if op == "where" else dtypes[0]


def apply(
    e: Emitter, lanes: int, op: str, dtype: DType, dtypes: list[DType], args: list[str]
) -> str:
    """`op` on register values of `dtypes`, with a result of `dtype` rounded once."""
    if op == "cast":
        return cast(e, lanes, dtypes[0], dtype, args[0])
    operand = operand_dtype(op, dtypes)
    held = register(operand, lanes)
    result = SCALAR[op](e, held, f32 if operand.is_half else operand, args)
    return result if OPS[op].exact else rounded(e, dtype, lanes, result)
