"""Sums of columns go row by row through the matrix: which do, and that they are the sums."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen_cpu.map.loops import Template
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native

# A norm's gradient, of images: sums of g, and of g times the distance from a mean.
NORM = """kernel norm map (x: r f32, mean: r f32, g: r f32, s: w f32, t: w f32 | n, m, c | ) {
  for i in n, k in c {
    once {
      %0: f32 = load mean[k]
    }
    for r in m {
      %1: f32 = load x[i*image + r*c + k]
      %2: f32 = load g[i*image + r*c + k]
      %3: f32 = sub %1 %0
      %4: f32 = mul %2 %3
      %5: f32 = sum %2
      %6: f32 = sum %4
    }
    once {
      %7: f32 = add %6 %0
      store s[i*c + k] = %5
      store t[i*c + k] = %7
    }
  }
}""".replace("| n, m, c |", "| n, m, c, image |")
WIDE = NORM.replace("r f32", "r f64").replace("f32 =", "f64 =")
KERNELS = [parse(NORM), parse(WIDE)]


def sweeps(text: str) -> bool:
    return Template(parse(text), Target.named("sapphirerapids")).sweep is not None


def test_which_kernels_sweep() -> None:
    assert sweeps(NORM)
    assert sweeps(WIDE)
    known = NORM.replace("r*c", "r*COLUMNS").replace("k in c", "k in COLUMNS")
    assert sweeps(known.replace("COLUMNS", "96"))
    assert not sweeps(known.replace("COLUMNS", "16")), "a row is a vector"
    assert not sweeps(NORM.replace("r in m", "r in 40")), "few rows are one run"
    assert not sweeps(NORM.replace("%5: f32 = sum", "%5: f32 = max")), "an extreme is no sum"
    assert not sweeps(NORM.replace("r*c + k", "k*c + r")), "rows are summed, not columns"


@pytest.fixture(scope="module")
def native() -> Native:
    return Native(KERNELS)


@pytest.mark.parametrize("columns", [1, 16, 17, 96, 144, 1100])
@pytest.mark.parametrize("rows", [0, 1, 33, 200])
def test_sums_of_columns(native: Native, columns: int, rows: int) -> None:
    """Of multiples of 1/8, whose sums are exact, as the interpreter gives them."""
    rng, n = np.random.default_rng(0), 3
    sizes = {"n": n, "m": rows, "c": columns, "image": rows * columns + 7}
    lengths = {"x": n * sizes["image"], "g": n * sizes["image"], "mean": columns}
    for k, kernel in enumerate(KERNELS):
        buffers: dict[str, Array] = {
            b.name: (rng.integers(-8, 9, lengths.get(b.name, n * columns)) / 8).astype(
                b.dtype.numpy
            )
            for b in kernel.buffers
        }
        want = {name: x.copy() for name, x in buffers.items()}
        run_kernel(kernel, want, sizes, {})
        for threads in (1, 2, 3, 7):
            got = {name: x.copy() for name, x in buffers.items()}
            native.run(got, sizes, {}, threads, k)
            for name in "st":
                assert np.array_equal(got[name], want[name]), (threads, name)


def test_long_sums_of_columns_are_cascaded(native: Native) -> None:
    """As exact as sums in float64, and with the same bits on any number of threads and beside any
    number of other images."""
    rows, columns = 30_000, 40
    found = []
    for n, threads in ((1, 1), (2, 1), (2, 2), (2, 3)):
        data = {
            "x": np.full(n * rows * columns, 0.1, np.float32),
            "g": np.full(n * rows * columns, 0.1, np.float32),
            "mean": np.zeros(columns, np.float32),
            "s": np.zeros(n * columns, np.float32), "t": np.zeros(n * columns, np.float32),
        }  # fmt: skip
        sizes = {"n": n, "m": rows, "c": columns, "image": rows * columns}
        native.run(data, sizes, {}, threads)
        found.append(data["s"][:columns].tobytes())
        exact = np.float64(np.float32(0.1)) * rows
        assert np.abs(data["s"] / exact - 1).max() < 1e-6
    assert len(set(found)) == 1
