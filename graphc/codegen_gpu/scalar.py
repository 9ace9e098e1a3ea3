"""What each elementwise op is in Triton: one row of `SCALAR` per op.

A value in a register is not the value in memory: half floats are float32, bools are int1 (a byte in
memory). A row gets texts of register values and gives an expression; `Lane` names what it needs
between. Functions that Triton lacks, or only approximates, are libdevice's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isinf, isnan
from typing import Protocol

from graphc.ir.meaning.sources import PHILOX_KEY_STEPS, PHILOX_MULTIPLIERS
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, bool_, f32, f64, i64

MEMORY = {
    "bool": "tl.uint8", "u8": "tl.uint8", "i8": "tl.int8", "i16": "tl.int16", "i32": "tl.int32",
    "i64": "tl.int64", "f16": "tl.float16", "bf16": "tl.bfloat16", "f32": "tl.float32",
    "f64": "tl.float64",
}  # fmt: skip
REGISTER = MEMORY | {"bool": "tl.int1", "f16": "tl.float32", "bf16": "tl.float32"}


class Names(Protocol):
    def let(self, expression: str) -> str:
        """A name for an intermediate value."""


class Lane(Names, Protocol):
    """Where a row writes."""

    def do(self, line: str) -> None:
        """A line as it stands."""

    def fresh(self) -> str:
        """A name for a variable that lines assign."""

    def report(self, bad: str, site: str, value: str, bound: str) -> None:
        """Where `bad` holds, put i64 site, value and bound in the error words, if none is there."""


Row = Callable[[Lane, DType, list[str]], str]


def held(dtype: DType) -> DType:
    """The dtype of a register."""
    return f32 if dtype.is_half else dtype


def literal(value: Scalar, dtype: DType) -> str:
    """A scalar of the register type."""
    if dtype.name == "bool":
        text = "1" if value else "0"
        return f"(tl.full([], {text}, tl.int32) != 0)"
    if not dtype.is_floating_point:
        text = str(int(value))
    elif isnan(value) or isinf(value):
        text = f'float("{value}")'
    else:
        text = repr(float(value))
    return f"tl.full([], {text}, {REGISTER[dtype.name]})"


def loaded(dtype: DType, x: str) -> str:
    """The register value of one from memory."""
    if dtype.name == "bool":
        return f"({x} != 0)"
    return f"{x}.to(tl.float32)" if dtype.is_half else x


def stored(dtype: DType, x: str) -> str:
    """The memory value of one from a register, rounded."""
    if dtype.name == "bool" or dtype.is_half:
        return f"{x}.to({MEMORY[dtype.name]})"
    return x


def rounded(dtype: DType, x: str) -> str:
    """A float32 value rounded to the half type `dtype`, still in float32; others unchanged."""
    return f"{x}.to({MEMORY[dtype.name]}).to(tl.float32)" if dtype.is_half else x


def cast(source: DType, target: DType, x: str) -> str:
    """PyTorch's conversion; an out-of-range float gives some integer, never a trap."""
    if source is target:
        return x
    s, t = held(source), held(target)
    if target is bool_:
        return f"({x} != 0)"
    if t.is_floating_point:
        return rounded(target, x if s is t else f"{x}.to({REGISTER[t.name]})")
    if s.is_floating_point and t.itemsize < 4:
        x = f"{x}.to(tl.int32)"
    return x if s is t else f"{x}.to({REGISTER[t.name]})"


# ---- rows --------------------------------------------------------------------------------------


def _infix(operator: str, boolean: str = "") -> Row:
    def row(e: Lane, dtype: DType, args: list[str]) -> str:
        symbol = boolean if boolean and dtype is bool_ else operator
        return f"({args[0]} {symbol} {args[1]})"

    return row


def _library(name: str) -> Row:
    return lambda e, dtype, args: f"libdevice.{name}({', '.join(args)})"


def _whole_of_float(text: str) -> Row:
    """A rounding to whole numbers: the identity on integers."""
    return lambda e, dtype, args: text.format(*args) if dtype.is_floating_point else args[0]


def _is_unsigned(dtype: DType) -> bool:
    return dtype.name in ("bool", "u8")


def _neg(e: Lane, dtype: DType, args: list[str]) -> str:
    return f"(-{args[0]})" if dtype.is_floating_point else f"({literal(0, dtype)} - {args[0]})"


def _abs(e: Lane, dtype: DType, args: list[str]) -> str:
    return args[0] if _is_unsigned(dtype) else f"tl.abs({args[0]})"


