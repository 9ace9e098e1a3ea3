"""Kernels of kind map and scatter, interpreted, against what kernels mean."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

pytest.importorskip("triton")

from kernels import SMALL, TARGET, alike, emitted, expected, launch
from on_host import aligned, run

from graphc.codegen_gpu import scatter
from graphc.codegen_gpu.module import emit, needs_wide
from graphc.codegen_gpu.tiles import plan
from graphc.ir.kernel import Affine, Load, Phase
from graphc.ir.kernel_interpret import Failure
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array, f32
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.copies import moves
from tests.codegen_cpu.random_kernels import Case, cases, describe
from tests.codegen_cpu.test_loops import (
    ARG,
    CHECK,
    COLUMNS,
    DROPOUT,
    EMBED,
    HOISTED,
    IN_PLACE,
    LANE_SCATTER,
    SCATTER,
    SUMS,
    TAKE,
    TRANSPOSED,
)


@pytest.mark.parametrize("start", range(0, 80, 10))
def test_random_kernels(start: int) -> None:
    """In either order of programs, with narrow and wide offsets."""
    for seed, case in enumerate(cases(start, 10), start):
        source = emitted(case.kernel, case.sizes, wide=seed % 3 == 0)
        want = expected(case.kernel, case.buffers, case.sizes, case.scalars)
        got = launch(
            case.kernel, source, case.buffers, case.sizes, case.scalars, reverse=seed % 2 == 0
        )
        for name, x in want.items():
            assert alike(got[name], x, 1e-2 if x.dtype.itemsize == 2 else 0.0), describe(case)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 3000, 100))
def test_many_random_kernels(start: int) -> None:
    for first in range(start, start + 100, 10):
        test_random_kernels(first)


def points(case: Case) -> int:
    sizes = [a.extent for a in case.kernel.axes]
    return prod(n if isinstance(n, int) else case.sizes[n] for n in sizes)


@pytest.mark.parametrize("hint", [1, 100, 1 << 20])
def test_hints_choose_blocks_alone(hint: int) -> None:
    """Code made for other sizes is right for these."""
    for case in (c for c in cases(500, 40) if points(c) < 70 and c.sizes):
        source = emit(case.kernel, [hint] * len(case.sizes), TARGET)
        want = expected(case.kernel, case.buffers, case.sizes, case.scalars)
        got = launch(case.kernel, source, case.buffers, case.sizes, case.scalars)
        for name, x in want.items():
            assert alike(got[name], x, 1e-2 if x.dtype.itemsize == 2 else 0.0), describe(case)


def both(
    text: str, data: dict[str, Array], sizes: dict[str, int], **numbers: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(got, wanted) buffers of a kernel written by hand."""
    kernel = parse(text)
    want = expected(kernel, data, sizes, numbers, [])
    return launch(kernel, emitted(kernel, sizes), data, sizes, numbers), want


