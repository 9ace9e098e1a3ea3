"""Reading and writing along a dimension by numbers."""

from __future__ import annotations

from typing import Any

from tests.op_table.rows import ErrorRow, In, OpRow, shape_row

ROW = In((5,), 0, 4, dtype="i")
WIDE = In((3, 5), 0, 4, dtype="i")
ONE = In((1, 2))
PAIR = In((2,), 0, 4, dtype="i")
SMALL = In((2, 3), 0, 4, dtype="i")


def reduced(mode: str, include_self: bool = True) -> Any:
    def fn(T: Any, i: Any, x: Any, y: Any) -> Any:
        return x.scatter_reduce(1, i, y, mode, include_self=include_self)

    return fn


def kept(mode: str) -> OpRow:
    return shape_row(f"scatter_reduce_{mode}", reduced(mode), WIDE, In(), In((3, 5)))


def fresh(mode: str) -> OpRow:
    fn = reduced(mode, include_self=False)
    return shape_row(f"scatter_reduce_new_{mode}", fn, WIDE, In(), In((3, 5)))


MODES = ("sum", "mean", "prod", "amax", "amin")
SCATTER = [
    shape_row("gather", lambda T, i, x: x.gather(1, i), In((3, 2), 0, 4, dtype="i"), In()),
    shape_row("gather_one", lambda T, i, x: x.gather(1, i), In((3, 1), 0, 4, dtype="i"), In()),
    shape_row("gather_0", lambda T, i, x: x.gather(0, i), In((5, 4), 0, 3, dtype="i"), In()),
    shape_row("take_along_dim", lambda T, i, x: T.take_along_dim(x, i, 1), WIDE, In()),
    shape_row("take_along_flat", lambda T, i, x: x.take_along_dim(i), SMALL, In()),
    shape_row("take", lambda T, i, x: x.take(i), In((2, 3), -12, 12, dtype="i"), In()),
    shape_row("scatter_add", lambda T, i, x, y: x.scatter_add(1, i, y), WIDE, In(), In((3, 5))),
    shape_row(
        "scatter_add_small", lambda T, i, x, y: x.scatter_add(1, i, y), SMALL, In(), In((2, 3))
    ),
    shape_row(
        "scatter_add_", lambda T, i, x, y: (x * 2).scatter_add_(1, i, y), WIDE, In(), In((3, 5))
    ),
    shape_row("scatter", lambda T, x, y: x.scatter(1, T.tensor([[1, 3]]), y), In(), In((1, 2))),
    shape_row("scatter_value", lambda T, i, x: x.scatter(1, i, 2.5), SMALL, In()),
    shape_row(
        "scatter_", lambda T, x, y: (x * 2).scatter_(0, T.tensor([[2, 0]]), y), In(), In((1, 2))
    ),
    *map(kept, MODES),
    *map(fresh, MODES),
    shape_row(
        "scatter_reduce_",
        lambda T, i, x, y: (x * 1).scatter_reduce_(1, i, y, "amax"),
        *(SMALL, In(), In((2, 3))),
    ),
    shape_row("index_select", lambda T, i, x: x.index_select(1, i), ROW, In()),
    shape_row("index_add", lambda T, i, x, y: x.index_add(1, i, y), ROW, In(), In((3, 5))),
    shape_row(
        "index_add_",
        lambda T, i, x, y: (x * x).index_add_(1, i, y, alpha=2),
        *(ROW, In(), In((3, 5))),
    ),
    shape_row(
        "index_fill", lambda T, i, x: x.index_fill(1, i, 3.0), In((2,), 0, 4, dtype="i"), In()
    ),
    shape_row(
        "index_fill_",
        lambda T, i, x: (x * 2).index_fill_(0, i, -1),
        In((1,), 0, 3, dtype="i"),
        In(),
    ),
    shape_row("index_copy", lambda T, x, y: x.index_copy(1, T.tensor([3, 0]), y), In(), In((3, 2))),
    shape_row(
        "index_copy_", lambda T, x, y: (x * y).index_copy_(0, T.tensor([2]), y[:1]), In(), In()
    ),
    shape_row(
        "index_put",
        lambda T, x, y: x.index_put((T.tensor([0, 2]), T.tensor([3, 1])), y),
        *(In(), In((2,))),
    ),
    shape_row(
        "index_put_add",
        lambda T, i, x, y: x.index_put((i,), y, accumulate=True),
        *(In((5,), 0, 3, dtype="i"), In(), In((5, 4))),
    ),
    shape_row(
        "index_put_",
        lambda T, i, x, y: (x * y).index_put_((i,), y, True),
        *(In((3,), 0, 3, dtype="i"), In(), In()),
    ),
    shape_row("put_", lambda T, x, y: (x * 2).put_(T.tensor([[1, -2]]), y), In(), In((2,))),
    shape_row(
        "put_add",
        lambda T, i, x, y: T.Tensor.put(x, i, y, accumulate=True),
        *(In((2, 3), 0, 12, dtype="i"), In(), In((6,))),
    ),
    shape_row(
        "masked_scatter",
        lambda T, m, x, y: x.masked_scatter(m, y),
        *(In(dtype="b"), In(), In((13,))),
    ),
    shape_row(
        "masked_scatter_",
        lambda T, m, x, y: (x * 2).masked_scatter_(m, y),
        *(In((4,), dtype="b"), In(), In((2, 7))),
    ),
    shape_row("select_scatter", lambda T, x, y: x.select_scatter(y, 1, 2), In(), In((3,))),
    shape_row("slice_scatter", lambda T, x, y: T.slice_scatter(x, y, 1, 0, 4, 2), In(), In((3, 2))),
]

