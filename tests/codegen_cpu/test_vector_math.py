"""Elementary functions against exact ones, in units in the last place of the result."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.codegen_cpu import jit
from graphc.codegen_cpu.elf import undefined_symbols
from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.math import vector_math
from graphc.codegen_cpu.server import ALLOWED
from graphc.codegen_cpu.target import Target

Floats = NDArray[np.floating]

ELEMENT = {"float": np.float32, "double": np.float64}

# name: (largest error allowed in float32, in float64, the function in float64)
ROWS: dict[str, tuple[float, float, Callable[[Floats], Floats]]] = {
    "exp": (1.0, 2.0, np.exp),
    "expm1": (2.0, 2.0, np.expm1),
    "log": (1.0, 2.0, np.log),
    "log1p": (2.0, 2.0, np.log1p),
    "sin": (1.0, 2.0, np.sin),
    "cos": (1.0, 2.0, np.cos),
    "atan": (1.0, 1.5, np.arctan),
    "tanh": (1.5, 2.0, np.tanh),
    "sigmoid": (2.5, 3.0, lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x)))),
    "erf": (2.0, 2.0, np.vectorize(math.erf, [np.float64])),
    "erfc": (2.0, 8.0, np.vectorize(math.erfc, [np.float64])),
    "rsqrt": (2.0, 2.0, lambda x: 1 / np.sqrt(x)),
}
SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 1.2e-38,
    -1.2e-38, 3.4e38, -3.4e38, 5e-324, 2.2e-308, 1.7e308, -1.7e308, 88.722, 88.73, -87.3, -103.9,
    -104.1, 709.78, 709.79, -745.1, -745.2, 9.3, 10.05, 26.5, 27.3, 1e6, -1e6, 1e15, 1e22,
    16367173 * 2.0**72,  # the float32 nearest to a multiple of pi/2
    6381956970095103 * 2.0**797,  # the float64 nearest to one
)  # fmt: skip


# ---- compiled functions ------------------------------------------------------------------------


def source(name: str, t: Vec, arity: int) -> str:
    """A kernel that maps `name` over arrays; its `tid` is the number of elements."""
    e = Emitter()
    arrays = []
    for k in range(arity + 1):
        cell = e.value(f"getelementptr ptr, ptr %args, i64 {k}")
        arrays.append(e.value(f"load ptr, ptr {cell}"))
    with e.loop("0", "%tid", t.lanes) as i:
        *inputs, out = (e.value(f"getelementptr {t.element}, ptr {a}, i64 {i}") for a in arrays)
        xs = [e.value(f"load {t}, ptr {p}, align {t.bits // 8}") for p in inputs]
        y = getattr(vector_math, name)(e, *xs, t)
        e.do(f"store {t} {y}, ptr {out}, align {t.bits // 8}")
    e.do("ret void")
    return "\n".join([*sorted(e.declarations), e.function("kernel")])


@functools.cache
def loaded(
    name: str, element: str, lanes: int, arity: int
) -> tuple[jit.Loaded, Callable[..., None]]:
    code = jit.compile_module(source(name, Vec(element, lanes), arity), Target.host())
    held = jit.load_objects([code], Target.host())
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return held, kind(held.address("kernel"))


def run(name: str, lanes: int, *inputs: Floats) -> Floats:
    """`name` over arrays whose length is a multiple of `lanes`."""
    out = np.empty_like(inputs[0])
    assert out.size % lanes == 0
    element = {d: e for e, d in ELEMENT.items()}[out.dtype.type]
    cells = np.array([a.ctypes.data for a in (*inputs, out)], np.uint64)
    loaded(name, element, lanes, len(inputs))[1](cells.ctypes.data, out.size, 1)
    return out


def padded(x: Floats | tuple[float, ...], dtype: type) -> Floats:
    with np.errstate(all="ignore"):
        narrow = np.asarray(x, np.float64).astype(dtype)
    return np.concatenate([narrow, np.ones(-len(narrow) % 16, dtype)])


# ---- errors ------------------------------------------------------------------------------------


def ulp(got: Floats, exact: Floats) -> Floats:
    """|got - exact| in the spacing of got's format at `exact`, which is of a wider one.

    An infinity counts as the first number beyond the format; a NaN or a sign that differs, as inf.
    """
    limits = np.finfo(got.dtype)
    beyond = exact.dtype.type(2.0) ** limits.maxexp
    wide, ref = (np.clip(a.astype(exact.dtype), -beyond, beyond) for a in (got, exact))
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.maximum(abs(ref), limits.smallest_normal)))
        error = abs(wide - ref) / np.exp2(np.minimum(exponent, limits.maxexp - 1) - limits.nmant)
    both_nan = np.isnan(got) & np.isnan(exact)
    alike = (np.isnan(got) == np.isnan(exact)) & (np.signbit(got) == np.signbit(exact))
    return np.where(both_nan, 0, np.where(alike, error, np.inf))


def assert_within(name: str, bar: float, got: Floats, exact: Floats, *inputs: Floats) -> None:
    error = ulp(got, exact)
    worst = int(error.argmax())
    at = ", ".join(repr(x[worst]) for x in inputs)
    assert error[worst] <= bar, f"{name}({at}) = {got[worst]!r}, exactly {exact[worst]!r}"


def check_float(name: str, x: Floats) -> None:
    bar, _, reference = ROWS[name]
    got = run(name, 16, x)
    with np.errstate(all="ignore"):
        assert_within(name, bar, got, reference(x.astype(np.float64)), x)


@pytest.mark.parametrize("name", ROWS)
def test_float32(name: str) -> None:
    strided = (np.arange(1 << 16, dtype=np.uint32) << 16) + 0x5A3C
    common = np.random.default_rng(0).normal(0, 4, 1 << 14)
    check_float(name, np.concatenate([strided.view(np.float32), padded(common, np.float32)]))
    check_float(name, padded(SPECIAL, np.float32))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ROWS)
def test_every_float32(name: str) -> None:
    step = 1 << 20
    for start in range(0, 1 << 32, step):
        check_float(name, np.arange(start, start + step, dtype=np.uint32).view(np.float32))


def samples64() -> Floats:
    random = np.random.default_rng(0)
    sign = random.choice([-1, 1], 200)
    return np.concatenate([
        sign * np.exp2(random.uniform(-1074, 1023, 200)),
        sign * np.exp2(random.uniform(-60, 45, 200)),
        1 + sign * np.exp2(random.uniform(-52, -1, 200)),
        np.rint(random.uniform(-1e5, 1e5, 200)) * (math.pi / 4),
        random.uniform(-3, 3, 200),
        random.uniform(-40, 40, 200),
        random.uniform(-750, 710, 200),
        SPECIAL,
    ])  # fmt: skip


def exactly(name: str, x: float) -> np.longdouble:
    """The function to extended precision; non-finite cases by float64's own."""
    mp = pytest.importorskip("mpmath")
    with np.errstate(all="ignore"):
        rough = float(ROWS[name][2](np.array([x]))[0])
    if not math.isfinite(x) or not math.isfinite(rough) or rough == 0.0 or abs(rough) in (1, 2):
        return np.longdouble(rough)
    with mp.workprec(1300 if name in ("sin", "cos") else 180):
        exact = {"sigmoid": lambda v: 1 / (1 + mp.exp(-v)), "rsqrt": lambda v: 1 / mp.sqrt(v)}
        y = exact.get(name, getattr(mp, name, None))(mp.mpf(x))
        if abs(y) < mp.mpf(2) ** -1074:  # mpmath loses odd functions of denormals
            y = mp.mpf(rough)
        high = float(y)
        return np.longdouble(high) + np.longdouble(float(y - high))


