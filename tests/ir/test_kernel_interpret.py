"""The kernel interpreter against plain NumPy, a kernel per kind of statement."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from graphc.ir.kernel_interpret import Failure, run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.verify_kernel import verify_kernel


def test_softmax() -> None:
    kernel = parse("""kernel softmax map (x: r f64, o: w f64 | n | ) {
  for i in n {
    for j in 5 {
      %0: f64 = load x[i*5 + j]
      %1: f64 = max %0
    }
    for j in 5 {
      %2: f64 = load x[i*5 + j]
      %3: f64 = sub %2 %1
      %4: f64 = exp %3
      %5: f64 = sum %4
    }
    for j in 5 {
      %6: f64 = load x[i*5 + j]
      %7: f64 = sub %6 %1
      %8: f64 = exp %7
      %9: f64 = div %8 %5
      store o[i*5 + j] = %9
    }
  }
}""")
    x, out = np.random.default_rng(0).standard_normal((7, 5)), np.zeros(35)
    run_kernel(kernel, {"x": x.ravel(), "o": out}, {"n": 7}, {})
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(out.reshape(7, 5), e / e.sum(1, keepdims=True), rtol=1e-15)


def test_guarded_convolution() -> None:
    kernel = parse("""kernel conv contract (x: r f32, w: r f32, o: w f32 |  | ) {
  for i in 6 {
    for k in 3 {
      %0: f32 = load x[i + k - 1] if 0 <= i + k - 1 < 6
      %1: f32 = load w[k]
      %2: f32 = dot %0 %1
    }
    once {
      store o[i] = %2
    }
  }
}""")
    x, w = np.arange(6, dtype=np.float32), np.array([1, 2, 4], np.float32)
    out = np.zeros(6, np.float32)
    run_kernel(kernel, {"x": x, "w": w, "o": out}, {}, {})
    np.testing.assert_array_equal(out, np.correlate(x, w, "same"))


def test_half_floats_round_once_per_op() -> None:
    kernel = parse("""kernel half map (x: r bf16, o: w bf16 | n | c0: bf16) {
  for i in n {
    once {
      %0: bf16 = load x[i]
      %1: bf16 = add %0 c0
      %2: bf16 = sub %1 %0
      store o[i] = %2
    }
  }
}""")
    x = np.array([1.0, 256.0, 512.0]).astype(ml_dtypes.bfloat16)
    out = np.zeros(3, ml_dtypes.bfloat16)
    run_kernel(kernel, {"x": x, "o": out}, {"n": 3}, {"c0": 1.0})
    assert list(out.astype(float)) == [1.0, 0.0, 0.0]


def test_failures_are_collected() -> None:
    kernel = parse("""kernel pick map (t: r i64, x: r i64, o: w i64 | n | bound: i64, site: i64) {
  for i in n {
    once {
      %0: i64 = load t[i]
      %1: i64 = check_index %0 bound site
      %2: i64 = load x[%1*1]
      %3: i64 = floordiv %2 %0
      store o[i] = %3
    }
  }
}""")
    data = {"t": np.array([1, 9, 0, -1]), "x": np.array([10, 20, 30]), "o": np.zeros(4, np.int64)}
    errors: list[Failure] = []
    run_kernel(kernel, data, {"n": 4}, {"bound": 3, "site": 5}, errors)
    assert errors == [Failure(5, 9, 3), Failure(0, 10, 0)]
    assert list(data["o"]) == [20, 1, 10, -10]


def test_empty_folds_give_identities() -> None:
    kernel = parse("""kernel empty map (x: r f32, o: w f32 | n | ) {
  for i in 2 {
    for j in n {
      %0: f32 = load x[i*n + j]
      %1: f32 = sum %0
      %2: f32 = max %0
      %3: f32 = prod %0
    }
    once {
      store o[i*3] = %1
      store o[i*3 + 1] = %2
      store o[i*3 + 2] = %3
    }
  }
}""")
    out = np.full(6, 7, np.float32)
    run_kernel(kernel, {"x": np.zeros(0, np.float32), "o": out}, {"n": 0}, {})
    assert list(out) == [0, -np.inf, 1] * 2


def test_partial_statistics_of_runs() -> None:
    """Their parts, the last of which is shorter, merge to the statistics of all by Chan's rule."""
    n, k, run = 5, 3, 4
    kernel = parse(f"""kernel dot contract (a: r f32, b: r f32, m: w f32, v: w f32 | n0 | ) {{
  for d0 in n0, d1 in {k}, d2 in 2 {{
    for d3 in 2 {{
      %0: f32 = load a[d0*4 + d2*2 + d3]
      %1: f32 = load b[d3*{k} + d1]
      %2: f32 = dot %0 %1
    }}
    once {{
      %3: f32 = mul %2 %2
    }}
  }}
  partial m[part*{k} + d1] = mean %3 over d0, d2 by {run}
  partial v[part*{k} + d1] = deviations %3 over d0, d2 by {run}
}}""")
    verify_kernel(kernel)
    rng, parts = np.random.default_rng(0), -(-2 * n // run)
    a, b = rng.standard_normal((n * 2, 2)), rng.standard_normal((2, k))
    data = {"a": a.astype("f4").ravel(), "b": b.astype("f4").ravel()}
    data |= {name: np.zeros(parts * k, "f4") for name in "mv"}
    run_kernel(kernel, data, {"n0": n}, {})
    squares = np.square(a @ b)
    counts = np.array([min(run, 2 * n - run * p) for p in range(parts)])[:, None]
    means, inside = (data[name].reshape(parts, k) for name in "mv")
    mean = (means * counts).sum(0) / (2 * n)
    np.testing.assert_allclose(mean, squares.mean(0), rtol=1e-5)
    total = inside.sum(0) + (counts * np.square(means - mean)).sum(0)
    np.testing.assert_allclose(total / (2 * n), squares.var(0), rtol=1e-5)


def test_scatter_adds_in_order() -> None:
    kernel = parse("""kernel scatter scatter (t: r i64, g: r f32, w: rw f32 | n | ) {
  for c in 2 {
    for i in n {
      %0: i64 = load t[i]
      %1: f32 = load g[i*2 + c]
      store w[c + %0*2] += %1
    }
  }
}""")
    data = {
        "t": np.array([0, 1, 0]),
        "g": np.arange(6, dtype=np.float32),
        "w": np.ones(4, np.float32),
    }
    run_kernel(kernel, data, {"n": 3}, {})
    assert list(data["w"]) == [5, 7, 3, 4]
