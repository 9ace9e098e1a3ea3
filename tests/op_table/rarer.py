"""Functions that few scripts call: systems by known factors, slopes, copies of views, operators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tests.op_table.linalg import BATCH, SQUARE, sure
from tests.op_table.linalg import row as solver
from tests.op_table.rows import POS, SMOOTH, ErrorRow, In, OpRow

INTS = In((3, 4), low=-12, high=13, dtype="i")
VECTOR = (In((4,)),)
RISING = In((5,), low=0.1, high=1.0)


def quietly(T: Any, call: Callable[[], Any]) -> Any:
    """What PyTorch warns of at the first call."""
    if T.__name__ != "torch":
        return call()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def factor(T: Any, x: Any) -> Any:
    return T.linalg.cholesky(sure(T, x))


def factors(T: Any, x: Any) -> Any:
    return T.linalg.lu_factor(sure(T, x) + x)


RARER = [
    solver("cholesky_solve", lambda T, x, y: y.cholesky_solve(factor(T, x)), BATCH, In((2, 3, 2))),
    solver(
        "cholesky_solve_upper",
        lambda T, x, y: T.cholesky_solve(y, factor(T, x).mT, upper=True),
        SQUARE,
        In((3, 2)),
    ),
    solver("cholesky_inverse", lambda T, x: T.cholesky_inverse(factor(T, x))),
    solver(
        "old_triangular_solve",
        lambda T, x, y: quietly(T, lambda: T.triangular_solve(y, sure(T, x), transpose=True)[0]),
        SQUARE,
        In((3, 2)),
    ),
    solver("lu_factor", lambda T, x: factors(T, x).LU, rtol=1e-6),
    solver("lu_pivots", lambda T, x: T.linalg.lu_factor(x)[1], grad=False),
    solver(
        "lu_solve",
        lambda T, x, y: quietly(T, lambda: y.lu_solve(*factors(T, x))),
        BATCH,
        In((2, 3, 2)),
    ),
    solver("lu_unpack", lambda T, x: T.lu_unpack(*factors(T, x)).U, rtol=1e-6),
    solver("lu_unpack_p", lambda T, x: T.lu_unpack(*T.linalg.lu_factor(x))[0], grad=False),
    solver("inv_ex", lambda T, x: T.linalg.inv_ex(sure(T, x) + x).inverse),
    solver("inv_ex_info", lambda T, x: T.linalg.inv_ex(x * 0).info, grad=False),
    solver("solve_ex", lambda T, x, y: T.linalg.solve_ex(sure(T, x), y)[0], BATCH, In((3, 2))),
    solver("cholesky_ex", lambda T, x: T.linalg.cholesky_ex(sure(T, x)).L),
    solver("cholesky_ex_info", lambda T, x: T.linalg.cholesky_ex(x + x.mT).info, grad=False),
    solver("orgqr", lambda T, x, t: T.orgqr(x * 0.3, t), In((4, 3)), In((3,), low=0.1, high=0.6)),
    solver(
        "ormqr",
        lambda T, x, t, y: x.ormqr(t, y, left=False, transpose=True),
        In((4, 3)),
        In((3,), low=0.1, high=0.6),
        In((2, 4)),
        grad=False,
    ),
    solver("tensorinv", lambda T, x: T.linalg.tensorinv((sure(T, x)).reshape(2, 2, 4)),
           In((4, 4))),
    solver(
        "tensorsolve",
        lambda T, x, y: T.linalg.tensorsolve(sure(T, x).reshape(2, 2, 4), y),
        In((4, 4)),
        In((2, 2)),
    ),
    OpRow("linalg_vander", lambda T, x: T.linalg.vander(x, N=3), (In((2, 3)),)),
    OpRow("vander", lambda T, x: T.vander(x), (In((4,)),), grad=False),
    OpRow("vander_increasing", lambda T, x: T.vander(x, 3, increasing=True), VECTOR, grad=False),
    OpRow("renorm", lambda T, x: T.renorm(x, 2, 0, 1.5), (SMOOTH,), rtol=1e-10),
    OpRow("renorm_1", lambda T, x: x.renorm(1, -1, 2.0), (SMOOTH,), second=False, rtol=1e-10),
    OpRow("gradient", lambda T, x: T.gradient(x)[1], (In((4, 5)),)),
    OpRow("gradient_edges", lambda T, x: T.gradient(x, spacing=0.5, dim=0, edge_order=2)[0],
          (In((4, 5)),)),
    OpRow(
        "gradient_points",
        lambda T, x, y: T.gradient(x, spacing=[T.cumsum(y.detach(), 0)], dim=1, edge_order=2)[0],
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
    OpRow("angle", lambda T, x: T.angle(x) + x, (SMOOTH,), second=False),
    OpRow("real_of_real", lambda T, x: T.real(x) * x.conj() + T.conj_physical(x).real),
    OpRow("sum_to_size", lambda T, x: x.sum_to_size(1, 4), (In((2, 3, 4)),)),
    OpRow("tensor_i0", lambda T, x: x.i0(), rtol=1e-10),
    OpRow("tensor_igamma", lambda T, x, y: x.igamma(y), (POS, POS), grad=False, rtol=1e-9),
    OpRow("tensor_mvlgamma", lambda T, x: x.mvlgamma(2), (In(low=1.2, high=4.0),), rtol=1e-9),
    OpRow("tensor_hardshrink", lambda T, x: x.hardshrink(0.3), (In(kinks=(-0.3, 0.3)),),
          second=False),
    OpRow("tensor_prelu", lambda T, x, w: x.prelu(w), (SMOOTH, In((4,))), second=False),
    OpRow("as_strided_scatter", lambda T, x, y: T.as_strided_scatter(x, y, (2, 2), (4, 1), 1),
          (In(), In((2, 2))), grad=False),  # torch's gradient is of the places that are overwritten
    OpRow("permute_copy", lambda T, x: T.permute_copy(x, (1, 0)) * 2),
    OpRow("split_with_sizes", lambda T, x: x.split_with_sizes([1, 3], 1)[1].exp()),
    OpRow("unsafe_chunk", lambda T, x: T.unsafe_chunk(x, 2, 1)[0] + x.unsafe_split(2, 1)[1]),
    OpRow("narrow_copy", lambda T, x: x.narrow_copy(1, 1, 2).square()),
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
