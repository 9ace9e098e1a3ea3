"""nn.utils.prune: masks, parameters and hooks as PyTorch's, also in a step that is compiled."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.nn.utils import prune


def tools(T: Any) -> Any:
    return importlib.import_module(f"{T.__name__}.nn.utils.prune")


def layer(T: Any) -> Any:
    made = T.nn.Linear(4, 3)
    made.weight.data = (T.arange(12.0).reshape(3, 4) - 5.2) / 3
    made.bias.data = T.tensor([0.1, -0.2, 0.3])
    return made


def told(m: Any) -> list[Any]:
    return [m.weight.detach().numpy(), sorted(m.state_dict()), [n for n, _ in m.named_parameters()]]


def story(T: Any) -> list[Any]:
    """Several methods on one tensor, a backward, and the end of it."""
    P, found = tools(T), []
    m = layer(T)
    for call in (
        lambda: P.l1_unstructured(m, "weight", 0.25),
        lambda: P.ln_structured(m, "weight", 1, 2, 0),
        lambda: P.l1_unstructured(m, "weight", 2),
        lambda: P.custom_from_mask(m, "weight", T.tensor([[1.0, 1, 1, 0]] * 3)),
        lambda: P.identity(m, "bias"),
    ):
        call()
        found += told(m)
    m(T.ones(2, 4)).sum().backward()
    found.append(m.weight_orig.grad.numpy())
    assert P.is_pruned(m)
    P.remove(m, "weight")
    P.remove(m, "bias")
    assert not P.is_pruned(m)
    found += told(m)
    a, b = layer(T), layer(T)
    scores = {(b, "weight"): b.weight.detach() * 10}
    P.global_unstructured(
        [(a, "weight"), (b, "weight")], P.L1Unstructured, importance_scores=scores, amount=7
    )
    found += told(a) + told(b)
    t = P.L1Unstructured(amount=2).prune(T.tensor([0.5, -0.1, 2.0, 0.2]))
    return [*found, t.numpy()]


def test_pruning_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    for mine, theirs in zip(story(graphc), story(torch), strict=True):
        if isinstance(theirs, list):
            assert mine == theirs
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("structured", [False, True])
def test_random_pruning_takes_as_many_as_it_is_told(structured: bool) -> None:
    graphc.manual_seed(0)
    m = layer(graphc)
    if structured:
        prune.random_structured(m, "weight", 1, 1)
        assert (m.weight_mask.sum(0) == 0).sum().item() == 1
    else:
        prune.random_unstructured(m, "weight", 5)
        assert m.weight_mask.sum().item() == 7
        prune.random_unstructured(m, "weight", 1.0)
        assert m.weight_mask.sum().item() == 0


def test_a_pruned_net_trains_in_a_compiled_step() -> None:
    def run(compiled: bool) -> list[Any]:
        m = layer(graphc)
        prune.l1_unstructured(m, "weight", 0.5)
        optimizer = graphc.optim.SGD(m.parameters(), lr=0.1)

        def step(x: graphc.Tensor) -> graphc.Tensor:
            optimizer.zero_grad()
            loss = (m(x) - 1).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        call = graphc.compile(step) if compiled else step
        losses = [call(graphc.ones(2, 4)).item() for _ in range(4)]
        return [losses, m.weight_orig.detach().numpy(), (m.weight_orig * m.weight_mask).tolist()]

    for a, b in zip(run(False), run(True)):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_what_cannot_be_pruned_is_refused() -> None:
    m = layer(graphc)
    for call, error in (
        (lambda: prune.l1_unstructured(m, "weight", 1.5), ValueError),
        (lambda: prune.l1_unstructured(m, "weight", -1), ValueError),
        (lambda: prune.l1_unstructured(m, "weight", "x"), TypeError),  # type: ignore[arg-type]
        (lambda: prune.l1_unstructured(m, "weight", 99), ValueError),
        (lambda: prune.ln_structured(m, "bias", 1, 2, 0), ValueError),
        (lambda: prune.remove(m, "weight"), ValueError),
    ):
        with pytest.raises(error):
            call()  # type: ignore[no-untyped-call]
        assert not prune.is_pruned(m)
