"""cond, while_loop and scan: eager, compiled, and beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import graphc
from graphc._higher_order_ops.associative_scan import associative_scan
from graphc.errors import AutogradError, InvalidArgument, ShapeMismatch, Untraceable

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


def doubled(x: Any) -> Any:
    return graphc.while_loop(lambda y: y.sum() < 100, lambda y: y * 2, (x,))[0]


def newton(x: Any) -> Any:
    def better(root: Any, _: Any) -> Any:
        after = 0.5 * (root + x / root)
        return after, (after - root).abs()

    return graphc.while_loop(lambda _, e: e.max() > 1e-4, better, (x, graphc.ones_like(x)))[0]


def of_many_types(x: Any) -> Any:
    """Integers of all 64 bits, bools, halves, and a size that is carried."""
    n, flags, wide, half = graphc.while_loop(
        lambda n, flags, wide, half: n < 5,
        lambda n, flags, wide, half: (n + (x[0] > -1), ~flags, wide * 3 - 2**40, half + x[1]),
        (graphc.tensor(0), x > 1, x.long() - 2**33, x.bfloat16()),
    )
    return graphc.stack([n * 1, wide.sum(), flags.sum(), half.sum().long()])


def walked(x: Any) -> Any:
    table = graphc.tensor([1, 2, 9, 4, 0])
    return graphc.while_loop(
        lambda i, t: i < 4, lambda i, t: (t[i] + x[0].long() * 0, t), (x[0].long(), table)
    )[0]


@pytest.mark.parametrize("f", [doubled, newton, of_many_types, walked])
def test_a_while_loop_of_unknown_length(f: Callable[[Any], Any]) -> None:
    step = graphc.compile(f)
    for data in ([1.0, 3.0], [0.5, 30.0, 0.0], [2.0, 0.5], [1.0] * 7):
        x = graphc.tensor(data)
        with graphc.assert_max_compiles(1 if len(data) < 7 else 0):
            assert step(x).tolist() == pytest.approx(f(x).tolist(), rel=1e-6, nan_ok=True)
    assert step.explain().programs == 1


def test_a_while_loop_that_does_not_run_gives_what_it_carries() -> None:
    x = graphc.tensor([60.0, 60.0])
    assert graphc.compile(doubled)(x).tolist() == [60.0, 60.0]


def test_an_error_in_a_trip_changes_nothing() -> None:
    count = graphc.zeros(())

    @graphc.compile
    def step(table: Any) -> Any:
        count.add_(1)
        return graphc.while_loop(lambda i: i < 9, lambda i: i + table[i], (graphc.tensor(0),))

    assert step(graphc.tensor([1, 2, 3, 7]))[0].item() == 10
    with pytest.raises(IndexError, match="out of range"):
        step(graphc.tensor([1, 5, 3, 7]))
    assert count.item() == 1


def test_a_while_loop_has_no_derivative() -> None:
    w = graphc.ones(2, requires_grad=True)

    @graphc.compile
    def step(x: Any) -> Any:
        y = graphc.while_loop(lambda y: y.sum() < 100, lambda y: y * w * 2, (x,))[0]
        (y.detach() * w if x.shape[0] == 2 else y).sum().backward()

    step(graphc.ones(2))
    assert w.grad is not None and w.grad.tolist() == [64.0, 64.0]
    with pytest.raises(AutogradError, match="derivative of while_loop"):
        step(graphc.ones(3, 2))


TRIPS: dict[str, Callable[[Any], Any]] = {
    "writes a tensor": lambda y: y.mul_(2),
    "prints, logs or stores": lambda y: [KEPT.append(y), y * 2][1],
    "draws random": lambda y: y + graphc.rand(3),
}


@pytest.mark.parametrize("reason", TRIPS)
def test_a_trip_that_does_more_than_compute_is_refused(reason: str) -> None:
    body = TRIPS[reason]
    step = graphc.compile(lambda x: graphc.while_loop(lambda y: y.sum() < 9, body, (x,)))
    with pytest.raises(Untraceable, match=reason):
        step(graphc.ones(3))


def test_a_number_that_trips_change_is_refused() -> None:
    step = graphc.compile(
        lambda x: graphc.while_loop(lambda n, y: y < 9, lambda n, y: (n + 1, y * 2), (0, x))
    )
    with pytest.raises(Untraceable, match="numbers of Python's"):
        step(graphc.tensor(1.0))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_as_pytorch_has_it(reverse: bool) -> None:
    def f(T: Any, xs: Any, h: Any, w: Any) -> Any:
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


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_associative_scan_as_pytorch_has_it(dim: int, reverse: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((3, 5, 2)).astype("f") for _ in range(2)]

    def combine(left: Any, right: Any) -> Any:
        return left[0] * right[0], right[0] * left[1] + right[1]

    def trained(T: Any, scan: Any) -> list[Any]:
        x, y = (T.tensor(a.tolist(), requires_grad=True) for a in given)
        p, q = scan(combine, (x, y), dim, reverse=reverse, combine_mode="generic")
        (p * p + q).sum().backward()
        return [p.tolist(), q.tolist(), x.grad.tolist(), y.grad.tolist()]

    theirs = import_module("torch._higher_order_ops.associative_scan").associative_scan
    eager, want = trained(graphc, associative_scan), trained(torch, theirs)
    compiled = graphc.compile(lambda x, y: associative_scan(combine, (x, y), dim, reverse)[1])
    for got, expected in zip(eager, want, strict=True):
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert np.allclose(compiled(*map(graphc.tensor, given)).tolist(), want[1], rtol=1e-5, atol=1e-6)


def test_associative_scan_of_one_slice_and_of_a_wrong_mode() -> None:
    x = graphc.ones(2, 1)
    assert associative_scan(lambda a, b: a + b, x, 1).tolist() == [[1.0], [1.0]]
    with pytest.raises(InvalidArgument, match="combine_mode"):
        associative_scan(lambda a, b: a + b, x, 0, combine_mode="fast")
