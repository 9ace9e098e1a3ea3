"""Every row with integers, bools, half precision and mixed dtypes, and with shapes that do not fit.

What PyTorch computes comes out the same, dtype included; what it refuses is refused with a class of
ours. Where PyTorch only lacks a kernel (NotImplementedError), a value is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc
from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples

torch: Any = pytest.importorskip("torch")
LACKS = "PyTorch lacks a kernel"
DIFFERENT = {
    ("split", "rank"): "the row itself fails",
    ("histogram_density", "half"): "PyTorch counts halves by bins that are given alone",
    ("histogram_given", "half"): "PyTorch counts halves by bins that are given alone",
    ("unbind", "rank"): "the row itself fails",
    ("tensordot_lists", "rank"): "PyTorch broadcasts a summed dimension of size 1",
    ("einsum_sum", "bool"): "PyTorch fails inside: its sums are int64",
    ("einsum_sum", "bytes"): "PyTorch fails inside: its sums are int64",
    ("einsum_sum", "int8"): "PyTorch fails inside: its sums are int64",
    ("topk_index", "bytes"): "equal elements may come in any order",
    ("searchsorted", "bytes"): "the row has a negative number, which PyTorch refuses as uint8",
    ("bucketize", "bytes"): "the row has a negative number, which PyTorch refuses as uint8",
    ("solve_triangular", "mixed"): "PyTorch does not look at the dtypes",
    ("solve_triangular", "with_whole"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "whole"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "bool"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "bytes"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "int8"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "bool_int8"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "mixed"): "PyTorch does not look at the dtypes",
    ("solve_triangular_unit", "with_whole"): "PyTorch does not look at the dtypes",
    ("instance_norm", "halves"): "the parameters may have another dtype here",
    ("instance_norm", "brain_int8"): "the parameters may have another dtype here",
    ("histogram_density", "brain"): "PyTorch counts halves by bins that are given alone",
    ("histogram_given", "brain"): "PyTorch counts halves by bins that are given alone",
    ("lstsq", "rank"): "batches broadcast here",
    ("local_response_norm", "whole"): "a mean of integers is refused",
    ("instance_norm", "mixed"): "the parameters may have another dtype here",
    ("instance_norm", "with_whole"): "the parameters may have another dtype here",
    ("interpolate_bilinear", "bytes"): "PyTorch rounds after each dimension",
    ("interpolate_bicubic", "bytes"): "PyTorch rounds after each dimension",
}


def test_the_differences_are_of_rows_that_exist() -> None:
    assert {name for name, _ in DIFFERENT} <= {row.name for row in TABLE}


def changed(arrays: list[Array], which: list[int], change: Any) -> list[Array]:
    return [change(a) if k in which else a for k, a in enumerate(arrays)]


def brain(a: Array) -> Array:
    return a.astype(ml_dtypes.bfloat16)


def tensor(T: Any, a: Array) -> Any:
    """`T.tensor(a)`: torch takes no bfloat16 of NumPy's."""
    return (
        T.tensor(a.astype(np.float32)).bfloat16() if a.dtype == ml_dtypes.bfloat16 else T.tensor(a)
    )


def variants(row: OpRow) -> Iterator[tuple[str, list[Array]]]:
    """Names, and the row's inputs with other dtypes or shapes."""
    base = samples(row, "float64")
    all_, last = floats(base), floats(base)[1:2]
    yield "whole", changed(base, all_, lambda a: np.round(a * 2).astype(np.int64))
    yield "bool", changed(base, all_, lambda a: a > 0)
    yield "bytes", changed(base, all_, lambda a: np.abs(np.round(a)).astype(np.uint8))
    yield "half", changed(base, all_, lambda a: a.astype(np.float16))
    yield "int8", changed(base, all_, lambda a: np.round(a * 2).astype(np.int8))
    yield "brain", changed(base, all_, brain)
    if last:
        halves = changed(base, all_, lambda a: a.astype(np.float16))
        yield "halves", changed(halves, last, brain)
        whole = changed(base, last, lambda a: np.round(a * 2).astype(np.int8))
        yield "brain_int8", changed(whole, all_[:1], brain)
        yield "bool_int8", changed(whole, all_[:1], lambda a: a > 0)
        yield "mixed", changed(base, last, lambda a: a.astype(np.float32))
        yield "with_whole", changed(base, last, lambda a: np.round(a).astype(np.int64))
        yield "rank", changed(base, last, lambda a: a[None])
        if base[last[0]].ndim:
            yield "rows", changed(base, last, lambda a: np.concatenate([a, a, a]))
            yield "columns", changed(base, last, lambda a: np.concatenate([a, a[..., :1]], -1))
    else:
        yield "rank", changed(base, all_, lambda a: a[None])
        yield "flat", changed(base, all_, lambda a: a.reshape(-1))


def outcome(T: Any, row: OpRow, arrays: list[Array]) -> Any:
    """The result, None if the call is refused, LACKS if PyTorch has no kernel for the dtype."""
    try:
        return row.fn(T, *(tensor(T, a) for a in arrays)).detach()
    except graphc.errors.GraphcError:
        return None
    except NotImplementedError:
        return LACKS
    except (RuntimeError, IndexError, ValueError, TypeError):
        if T is graphc:
            raise
        return None


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, about such inputs
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_other_dtypes_and_shapes(row: OpRow) -> None:
    for name, arrays in variants(row):
        if (row.name, name) in DIFFERENT:
            continue
        mine, theirs = outcome(graphc, row, arrays), outcome(torch, row, arrays)
        if theirs is LACKS:
            continue
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.dtype.long_name == str(theirs.dtype).removeprefix("torch."), name
            tolerance = 2e-3 if mine.dtype.itemsize == 2 else 1e-5
            tolerance = 2e-2 if name in ("brain", "halves", "brain_int8") else tolerance
            a, b = mine.double().numpy(), theirs.double().numpy()
            if name == "half" and not np.allclose(a, b, tolerance, tolerance, equal_nan=True):
                # On some CPUs PyTorch adds up halves in half precision: then float64 tells.
                wide = [x.astype(np.float64) if x.dtype == np.float16 else x for x in arrays]
                b = outcome(torch, row, wide).double().numpy()
            np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=name, strict=True)
