"""Autograd's rules: accumulation, hooks, detach, grad(), Function, higher order, depth."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest

import graphc
from graphc import autograd


def leaf(*values: float) -> graphc.Tensor:
    return graphc.tensor(list(values), requires_grad=True)


def test_gradients_accumulate_in_place_into_the_same_object() -> None:
    x = leaf(1.0, 2.0)
    assert x.grad is None
    (x * 3).sum().backward()
    first = x.grad
    (x * 2).sum().backward()
    assert x.grad is first and first is not None and first.tolist() == [5.0, 5.0]


def test_two_leaves_never_share_a_gradient() -> None:
    x, y = leaf(1.0), leaf(2.0)
    (x + y).sum().backward()
    assert x.grad is not None and y.grad is not None
    x.grad.zero_()
    assert y.grad.tolist() == [1.0]
    g = graphc.ones(1)
    z = leaf(1.0)
    z.backward(g)
    assert z.grad is not None
    z.grad.zero_()
    assert g.tolist() == [1.0]


def test_a_tensor_used_twice_sums_its_gradients() -> None:
    x = leaf(3.0)
    y = x * x
    (y * y + y).sum().backward()
    assert x.grad is not None and x.grad.item() == 4 * 27 + 6


def test_a_variadic_operation_of_one_operand_has_a_gradient() -> None:
    x = leaf(3.0, 4.0)
    (graphc.cat([x]) * leaf(2.0, 5.0)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 5.0]


def test_no_grad_detach_and_modes() -> None:
    x = leaf(2.0)
    with graphc.no_grad():
        assert not (x * 2).requires_grad and not graphc.is_grad_enabled()
        with graphc.enable_grad():
            assert (x * 2).requires_grad
    assert not x.detach().requires_grad and x.detach().data_ptr() == x.data_ptr()
    (x * x.detach()).backward(graphc.ones(1))
    assert x.grad is not None and x.grad.item() == 2.0

    @graphc.no_grad()
    def f() -> bool:
        return graphc.is_grad_enabled()

    @graphc.no_grad
    def g() -> bool:
        return graphc.is_grad_enabled()

    assert not f() and not g() and graphc.is_grad_enabled()
    with graphc.set_grad_enabled(False):
        assert not graphc.is_grad_enabled()
    with graphc.inference_mode():
        assert not (x * 2).requires_grad and graphc.is_inference_mode_enabled()
    assert graphc.is_grad_enabled()


def test_grad_leaves_dot_grad_alone_and_reports_unused_inputs() -> None:
    x, y = leaf(2.0), leaf(5.0)
    z = (x**3).sum()
    (g,) = autograd.grad(z, x, retain_graph=True)
    assert g.item() == 12.0 and x.grad is None
    with pytest.raises(RuntimeError, match="not used"):
        autograd.grad(z, [x, y], retain_graph=True)
    assert autograd.grad(z, [y], retain_graph=True, allow_unused=True) == (None,)
    (zero,) = autograd.grad(z, [y], materialize_grads=True, retain_graph=True, allow_unused=True)
    assert zero.tolist() == [0.0]
    middle = x * 2
    (m,) = autograd.grad((middle**2).sum(), middle)
    assert m.item() == 8.0


def test_backward_to_chosen_inputs_only() -> None:
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad is not None and x.grad.item() == 3.0 and y.grad is None


def test_third_derivative() -> None:
    x = leaf(2.0)
    d = x**5
    for _ in range(3):
        (d,) = autograd.grad(d.sum(), x, create_graph=True)
    assert d.item() == pytest.approx(5 * 4 * 3 * 4)


def test_hooks_see_replace_and_come_off() -> None:
    x = leaf(1.0, 2.0)
    seen: list[Any] = []
    y = x * 3
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0]] and x.grad is not None and x.grad.tolist() == [31.0, 31.0]
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1


def test_retain_grad_keeps_a_middle_gradient() -> None:
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad is not None and y.grad.item() == 12.0


class Exp(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: graphc.Tensor, scale: float) -> graphc.Tensor:
        y = (x * scale).exp()
        ctx.save_for_backward(y)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, g: graphc.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return g * y * ctx.scale, None


class TwoOut(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: graphc.Tensor, y: graphc.Tensor) -> Any:
        assert ctx.needs_input_grad == (True, False)
        return x * 2, x + y

    @staticmethod
    def backward(ctx: Any, g: graphc.Tensor, h: graphc.Tensor) -> Any:
        return g * 2 + h, h


class TopTwice(autograd.Function):
    """Twice the values, and the place of the largest, which has no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        place = x.argmax()
        ctx.mark_non_differentiable(place)
        return x * 2, place

    @staticmethod
    def backward(ctx: Any, g: Any, place: Any) -> Any:
        return g * 2


def test_an_output_may_be_marked_non_differentiable() -> None:
    x = graphc.tensor([1.0, 3.0, 2.0], requires_grad=True)
    y, place = TopTwice.apply(x)
    assert y.requires_grad and not place.requires_grad and place.item() == 1
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_function_defines_its_own_derivative() -> None:
    x = leaf(0.0, 1.0)
    Exp.apply(x, 2.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([2.0, 2 * 7.38905609893065])
    y = leaf(1.0)
    a, b = TwoOut.apply(y, graphc.ones(1))
    (a * 3 + b).sum().backward()
    assert y.grad is not None and y.grad.item() == 7.0
    y.grad = None
    a, _ = TwoOut.apply(y, graphc.ones(1))
    a.sum().backward()
    assert y.grad.item() == 2.0


def test_long_chains_need_no_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.sum().backward()
    assert x.grad is not None and x.grad.item() == 1.0
    del y


def test_the_tape_makes_no_reference_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = (x.exp() * x).sigmoid().sum()
        dead = weakref.ref(y)
        y.backward()
        del y
        assert dead() is None
    finally:
        gc.enable()


def test_saved_tensors_are_freed_by_backward() -> None:
    x = leaf(1.0)
    y = x.exp()
    storage = weakref.ref(y.storage)
    z = y.sum()
    del y
    assert storage() is not None
    z.backward()
    assert storage() is None


def test_deepcopy_and_pickle_round_trip() -> None:
    import pickle

    x = leaf(1.0, 2.0)
    x.note = "kept"  # type: ignore[attr-defined]  # users may
    (x * 2).sum().backward()
    y = copy.deepcopy({"a": x, "b": x})
    assert y["a"] is y["b"] and y["a"].tolist() == [1.0, 2.0] and y["a"].requires_grad
    assert y["a"].data_ptr() != x.data_ptr() and y["a"].note == "kept"
    assert y["a"].grad is not None and y["a"].grad.tolist() == [2.0, 2.0]
    z = pickle.loads(pickle.dumps(x))
    assert z.tolist() == [1.0, 2.0] and z.requires_grad
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(x * 2)


def test_error_texts_name_the_tensor_and_the_fix() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"only a scalar has an implicit gradient"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"no_grad"):
        x.add_(1)
    y = x * 1
    z = y.exp() * y
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"version 1, expected 0"):
        z.sum().backward()
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"retain_graph=True"):
        loss.backward()
    with pytest.raises(RuntimeError, match="floating"):
        graphc.ones(2, dtype=graphc.int64).requires_grad_()