def _sign(e: Lane, dtype: DType, args: list[str]) -> str:
    """0 for NaN, as neither comparison holds."""
    (x,), t = args, REGISTER[dtype.name]
    if _is_unsigned(dtype):
        return f"({x} != 0).to({t})" if dtype is not bool_ else x
    return f"(({x} > 0).to({t}) - ({x} < 0).to({t}))"


def _relu(e: Lane, dtype: DType, args: list[str]) -> str:
    """Keeps NaN and -0."""
    (x,) = args
    return x if _is_unsigned(dtype) else f"tl.where({x} < 0, {literal(0, dtype)}, {x})"


def _sigmoid(e: Lane, dtype: DType, args: list[str]) -> str:
    (x,) = args
    small = e.let(f"libdevice.exp(-tl.abs({x}))")
    over = e.let(f"({literal(1, dtype)} + {small})")
    return _quotient(e, dtype, [f"tl.where({x} >= 0, {literal(1, dtype)}, {small})", over])


def _quotient(e: Lane, dtype: DType, args: list[str]) -> str:
    """Rounded to nearest; Triton's `/` is not in float32."""
    x, y = args
    return f"({x} / {y})" if dtype is f64 else f"tl.div_rn({x}, {y})"


def _sqrt(e: Lane, dtype: DType, args: list[str]) -> str:
    return f"tl.sqrt({args[0]})" if dtype is f64 else f"tl.sqrt_rn({args[0]})"


def _rsqrt(e: Lane, dtype: DType, args: list[str]) -> str:
    return _quotient(e, dtype, [literal(1, dtype), e.let(_sqrt(e, dtype, args))])


def _not(e: Lane, dtype: DType, args: list[str]) -> str:
    ones = {"bool": True, "u8": 255}.get(dtype.name, -1)
    return f"({args[0]} ^ {literal(ones, dtype)})"


def _extreme(name: str, boolean: str) -> Row:
    """maximum or minimum, NaN if either is."""

    def row(e: Lane, dtype: DType, args: list[str]) -> str:
        x, y = args
        if dtype is bool_:
            return f"({x} {boolean} {y})"
        nan = ", propagate_nan=tl.PropagateNan.ALL" if dtype.is_floating_point else ""
        return f"tl.{name}({x}, {y}{nan})"

    return row


def _within(e: Lane, dtype: DType, count: str) -> str:
    """Whether a shift by `count` leaves something."""
    return e.let(f"(({count} >= 0) & ({count} < {8 * dtype.itemsize}))")


def _shl(e: Lane, dtype: DType, args: list[str]) -> str:
    """0 by the width or more, or by a negative count."""
    x, count = args
    inside, zero = _within(e, dtype, count), literal(0, dtype)
    return f"tl.where({inside}, {x} << tl.where({inside}, {count}, {zero}), {zero})"


def _shr(e: Lane, dtype: DType, args: list[str]) -> str:
    """The sign fills, also by the width or more; 0 for unsigned."""
    x, count = args
    inside = _within(e, dtype, count)
    moved = f"({x} >> tl.where({inside}, {count}, {literal(8 * dtype.itemsize - 1, dtype)}))"
    return f"tl.where({inside}, {moved}, {literal(0, dtype)})" if dtype.name == "u8" else moved


def _pow(e: Lane, dtype: DType, args: list[str]) -> str:
    if dtype.is_floating_point:
        return f"libdevice.pow({args[0]}, {args[1]})"
    return _whole_pow(e, dtype, args)


def _whole_pow(e: Lane, dtype: DType, args: list[str]) -> str:
    """By squaring, wrapping; a negative exponent gives 1 / base rounded to zero."""
    (x, y), zero, one = args, literal(0, dtype), literal(1, dtype)
    result, power, rest = e.fresh(), e.fresh(), e.fresh()
    e.do(
        f"{result}, {power}, {rest} = {x} * {zero} + {y} * {zero} + {one}, {x} + {y} * {zero}, {y}"
    )
    e.do(f"for _ in range({8 * dtype.itemsize}):")
    e.do(f"    {result} = tl.where(({rest} & {one}) != 0, {result} * {power}, {result})")
    e.do(f"    {power} = {power} * {power}")
    e.do(f"    {rest} = {rest} >> {one}")
    if dtype.name == "u8":
        return result
    minus = literal(-1, dtype)
    sign = e.let(f"tl.where(({y} & {one}) != 0, {minus}, {one})")
    unit = e.let(f"tl.where({x} == 1, {one}, tl.where({x} == -1, {sign}, {zero}))")
    return f"tl.where({y} < 0, {unit}, {result})"