ERRORS = [
    ErrorRow("gather_wide", lambda T, x: x.gather(1, T.tensor([[4]])), RuntimeError),
    ErrorRow("gather_rank", lambda T, x: x.gather(1, T.tensor([1])), RuntimeError, says="[1]"),
    ErrorRow("gather_float", lambda T, x: x.gather(1, x), RuntimeError, says="gather"),
    ErrorRow("take_wide", lambda T, x: x.take(T.tensor([12])), IndexError),
    ErrorRow("take_float", lambda T, x: x.take(x), RuntimeError, says="take"),
    ErrorRow(
        "scatter_dtype",
        lambda T, x: x.scatter(1, T.tensor([[1]]), T.ones(1, 1).double()),
        *(RuntimeError, (In(),), "f64"),
    ),
    ErrorRow(
        "scatter_mode",
        lambda T, x: x.scatter(1, T.tensor([[1]]), x, reduce="max"),
        RuntimeError,
        says="max",
    ),
    ErrorRow(
        "scatter_reduce_mode",
        lambda T, x: x.scatter_reduce(1, T.tensor([[1]]), x, "median"),
        *(RuntimeError, (In(),), "'median'"),
    ),
    ErrorRow("index_select", lambda T, x: x.index_select(0, T.tensor([3])), IndexError),
    ErrorRow("index_select_2d", lambda T, x: x.index_select(0, T.tensor([[0]])), IndexError),
    ErrorRow(
        "index_add", lambda T, x: x.index_add(0, T.tensor([0, 1]), x), RuntimeError, says="2 slices"
    ),
    ErrorRow(
        "index_copy",
        lambda T, x: x.index_copy(0, T.tensor([0, 1]), x),
        IndexError,
        says="2 slices",
    ),
    ErrorRow("index_fill", lambda T, x: x.index_fill(0, T.tensor([5]), 0), IndexError),
    ErrorRow(
        "index_put",
        lambda T, x: x.index_put((T.tensor([0]),), x.double()),
        RuntimeError,
        says="f64",
    ),
    ErrorRow("put_", lambda T, x: x.put_(T.tensor([0, 1]), T.ones(3)), IndexError, says="put"),
    ErrorRow(
        "masked_scatter",
        lambda T, x: x.masked_scatter(x > 9, T.ones(2).double()),
        RuntimeError,
        says="f64",
    ),
    ErrorRow("masked_scatter_few", lambda T, x: x.masked_scatter(x < 9, T.ones(2)), RuntimeError),
]
