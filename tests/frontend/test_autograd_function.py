"""autograd.Function, hooks, anomalies, and what compiled steps give back, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import autograd

torch: Any = pytest.importorskip("torch")
BOTH = [graphc, torch]


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(list(values), dtype=T.float64, requires_grad=True)


def cube(T: Any) -> Any:
    class Cube(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(x: Any, scale: float = 1.0) -> Any:
            return x**3 * scale

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[0])
            ctx.scale = inputs[1]

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * 3 * x**2 * ctx.scale, None

    return Cube


def expo(T: Any) -> Any:
    class Exp(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    return Exp


def doubled(T: Any) -> Any:
    class Double(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    return Double


def pair(T: Any) -> Any:
    class Pair(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, y * 3, "text"

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any, _: Any) -> Any:
            seen.append((T.__name__, g is None, h is None, ctx.needs_input_grad))
            return None if g is None else g * 2, None if h is None else h * 3

    seen: list[Any] = []
    Pair.seen = seen
    return Pair


PROGRAMS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("setup_context", lambda T, x: cube(T).apply(x, 2.0).sum()),
    ("default argument", lambda T, x: cube(T).apply(x).sum()),
    ("saved output", lambda T, x: (expo(T).apply(x) * x).sum()),
    ("in place", lambda T, x: (doubled(T).apply(x * 1.5) ** 2).sum()),
    ("in place on a view", lambda T, x: dirty_view(T, x)),
    ("one output unused", lambda T, x: (pair(T).apply(x, x * x)[1] * x).sum()),
    ("nested", lambda T, x: cube(T).apply(expo(T).apply(x)).sum()),
]


def dirty_view(T: Any, x: Any) -> Any:
    y = x * 1.0
    doubled(T).apply(y[:1])
    return (y * x).sum()


@pytest.mark.parametrize(("name", "program"), PROGRAMS, ids=[p[0] for p in PROGRAMS])
def test_function_programs(name: str, program: Callable[[Any, Any], Any]) -> None:
    found = []
    for T in BOTH:
        x = leaf(T, 0.5, -1.5)
        y = program(T, x)
        (g,) = T.autograd.grad(y, x, create_graph=True)
        (h,) = T.autograd.grad(g.sum(), x, allow_unused=True, materialize_grads=True)
        found.append([v.detach().numpy() for v in (y, g, h)])
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)

    @graphc.compile
    def step(x: Any) -> Any:
        y = program(graphc, x)
        return y, *autograd.grad(y, x)

    y, g = step(leaf(graphc, 0.5, -1.5))
    np.testing.assert_allclose(y.detach().numpy(), found[0][0], rtol=1e-12)
    np.testing.assert_allclose(g.numpy(), found[0][1], rtol=1e-12)


def test_none_arrives_for_what_was_not_used_if_asked() -> None:
    found = []
    for T in BOTH:
        Pair = pair(T)
        x, y = leaf(T, 1.0), leaf(T, 2.0)
        a, b, text = Pair.apply(x, y)
        b.sum().backward()
        assert text == "text" and x.grad is None and y.grad.item() == 3.0 and a.requires_grad
        found.append(Pair.seen[0][1:])
    assert found[0] == found[1] == (True, False, (True, True))


def test_once_differentiable_refuses_a_second_derivative() -> None:
    for T in BOTH:
        once = T.autograd.function.once_differentiable

        class Square(T.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @once
            def backward(ctx: Any, g: Any) -> Any:
                return 2 * ctx.saved_tensors[0] * g

        x = leaf(T, 3.0)
        (g,) = T.autograd.grad(Square.apply(x), x, leaf(T, 1.0), create_graph=True)
        assert g.item() == 6.0
        with pytest.raises(RuntimeError, match="differentiate twice"):
            g.sum().backward()


def faulty(T: Any, result: Callable[[Any], Any]) -> Any:
    class Faulty(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x)
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return result(g)

    return Faulty


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
@pytest.mark.parametrize(
    ("result", "match"),
    [
        (lambda g: g, "incorrect number of gradients"),
        (lambda g: (g, g, g), "incorrect number of gradients"),
        (lambda g: (g[:1], g[:1].expand(2).reshape(2, 1).repeat(1, 3)), "invalid gradient"),
    ],
    ids=["too few", "too many", "shape"],
)
def test_what_backward_returns_is_checked(T: Any, result: Any, match: str) -> None:
    x, y = leaf(T, 1.0, 2.0), leaf(T, 3.0, 4.0)
    with pytest.raises(RuntimeError, match=match):
        faulty(T, result).apply(x, y).sum().backward()


def test_a_gradient_is_summed_to_its_argument() -> None:
    for T in BOTH:
        x, y = leaf(T, 1.0), leaf(T, 3.0, 4.0)
        faulty(T, lambda g: (g, g, None)).apply(x, y).sum().backward()
        assert x.grad.tolist() == [2.0] and y.grad.tolist() == [1.0, 1.0]


def test_saved_tensors_are_watched_and_freed() -> None:
    for T in BOTH:
        x = leaf(T, 1.0)
        y = x * 2
        z = cube(T).apply(y)
        y.add_(1)
        with pytest.raises(RuntimeError, match="version"):
            z.sum().backward()
        z = cube(T).apply(x * 2).sum()
        z.backward()
        with pytest.raises(RuntimeError, match="second time"):
            z.backward()
        with pytest.raises(TypeError, match="save_for_backward"):
            bad_save(T).apply(x)


def bad_save(T: Any) -> Any:
    class Bad(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(3)
            return x

    return Bad


def test_a_leaf_may_not_be_written_by_a_function() -> None:
    for T in BOTH:
        with pytest.raises(RuntimeError, match="leaf"):
            doubled(T).apply(leaf(T, 1.0))


# ---- hooks -------------------------------------------------------------------------------------


def test_post_accumulate_hooks_follow_the_gradient_and_come_off() -> None:
    found = []
    for T in BOTH:
        x, seen = leaf(T, 1.0, 2.0), []
        with x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist())):  # noqa: B023
            (x * 3).sum().backward()
            (x * 3).sum().backward()
        (x * 3).sum().backward()
        found.append(seen)
        with pytest.raises(RuntimeError, match="non-leaf"):
            (x * 2).register_post_accumulate_grad_hook(print)
        with pytest.raises(RuntimeError, match="require"):
            x.detach().register_post_accumulate_grad_hook(print)
    assert found[0] == found[1] == [[3.0, 3.0], [6.0, 6.0]]


def test_a_hook_put_on_or_taken_off_traces_the_step_anew() -> None:
    p = leaf(graphc, 1.0)

    @graphc.compile
    def step() -> None:
        p.grad = None
        (p * 3).sum().backward()

    def gradient() -> Any:
        step()
        return p.grad.item()

    assert gradient() == 3.0
    handle = p.register_hook(lambda g: g * 10)
    assert gradient() == 30.0
    after = p.register_post_accumulate_grad_hook(lambda x: x.grad.add_(1))
    assert gradient() == 31.0
    handle.remove()
    after.remove()
    assert gradient() == 3.0
    with graphc.autograd.set_detect_anomaly(True), pytest.raises(RuntimeError, match="anomaly"):
        step()


# ---- anomalies ---------------------------------------------------------------------------------


def test_anomaly_detection_names_the_line_of_the_forward() -> None:
    for T in BOTH:
        x = leaf(T, 0.0)
        (T.sqrt(x) * 0).sum().backward()
        assert np.isnan(x.grad.item())
    x = leaf(graphc, 0.0)
    with autograd.detect_anomaly():
        assert autograd.is_anomaly_enabled()
        y = (graphc.sqrt(x) * 0).sum()  # this line
        with pytest.raises(RuntimeError, match="returned nan") as caught:
            y.backward()
    text = str(caught.value)
    assert "# this line" in text and "SqrtBackward0" in text
    with autograd.detect_anomaly(check_nan=False):
        (graphc.sqrt(x) * 0).sum().backward()
    assert not autograd.is_anomaly_enabled()


# ---- grad, Variable, results of compiled steps -------------------------------------------------


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
def test_grad_and_its_options(T: Any) -> None:
    x, y = leaf(T, 1.0, 2.0), leaf(T, 3.0)
    g, h = T.autograd.grad(x.sum(), [x, y], materialize_grads=True)
    assert g.tolist() == [1.0, 1.0] and h.tolist() == [0.0]
    assert T.autograd.grad(x.sum(), [y], allow_unused=True) == (None,)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        T.autograd.grad(x.sum(), [])
    with pytest.raises(RuntimeError):
        T.autograd.grad(x.sum(), [y])
    v = T.autograd.Variable(x.detach(), requires_grad=True)
    assert isinstance(v, T.autograd.Variable) and v.requires_grad and v.is_leaf
    assert v._version == 0 and v.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
def test_what_a_tensor_tells_of_its_history(T: Any) -> None:
    x = leaf(T, 1.0, 2.0)
    y = x * 2
    assert y.grad_fn.name().startswith("Mul") and y.output_nr == 0 and not y.retains_grad
    assert y.grad_fn.next_functions[0][0].name().endswith("AccumulateGrad")
    y.retain_grad()
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.retains_grad and not x.retains_grad and y.grad.tolist() == [3.0, 3.0]
    with pytest.raises(TypeError):
        x.grad = 3
    with pytest.raises(RuntimeError):
        x.grad = y.detach()[:1]
    with pytest.raises(RuntimeError, match="detach"):
        y[:1].detach_()


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
def test_modes_decorate_functions_and_generators(T: Any) -> None:
    @T.no_grad()
    def states() -> Any:
        got = yield T.is_grad_enabled()
        try:
            yield got, T.is_grad_enabled()
        except KeyError:
            yield "caught", T.is_grad_enabled()
        return 7

    running = states()
    assert next(running) is False and T.is_grad_enabled()
    assert running.send("sent") == ("sent", False) and T.is_grad_enabled()
    assert running.throw(KeyError("x")) == ("caught", False)
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == 7

    @T.inference_mode
    def inside() -> Any:
        return T.is_inference_mode_enabled(), T.is_grad_enabled()

    assert inside() == (True, False) and T.is_grad_enabled()
    early = states()
    next(early)
    early.close()
    assert T.is_grad_enabled()


def test_batched_gradients_are_one_a_row() -> None:
    rows = [[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]]
    found = []
    for T in (graphc, torch):
        x, unused = leaf(T, 1.0, 2.0, 3.0), leaf(T, 1.0)
        y = x * x * x[0]
        grads = T.autograd.grad(
            y, (x, unused), T.tensor(rows), is_grads_batched=True, allow_unused=True
        )
        assert grads[1] is None
        found.append(grads[0].tolist())
    assert found[0] == found[1]


def test_batched_gradients_need_weights() -> None:
    x = leaf(graphc, 1.0)
    with pytest.raises(RuntimeError, match="grad_outputs"):
        autograd.grad(x * 2, x, is_grads_batched=True)


def test_a_value_whose_gradient_a_step_took_comes_back_attached() -> None:
    @graphc.compile
    def step(x: Any, keep: bool) -> Any:
        y = (x * x).sum()
        return y, *autograd.grad(y, x, retain_graph=keep)

    x = leaf(graphc, 1.0, 2.0)
    y, g = step(x, False)
    assert y.item() == 5.0 and y.requires_grad and g.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    step(x, True)[0].backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_views_of_arguments_and_parameters_come_back_attached_or_not_as_in_eager() -> None:
    w = leaf(graphc, 3.0, 4.0)

    def views(x: Any) -> Any:
        return x.detach(), x.detach().view(2, 1), x.view(2, 1), x, w.view(2, 1), w.detach(), w

    x = leaf(graphc, 1.0, 2.0)
    expected, found = views(x), graphc.compile(views)(x)
    for a, b in zip(expected, found):
        assert (a.requires_grad, a.is_leaf, a.tolist()) == (b.requires_grad, b.is_leaf, b.tolist())
        assert a.data_ptr() == b.data_ptr()
    assert found[3] is x and found[6] is w
    (found[2] * 2 + found[4] * 5).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0] and w.grad.tolist() == [5.0, 5.0]
