"""Scans along a dimension."""

from __future__ import annotations

from tests.op_table.rows import ErrorRow, In, OpRow

LINE = (In((2, 5)),)
SCANS = [
    OpRow("cumsum", lambda T, x: x.cumsum(1), LINE),
    OpRow("cumsum_", lambda T, x: (x * x).cumsum_(1), LINE),
    OpRow("cumprod", lambda T, x: x.cumprod(1), LINE),
    OpRow("cumprod_zero", lambda T, x: T.where(x.abs() < 0.7, 0.0, x).cumprod(0), (In((6, 3)),)),
    OpRow("cumprod_", lambda T, x: (x * x).cumprod_(-1), LINE),
    OpRow("cumprod_ints", lambda T, i: T.cumprod(i, 0), (In((5,), 1, 4, dtype="i"),), False),
    OpRow("cummax", lambda T, x: x.cummax(1).values, LINE),
    OpRow("cummax_index", lambda T, x: T.cummax((x * 2).round(), 1).indices, LINE, False),
    OpRow("cummin", lambda T, x: x.cummin(0)[0], LINE),
    OpRow("cummin_index", lambda T, x: x.round().cummin(1).indices, LINE, False),
    OpRow("logcumsumexp", lambda T, x: x.logcumsumexp(1), LINE, rtol=1e-11),
]

ERRORS = [
    ErrorRow("cumsum", lambda T, x: x.cumsum(2), IndexError, says="2"),
    ErrorRow("cumprod", lambda T, x: x.cumprod(-3), IndexError, says="-3"),
    ErrorRow("cummax", lambda T, x: x.cummax(2), IndexError, says="2"),
    ErrorRow("cummin", lambda T, x: x.cummin(2), IndexError, says="2"),
    ErrorRow("logcumsumexp", lambda T, x: x.logcumsumexp(2), IndexError, says="2"),
]
