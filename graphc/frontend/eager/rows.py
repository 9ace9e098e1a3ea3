"""Ops that eager mode does another way than their meaning says (`graphc/ir/meaning`), to be faster.

`tests/frontend/test_eager_rows.py` holds each to its meaning. Views are here because eager tensors
share memory, which a meaning does not know.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.frontend.eager import arrays, compiled, contractions, sums, words
from graphc.ir.types import Array

FAST: dict[str, Callable[..., Array]] = {
    "relu": arrays.relu,
    "where": arrays.where,
    "sigmoid": arrays.sigmoid,
    **compiled.ELEMENTWISE,
    "expand": arrays.expand,
    "unfold": arrays.unfold,
    "diagonal": arrays.diagonal,
    "fold": arrays.fold,
    "contiguous": arrays.contiguous,
    "sum": sums.reduce_sum,
    "argmax": arrays.argmax,
    "argmax_last_nan": arrays.argmax_last_nan,
    "dot": contractions.dot,
    "conv": contractions.conv,
    "scatter_add": arrays.scatter_add,
    "take_along": arrays.take_along,
    "put_along": arrays.put_along,
    "random_bits": words.random_bits,
}
