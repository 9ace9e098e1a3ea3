"""cond, while_loop and scan: eager, compiled, and beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.errors import DataDependentBranch, ShapeMismatch, Untraceable

W = [[0.5, -0.25], [0.125, 0.75]]


def both(f: Callable[..., Any], *args: Any) -> list[Any]:
    """The numbers that f gives eagerly and compiled, with the gradients of its leaf arguments."""
    found = []
    for call in (f, graphc.compile(f)):
        given = [graphc.tensor(a, requires_grad=isinstance(a, list)) for a in args]
        out = call(*given)
        out.sum().backward()
        grads = [x.grad.tolist() if x.grad is not None else None for x in given if x.requires_grad]
        found.append((out.tolist(), grads))
    return found


@pytest.mark.parametrize("x", [[4.0, 1.0], [0.0, -1.0]])
def test_cond_and_its_gradient_are_those_of_the_branch_chosen(x: list[float]) -> None:
    w = graphc.tensor(W, requires_grad=True)

    def f(x: Any) -> Any:
        y = x * 2
        return graphc.cond(x.sum() > 0, lambda y: (y.sqrt() @ w) * y, lambda y: y / 3, (y,))

    eager, compiled = both(f, x)
    assert eager == compiled and "nan" not in str(compiled)  # d sqrt(0) is cut off


def test_cond_by_a_python_value_runs_one_branch() -> None:
    seen: list[int] = []
    assert graphc.cond(True, lambda: 1, lambda: seen.append(1)) == 1 and not seen


def test_cond_is_one_program_for_both_outcomes() -> None:
    step = graphc.compile(
        lambda x: graphc.cond(x[0] > 0, lambda a: (a, {"b": a + 1}), lambda a: (-a, {"b": a}), (x,))
    )
    for k in (1.0, -2.0):
        a, rest = step(graphc.tensor([k, 3.0]))
        assert a.tolist() == ([k, 3.0] if k > 0 else [2.0, -3.0])
        assert rest["b"].tolist() == ([k + 1, 4.0] if k > 0 else [k, 3.0])
    assert step.stats.programs == 1


KEPT: list[Any] = []


def written(a: Any) -> Any:
    a.add_(1)
    return a * 1


def kept(a: Any) -> Any:
    KEPT.append(a)
    return a * 1


BAD: dict[str, Callable[[Any], Any]] = {
    "writes a tensor": written,
    "prints, logs or stores": kept,
    "draws random": lambda a: a + graphc.rand(2),
    "may raise an error": lambda a: a[a.long()],
}


@pytest.mark.parametrize("reason", BAD)
def test_a_branch_that_does_more_than_compute_is_refused(reason: str) -> None:
    step = graphc.compile(lambda x: graphc.cond(x[0] > 0, BAD[reason], lambda a: a * 1, (x * 1,)))
    with pytest.raises(Untraceable, match=reason):
        step(graphc.ones(2))


def test_branches_must_give_the_same_types() -> None:
    step = graphc.compile(lambda x: graphc.cond(x[0] > 0, lambda a: a, lambda a: a[:1], (x,)))
    with pytest.raises(ShapeMismatch, match="branches of cond"):
        step(graphc.ones(2))


def test_a_while_loop_with_a_known_length_is_unrolled() -> None:
    def f(x: Any) -> Any:
        n, y = graphc.tensor(0), x
        n, y = graphc.while_loop(lambda n, y: n < 4, lambda n, y: (n + 1, y * x), (n, y))
        return y + n

    eager, compiled = both(f, [1.5, 2.0])
    assert eager == compiled and eager[0] == [1.5**5 + 4, 2.0**5 + 4]


def test_a_while_loop_of_unknown_length() -> None:
    def f(x: Any) -> Any:
        return graphc.while_loop(lambda y: y.sum() < 100, lambda y: y * 2, (x,))[0]

    assert f(graphc.ones(3)).tolist() == [64.0] * 3
    with pytest.raises(DataDependentBranch, match="scan"):
        graphc.compile(f)(graphc.ones(3))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_as_pytorch_has_it(reverse: bool) -> None:
    def f(T: Any, xs: Any, h: Any, w: Any) -> Any:
        from importlib import import_module

        scan = T.scan if T is graphc else import_module("torch._higher_order_ops.scan").scan

        def combine(carry: Any, x: Any) -> Any:
            carry = (carry @ w + x).tanh()
            return carry, carry * 2

        last, ys = scan(combine, h, xs, dim=1, reverse=reverse)
        return last.sum() + (ys * ys).sum() * 0.5

    xs = [[[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]]]
    eager, compiled = both(lambda *a: f(graphc, *a), xs, [[0.0, 0.5]], W)
    assert str(eager)[:6] == str(compiled)[:6]
    torch = pytest.importorskip("torch")
    given = [torch.tensor(a, requires_grad=True) for a in (xs, [[0.0, 0.5]], W)]

    def unrolled(xs: Any, h: Any, w: Any) -> Any:
        order = range(3)[::-1] if reverse else range(3)
        ys = []
        for k in order:
            h = (h @ w + xs[:, k]).tanh()
            ys.append(h * 2)
        return h.sum() + (torch.stack(ys) ** 2).sum() * 0.5

    loss = unrolled(*given)
    loss.backward()
    for value, grads in (eager, compiled):
        assert value == pytest.approx(loss.item(), rel=1e-5)
        for got, x in zip(grads, given, strict=True):
            assert torch.allclose(torch.tensor(got), x.grad, atol=1e-6)


def test_scan_over_trees_and_its_errors() -> None:
    xs = {"a": graphc.arange(3.0), "b": graphc.ones(3, 2)}
    last, ys = graphc.scan(lambda c, x: (c + x["a"], (c, x["b"] * c)), graphc.tensor(1.0), xs)
    assert last.item() == 4.0 and ys[0].tolist() == [1.0, 1.0, 2.0] and ys[1].shape == (3, 2)
    with pytest.raises(ShapeMismatch, match="carries"):
        graphc.scan(lambda c, x: (c.long(), x), graphc.tensor(1.0), graphc.ones(2))