def _where(e: Lane, dtype: DType, args: list[str]) -> str:
    return f"tl.where({', '.join(args)})"


# ---- division ----------------------------------------------------------------------------------


def _divided(e: Lane, dtype: DType, args: list[str]) -> tuple[str, str]:
    """(the divisor made safe, whether it was -1): a zero is reported, and nothing traps."""
    x, y, *site = args
    zero = e.let(f"({y} == 0)")
    none = literal(0, i64)
    e.report(zero, site[0] if site else none, e.let(f"{x}.to(tl.int64)"), none)
    one = literal(1, dtype)
    if dtype.name == "u8":
        return e.let(f"tl.where({zero}, {one}, {y})"), ""
    return e.let(f"tl.where({zero} | ({y} == -1), {one}, {y})"), e.let(f"({y} == -1)")


def _remainder(e: Lane, dtype: DType, x: str, safe: str) -> tuple[str, str]:
    """(quotient, remainder) rounded to zero."""
    quotient = e.let(f"({x} // {safe})")
    return quotient, e.let(f"({x} - {quotient} * {safe})")


def _floordiv(e: Lane, dtype: DType, args: list[str]) -> str:
    if dtype.is_floating_point:
        return _float_floordiv(e, dtype, args)
    x, y = args[:2]
    safe, minus = _divided(e, dtype, args)
    quotient, rest = _remainder(e, dtype, x, safe)
    if not minus:
        return quotient
    up = e.let(f"(({rest} != 0) & (({rest} ^ {y}) < 0))")
    floor = e.let(f"({quotient} - {up}.to({REGISTER[dtype.name]}))")
    return f"tl.where({minus}, {literal(0, dtype)} - {x}, {floor})"


def _fmod(e: Lane, dtype: DType, args: list[str]) -> str:
    if dtype.is_floating_point:
        return f"libdevice.fmod({args[0]}, {args[1]})"
    return _remainder(e, dtype, args[0], _divided(e, dtype, args)[0])[1]


def _rem(e: Lane, dtype: DType, args: list[str]) -> str:
    x, y = args[:2]
    if dtype.is_floating_point:
        rest = e.let(f"libdevice.fmod({x}, {y})")
        return f"tl.where({_moves(e, rest, y)}, {rest} + {y}, {rest})"
    safe, minus = _divided(e, dtype, args)
    rest = _remainder(e, dtype, x, safe)[1]
    return (
        f"tl.where(({rest} != 0) & (({rest} ^ {y}) < 0), {rest} + {y}, {rest})" if minus else rest
    )


def _moves(e: Lane, rest: str, y: str) -> str:
    """Whether a float remainder is not zero, with a sign unlike the divisor's."""
    return e.let(f"(({rest} != 0) & (({rest} < 0) != ({y} < 0)))")


def _float_floordiv(e: Lane, dtype: DType, args: list[str]) -> str:
    """floor(x / y) from the exact remainder, as Python's: (x - rem) / y, then to the nearest."""
    x, y = args[:2]
    fmod = e.let(f"libdevice.fmod({x}, {y})")
    moves = _moves(e, fmod, y)
    one, half = literal(1, dtype), literal(0.5, dtype)
    whole = e.let(_quotient(e, dtype, [f"({x} - {fmod})", y]))
    q = e.let(f"tl.where({moves}, {whole} - {one}, {whole})")
    floor = e.let(f"tl.floor({q})")
    nearest = e.let(f"tl.where({q} - {floor} > {half}, {floor} + {one}, {floor})")
    plain = e.let(_quotient(e, dtype, [x, y]))
    signed = f"libdevice.copysign({plain} * 0, {plain})"
    nearest = e.let(f"tl.where({q} == 0, {signed}, {nearest})")
    return f"tl.where({y} == 0, {plain}, {nearest})"


# ---- checks and random bits --------------------------------------------------------------------


def _check_index(e: Lane, dtype: DType, args: list[str]) -> str:
    """The index, or 0 where it is outside [0, bound), which is reported; bound and site are i64."""
    index, bound, site = args
    value = e.let(f"{index}.to(tl.int64)")
    bad = e.let(f"(({value} < 0) | ({value} >= {bound}))")
    e.report(bad, site, value, bound)
    return f"tl.where({bad}, {literal(0, dtype)}, {index})"


def _check(e: Lane, dtype: DType, args: list[str]) -> str:
    """The value itself; where the condition does not hold, that is reported for the i64 site."""
    x, condition, site = args
    none = literal(0, i64)
    e.report(e.let(f"({condition} == 0)"), site, none, none)
    return x