@pytest.mark.parametrize("name", ROWS)
def test_float64(name: str) -> None:
    x = padded(samples64(), np.float64)
    exact = np.array([exactly(name, float(v)) for v in x])
    assert_within(name, ROWS[name][1], run(name, 8, x), exact, x)


# ---- pow ---------------------------------------------------------------------------------------

POW_BAR = {"float": 1.5, "double": 2.0}
POW_SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1.5, -1.5, math.inf, -math.inf,
    math.nan, 1e30, -1e30, 1e-30, -1e-30, 2.0**24 + 1, -(2.0**24) - 2, 2.0**53 - 1, 1e300, -1e300,
    1e-45, -1e-45, 5e-324, 1 + 2.0**-23, 1 - 2.0**-24, 1 + 2.0**-52, 127.0, 128.0, -149.0, -150.0,
)  # fmt: skip


def check_pow(element: str, x: Floats, y: Floats) -> None:
    got = run("pow", 8, x, y)
    with np.errstate(all="ignore"):
        exact = x.astype(np.longdouble) ** y.astype(np.longdouble)
    assert_within("pow", POW_BAR[element], got, exact, x, y)


@pytest.mark.parametrize("element", ELEMENT)
def test_pow_special_cases(element: str) -> None:
    pairs = np.meshgrid(POW_SPECIAL, POW_SPECIAL)
    x, y = (padded(v.ravel(), ELEMENT[element]) for v in pairs)
    check_pow(element, x, y)


@pytest.mark.parametrize("element", ELEMENT)
def test_pow(element: str) -> None:
    """Results all over the range, of bases from all over and of bases next to 1."""
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("needs a longdouble wider than float64")
    dtype, random, n = ELEMENT[element], np.random.default_rng(0), 1 << 15
    limits = np.finfo(dtype)
    near_one = np.exp2(random.uniform(-limits.nmant, -1, n))
    x = np.concatenate([
        np.exp2(random.uniform(limits.minexp - limits.nmant, limits.maxexp, n)),
        1 + near_one, 1 - near_one,
    ]).astype(dtype)  # fmt: skip
    with np.errstate(all="ignore"):
        logarithm = np.log2(x.astype(np.longdouble))
        target = random.uniform(limits.minexp - limits.nmant - 8, limits.maxexp + 4, 3 * n)
        y = np.where(logarithm == 0, 1, target / logarithm).astype(dtype)
    check_pow(element, x, y)


# ---- what all share ----------------------------------------------------------------------------

ARITY = dict.fromkeys(ROWS, 1) | {"pow": 2}


@pytest.mark.parametrize("element", ELEMENT)
@pytest.mark.parametrize("name", ARITY)
def test_bits_do_not_depend_on_lanes(name: str, element: str) -> None:
    x = padded(samples64(), ELEMENT[element])
    inputs = (x, x[::-1].copy())[: ARITY[name]]
    one = run(name, 1, *inputs)
    for lanes in (4, 8, 16):
        assert one.tobytes() == run(name, lanes, *inputs).tobytes()


@pytest.mark.parametrize("target", ["haswell", "neoverse-n1", "sapphirerapids"])
@pytest.mark.parametrize("name", ARITY)
def test_no_target_needs_a_library(name: str, target: str) -> None:
    for t in (Vec("float", 8), Vec("double", 4)):
        code = jit.compile_module(source(name, t, ARITY[name]), Target.named(target))
        assert not set(undefined_symbols(code)) - ALLOWED
