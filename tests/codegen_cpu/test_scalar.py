"""Every scalar op on special values, against its NumPy meaning, as vector body and masked tail."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from graphc.codegen_cpu.jit import compile_module
from graphc.codegen_cpu.scalar import SCALAR
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel import Affine, Apply, Axis, Buffer, Kernel, Load, Phase, ScalarArg, Store
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.ops import OPS
from graphc.ir.types import DTYPES, Array, DType, bool_, f32, f64, i32, i64
from graphc.passes.elementary import FUNCTIONS
from tests.codegen_cpu.compiled_kernel import Native, module_text

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.5, 3.5, 7.0, -7.0, 0.3, 88.0, -100.25, 1e-40, -1e-42,
          3e38, 1e20, -1e5, np.inf, -np.inf, np.nan]  # fmt: skip
MATH = {
    "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "erfc", "rsqrt", "pow",
    "atan",
}  # fmt: skip
BITWISE = {"and", "or", "xor", "shl", "shr"}
WHOLE = ["i8", "u8", "i16", "i32", "i64"]
UNARY = [
    "neg", "abs", "sign", "relu", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid",
    "erf", "erfc", "sqrt", "rsqrt", "floor", "ceil", "round", "trunc", "atan",
]  # fmt: skip
BINARY = [
    "add", "sub", "mul", "div", "floordiv", "rem", "fmod", "pow", "maximum", "minimum",
    "lt", "le", "eq", "ne",
]  # fmt: skip
BOOLEAN = [
    "not", "add", "sub", "mul", "and", "or", "xor", "maximum", "minimum", "lt", "le", "eq", "ne",
]  # fmt: skip
ROWS = (
    [(op, d) for op in UNARY + BINARY for d in ("f32", "f64", "f16", "bf16")]
    + [(op, d) for op in ("neg", "abs", "sign", "relu", "not") for d in WHOLE]
    + [(op, d) for op in (*BINARY, *sorted(BITWISE)) for d in WHOLE if op != "div"]
    + [(op, "bool") for op in BOOLEAN]
)


def specials(dtype: DType) -> Array:
    if dtype.is_floating_point:
        with np.errstate(over="ignore"):
            return np.array(FLOATS).astype(dtype.numpy)
    if dtype is bool_:
        return np.array([False, True])
    info = np.iinfo(dtype.numpy)
    small = [0, 1, 2, 3, 7, 8, 9, 31, 63, 64, 100, int(info.max), int(info.max) - 1, int(info.min)]
    if info.min < 0:
        small += [-1, -2, -3, -7, -8, -100, int(info.min) + 1]
    return np.array([x for x in small if info.min <= x <= info.max]).astype(dtype.numpy)


def arity(op: str) -> int:
    return 2 if op in BINARY or op in BITWISE else 1


def elementwise(op: str, dtype: DType, result: DType) -> Kernel:
    at = Affine((("i", 1),))
    names = ("x", "y")[: arity(op)]
    loads = tuple(Load(f"%{n}", dtype, n, at) for n in names)
    apply = Apply("%r", result, op, tuple(f"%{n}" for n in names))
    buffers = (*(Buffer(n, dtype, "r") for n in names), Buffer("o", result, "w"))
    body = (*loads, apply, Store("o", "%r", at))
    return Kernel(op, "map", buffers, ("n",), (), (Axis("i", "n"),), (Phase((), body),))


def result_dtype(op: str, dtype: DType) -> DType:
    return bool_ if op in ("lt", "le", "eq", "ne") else dtype


@cache
def natives() -> dict[tuple[str, str], tuple[Native, int]]:
    """All rows compiled, twenty to a module."""
    found = {}
    for start in range(0, len(ROWS), 20):
        rows = ROWS[start : start + 20]
        kernels = [elementwise(op, DTYPES[d], result_dtype(op, DTYPES[d])) for op, d in rows]
        module = Native(kernels)
        found.update({row: (module, k) for k, row in enumerate(rows)})
    return found


def operands(op: str, dtype: DType) -> list[Array]:
    x = specials(dtype)
    if arity(op) == 1:
        return [np.concatenate([x, x[::-1]])]
    left, right = (a.ravel() for a in np.meshgrid(x, x))
    if op == "pow" and not dtype.is_floating_point:
        keep = right.astype(np.int64) >= 0
        left, right = left[keep], right[keep]
    return [left, right]


def run(op: str, d: str, args: list[Array]) -> tuple[Array, list[int]]:
    dtype = DTYPES[d]
    module, k = natives()[op, d]
    out = np.zeros(len(args[0]), result_dtype(op, dtype).numpy)
    data = dict(zip("xy", args)) | {"o": out}
    return out, module.run(data, {"n": len(out)}, {}, k=k)


def expected(op: str, dtype: DType, args: list[Array]) -> Array:
    """In float64 for the math functions of float32 and less, else by the interpreter."""
    if op in MATH and dtype.is_floating_point and dtype is not f64:
        with np.errstate(all="ignore"):
            return OPS[op].evaluate(*(a.astype(np.float64) for a in args))
    kernel = elementwise(op, dtype, result_dtype(op, dtype))
    out = np.zeros(len(args[0]), result_dtype(op, dtype).numpy)
    run_kernel(kernel, dict(zip("xy", args)) | {"o": out}, {"n": len(out)}, {}, [])
    return out


def assert_close(got: Array, want: Array, dtype: DType, ulps: float) -> None:
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype.numpy)
        wide, exact = got.astype(np.float64), rounded.astype(np.float64)
        same = (wide == exact) | (np.isnan(wide) & np.isnan(exact))
        eps = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-23, "f64": 2.0**-52}[dtype.name]
        tiny = {"f16": 2.0**-24, "bf16": 2.0**-133, "f32": 2.0**-149, "f64": 5e-324}[dtype.name]
        near = np.abs(wide - want.astype(np.float64)) <= ulps * np.maximum(
            eps * np.abs(exact), tiny
        )
        near |= np.isinf(exact) & (np.abs(wide) >= 0.999 * np.finfo(np.float32).max)
    assert (same | near).all(), [(g, w) for g, w, ok in zip(got, want, same | near) if not ok][:5]


@pytest.mark.parametrize("op,d", ROWS, ids=lambda x: x)
def test_row(op: str, d: str) -> None:
    dtype, args = DTYPES[d], operands(op, DTYPES[d])
    got, _ = run(op, d, args)
    want = expected(op, dtype, args)
    if op in MATH and dtype.is_floating_point:
        assert_close(got, want, dtype, 8)
        return
    same = (got == want) | ((got != got) & (want != want))
    if op in ("floordiv", "rem", "fmod") and not dtype.is_floating_point:
        same |= args[1] == 0
    assert same.all(), [(*(a[k] for a in args), got[k], want[k]) for k in np.flatnonzero(~same)[:5]]


@pytest.mark.parametrize(
    "op,d", [(op, d) for op, d in ROWS if d in ("f32", "bf16")], ids=lambda x: x
)
def test_a_lane_s_bits_do_not_depend_on_its_position(op: str, d: str) -> None:
    args = operands(op, DTYPES[d])
    whole, _ = run(op, d, args)
    for k in range(0, len(args[0]), 7):
        one, _ = run(op, d, [a[k : k + 1].copy() for a in args])
        assert one.tobytes() == whole[k : k + 1].tobytes()


def test_relu_keeps_negative_zero_and_nan() -> None:
    got, _ = run("relu", "f32", [np.array([-0.0, np.nan, -1.0, 2.0], np.float32)])
    assert np.signbit(got[0]) and np.isnan(got[1]) and list(got[2:]) == [0, 2]


@pytest.mark.parametrize("op", ["floordiv", "rem", "fmod"])
@pytest.mark.parametrize("d", WHOLE)
def test_division_by_zero_reports_the_first(op: str, d: str) -> None:
    dtype = DTYPES[d].numpy
    x, y = np.arange(1, 41).astype(dtype), np.ones(40, dtype)
    assert run(op, d, [x, y])[1] == [0, 0, 0, 0]
    y[[35, 37]] = 0  # in the tail
    assert run(op, d, [x, y])[1] == [1, 0, 36, 0]
    y[3] = 0
    assert run(op, d, [x, y])[1][0] == 1


def test_tables_are_total() -> None:
    elementwise_ops = {name for name, op in OPS.items() if op.kind == "elementwise"}
    assert set(SCALAR) | {"cast"} == elementwise_ops - set(FUNCTIONS) | {"random_bits"}


CASTS = [(a, b) for a in DTYPES for b in DTYPES if a != b]


def test_casts() -> None:
    kernels = [elementwise("cast", DTYPES[a], DTYPES[b]) for a, b in CASTS]
    for start in range(0, len(kernels), 30):
        module = Native(kernels[start : start + 30])
        for k, (a, b) in enumerate(CASTS[start : start + 30]):
            source, target = DTYPES[a], DTYPES[b]
            x = specials(source)
            if source.is_floating_point and not target.is_floating_point and target is not bool_:
                x = x[np.abs(x.astype(np.float64)) < 100]  # beyond: unspecified
            x = np.concatenate([x, x[:3]])
            got, want = (np.zeros(len(x), target.numpy) for _ in range(2))
            module.run({"x": x, "o": got}, {"n": len(x)}, {}, k=k)
            run_kernel(kernels[start + k], {"x": x, "o": want}, {"n": len(x)}, {}, [])
            same = (got == want) | ((got != got) & (want != want))
            assert same.all(), (a, b, x[~same], got[~same], want[~same])


def test_half_rounding_is_to_nearest_even() -> None:
    x = np.arange(1 << 16, dtype=np.uint32) * np.uint32(65536) + np.tile(
        np.array([0x7FFF, 0x8000, 0x8001, 0x1000], np.uint32), 1 << 14
    )
    data = x.view(np.float32)
    for d in ("f16", "bf16"):
        kernel = elementwise("cast", f32, DTYPES[d])
        got, want = (np.zeros(len(data), DTYPES[d].numpy) for _ in range(2))
        Native([kernel]).run({"x": data, "o": got}, {"n": len(data)}, {})
        with np.errstate(all="ignore"):
            want = data.astype(DTYPES[d].numpy)
        nan = np.isnan(data)
        assert (got[~nan].view(np.uint16) == want[~nan].view(np.uint16)).all()
        assert np.isnan(got[nan].astype(np.float32)).all()


def test_random_bits_are_philox() -> None:
    from graphc.ir.kernel import Index
    from graphc.ir.meaning import sources

    at = Affine((("i", 1),))
    body = (
        Index("%k", i64, at),
        Apply("%r", i32, "random_bits", ("seed", "draw", "%k")),
        Store("o", "%r", at),
    )
    scalars = (ScalarArg("seed", i64), ScalarArg("draw", i64))
    kernel = Kernel(
        "bits",
        "map",
        (Buffer("o", i32, "w"),),
        ("n",),
        scalars,
        (Axis("i", "n"),),
        (Phase((), body),),
    )
    seed, draw = 0x123456789ABCDEF, (1 << 40) + 5
    got = np.zeros(1003, np.int32)
    Native([kernel]).run({"o": got}, {"n": 1003}, {"seed": seed, "draw": draw})
    want = sources.random_bits(np.asarray(seed), np.asarray(draw), shape=(1003,))
    assert (got == want).all()
    again = np.zeros(1003, np.int32)
    run_kernel(kernel, {"o": again}, {"n": 1003}, {"seed": seed, "draw": draw})
    assert (again == want).all()


@pytest.mark.parametrize("name", sorted(NAMED))
def test_all_rows_compile_without_a_library(name: str) -> None:
    from graphc.codegen_cpu.elf import undefined_symbols

    target = Target.named(name)
    for start in range(0, len(ROWS), 40):
        kernels = [
            elementwise(op, DTYPES[d], result_dtype(op, DTYPES[d]))
            for op, d in ROWS[start : start + 40]
        ]
        code = compile_module(module_text(kernels, target), target)
        assert not list(undefined_symbols(code))
