"""Reductions and scans."""

from __future__ import annotations

from tests.op_table.rows import SMOOTH, ErrorRow, In, OpRow

REDUCTIONS = [
    OpRow("sum", lambda T, x: x.sum()),
    OpRow("sum_dim", lambda T, x: x.sum(1)),
    OpRow("sum_dims_keep", lambda T, x: x.sum((0, -1), keepdim=True), (In((2, 3, 4)),)),
    OpRow("mean", lambda T, x: x.mean()),
    OpRow("mean_dim", lambda T, x: x.mean(-1, keepdim=True)),
    OpRow("prod", lambda T, x: x.prod()),
    OpRow("prod_dim", lambda T, x: x.prod(1)),
    OpRow("var", lambda T, x: x.var()),
    OpRow("var_dim", lambda T, x: x.var(1, correction=0)),
    OpRow("std_dim", lambda T, x: x.std(0, keepdim=True)),
    OpRow("norm", lambda T, x: x.norm()),
    OpRow("norm_1", lambda T, x: x.norm(1, dim=1), (SMOOTH,)),
    OpRow("norm_3", lambda T, x: x.norm(3, dim=1), (SMOOTH,)),
    OpRow("norm_inf", lambda T, x: x.norm(float("inf"), dim=1), (SMOOTH,), second=False),
    OpRow("max", lambda T, x: x.max()),
    OpRow("min", lambda T, x: x.min()),
    OpRow("max_dim", lambda T, x: x.max(1).values),
    OpRow("max_index", lambda T, x: x.max(1, keepdim=True).indices, grad=False),
    OpRow("min_dim", lambda T, x: x.min(0)[0]),
    OpRow("amax", lambda T, x: x.amax((0, 2)), (In((2, 3, 4)),)),
    OpRow("amin", lambda T, x: x.amin(1, keepdim=True)),
    OpRow("argmax", lambda T, x: x.argmax(), grad=False),
    OpRow("argmin_dim", lambda T, x: x.argmin(1, keepdim=True), grad=False),
    OpRow("any", lambda T, x: x.any(1), (In(dtype="b"),), False),
    OpRow("all", lambda T, x: x.all(), (In(dtype="b"),), False),
    OpRow("count_nonzero", lambda T, x: T.count_nonzero(x > 0), grad=False),
    OpRow("logsumexp", lambda T, x: x.logsumexp(1)),
    OpRow("logsumexp_dims", lambda T, x: x.logsumexp((0, 2), keepdim=True), (In((2, 3, 4)),)),
    OpRow("softmax", lambda T, x: x.softmax(1)),
    OpRow("log_softmax", lambda T, x: x.log_softmax(0)),
    OpRow("var_mean", lambda T, x: T.var_mean(x, 1, unbiased=False)[0]),
    OpRow("std_mean", lambda T, x: T.std_mean(x, (0, 1), keepdim=True)[0]),
    OpRow("aminmax", lambda T, x: x.aminmax(dim=1).max - x.aminmax(dim=1).min),
    OpRow("aminmax_all", lambda T, x: T.aminmax(x)[0]),
    OpRow("cov", lambda T, x: T.cov(x)),
    OpRow("cov_vector", lambda T, x: x.cov(correction=0), (In((5,)),)),
    OpRow(
        "cov_weighted",
        lambda T, i, x, w: T.cov(x, fweights=i, aweights=w),
        (In((4,), 1, 4, dtype="i"), In(), In((4,), 0.2, 2.0)),
    ),
    OpRow("corrcoef", lambda T, x: T.corrcoef(x)),
    OpRow("dist", lambda T, x, y: T.dist(x, y), (In(), In())),
    OpRow("dist_1", lambda T, x, y: x.dist(y, 1), (In(), In()), second=False),
    OpRow("nansum_dtype", lambda T, x: T.nansum(x, 0, dtype=T.float64), grad=False),
    OpRow("any_dims", lambda T, x: x.any((0, 1)), (In(dtype="b"),), False),
    OpRow("all_dims", lambda T, x: T.all(x, dim=(0,), keepdim=True), (In(dtype="b"),), False),
    OpRow("norm_nan_dtype", lambda T, x: x.norm(dtype=T.float64), grad=False),
    OpRow("trapezoid", lambda T, x: T.trapezoid(x, dx=0.5)),
    OpRow("trapezoid_points", lambda T, x, y: T.trapezoid(x, y, dim=0), (In(), In((3,)))),
]

ERRORS = [
    ErrorRow("sum_dim", lambda T, x: x.sum(2), IndexError),
    ErrorRow("mean_of_ints", lambda T, x: x.mean(), RuntimeError, (In(dtype="i"),), "i64"),
    ErrorRow("max_empty", lambda T, x: x.max(), RuntimeError, (In((0,)),)),
]