def noise(n: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


@pytest.mark.parametrize("columns", [37, 16, 1])
def test_scatter_adds_in_order(columns: int) -> None:
    index = np.random.default_rng(1).integers(0, 9, 100)
    data = {"t": index, "g": noise(100 * 37), "w": noise(9 * 37, 2)}
    got, want = both(SCATTER.replace("|  )", "| )"), data, {"n": 100, "m": columns})
    assert got["w"].tobytes() == want["w"].tobytes()


ROWS = """\
kernel rows scatter (w: rw {kind}, g: r {of}, t: r i64 | n, r | ) {{
  for d2 in {columns} {{
    for d3 in r {{
      %0: {kind} = const 0
      store w[d2 + d3*{columns}] = %0
    }}
    for d1 in n {{
      %1: {of} = load g[d1*{columns} + d2]
      %2: {kind} = cast %1
      %3: i64 = load t[d1]
      store w[d2 + %3*{columns}] += %2 in order
    }}
  }}
}}
"""


@pytest.mark.parametrize(
    "kind,of,columns,spread",
    [
        ("f64", "f32", 37, "even"),
        ("f32", "f16", 1, "some rows"),
        ("f16", "f32", 16, "some rows"),
        ("i32", "u8", 37, "one row"),
        ("i8", "i32", 16, "even"),
    ],
)
def test_rows_of_a_scatter_are_shared_out(
    kind: str, of: str, columns: int, spread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is one program's, whatever number of programs, and is added to in order."""
    monkeypatch.setattr(scatter, "INDICES", 64)
    kernel = parse(ROWS.format(columns=columns, kind=kind, of=of))
    rng, n, rows = np.random.default_rng(1), 150, 21
    index = {"even": rng.integers(0, rows, n), "one row": np.full(n, 7),
             "some rows": rng.integers(3, 5, n)}[spread]  # fmt: skip
    dtypes = {b.name: b.dtype.numpy for b in kernel.buffers}
    data = {
        "w": np.ones(rows * columns, dtypes["w"]),
        "g": (noise(n * columns) * 9).astype(dtypes["g"]),
        "t": index,
    }
    sizes = {"n": n, "r": rows}
    want = expected(kernel, data, sizes, {})["w"]
    source = emit(kernel, [40, rows], TARGET)
    assert source.grid[1].count(sizes) == 8
    got = launch(kernel, source, data, sizes, {}, reverse=kind != "f32")
    assert got["w"].tobytes() == want.tobytes()
    assert "tl.cumsum" in source.text  # not an index after the other


def test_rows_to_which_something_known_before_is_added() -> None:
    text = ROWS.format(columns=16, kind="f32", of="f32").replace("cast %1", "add %1 %5")
    kernel = parse(text)
    fill, adding = kernel.phases
    known = Phase((), (Load("%5", f32, "g", Affine((("d2", 1),))),))
    kernel = replace(kernel, phases=(fill, known, adding))
    assert plan(kernel, [1000, 9], TARGET).form == "rows"
    data = {"w": noise(9 * 16), "g": noise(60 * 16, 2), "t": np.arange(60) % 9}
    sizes = {"n": 60, "r": 9}
    want = expected(kernel, data, sizes, {})["w"]
    got = launch(kernel, emit(kernel, [60, 9], TARGET), data, sizes, {})
    assert got["w"].tobytes() == want.tobytes()


def test_other_scatters_go_index_by_index() -> None:
    text = ROWS.format(columns=16, kind="f32", of="f32")
    assert plan(parse(text), [1000, 9], TARGET).form == "rows"
    moved = text.replace("store w[d2 + d3*16]", "store w[d2 + d3*8]")
    for other in (LANE_SCATTER, moved, text.replace("t[d1]", "t[d1 + d2]")):
        kernel = parse(other)
        assert plan(kernel, [1000] * len(kernel.sizes), TARGET).form == "flat"


def test_scatter_within_each_point() -> None:
    index = np.random.default_rng(1).integers(0, 8, 500)
    data = {"t": index, "g": noise(500), "w": np.zeros(800, np.float32)}
    got, want = both(LANE_SCATTER, data, {"n": 100})
    assert got["w"].tobytes() == want["w"].tobytes()


OVERLAPPING = """\
kernel overlapping map (x: r f32, o: w f32 | n | ) {
  for a in n, b in 5, p in 2, q in 16 {
    once {
      %0: f32 = load x[a*64 + b*16 + q] if 0 <= b < 4, 0 <= p < 1
      %1: bool = inside 0 <= b < 4, 0 <= p < 1
      %2: f32 = const -1
      %3: f32 = where %1 %0 %2
      %4: f32 = load x[a*64 + b*16 + q] if 0 <= b < 4, 1 <= p < 2
      %5: bool = inside 1 <= p < 2
      %6: f32 = where %5 %4 %2
      %7: f32 = load x[a*64 + b*16 + q - 16] if 1 <= b < 5, 0 <= p < 1
      %8: f32 = add %3 %6
      %9: f32 = add %8 %7
      store o[a*160 + b*32 + p*16 + q] = %9
    }
  }
}"""


def test_windows_that_overlap_are_read_once() -> None:
    """By a place that computes all points of the axis which says what window they are in."""
    kernel = parse(OVERLAPPING)
    data = {"x": noise(3 * 64), "o": np.zeros(3 * 160, np.float32)}
    got, want = both(OVERLAPPING, data, {"n": 3})
    assert got["o"].tobytes() == want["o"].tobytes()
    assert plan(kernel, [3], TARGET).each == ("p",)
    source = emit(kernel, [3], TARGET)
    assert source.text.count("tl.load(") == 2 and source.text.count("tl.store(") == 2


COLUMN_SUMS = """\
kernel sums map (x: r bf16, m: r f32, s: r f32, o: w f32 | n | ) {
  for a in n, c in 128 {
    for r in 128 {
      %0: bf16 = load x[a*16384 + r*128 + c]
      %1: f32 = cast %0
      %2: f32 = load m[a*128 + r]
      %3: f32 = load s[a*128 + r]
      %4: f32 = sub %1 %2
      %5: f32 = mul %4 %3
      %6: f32 = sum %5
    }
    once {
      store o[a*128 + c] = %6
    }
  }
}"""


def test_numbers_of_rows_do_not_say_how_columns_are_read() -> None:
    """They are few beside what they are applied to, and are wider."""
    data = {
        "x": noise(2 * 16384).astype(parse(COLUMN_SUMS).buffers[0].dtype.numpy),
        "m": noise(256, 2),
        "s": noise(256, 3),
        "o": np.zeros(256, np.float32),
    }
    assert plan(parse(COLUMN_SUMS), [2], TARGET).form == "column"
    got, want = both(COLUMN_SUMS, data, {"n": 2})
    assert np.allclose(got["o"], want["o"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("text,shift", [(EMBED, 0), (TAKE, 7)])
def test_check_index_reports_and_stays_inside(text: str, shift: int) -> None:
    data = {
        "t": np.arange(53) % 9 + shift,
        "w": np.arange(180, dtype=np.float32),
        "o": np.zeros(53 * 20, np.float32),
    }
    numbers = {"bound": 9, "site": 4}
    got, want = both(text, data, {"n": 53}, **numbers)
    assert not got["error"].any()  # no report from dead lanes
    assert (got["o"] == want["o"]).all()
    for wrong in (9, -3):
        data["t"][51] = wrong + shift
        got, _ = both(text, data, {"n": 53}, **numbers)
        assert list(got["error"]) == [1, 4, wrong, 9]


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "i32", "u8"])
def test_check_reports_where_a_value_does_not_hold(dtype: str) -> None:
    text = CHECK.format(dtype=dtype)
    kind = parse(text).buffers[0].dtype.numpy
    data = {"x": np.ones(53 * 11, kind), "o": np.zeros(53 * 11, kind), "s": np.zeros(53, kind)}
    got, want = both(text, data, {"n": 53}, site=4)
    assert not got["error"].any()
    assert all((got[name] == want[name]).all() for name in data)
    for at in (0, 300, 53 * 11 - 1):
        wrong = {**data, "x": data["x"].copy()}
        wrong["x"][at] = 0
        got, _ = both(text, wrong, {"n": 53}, site=4)
        assert list(got["error"]) == [1, 4, 0, 0]


def test_a_guarded_kernel_writes_nothing_after_a_failure() -> None:
    kernel = parse(TRANSPOSED)
    x, sizes = noise(64 * 40), {"n": 40, "s": 40}
    source = emit(kernel, [40, 40], SMALL, guarded=True)
    assert any(p.bound == "error" for p in source.params)
    for failed in (0, 1):
        data = [aligned(x), aligned(np.zeros(64 * 40, np.float32))]
        run(source, data, sizes, error=np.array([failed, 0, 0, 0]))
        want = np.zeros((40, 64)) if failed else x.reshape(64, 40).T
        assert (data[1].reshape(40, 64) == want).all()


@pytest.mark.parametrize("columns", [1, 5, 16, 100])
@pytest.mark.parametrize("literal", [False, True])
def test_positions_of_the_first_extreme_or_nan(columns: int, literal: bool) -> None:
    r = np.random.default_rng(2)
    x = r.integers(0, 4, (64, 300)).astype(np.float32)
    x[10:20, r.integers(0, 3 * columns, 40)] = np.nan
    x[20:30] = -np.inf
    x[30:40] = np.inf
    data = {"x": x.ravel(), **{k: np.zeros(64, np.int64) for k in "opq"}}
    text, sizes = ARG, {"n": 64, "s": columns}
    if literal:
        text = ARG.replace("b in s", f"b in {columns}").replace("a*s", f"a*{columns}")
        text, sizes = text.replace("n, s |", "n |"), {"n": 64}
    got, want = both(text, data, sizes)
    assert all((got[k] == want[k]).all() for k in "opq")


@pytest.mark.parametrize("text,columns", [(SUMS, 1), (COLUMNS, 5)])
def test_long_sums_are_cut(text: str, columns: int) -> None:
    """0.1 a hundred thousand times: a plain float32 loop is off by 1e-3."""
    n = 100_000
    data = {"x": np.full(n, 0.1, np.float32), "o": np.zeros(columns, np.float32)}
    got = launch(parse(text), emitted(parse(text), {"n": n}), data, {"n": n // columns}, {})
    exact = np.float64(np.float32(0.1)) * n / columns
    assert abs(got["o"] / exact - 1).max() < 1e-6


def test_sums_of_infinities_and_nan() -> None:
    for special, want in (([np.inf], np.inf), ([np.inf, -np.inf], np.nan), ([np.nan], np.nan)):
        x = noise(50_000)
        x[1000 : 1000 + len(special)] = special
        got, _ = both(SUMS, {"x": x, "o": np.zeros(1, np.float32)}, {"n": len(x)})
        assert np.array_equal(got["o"], [np.float32(want)], equal_nan=True)


def test_buffers_may_alias_as_declared() -> None:
    kernel, x = parse(IN_PLACE), aligned(noise(21 * 40))
    want = (x.reshape(40, 21) - x.reshape(40, 21).max(1, keepdims=True)).ravel()
    run(emitted(kernel, {"n": 40}), [x, x], {"n": 40})
    assert (x == want).all()


def test_an_empty_loop_touches_no_memory() -> None:
    data = {
        "x": np.zeros(1, np.float32),
        "y": np.zeros(1, np.float32),
        "o": np.ones(40, np.float32),
    }
    kernel, sizes = parse(HOISTED), {"n": 40, "m": 0}
    assert needs_wide(kernel, {"n": 40, "m": 2})
    got = launch(kernel, emitted(kernel, sizes, wide=True), data, sizes, {})
    assert (got["o"] == 0).all()


@pytest.mark.parametrize("row", [10, 12, 64])
def test_random_bits_do_not_depend_on_the_loops(row: int) -> None:
    text = DROPOUT.replace("10", str(row))
    kernel, data = parse(text), {"o": np.zeros(30 * row, np.int32)}
    source = emitted(kernel, {"n": 30})
    assert "tl.join" in source.text  # four words of a block, which is computed once
    numbers = {"seed": -5, "draw": 3}
    got = launch(kernel, source, data, {"n": 30}, numbers)
    assert (got["o"] == expected(kernel, data, {"n": 30}, numbers)["o"]).all()
    apart = text.replace("index i", "index 1 + i")
    got, want = both(apart, data, {"n": 30}, **numbers)
    assert (got["o"] == want["o"]).all()


PRODUCT = """kernel product map (x: r {dtype}, o: w {dtype} | n | ) {{
  for i in n {{
    for j in {trips} {{
      %0: {dtype} = load x[{at}]
      %1: {dtype} = prod %0
    }}
    once {{
      store o[i] = %1
    }}
  }}
}}"""


@pytest.mark.parametrize("trips", ["5", "n"])
@pytest.mark.parametrize("dtype", ["f32", "i64", "u8", "bool", "bf16"])
@pytest.mark.parametrize("order", ["row", "column"])
def test_products(dtype: str, trips: str, order: str) -> None:
    at = "i*20 + j" if order == "row" else "i + j*20"
    text = PRODUCT.format(dtype=dtype, trips=trips, at=at)
    kind = parse(text).buffers[0].dtype.numpy
    x = np.random.default_rng(4).integers(1, 4, 20 * 20).astype(kind)
    if trips == "n" and dtype in ("f32", "bf16"):
        x = (x > 2).astype(kind) + kind.type(1)
    got, want = both(text, {"x": x, "o": np.zeros(20, kind)}, {"n": 20})
    assert alike(got["o"], want["o"])


SOFTMAX = """kernel softmax map (x: r f32, o: w f32 | n{more} | ) {{
  for i in n {{
    for j in {k} {{
      %0: f32 = load x[i*200 + j]
      %1: f32 = max %0
    }}
    for j in {k} {{
      %2: f32 = load x[i*200 + j]
      %3: f32 = sub %2 %1
      %4: f32 = exp %3
      %5: f32 = sum %4
    }}
    for j in {k} {{
      %6: f32 = load x[i*200 + j]
      %7: f32 = sub %6 %1
      %8: f32 = exp %7
      %9: f32 = div %8 %5
      store o[i*200 + j] = %9
    }}
  }}
}}"""


def test_phases_share_what_a_row_holds() -> None:
    """A literal row is read once; one of unknown length three times, and both are softmax."""
    data = {"x": noise(200 * 30), "o": np.zeros(200 * 30, np.float32)}
    whole, looped = SOFTMAX.format(more="", k=200), SOFTMAX.format(more=", k", k="k")
    for text, sizes, loads in ((whole, {"n": 30}, 1), (looped, {"n": 30, "k": 200}, 3)):
        assert emitted(parse(text), sizes).text.count("tl.load") == loads
        got, want = both(text, data, sizes)
        assert alike(got["o"], want["o"], 1e-6)


def test_a_half_is_rounded_before_what_would_tell() -> None:
    """A sum that is stored by one kernel and computed again by another is equal to itself."""
    text = """kernel equal map (x: r bf16, y: r bf16, s: r bf16, o: w bool | n | ) {
  for i in n {
    once {
      %0: bf16 = load x[i]
      %1: bf16 = load y[i]
      %2: bf16 = mul %0 %1
      %3: bf16 = load s[i]
      %4: bool = eq %2 %3
      store o[i] = %4
    }
  }
}"""
    kind = parse(text).buffers[0].dtype.numpy
    x, y = noise(300).astype(kind), noise(300, 2).astype(kind)
    got, _ = both(text, {"x": x, "y": y, "s": x * y, "o": np.zeros(300, bool)}, {"n": 300})
    assert got["o"].all()


def test_a_fold_over_no_axis_is_its_element() -> None:
    text = """kernel alone map (x: r f32, o: w f32, p: w i64 | n | ) {
  for i in n {
    once {
      %0: f32 = load x[i]
      %1: f32 = sum %0
      %2: i64 = argmax %0
    }
    once {
      store o[i] = %1
      store p[i] = %2
    }
  }
}"""
    data = {"x": noise(70), "o": np.zeros(70, np.float32), "p": np.ones(70, np.int64)}
    got, want = both(text, data, {"n": 70})
    assert all((got[name] == want[name]).all() for name in data)


def test_forms() -> None:
    """What lies side by side in memory runs along lanes."""

    def form(text: str, *sizes: int) -> str:
        return plan(parse(text), sizes, TARGET).form

    assert form(TRANSPOSED, 4096, 4096) == "tile"
    assert form(SUMS, 1 << 20) == "row"
    assert form(COLUMNS.replace("c in 5", "c in 64").replace("i*5", "i*64"), 1 << 20) == "column"
    assert form(SOFTMAX.format(more="", k=200), 1 << 16) == "row"
    assert form(EMBED, 1000) == "flat"
    assert form(SCATTER.replace("|  )", "| )"), 100, 100) == "rows"


@pytest.mark.parametrize("shape,form", [((2, 20, 6, 7), "tile"), ((2, 3, 6, 7), "flat")])
def test_copies_between_memory_formats(shape: tuple[int, ...], form: str) -> None:
    """Run along both sides' neighbours, by tiles, where there are enough."""
    x = np.arange(prod(shape), dtype=np.int16).reshape(shape)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    how = moves(2, shape, x.strides, last.strides)
    sizes = dict(zip(how.kernel.sizes, how.sizes, strict=True))
    data = {"source": last.transpose(0, 2, 3, 1).ravel(), "target": np.zeros(x.size, np.int16)}
    assert plan(how.kernel, how.sizes, TARGET).form == form
    got = launch(how.kernel, emit(how.kernel, how.sizes, TARGET), data, sizes, {})
    assert (got["target"] == x.ravel()).all()


def test_rows_without_end_are_tiled() -> None:
    """Along all dimensions of a grid but the first, 65535 programs are the most."""
    kernel = parse(TRANSPOSED)
    assert plan(kernel, (1000, 1000), TARGET).form == "tile"
    source = emit(kernel, (1000, 1000), TARGET)
    x, *others = pack.grid(source, {"n": 32 * 100_000, "s": 32 * 100_000})
    assert (x, others) == (2 * 100_000, [1, 1])


def test_programs_are_enough_where_points_are() -> None:
    for n in (1 << 10, 1 << 16, 1 << 20, 1 << 24):
        grid = emit(parse(TRANSPOSED.replace("c*s + r", "r*64 + c").replace("n, s", "n")), [n],
                    TARGET).grid  # fmt: skip
        programs = grid[0].count({"n": n})
        assert programs >= min(4 * TARGET.sms, n * 64 // 128)


def test_failures_are_those_of_the_meaning() -> None:
    failures: list[Failure] = []
    kernel = parse(EMBED)
    data = {
        "t": np.array([0, 12, 3]),
        "w": np.arange(180, dtype=np.float32),
        "o": np.zeros(60, np.float32),
    }
    expected(kernel, data, {"n": 3}, {"bound": 9, "site": 4}, failures)
    got, _ = both(EMBED, data, {"n": 3}, bound=9, site=4)
    assert list(got["error"]) == [1, *failures[0]]
