"""Sorting and what is found by it. Samples have no ties: torch leaves their order open."""

from __future__ import annotations

from tests.op_table.rows import ErrorRow, In, OpRow, shape_row

ROWS = In((4, 5))
SORTED = (-1.0, 0.0, 0.5, 1.0)

SORTING = [
    OpRow("sort", lambda T, x: x.sort().values, (ROWS,)),
    OpRow("sort_down", lambda T, x: T.sort(x, 0, True)[0], (ROWS,)),
    OpRow("sort_3d", lambda T, x: x.transpose(0, 2).sort(1).values, (In((2, 3, 4)),)),
    OpRow("sort_index", lambda T, x: x.sort(dim=1).indices, (ROWS,), False),
    OpRow("argsort", lambda T, x: T.argsort(x, dim=0, descending=True), (ROWS,), False),
    OpRow("msort", lambda T, x: T.msort(x), (ROWS,)),
    OpRow("topk", lambda T, x: x.topk(2).values, (ROWS,)),
    OpRow("topk_small", lambda T, x: T.topk(x, 3, 0, largest=False)[0], (ROWS,)),
    OpRow("topk_index", lambda T, x: T.topk(x, 3).indices, (ROWS,), False),
    OpRow("kthvalue", lambda T, x: x.kthvalue(2, keepdim=True).values, (ROWS,)),
    OpRow("median", lambda T, x: x.median(), (ROWS,)),
    OpRow("median_dim", lambda T, x: x.median(0).values, (ROWS,)),
    OpRow("nanmedian", lambda T, x: x.nanmedian(1, True).values, (ROWS,)),
    OpRow("mode", lambda T, i: i.mode().values, (In((4, 6), 0, 3, dtype="i"),), False),
    OpRow("quantile", lambda T, x: x.quantile(0.3), (ROWS,)),
    OpRow("quantile_dim", lambda T, x: x.quantile(0.7, 1, True), (ROWS,)),
    OpRow("quantile_q", lambda T, x: x.quantile(x.new_tensor([0.1, 0.6]), 0), (ROWS,)),
    OpRow("quantile_mid", lambda T, x: x.quantile(0.3, dim=1, interpolation="midpoint"), (ROWS,)),
    OpRow("nanquantile", lambda T, x: x.nanquantile(0.4, 0), (ROWS,)),
    OpRow("searchsorted", lambda T, x: T.searchsorted(x.new_tensor(SORTED), x), grad=False),
    OpRow(
        "searchsorted_rows",
        lambda T, x, y: T.searchsorted(x.sort().values, y, side="right"),
        (ROWS, In((4, 3))),
        False,
    ),
    OpRow("bucketize", lambda T, x: T.bucketize(x, x.new_tensor(SORTED), right=True), grad=False),
    OpRow(
        "isin",
        lambda T, i, j: T.isin(i, j) + 2 * T.isin(i, 3, invert=True) + 4 * T.isin(2, j),
        (In((4, 6), -5, 5, dtype="i"), In((2, 3), -5, 5, dtype="i")),
        False,
    ),
    OpRow(
        "unravel_index",
        lambda T, i: T.stack(T.unravel_index(i, (2, 3, 4))),
        (In((2, 5), 0, 24, dtype="i"),),
        False,
    ),
    OpRow("histc", lambda T, x: x.histc(6, -1, 1), (ROWS,), False),
    OpRow("histc_range", lambda T, x: T.histc(x, 4), (ROWS,), False),
    shape_row("sort_gather", lambda T, x: x[x[:, 0].argsort()], ROWS),
]

ERRORS = [
    ErrorRow("sort_dim", lambda T, x: x.sort(2), IndexError),
    ErrorRow("topk_many", lambda T, x: x.topk(5), RuntimeError, says="k = 5"),
    ErrorRow("kthvalue_0", lambda T, x: x.kthvalue(0), RuntimeError, says="k = 0"),
    ErrorRow("median_empty", lambda T, x: x.median(1), IndexError, (In((2, 0)),), "f32[2,0]"),
    ErrorRow("quantile_q", lambda T, x: x.quantile(1.5), RuntimeError, says="1.5"),
    ErrorRow("quantile_dtype", lambda T, x: x.half().quantile(0.5), RuntimeError, says="f16"),
    ErrorRow("quantile_empty", lambda T, x: x.quantile(0.5), RuntimeError, (In((0,)),)),
    ErrorRow(
        "searchsorted_rows", lambda T, x: T.searchsorted(x, x[:2]), RuntimeError, says="f32[2,4]"
    ),
    ErrorRow("bucketize", lambda T, x: T.bucketize(x, x), (RuntimeError), says="vector"),
    ErrorRow("bincount", lambda T, x: T.bincount(x), RuntimeError, says="integers"),
    ErrorRow("histc", lambda T, x: x.histc(0), RuntimeError, says="bins = 0"),
]
