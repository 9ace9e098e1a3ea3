"""Functions whose result the data sizes: values as torch's, refused inside a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable

torch: Any = pytest.importorskip("torch")

DATA = [[2, 0, 2, 2], [1, 1, 0, 2], [2, 0, 2, 2]]
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "unique": lambda T, x: T.unique(x),
    "unique_all": lambda T, x: x.unique(return_inverse=True, return_counts=True),
    "unique_dim": lambda T, x: T.unique(x, dim=0, return_inverse=True, return_counts=True),
    "unique_float": lambda T, x: T.unique(x.float() / 0 * 0 + 1),  # NaN where it divides by zero
    "consecutive": lambda T, x: T.unique_consecutive(x, True, True),
    "consecutive_dim": lambda T, x: x.unique_consecutive(dim=1, return_counts=True),
    "bincount": lambda T, x: x[0].bincount(minlength=5),
    "bincount_weights": lambda T, x: T.bincount(x[1], x[0].float()),
    "bincount_double": lambda T, x: T.bincount(x[1], x[0]),
    "repeat_interleave": lambda T, x: x.repeat_interleave(x[:, 1], 0),
    "repeat_counts": lambda T, x: T.repeat_interleave(x[0]),
    "mask": lambda T, x: x[x > 1],
    "mask_row": lambda T, x: x[1, x[0] > 1],
    "masked_select": lambda T, x: T.masked_select(x, x[0] == 2),
    "nonzero": lambda T, x: x.nonzero(),
    "nonzero_tuple": lambda T, x: T.nonzero(x, as_tuple=True),
    "where": lambda T, x: T.where(x > 1),
    "nonzero_0d": lambda T, x: T.nonzero(x[0, 0], as_tuple=True),
    "argwhere": lambda T, x: T.argwhere(x),
    "bincount_empty": lambda T, x: T.bincount(x[0, :0], minlength=2),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", CASES)
def test_values_are_torchs(name: str) -> None:
    ours, theirs = (parts(CASES[name](T, T.tensor(DATA))) for T in (graphc, torch))
    for a, b in zip(ours, theirs, strict=True):
        assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", CASES)
def test_refused_in_a_trace_with_a_fix(name: str) -> None:
    with pytest.raises(Untraceable, match="fix"):
        graphc.compile(lambda x: CASES[name](graphc, x))(graphc.tensor(DATA))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(RuntimeError, match="non-negative"):
        graphc.bincount(graphc.tensor([1, -1]))


def test_randperm_is_the_same_compiled() -> None:
    def draw() -> graphc.Tensor:
        return graphc.randperm(50)

    graphc.manual_seed(3)
    eager = [draw().tolist() for _ in range(2)]
    graphc.manual_seed(3)
    compiled = graphc.compile(draw)
    assert [compiled().tolist() for _ in range(2)] == eager
    assert eager[0] != eager[1] and sorted(eager[0]) == list(range(50))


REPEATED: dict[str, Callable[[Any, Any], Any]] = {
    "flat": lambda x, r: graphc.repeat_interleave(x, r, output_size=6),
    "rows": lambda x, r: x.reshape(3, 1).expand(3, 2).repeat_interleave(r, 0, output_size=6),
    "counts": lambda x, r: graphc.repeat_interleave(r, output_size=6),
    "one": lambda x, r: x.repeat_interleave(r[:1], output_size=6),
}


@pytest.mark.parametrize("name", REPEATED)
def test_repeats_by_a_tensor_have_a_static_form(name: str) -> None:
    f, x = REPEATED[name], graphc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    step = graphc.compile(f)
    for counts in ([2, 0, 4], [2, 3, 1]):
        repeats = graphc.tensor(counts)
        got, want = step(x, repeats), f(x, repeats)
        assert graphc.equal(got, want)
        if want.requires_grad:
            (d,), (e,) = (graphc.autograd.grad((y * y).sum(), x) for y in (got, want))
            assert graphc.equal(d, e)
    for g in (f, step):
        with pytest.raises(RuntimeError, match="output_size"):
            g(x, graphc.tensor([1, 3, 3]))
    with pytest.raises(RuntimeError, match="negative"):
        f(x, graphc.tensor([-2, 4, 4]))
    with pytest.raises(RuntimeError, match=r"negative|output_size"):  # of one, both are wrong
        step(x, graphc.tensor([-2, 4, 4]))


def test_one_hot_says_what_to_pass() -> None:
    with pytest.raises(Untraceable, match="pass num_classes"):
        graphc.compile(lambda x: graphc.nn.functional.one_hot(x))(graphc.tensor([1, 2]))


def test_threshold_of_integers_gives_integers() -> None:
    got = graphc.nn.functional.threshold(graphc.tensor([1, 2, 3]), 1.5, 7.9)
    assert got.dtype is graphc.int64
    assert got.tolist() == torch.nn.functional.threshold(torch.tensor([1, 2, 3]), 1.5, 7.9).tolist()


def test_a_mask_of_constants_alone_gives_a_known_shape() -> None:
    w = graphc.nn.Parameter(graphc.ones(3))

    def loss(x: Any) -> Any:
        """Contrastive: each row beside all others, in the forms that are published."""
        z = graphc.nn.functional.normalize(x * w, dim=1)
        s, n = z @ z.t(), x.shape[0]
        pairs = graphc.cat([graphc.arange(n // 2)] * 2)
        same, off = pairs[:, None] == pairs, ~graphc.eye(n, dtype=graphc.bool)
        same, s = same[off].view(n, -1), s[off].view(n, -1)
        rows = s[same].view(n, -1).sum(1) - s[~same].view(n, -1).exp().sum(1).log()
        return rows.mean() + s.repeat_interleave(graphc.tensor([1, 2] * (n // 2)), 0).mean()

    def gradient(f: Any, x: Any) -> list[float]:
        (g,) = graphc.autograd.grad(f(x), [w])
        return [*g.tolist()]

    compiled = graphc.compile(loss)
    for rows in (6, 4, 6, 6):
        x = graphc.randn(rows, 3)
        assert gradient(compiled, x) == pytest.approx(gradient(loss, x), abs=1e-5)
    assert compiled.stats.programs == 2


def test_a_mask_that_may_change_is_still_refused() -> None:
    kept = graphc.tensor([True, False, True])
    for mask in (lambda x: kept, lambda x: x > 0, lambda x: graphc.rand(3) > 0.5):
        step = graphc.compile(lambda x, mask=mask: x[mask(x)])
        with pytest.raises(Untraceable, match="mask"):
            step(graphc.randn(3))
