"""Arguments that are dense in another order than row-major are read as they lie, not copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.frontend.geometry import shown_strides
from graphc.frontend.layouts import lying
from graphc.frontend.step import plan as plans
from graphc.frontend.step.inspect.verified import verify

Function = Callable[[Any], Any]


def made(*shape: int) -> Any:
    n = int(np.prod(shape))
    return ((graphc.arange(float(n)) * 7 % 11 - 5) / 4).reshape(shape)


def last(*shape: int) -> Any:
    return made(*shape).to(memory_format=graphc.channels_last)


WEIGHT = made(3, 4, 3, 3)
DENSE: dict[str, Callable[[], Any]] = {
    "channels last": lambda: last(2, 4, 6, 6),
    "as NumPy has it": lambda: graphc.from_numpy(np.asfortranarray(made(2, 4, 6, 6).numpy())),
    "turned": lambda: made(2, 6, 6, 4).permute(0, 3, 1, 2),
    "reversed": lambda: made(6, 6, 4, 2).permute(3, 2, 1, 0),
    "one image of two": lambda: last(2, 4, 6, 6)[1:],
}
COPIED: dict[str, Callable[[], Any]] = {
    "every other channel": lambda: last(2, 8, 6, 6)[:, ::2],
    "repeated": lambda: made(1, 4, 1, 1).expand(2, 4, 6, 6),
}
FUNCTIONS: dict[str, Function] = {
    "conv": lambda x: F.conv2d(x, WEIGHT, padding=1),
    "pool": lambda x: F.max_pool2d(x, 2),
    "elementwise": lambda x: (x + 1).relu() * 2,
    "sum": lambda x: x.sum((0, 2)),
    "softmax": lambda x: x.softmax(1),
    "product": lambda x: x @ x.transpose(2, 3),
    "rows": lambda x: x.flatten(1) @ x.flatten(1).t(),
    "sorted": lambda x: x.sort(1).values,
    "picked": lambda x: x[graphc.tensor([0, 0])],
    "itself and a view": lambda x: (x, x[:, 1:]),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(same, a, b))
    return a.stride() == b.stride() and graphc.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_dense_is_read_in_place(name: str, copies: list[Any]) -> None:
    function = FUNCTIONS[name]
    for layout in DENSE.values():
        step, x = graphc.compile(lambda x: function(x)), layout()
        for _ in range(3):
            assert same(step(x), function(x))
    assert not copies


@pytest.mark.parametrize("name", ["conv", "elementwise"])
def test_what_has_gaps_is_copied(name: str, copies: list[Any]) -> None:
    function = FUNCTIONS[name]
    for layout in COPIED.values():
        copies.clear()
        step, x = graphc.compile(lambda x: function(x)), layout()
        assert same(step(x), function(x)) and copies


def test_another_order_is_another_plan_and_explain_says_so() -> None:
    step = graphc.compile(lambda x: F.conv2d(x, WEIGHT))
    plain, turned = made(2, 4, 6, 6), last(2, 4, 6, 6)
    with graphc.assert_max_compiles(2):
        for _ in range(3):
            for x in (plain, turned):
                assert same(step(x), F.conv2d(x, WEIGHT))
    assert "argument `x`: f32[2,4,6,6] -> f32[2,4,6,6] with strides" in str(step.explain())
    assert "copies" not in step.memory(turned).by_kind
    assert step.memory(last(2, 8, 6, 6)[:, ::2]).by_kind["copies"] == plain.nbytes


def test_the_batch_stays_open() -> None:
    step = graphc.compile(FUNCTIONS["conv"])
    with graphc.assert_max_compiles(1):
        for n in (3, 5, 1, 8, 3):
            x = last(n, 4, 6, 6)
            assert same(step(x), FUNCTIONS["conv"](x))


@pytest.mark.parametrize("shape", [(2, 1, 6, 6), (2, 4, 1, 1), (1, 4, 6, 6), (3, 4, 6, 1)])
def test_dimensions_of_size_one(shape: tuple[int, ...], copies: list[Any]) -> None:
    step = graphc.compile(lambda x: (x * 2 + 1, x.sum(1)))
    with graphc.assert_max_compiles(1):
        for _ in range(3):
            x = last(*shape)
            assert same(step(x), (x * 2 + 1, x.sum(1)))
    assert not copies


def test_orders_that_strides_leave_open() -> None:
    assert lying((2, 1, 6, 6), (36, 1, 6, 1)) == ()
    assert lying((2, 4, 1, 1), (4, 1, 4, 4)) == ()
    assert lying((2, 4, 6, 6), (144, 1, 24, 4)) == (0, 2, 3, 1)
    assert lying((2, 4, 6, 6), (288, 1, 48, 8)) == lying((0, 4), (1, 1)) == ()


def written(x: Any) -> Any:
    x.add_(1.0)
    x[:, 1:3].mul_(2.0)
    return x.relu()


@pytest.mark.parametrize("layout", [*DENSE, *COPIED][:-1])
def test_arguments_that_are_written(layout: str) -> None:
    step = graphc.compile(written)
    make = {**DENSE, **COPIED}[layout]
    x, y = make(), make()
    strides, version = x.stride(), x._version
    for k in range(4):
        assert same(step(x), written(y)) and same(x, y)
        assert x.stride() == strides and x._version > version + k


def test_a_weight_that_is_written_beside_its_convolution() -> None:
    def update(w: Any, x: Any) -> Any:
        y = F.conv2d(x, w)
        w -= 0.01 * y.mean((0, 2, 3))[:, None, None, None]
        return y

    step, x = graphc.compile(update), last(2, 4, 6, 6)
    for make in (lambda: last(3, 4, 3, 3), lambda: made(3, 4, 3, 3)):
        a, b = make(), make()
        for _ in range(3):
            assert same(step(a, x), update(b, x)) and same(a, b)


def test_what_is_returned_shares_the_arguments_memory() -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        return x, x.permute(0, 2, 3, 1), x.sum()

    x = last(2, 4, 6, 6)
    for _ in range(2):
        itself, turned, _ = step(x)
        assert itself is x and turned.is_contiguous()
        turned.view(-1)[0] = 99.0
        assert x[0, 0, 0, 0].item() == 99.0


def test_one_memory_seen_in_two_ways() -> None:
    def both(x: Any, y: Any) -> Any:
        return x * 2, (x + y.permute(0, 3, 1, 2)).sum()

    step, x = graphc.compile(both), last(2, 4, 6, 6)
    for _ in range(2):
        assert same(step(x, x.permute(0, 2, 3, 1)), both(x, x.permute(0, 2, 3, 1)))
    square = graphc.compile(lambda x, y: x * y)
    assert same(square(x, x), x * x)


@pytest.mark.parametrize("inside", [False, True])
def test_gradients_of_such_arguments(inside: bool) -> None:
    def loss(x: Any, w: Any) -> Any:
        y = (F.conv2d(x, w, padding=1).sigmoid() * x[:, :1]).sum()
        if inside:
            y.backward()
        return y

    step = graphc.compile(loss)
    for make in (lambda: made(3, 4, 3, 3), lambda: last(3, 4, 3, 3)):
        for _ in range(3):
            found = []
            for run in (step, loss):
                x, w = last(2, 4, 6, 6).requires_grad_(), make().requires_grad_()
                y = run(x, w)
                if not inside:
                    y.backward()
                found.append((y.detach(), x.grad, w.grad))
            assert all(graphc.allclose(a, b, atol=1e-5) for a, b in zip(*found))


def test_a_change_of_what_a_later_backward_needs_is_seen() -> None:
    step = graphc.compile(lambda x, w: (F.conv2d(x, w) ** 2).sum())
    x, w = last(2, 4, 6, 6), made(3, 4, 3, 3).requires_grad_()
    y = step(x, w)
    x.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_prepared_calls_compare_strides() -> None:
    step = graphc.compile(lambda x: (x * graphc.arange(6.0)).sum())
    xs = [last(2, 4, 6, 6), made(2, 4, 6, 6), last(2, 4, 6, 6) + 1]
    wanted = [(x * graphc.arange(6.0)).sum().item() for x in xs]
    for k in (0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 0, 1, 2):
        assert step(xs[k]).item() == pytest.approx(wanted[k])


def test_a_call_like_the_last_one_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    step, x = graphc.compile(lambda x: (x * 2).sum()), last(2, 4, 6, 6)
    for _ in range(4):
        step(x)
    whole = []
    real = plans.Plan.run
    monkeypatch.setattr(plans.Plan, "run", lambda *a: (whole.append(1), real(*a))[1])
    for _ in range(4):
        assert step(x).item() == pytest.approx((x * 2).sum().item())
    assert not whole and shown_strides(x) == (144, 1, 24, 4)


def test_stages_agree_on_such_arguments() -> None:
    step = graphc.compile(lambda x: F.conv2d(x, WEIGHT).relu())
    verify(step, last(2, 4, 6, 6))
    assert "x: f32[B,6,6,4]" in step.ir("trace")
    w = last(2, 4, 6, 6)
    verify(graphc.compile(written), w)
    assert graphc.equal(w, last(2, 4, 6, 6))
