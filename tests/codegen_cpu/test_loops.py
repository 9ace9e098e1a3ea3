"""The generic loop template against the NumPy meaning of kernels, and its promises on bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.elf import undefined_symbols
from graphc.codegen_cpu.jit import compile_module
from graphc.codegen_cpu.map import lanes
from graphc.codegen_cpu.module import emit_module, symbol
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import Failure, run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native, module_text
from tests.codegen_cpu.random_kernels import Case, cases, describe

NARROW = dataclasses.replace(Target.host(), vector_bytes=16, registers=16)


def alike(x: Array, y: Array) -> bool:
    if x.dtype.kind in "biu":
        return bool((x == y).all())
    a, b = x.astype(np.float64), y.astype(np.float64)
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())


def copied(buffers: dict[str, Array]) -> dict[str, Array]:
    return {name: x.copy() for name, x in buffers.items()}


def with_noise(case: Case) -> dict[str, Array]:
    """The same buffers with floats whose sums round."""
    noise = np.random.default_rng(0)
    return {
        name: x if x.dtype.kind in "biu" else noise.standard_normal(len(x)).astype(x.dtype)
        for name, x in case.buffers.items()
    }


def check(batch: list[Case], target: Target | None = None) -> None:
    module = Native([c.kernel for c in batch], target)
    for k, case in enumerate(batch):
        want = copied(case.buffers)
        run_kernel(case.kernel, want, case.sizes, case.scalars)
        for threads in (1, 2, 3):
            got = copied(case.buffers)
            module.run(got, case.sizes, case.scalars, threads, k)
            assert all(alike(got[n], want[n]) for n in want), f"{threads} threads: {describe(case)}"
        data = with_noise(case)
        first = None
        for threads in (1, 2, 3, 7):
            got = copied(data)
            module.run(got, case.sizes, case.scalars, threads, k)
            bits = b"".join(got[n].tobytes() for n in case.outputs())
            first = first or bits
            assert bits == first, f"{threads} threads change bits: {describe(case)}"


@pytest.mark.parametrize("start", range(0, 200, 10))
def test_random_kernels(start: int) -> None:
    check(cases(start, 10))


@pytest.mark.parametrize("start", range(200, 260, 10))
def test_random_kernels_with_four_lanes(start: int) -> None:
    check(cases(start, 10), NARROW)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 11000, 100))
def test_many_random_kernels(start: int) -> None:
    for first in range(start, start + 100, 10):
        check(cases(first, 10))


@pytest.mark.parametrize("name", sorted(NAMED))
def test_random_kernels_compile_elsewhere(name: str) -> None:
    target = Target.named(name)
    for start in range(300, 340, 10):
        text = module_text([c.kernel for c in cases(start, 10)], target)
        assert not list(undefined_symbols(compile_module(text, target)))


# ---- kernels by hand ---------------------------------------------------------------------------


def compiled(text: str) -> tuple[Kernel, Native]:
    kernel = parse(text)
    return kernel, Native([kernel])


SCATTER = """kernel scatter scatter (t: r i64, g: r f32, w: rw f32 | n, m |  ) {
  for c in m {
    for i in n {
      %0: i64 = load t[i]
      %1: f32 = load g[i*37 + c]
      store w[c + %0*37] += %1
    }
  }
}"""


@pytest.mark.parametrize("columns", [37, 16, 1])
def test_scatter_adds_in_order(columns: int) -> None:
    kernel, native = compiled(SCATTER.replace("|  )", "| )"))
    r = np.random.default_rng(1)
    data = {
        "t": r.integers(0, 9, 200),
        "g": r.standard_normal(200 * 37).astype(np.float32),
        "w": r.standard_normal(9 * 37).astype(np.float32),
    }
    want, sizes = copied(data), {"n": 200, "m": columns}
    run_kernel(kernel, want, sizes, {})
    for threads in (1, 2, 3):
        got = copied(data)
        native.run(got, sizes, {}, threads)
        assert got["w"].tobytes() == want["w"].tobytes()


LANE_SCATTER = """kernel put_along scatter (t: r i64, g: r f32, w: rw f32 | n | ) {
  for c in n {
    for i in 5 {
      %0: i64 = load t[c*5 + i]
      %1: f32 = load g[c*5 + i]
      store w[c*8 + %0*1] += %1
    }
  }
}"""


def test_scatter_within_each_point() -> None:
    kernel, native = compiled(LANE_SCATTER)
    r = np.random.default_rng(1)
    data = {
        "t": r.integers(0, 8, 500),
        "g": r.standard_normal(500).astype(np.float32),
        "w": np.zeros(800, np.float32),
    }
    want = copied(data)
    run_kernel(kernel, want, {"n": 100}, {})
    native.run(data, {"n": 100}, {}, 2)
    assert data["w"].tobytes() == want["w"].tobytes()


EMBED = """kernel embed map (t: r i64, w: r f32, o: w f32 | n | bound: i64, site: i64) {
  for i in n, c in 20 {
    once {
      %0: i64 = load t[i]
      %1: i64 = check_index %0 bound site
      %2: f32 = load w[c + %1*20]
      store o[i*20 + c] = %2
    }
  }
}"""
TAKE = """kernel take map (t: r i64, w: r f32, o: w f32 | n | bound: i64, site: i64) {
  for i in n {
    once {
      %0: i64 = load t[i]
      %k: i64 = index 7
      %s: i64 = sub %0 %k
      %1: i64 = check_index %s bound site
      %2: f32 = load w[%1*20]
      store o[i] = %2
    }
  }
}"""


@pytest.mark.parametrize("text,shift", [(EMBED, 0), (TAKE, 7)])
def test_check_index_reports_and_stays_inside(text: str, shift: int) -> None:
    kernel, native = compiled(text)
    data = {
        "t": np.arange(53) % 9 + shift,
        "w": np.arange(180, dtype=np.float32),
        "o": np.zeros(53 * 20, np.float32),
    }
    scalars = {"bound": 9, "site": 4}
    want = copied(data)
    run_kernel(kernel, want, {"n": 53}, scalars)
    assert native.run(data, {"n": 53}, scalars, 2) == [0, 0, 0, 0]  # no report from dead lanes
    assert (data["o"] == want["o"]).all()
    data["t"][51] = 9 + shift
    assert native.run(data, {"n": 53}, scalars) == [1, 4, 9, 9]
    data["t"][51] = -3 + shift
    failures: list[Failure] = []
    run_kernel(kernel, want | {"t": data["t"]}, {"n": 53}, scalars, failures)
    assert native.run(data, {"n": 53}, scalars) == [1, *failures[0]] == [1, 4, -3, 9]


CHECK = """kernel check map (x: r {dtype}, o: w {dtype}, s: w {dtype} | n | site: i64) {{
  for i in n {{
    for j in 11 {{
      %0: {dtype} = load x[i*11 + j]
      %k: {dtype} = const 0
      %c: bool = lt %k %0
      %1: {dtype} = check %0 %c site
      store o[i*11 + j] = %1
      %t: {dtype} = sum %1
    }}
    once {{
      store s[i] = %t
    }}
  }}
}}"""


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "i32", "u8"])
def test_check_gives_the_value_and_reports_where_it_does_not_hold(dtype: str) -> None:
    kernel, native = compiled(CHECK.format(dtype=dtype))
    kind = kernel.buffers[0].dtype.numpy
    data = {"x": np.ones(53 * 11, kind), "o": np.zeros(53 * 11, kind), "s": np.zeros(53, kind)}
    want = copied(data)
    run_kernel(kernel, want, {"n": 53}, {"site": 4})
    assert native.run(data, {"n": 53}, {"site": 4}, 2) == [0, 0, 0, 0]
    assert all((data[name] == want[name]).all() for name in data)
    for at in (0, 300, 53 * 11 - 1):
        wrong = {**data, "x": data["x"].copy()}
        wrong["x"][at] = 0
        failures: list[Failure] = []
        run_kernel(kernel, copied(wrong), {"n": 53}, {"site": 4}, failures)
        assert native.run(wrong, {"n": 53}, {"site": 4}) == [1, *failures[0]] == [1, 4, 0, 0]


ARG = """kernel arg map (x: r f32, o: w i64, p: w i64, q: w i64 | n, s | ) {
  for i in n {
    for a in 3, b in s {
      %0: f32 = load x[i*300 + a*s + b]
      %1: i64 = argmax %0
      %2: i64 = argmin %0
      %3: i64 = argmax_last_nan %0
    }
    once {
      store o[i] = %1
      store p[i] = %2
      store q[i] = %3
    }
  }
}"""


@pytest.mark.parametrize("columns", [1, 5, 16, 100])
def test_arg_folds_take_the_first_extreme_or_nan(columns: int) -> None:
    kernel, native = compiled(ARG)
    r = np.random.default_rng(2)
    x = r.integers(0, 4, (64, 300)).astype(np.float32)
    x[10:20, r.integers(0, 3 * columns, 40)] = np.nan
    x[20:30] = -np.inf
    x[30:40] = np.inf
    data = {"x": x.ravel(), **{k: np.zeros(64, np.int64) for k in "opq"}}
    want, sizes = copied(data), {"n": 64, "s": columns}
    run_kernel(kernel, want, sizes, {})
    native.run(data, sizes, {}, 2)
    assert all((data[k] == want[k]).all() for k in "opq")
    if columns > 1:
        assert (want["o"][10:20] < want["q"][10:20]).any()


SUMS = """kernel sums map (x: r f32, o: w f32 | n | ) {
  once {
    for i in n {
      %0: f32 = load x[i]
      %1: f32 = sum %0
    }
    once {
      store o[0] = %1
    }
  }
}"""
COLUMNS = """kernel columns map (x: r f32, o: w f32 | n | ) {
  for c in 5 {
    for i in n {
      %0: f32 = load x[i*5 + c]
      %1: f32 = sum %0
    }
    once {
      store o[c] = %1
    }
  }
}"""


@pytest.mark.parametrize("text,columns", [(SUMS, 1), (COLUMNS, 5)])
def test_long_sums_are_cascaded(text: str, columns: int) -> None:
    """0.1 a million times: a plain float32 loop is off by 1 %."""
    _, native = compiled(text)
    data = {"x": np.full(1_000_000, 0.1, np.float32), "o": np.zeros(columns, np.float32)}
    native.run(data, {"n": 1_000_000 // columns}, {})
    exact = np.float64(np.float32(0.1)) * 1_000_000 / columns
    assert abs(data["o"] / exact - 1).max() < 2e-6


IN_PLACE = """kernel softmax map (x: r f32, o: w f32 alias x | n | ) {
  for i in n {
    for j in 21 {
      %0: f32 = load x[i*21 + j]
      %1: f32 = max %0
    }
    for j in 21 {
      %2: f32 = load x[i*21 + j]
      %3: f32 = sub %2 %1
      store o[i*21 + j] = %3
    }
  }
}"""


def test_buffers_may_alias_as_declared() -> None:
    _, native = compiled(IN_PLACE)
    x = np.random.default_rng(3).standard_normal(21 * 40).astype(np.float32)
    want = (x.reshape(40, 21) - x.reshape(40, 21).max(1, keepdims=True)).ravel()
    native.run({"x": x, "o": x}, {"n": 40}, {}, 2)
    assert (x == want).all()


HOISTED = """kernel hoisted map (x: r f32, y: r f32, o: w f32 | n, m | ) {
  for i in n {
    for j in m {
      %0: f32 = load x[i*1000000000]
      %1: f32 = load y[i*1000000000 + j*5000000000]
      %2: f32 = mul %0 %1
      %3: f32 = sum %2
    }
    once {
      store o[i] = %3
    }
  }
}"""


# The same with i across lanes, whose last vector is masked: x is gathered.
GATHERED = HOISTED.replace("y[i*1000000000 + ", "y[i + ")


@pytest.mark.parametrize("text", [HOISTED, GATHERED])
def test_an_empty_loop_touches_no_memory(text: str) -> None:
    _, native = compiled(text)
    data = {
        "x": np.zeros(1, np.float32),
        "y": np.zeros(1, np.float32),
        "o": np.ones(40, np.float32),
    }
    native.run(data, {"n": 40, "m": 0}, {})
    assert (data["o"] == 0).all()


WIDE = """kernel wide map (x: r u8, o: w u8 | n, s | ) {
  for i in n {
    once {
      %0: u8 = load x[i*s]
      store o[i] = %0
    }
  }
}"""


def test_offsets_are_64_bit() -> None:
    _, native = compiled(WIDE)
    x = np.zeros(3_000_000_001, np.uint8)  # untouched pages cost nothing
    x[-1] = 7
    out = np.zeros(2, np.uint8)
    native.run({"x": x, "o": out}, {"n": 2, "s": 3_000_000_000}, {})
    assert list(out) == [0, 7]


DROPOUT = """kernel bits map (o: w i32 | n | seed: i64, draw: i64) {
  for i in n, j in 10 {
    once {
      %0: i64 = index i*10 + j
      %1: i32 = random_bits seed draw %0
      store o[i*10 + j] = %1
    }
  }
}"""


@pytest.mark.parametrize("row", [10, 12, 64])
def test_random_bits_do_not_depend_on_the_loops(row: int) -> None:
    kernel, native = compiled(DROPOUT.replace("10", str(row)))
    scalars = {"seed": -5, "draw": 3}
    got, want = ({"o": np.zeros(30 * row, np.int32)} for _ in range(2))
    run_kernel(kernel, want, {"n": 30}, scalars)
    native.run(got, {"n": 30}, scalars, 3)
    assert (got["o"] == want["o"]).all()


# ---- plans and modules -------------------------------------------------------------------------

TRANSPOSED = """kernel transposed map (x: r f32, o: w f32 | n, s | ) {
  for r in n, c in 64 {
    once {
      %0: f32 = load x[c*s + r]
      store o[r*64 + c] = %0
    }
  }
}"""
HEAVY = COLUMNS.replace("%1: f32 = sum %0", "%2: f32 = erf %0\n      %1: f32 = sum %2")


def test_lane_choice() -> None:
    def chosen(text: str) -> tuple[str, tuple[str, ...]]:
        p = lanes.plan(parse(text), Target.named("sapphirerapids"))
        return p.lane, p.phase_lanes

    assert chosen(COLUMNS.replace("5", "64")) == ("c", ("", ""))
    assert chosen(SUMS) == ("", ("i", ""))
    assert chosen(IN_PLACE) == ("", ("j", "j"))
    assert chosen(EMBED) == ("c", ("",))
    assert chosen(SCATTER.replace("|  )", "| )")) == ("c", ("",))
    assert chosen(TRANSPOSED) == ("c", ("",))  # rows are written whole


FAR_APART = """kernel turned map (x: r f32, y: w f32 | n, lo, hi | ) {
  for i in n, c in 20 {
    once {
      %0: f32 = load x[i + c*n] if lo <= i < hi
      store y[i*20 + c] = %0
    }
  }
}"""


def test_lanes_that_are_known_load_one_by_one() -> None:
    """All of a full vector's, the first ones of the last; outside its guards there is no memory."""
    assert "gather" not in module_text([parse(FAR_APART)], Target.named("sapphirerapids"))
    n, rng = 7, np.random.default_rng(0)
    for lo, hi in ((0, 7), (2, 5), (3, 3)):
        x = rng.standard_normal(20 * n).astype(np.float32)
        buffers = {"x": x, "y": np.ones(20 * n, np.float32)}
        check([Case(parse(FAR_APART), buffers, {"n": n, "lo": lo, "hi": hi}, {})])


