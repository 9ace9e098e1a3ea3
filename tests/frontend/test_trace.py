"""The trace: state is discovered, nothing concrete changes, Python cannot look at values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import DataDependentBranch, TracerLeak, Untraceable
from graphc.frontend.trace import Trace, active, guard, host_scalar, paused
from graphc.ir.interpret import interpret
from graphc.ir.verify import verify


def trace_of(f: Callable[..., Any], *args: graphc.Tensor) -> tuple[Trace, Any]:
    trace = Trace()
    with trace.activate():
        outs = f(*(trace.argument(a, f"x{k}") for k, a in enumerate(args)))
        graph = trace.graph("step", outs if isinstance(outs, list) else [outs])
    verify(graph)
    return trace, graph


def test_a_whole_step_is_one_graph() -> None:
    w = graphc.tensor([[1.0, 2.0]], requires_grad=True)
    w.storage.name = "w"
    x, y = graphc.tensor([[3.0, 4.0]]), graphc.tensor([[1.0]])

    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        w.grad = None
        loss = ((x @ w.t() - y) ** 2).mean()
        loss.backward()
        with graphc.no_grad():
            assert w.grad is not None
            w.sub_(w.grad * 0.1)
        return loss

    trace, graph = trace_of(step, x, y)
    assert [v.name for v in graph.inputs] == ["%x0", "%x1", "%w"]
    assert graph.roles == ("arg", "arg", "state") and graph.targets[1] is graph.inputs[2]
    assert w.grad is None and w.tolist() == [[1.0, 2.0]] and w._version == 0
    assert list(trace.grads) == [w]
    loss, new = interpret(graph, x.numpy(), y.numpy(), w.detach().numpy())
    eager = step(x, y)
    assert loss == eager.item() and new.tolist() == w.tolist()
    phases = {v.where.phase for v in graph.values()}
    assert phases == {"", "bw"} and all(v.where.line for v in graph.values())


def test_state_is_one_input_however_often_and_through_whatever_view() -> None:
    w = graphc.arange(6.0).reshape(2, 3)
    _, graph = trace_of(lambda x: x + w[0] * w.t()[:, 1] + w.detach().view(-1)[3:], graphc.ones(3))
    assert graph.roles == ("arg", "state")


def test_constants_are_constants_and_python_data_is_hidden_state() -> None:
    def f(x: graphc.Tensor) -> graphc.Tensor:
        c = graphc.tensor([1.0, 2.0, 3.0])
        c += 1
        return x + c + graphc.zeros(3) + graphc.tensor(2.5) + graphc.arange(3) + graphc.ones_like(x)

    _, graph = trace_of(f, graphc.ones(3))
    assert graph.roles == ("arg", "state") and graph.targets == (None,)
    for _ in range(2):
        (out,) = interpret(graph, np.ones(3, np.float32), np.array([1, 2, 3], np.float32))
        assert out.tolist() == [6.5, 8.5, 10.5]


def test_random_draws_are_numbered_scalars_and_match_eager() -> None:
    graphc.manual_seed(7)
    want = [graphc.rand(5), graphc.randn(3), graphc.randint(10, (4,))]
    graphc.manual_seed(7)
    trace, graph = trace_of(lambda: [graphc.rand(5), graphc.randn(3), graphc.randint(10, (4,))])
    assert graphc.default_generator.draw == 0
    assert trace.draws == {graphc.default_generator: 3}
    scalars = [np.array(i.getter(), np.int64) for i in trace.inputs if i.getter is not None]
    for a, b in zip(interpret(graph, *scalars), want, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-6)  # the logarithm of a meaning is NumPy's


def test_host_scalars_are_read_at_each_call_and_shared_by_key() -> None:
    group = {"lr": 0.5}

    def f(x: graphc.Tensor) -> graphc.Tensor:
        lr = [host_scalar(lambda: group["lr"], graphc.float32, "lr", "key") for _ in range(2)]
        return x * lr[0] + x * lr[1]

    trace, graph = trace_of(f, graphc.ones(2))
    assert graph.roles == ("arg", "scalar") and graph.inputs[1].name == "%lr"
    group["lr"] = 2.0
    getter = trace.inputs[1].getter
    assert getter is not None and getter() == 2.0
    assert f(graphc.ones(2)).tolist() == [4.0, 4.0]


def test_guards_record_what_was_read() -> None:
    box = [3]
    trace, _ = trace_of(lambda x: x * guard(lambda: box[0]), graphc.ones(2))
    assert [value for _, value in trace.guards] == [3]
    assert guard(lambda: box[0]) == 3


def test_existing_gradients_are_state_and_accumulate() -> None:
    w = graphc.tensor([1.0, 2.0], requires_grad=True)
    w.sum().backward()
    _, graph = trace_of(lambda x: [(w * x).sum(), (w * x).sum().backward()][:1], graphc.ones(2))
    assert graph.roles == ("arg", "state", "state")
    assert w.grad is not None and w.grad.tolist() == [1.0, 1.0]
    _, grad = interpret(graph, *(np.full(2, k, np.float32) for k in (3, 5, 1)))
    assert grad.tolist() == [4.0, 4.0]


def test_hooks_and_functions_act_in_a_trace() -> None:
    w = graphc.tensor([1.0, 2.0], requires_grad=True)

    def f(x: graphc.Tensor) -> list[graphc.Tensor]:
        y = w * x
        y.register_hook(lambda g: g * 10)
        (g,) = graphc.autograd.grad(y.sum(), w)
        return [g]

    _, graph = trace_of(f, graphc.ones(2))
    (g,) = interpret(graph, np.full(2, 3, np.float32), np.zeros(2, np.float32))
    assert g.tolist() == [30.0, 30.0]


@pytest.mark.parametrize(
    "look",
    [bool, int, float, lambda t: t.item(), lambda t: t.tolist(), lambda t: t.numpy()],
)
def test_python_cannot_look_at_a_traced_value(look: Any) -> None:
    state = graphc.ones(1)
    for target in (lambda x: x, lambda x: state):
        with pytest.raises(DataDependentBranch, match="GC104") as e:
            trace_of(lambda x, t=target: look(t(x)), graphc.ones(1))
        assert "test_trace.py" in str(e.value)


def test_a_traced_tensor_that_leaks_is_refused() -> None:
    kept = []
    trace_of(lambda x: kept.append(x * 2) or x, graphc.ones(2))
    with pytest.raises(TracerLeak, match="GC105"):
        kept[0] + 1
    with pytest.raises(TracerLeak):
        kept[0].tolist()
    with pytest.raises(TracerLeak):
        trace_of(lambda x: x + kept[0], graphc.ones(2))
    assert "traced f32[2]" in repr(kept[0])


def test_a_failed_trace_leaves_everything_as_it_was() -> None:
    w = graphc.tensor([1.0, 2.0], requires_grad=True)
    h = graphc.zeros(2)

    def step(x: graphc.Tensor) -> None:
        (w * x).sum().backward()
        h.copy_(w * 3)
        graphc.rand(2)
        with graphc.no_grad():
            w.add_(1)
        raise KeyError("mine")

    graphc.manual_seed(0)
    with pytest.raises(KeyError, match="mine"):
        trace_of(step, graphc.ones(2))
    assert active() is None and w.grad is None and w.tolist() == [1.0, 2.0]
    assert h.tolist() == [0.0, 0.0] and not h.requires_grad and h.grad_fn is None
    assert (w._version, h._version, graphc.default_generator.draw) == (0, 0, 0)


def test_concrete_work_in_a_paused_trace() -> None:
    made = []

    def f(x: graphc.Tensor) -> graphc.Tensor:
        with paused():
            made.append(graphc.zeros(2))
        return x + made[0]

    _, graph = trace_of(f, graphc.ones(2))
    assert graph.roles == ("arg", "state") and made[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "bad",
    [
        lambda x: graphc.manual_seed(0),
        lambda x: graphc.rand(2, generator=graphc.Generator()),
        lambda x: graphc.get_rng_state(),
        lambda x: setattr(WEIGHT, "data", OTHER),
        lambda x: setattr(WEIGHT, "data", x),
        lambda x: setattr(WEIGHT, "data", (x * 2).double()),
        lambda x: WEIGHT.detach_(),
    ],
)
def test_what_cannot_be_replayed_is_refused(bad: Any) -> None:
    with pytest.raises(Untraceable, match="GC106"):
        trace_of(bad, graphc.ones(2))


WEIGHT, OTHER = graphc.zeros(2), graphc.zeros(2)
