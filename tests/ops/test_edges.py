"""Every row on 0-d and empty inputs as torch; on inputs that are not row-major as on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples, tensors, weights

Shape = tuple[int, ...]
VARIANTS: dict[str, Callable[[Shape], Shape]] = {
    "0d": lambda shape: (),
    "no_rows": lambda shape: (0, *shape[1:]),
    "no_columns": lambda shape: (*shape[:-1], 0),
}
DIFFERENT = {
    ("cond_1", "no_columns"): "a matrix that is not square has no inverse, empty or not",
    ("linalg_norm_inf", "0d"): "PyTorch refuses an order for a number; it is the absolute value",
    ("linalg_norm_inf", "no_rows"): "PyTorch gives 0 for a matrix without rows, here too by ord=2",
    ("pad_reflect_2d", "no_rows"): "an empty batch of images without channels is padded",
    ("pixel_unshuffle", "no_rows"): "PyTorch gives empty inputs back unshuffled",
    ("pixel_unshuffle", "no_columns"): "PyTorch gives empty inputs back unshuffled",
    ("instance_norm_running", "no_rows"): "statistics are of another number of channels",
    ("instance_norm_running", "no_columns"): "statistics are of another number of channels",
}
BY_STRIDES = {"view", "as_strided", "as_strided_overlap", "as_strided_repeat"}
IN_MEMORY = [row for row in TABLE if row.name not in BY_STRIDES]


def test_the_differences_are_of_rows_that_exist() -> None:
    assert BY_STRIDES | {name for name, _ in DIFFERENT} <= {row.name for row in TABLE}


def outcome(T: Any, row: OpRow, arrays: list[Array]) -> Any:
    """The value, or None where the call is refused; graphc refuses with its own classes."""
    try:
        return row.fn(T, *(T.tensor(a) for a in arrays)).detach().numpy()
    except graphc.errors.GraphcError:
        return None
    except (RuntimeError, IndexError, ValueError, TypeError):
        if T is graphc:
            raise
        return None


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, about such inputs
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_0d_and_empty_inputs(row: OpRow, variant: str) -> None:
    torch = pytest.importorskip("torch")
    if (row.name, variant) in DIFFERENT or not all(i.shape for i in row.inputs):
        return
    change = VARIANTS[variant]
    inputs = tuple(replace(i, shape=change(i.shape)) for i in row.inputs)
    arrays = samples(replace(row, inputs=inputs), "float64")
    mine, theirs = outcome(graphc, row, arrays), outcome(torch, row, arrays)
    assert (mine is None) == (theirs is None)
    if theirs is not None:
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-12, strict=True)


def spread(a: Array) -> Array:
    """The same elements two apart and, of matrices, in another order of dimensions."""
    if not a.ndim:
        return a
    wide = np.zeros((*a.shape[::-1], 2), a.dtype)
    view = wide[..., 1].T
    view[...] = a
    assert a.size < 2 or not view.flags.c_contiguous
    return view


@pytest.mark.parametrize("row", IN_MEMORY, ids=str)
def test_the_order_in_memory_does_not_matter(row: OpRow) -> None:
    arrays = samples(row, "float64")
    found = []
    for arrange in (np.ascontiguousarray, spread):
        inputs = [graphc.from_numpy(arrange(a)) if a.ndim else graphc.tensor(a) for a in arrays]
        if row.grad:
            inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
        y = row.fn(graphc, *inputs)
        if row.grad:
            y.backward(graphc.tensor(weights(tuple(y.shape), 1)).to(y.dtype))
        grads = [inputs[k].grad.numpy() for k in floats(arrays)] if row.grad else []
        found.append([y.detach().numpy(), *grads])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("row", IN_MEMORY, ids=str)
def test_expanded_inputs(row: OpRow) -> None:
    """Each input as one row seen many times."""
    arrays = [np.array(a[:1].repeat(len(a), 0)) if a.ndim else a for a in samples(row, "float64")]
    plain = tensors(arrays, False)
    rows = [x[:1].expand(x.shape) if x.ndim else x for x in tensors(arrays, False)]
    a, b = (row.fn(graphc, *xs).detach().numpy() for xs in (plain, rows))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