def test_column_walks_take_vectors_side_by_side() -> None:
    """Whatever the body weighs: a row is another page."""
    wide = HEAVY.replace("c in 5", "c in n").replace("i*5", "i*n")
    assert lanes.plan(parse(wide), Target.named("sapphirerapids")).copies == 4
    short = wide.replace("i in n", "i in 3")
    assert lanes.plan(parse(short), Target.named("sapphirerapids")).copies == 1


UNPOOLED = """kernel unpooled map (g: r f32, i: r i64, y: w f32 | n | ) {
  for y in n, b in 2, x in 3, a in 2, c in CHANNELS {
    once {
      %0: i64 = index b*2 + a
      %1: i64 = load i[y*CCC + x*CHANNELS + c]
      %2: bool = eq %0 %1
      %3: f32 = load g[y*CCC + x*CHANNELS + c]
      %4: f32 = const 0.0
      %5: f32 = where %2 %3 %4
      store y[y*CCCCCCCCCCCC + b*CCCCCC + x*CC + a*CHANNELS + c] = %5
    }
  }
}"""


@pytest.mark.parametrize("channels", [6, 16, 37, 64])
def test_points_that_load_the_same_load_it_once(channels: int) -> None:
    """The gradient of a pooling reads a place once, not for every pixel of the window."""
    text = UNPOOLED.replace("CHANNELS", str(channels))
    for count in (12, 6, 3, 2):
        text = text.replace("C" * count, str(count * channels))
    target = Target.named("sapphirerapids")
    chosen = lanes.plan(parse(text), target)
    assert chosen.within == ("b", "a")
    lines = module_text([parse(text)], target).splitlines()
    floats = [x for x in lines if " x float>" in x and "declare" not in x]
    loads, stores = (sum(word in x for x in floats) for word in ("load", "store"))
    assert stores >= 4 * loads > 0
    rng = np.random.default_rng(0)
    buffers: dict[str, Array] = {
        "g": rng.integers(1, 9, 15 * channels).astype(np.float32),
        "i": rng.integers(0, 4, 15 * channels),
        "y": np.ones(60 * channels, np.float32),
    }
    check([Case(parse(text), buffers, {"n": 5}, {})])


def test_long_axes_and_loads_stay_around_the_lanes() -> None:
    def within(text: str) -> tuple[str, ...]:
        return lanes.plan(parse(text), Target.named("sapphirerapids")).within

    shown = UNPOOLED.replace("CHANNELS", "16").replace("CCCCCCCCCCCC", "192")
    shown = shown.replace("CCCCCC", "96").replace("CCC", "48").replace("CC", "32")
    assert within(shown) == ("b", "a")
    assert within(shown.replace("b in 2", "b in 9")) == ("a",)
    assert within(shown.replace("load g[y*48", "load g[y*48 + b*7")) == ("a",)


def test_modules_hold_each_distinct_kernel_once() -> None:
    a, b = parse(SUMS), parse(COLUMNS)
    renamed = dataclasses.replace(a, name="other", note="x")
    text = emit_module([a, b, renamed], Target.host())
    assert symbol(a) == symbol(renamed) != symbol(b)
    assert text.count("define void") == 2