def philox(e: Names, seed: str, draw: str, block: str) -> list[str]:
    """The words of Philox4x32-10(key=seed, counter=(block, draw)), uint32."""
    low, high = "{}.to(tl.uint32)", "({} >> 32).to(tl.uint32)"
    c = [e.let(form.format(x)) for x in (block, draw) for form in (low, high)]
    key = [e.let(form.format(seed)) for form in (low, high)]
    m0, m1 = (e.let(f"tl.full([], {int(m)}, tl.uint32)") for m in PHILOX_MULTIPLIERS)
    for _ in range(10):
        high0, high1 = e.let(f"tl.umulhi({c[0]}, {m0})"), e.let(f"tl.umulhi({c[2]}, {m1})")
        low0, low1 = e.let(f"({c[0]} * {m0})"), e.let(f"({c[2]} * {m1})")
        c = [e.let(f"({high1} ^ {c[1]} ^ {key[0]})"), low1,
             e.let(f"({high0} ^ {c[3]} ^ {key[1]})"), low0]  # fmt: skip
        key = [
            e.let(f"({k} + tl.full([], {step}, tl.uint32))")
            for k, step in zip(key, PHILOX_KEY_STEPS, strict=True)
        ]
    return c


def _random_bits(e: Lane, dtype: DType, args: list[str]) -> str:
    """Word `index % 4` of block `index // 4`."""
    seed, draw, index = args
    c = philox(e, seed, draw, e.let(f"({index} >> 2)"))
    word = e.let(f"({index} & 3)")
    pairs = [f"tl.where({word} == {2 * k}, {c[2 * k]}, {c[2 * k + 1]})" for k in (0, 1)]
    chosen = e.let(f"tl.where({word} < 2, {pairs[0]}, {pairs[1]})")
    return f"{chosen}.to(tl.int32, bitcast=True)"


def random_run(e: Lane, seed: str, draw: str, blocks: str, count: int) -> str:
    """The words of i64 `blocks`, which are neighbours, side by side: `count` in all."""
    c = philox(e, seed, draw, blocks)
    pairs = [e.let(f"tl.join({c[k]}, {c[k + 2]})") for k in (0, 1)]
    words = e.let(f"tl.reshape(tl.join({pairs[0]}, {pairs[1]}), [{count}])")
    return f"{words}.to(tl.int32, bitcast=True)"


# Called with the register dtype of the operands (for `where`, of the branches).
SCALAR: dict[str, Row] = {
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "relu": _relu,
    "exp": _library("exp"),
    "expm1": _library("expm1"),
    "log": _library("log"),
    "log1p": _library("log1p"),
    "sin": _library("sin"),
    "cos": _library("cos"),
    "atan": _library("atan"),
    "tanh": _library("tanh"),
    "sigmoid": _sigmoid,
    "erf": _library("erf"),
    "erfc": _library("erfc"),
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "floor": _whole_of_float("tl.floor({})"),
    "ceil": _whole_of_float("tl.ceil({})"),
    "round": _whole_of_float("libdevice.rint({})"),
    "trunc": _whole_of_float("libdevice.trunc({})"),
    "not": _not,
    "add": _infix("+", "|"),
    "sub": _infix("-", "^"),
    "mul": _infix("*", "&"),
    "div": _quotient,
    "floordiv": _floordiv,
    "rem": _rem,
    "fmod": _fmod,
    "pow": _pow,
    "maximum": _extreme("maximum", "|"),
    "minimum": _extreme("minimum", "&"),
    "and": _infix("&"),
    "or": _infix("|"),
    "xor": _infix("^"),
    "shl": _shl,
    "shr": _shr,
    "lt": _infix("<"),
    "le": _infix("<="),
    "eq": _infix("=="),
    "ne": _infix("!="),
    "where": _where,
    "check_index": _check_index,
    "check": _check,
    "random_bits": _random_bits,
}


def reports(op: str) -> bool:
    """Whether `op` may write the error words: it runs only where its point and loop really run."""
    return OPS[op].may_fail != "never"


def apply(e: Lane, op: str, dtype: DType, dtypes: list[DType], args: list[str]) -> str:
    """`op` on register values of `dtypes`; a half result is not rounded yet, unless by a cast."""
    if op == "cast":
        return cast(dtypes[0], dtype, args[0])
    return SCALAR[op](e, held(dtypes[1] if op == "where" else dtypes[0]), args)
