"""Results in memory of their own, row by row where those of PyTorch are, so that `view(-1)` works.

A result that is a view of something packed, turned or repeated has the right values, and fails or
spreads what is written only later, in the user's next line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "ravel": lambda T, x: T.ravel(x[:, ::2]),
    "ravel_of_a_column": lambda T, x: x[:, 0].ravel(),
    "index_copy": lambda T, x: T.index_copy(x, 1, T.tensor([1, 0]), x[:, :2]),
    "diag_embed": lambda T, x: T.diag_embed(x, 1, 0, 1),
    "gradient": lambda T, x: T.gradient(x)[0],
    "gradient_without_spacing": lambda T, x: T.gradient(x, spacing=None)[1],
    "eigvalsh": lambda T, x: T.linalg.eigvalsh(x @ x.mT),
    "eigvalsh_of_two": lambda T, x: T.linalg.eigvalsh(T.stack([x @ x.mT, x @ x.mT])),
    "svdvals": lambda T, x: T.linalg.svdvals(T.stack([x, x])),
    "pad_cut": lambda T, x: T.nn.functional.pad(x[None], (-3, 2), mode="replicate"),
    "pad_nothing": lambda T, x: T.nn.functional.pad(x[None], (0, 0), mode="reflect"),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_lie_row_by_row(name: str) -> None:
    a = np.random.default_rng(0).standard_normal((4, 4)).astype("f4")
    theirs = CALLS[name](torch, torch.tensor(a))
    assert theirs.is_contiguous()
    x = graphc.tensor(a)
    ours = CALLS[name](graphc, x)
    assert ours.is_contiguous() and ours.stride() == theirs.stride()
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)
    flat = ours.view(-1)
    flat[0] = 7.0
    assert (ours == 7.0).sum().item() == 1 and np.array_equal(x.numpy(), a)
