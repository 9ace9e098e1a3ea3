"""Functions that few scripts call: systems by a known factor, slopes, histograms, divisors."""

from __future__ import annotations

from typing import Any

from tests.op_table.linalg import BATCH, SQUARE, sure
from tests.op_table.linalg import row as solver
from tests.op_table.rows import SMOOTH, ErrorRow, In, OpRow

INTS = In((3, 4), low=-12, high=13, dtype="i")
VECTOR = (In((4,)),)
RISING = In((5,), low=0.1, high=1.0)


def factor(T: Any, x: Any) -> Any:
    return T.linalg.cholesky(sure(T, x))


RARER = [
    solver("cholesky_solve", lambda T, x, y: y.cholesky_solve(factor(T, x)), BATCH, In((2, 3, 2))),
    solver(
        "cholesky_solve_upper",
        lambda T, x, y: T.cholesky_solve(y, factor(T, x).mT, upper=True),
        SQUARE,
        In((3, 2)),
    ),
    solver("cholesky_inverse", lambda T, x: T.cholesky_inverse(factor(T, x))),
    OpRow("linalg_vander", lambda T, x: T.linalg.vander(x, N=3), (In((2, 3)),)),
    OpRow("vander", lambda T, x: T.vander(x), (In((4,)),), grad=False),
    OpRow("vander_increasing", lambda T, x: T.vander(x, 3, increasing=True), VECTOR, grad=False),
    OpRow("renorm", lambda T, x: T.renorm(x, 2, 0, 1.5), (SMOOTH,), rtol=1e-10),
    OpRow("renorm_1", lambda T, x: x.renorm(1, -1, 2.0), (SMOOTH,), second=False, rtol=1e-10),
    OpRow("gradient", lambda T, x: T.gradient(x, dim=1)[0], (In((4, 5)),)),
    OpRow("gradient_edges", lambda T, x: T.gradient(x, spacing=0.5, dim=0, edge_order=2)[0],
          (In((4, 5)),)),
    OpRow(
        "gradient_points",
        lambda T, x, y: T.gradient(
            x, spacing=[T.arange(y.numel()) + 0.4 * y.detach()], dim=1, edge_order=2
        )[0],
        (In((4, 5)), RISING),
        grad=False,
        rtol=1e-10,
    ),
    OpRow("cumulative_trapezoid", lambda T, x: T.cumulative_trapezoid(x, dx=0.5)),
    OpRow(
        "cumulative_trapezoid_points",
        lambda T, y, x: T.cumulative_trapezoid(y, x.cumsum(0), dim=0),
        (In((5, 3)), RISING),
    ),
    OpRow("histogram", lambda T, x: T.histogram(x, 5)[0], (In((20,)),), grad=False),
    OpRow("histogram_edges", lambda T, x: T.histogram(x, 5)[1], (In((20,)),), grad=False),
    OpRow("histogram_density",
          lambda T, x, w: x.histogram(4, range=(-1.0, 1.5), weight=w, density=True).hist,
          (In((20,)), In((20,), low=0.1)), grad=False),
    OpRow("histogram_given",
          lambda T, x: T.histogram(x, T.tensor([-1.0, 0.0, 0.25, 2.0], dtype=x.dtype)).hist,
          (In((20,)),), grad=False),
    OpRow("gcd", lambda T, x, y: T.gcd(x, y), (INTS, In((4,), -12, 13, dtype="i")), grad=False),
    OpRow("lcm", lambda T, x, y: x.lcm(y), (INTS, In((3, 1), -12, 13, dtype="i")), grad=False),
    OpRow("gcd_", lambda T, x, y: x.clone().gcd_(y), (INTS, INTS), grad=False),
    OpRow("sum_to_size", lambda T, x: x.sum_to_size(1, *x.shape[-1:]), (In((2, 3, 4)),)),
    OpRow("tensor_hardshrink", lambda T, x: x.hardshrink(0.3), (In(kinks=(-0.3, 0.3)),),
          second=False),
    OpRow("exp_in_place", lambda T, x: T.exp_(x * 1) + T.clamp_(x * 2, -1.0, 1.5),
          (In(kinks=(-0.5, 0.75)),), second=False),
]  # fmt: skip

ERRORS = [
    ErrorRow("renorm_vector", lambda T, x: T.renorm(x[0], 2, 0, 1.0), RuntimeError, says="f32[4]"),
    ErrorRow("gcd_floats", lambda T, x: T.gcd(x, x), RuntimeError, says="whole"),
    ErrorRow("vander_matrix", lambda T, x: T.vander(x), RuntimeError, says="vector"),
    ErrorRow("gradient_short", lambda T, x: T.gradient(x[:, :1], dim=1), RuntimeError, says="2"),
    ErrorRow("histogram_none", lambda T, x: T.histogram(x, 0), RuntimeError, says="bins"),
    ErrorRow("sum_to_size", lambda T, x: x.sum_to_size(2, 4), RuntimeError, says="(2, 4)"),
    ErrorRow("tensorinv", lambda T, x: T.linalg.tensorinv(x, 1), RuntimeError, says="3,4"),
]
