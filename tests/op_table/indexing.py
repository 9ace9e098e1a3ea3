"""Indexing, gather and scatter."""

from __future__ import annotations

from tests.op_table.rows import ErrorRow, In, shape_row

INDEXING = [
    shape_row("index_int", lambda T, x: x[1]),
    shape_row("index_slice", lambda T, x: x[:, 1:, ::2]),
    shape_row("index_step", lambda T, x: x[..., 1::3], In((2, 8))),
    shape_row("index_none", lambda T, x: x[None, :, 0, ..., None]),
    shape_row("index_tensor", lambda T, i, x: x[i], In((5,), -2, 2, dtype="i"), In((2, 3))),
    shape_row(
        "index_two",
        lambda T, i, j, x: x[:, i, j],
        In((2, 2), 0, 3, dtype="i"),
        In((2,), -4, 4, dtype="i"),
        In((2, 3, 4)),
    ),
    shape_row(
        "index_apart",
        lambda T, i, j, x: x[i, :, j],
        In((2,), 0, 2, dtype="i"),
        In((2,), -4, 4, dtype="i"),
        In((2, 3, 4)),
    ),
    shape_row("index_mixed", lambda T, i, x: x[1:, i, None], In((2,), 0, 3, dtype="i"), In((2, 3))),
    shape_row(
        "embedding",
        lambda T, i, w: T.nn.functional.embedding(i, w),
        In((2, 3), 0, 5, dtype="i"),
        In((5, 4)),
    ),
]

ERRORS = [
    ErrorRow("index", lambda T, x: x[3], IndexError),
]
