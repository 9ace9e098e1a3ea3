"""Views and in-place writes: random programs against torch, eager and traced, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.trace import Trace
from graphc.ir.interpret import interpret
from graphc.ir.verify import verify

torch: Any = pytest.importorskip("torch")

VIEWS = [
    ("all", lambda x, k: x[...]),
    ("row", lambda x, k: x[k % x.shape[0]]),
    ("slice", lambda x, k: x[k % 2 :]),
    ("step", lambda x, k: x[..., :: 1 + k % 3]),
    ("t", lambda x, k: x.transpose(0, -1)),
    ("unsqueeze", lambda x, k: x.unsqueeze(k % 2)),
    ("flat", lambda x, k: x.reshape(-1)),
    ("narrow", lambda x, k: x.narrow(-1, 0, max(1, x.shape[-1] - 1))),
]
WRITES = [
    ("add", lambda x, y, k: x.add_(1.5)),
    ("mul", lambda x, y, k: x.mul_(0.5)),
    ("mul_view", lambda x, y, k: x.mul_(y.sum())),
    ("fill", lambda x, y, k: x.fill_(0.25)),
    ("zero", lambda x, y, k: x.zero_()),
    ("copy", lambda x, y, k: x.copy_(y.sum() * 0.1)),
    ("set", lambda x, y, k: x.__setitem__(0, y.mean())),
    ("tanh", lambda x, y, k: x.tanh_()),
    ("clamp", lambda x, y, k: x.clamp_(-1.0, 1.0)),
    ("masked", lambda x, y, k: x.masked_fill_(x > 0.3, 0.7)),
    ("iadd", lambda x, y, k: x.__iadd__(y.sum() * x.detach().clone())),
]


def program(T: Any, x: Any, y: Any, seed: int) -> list[Any]:
    """Grow views of a working tensor, write through some, and combine what they show."""
    rng = np.random.default_rng(seed)
    base = x * 1.0
    pool = [base, y * 2.0]
    for _ in range(int(rng.integers(3, 9))):
        target = pool[int(rng.integers(len(pool)))]
        other = pool[int(rng.integers(len(pool)))]
        k = int(rng.integers(6))
        if rng.random() < 0.55 and target.ndim:
            pool.append(VIEWS[int(rng.integers(len(VIEWS)))][1](target, k))
        elif target.ndim:
            WRITES[int(rng.integers(len(WRITES)))][1](target, other, k)
        else:
            pool.append((target * other).sum())
    return pool


def loss_of(pool: list[Any]) -> Any:
    total = pool[0].sum() * 0.0
    for k, t in enumerate(pool):
        total = total + (t * t).sum() * (0.1 * (k + 1))
    return total


def inputs() -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((3, 4)), rng.standard_normal((2, 3, 2))


def run(T: Any, make: Any, seed: int) -> tuple[list[Any], list[Any], str]:
    """Values and gradients of a program, and the kind of error if it is refused."""
    xs = [make(a).requires_grad_() for a in inputs()]
    try:
        pool = program(T, *xs, seed)
        loss = loss_of(pool)
        loss.backward()
    except RuntimeError:
        return [], [], "RuntimeError"
    return [p.detach().numpy() for p in pool], [x.grad.numpy() for x in xs], ""


@pytest.mark.parametrize("block", range(8))
def test_random_programs_match_torch(block: int) -> None:
    refused = 0
    for seed in range(block * 60, (block + 1) * 60):
        want = run(torch, lambda a: torch.tensor(a), seed)
        got = run(graphc, lambda a: graphc.tensor(a), seed)
        assert got[2] == want[2], f"seed {seed}"
        refused += bool(want[2])
        for a, b in zip(got[0] + got[1], want[0] + want[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12, err_msg=f"seed {seed}")
    assert refused < 40


def test_random_programs_traced_mean_what_eager_computes() -> None:
    """Functionalised writes give eager's bits, and leave the concrete inputs as they were."""
    for seed in range(80):
        values, grads, error = run(graphc, lambda a: graphc.tensor(a), seed)
        if error:
            continue
        arrays = inputs()
        xs = [graphc.tensor(a).requires_grad_() for a in arrays]
        trace = Trace()
        with trace.activate():
            args = [trace.argument(x, f"x{k}") for k, x in enumerate(xs)]
            pool = program(graphc, *args, seed)
            loss_of(pool).backward()
            outs = [*pool, *(a.grad for a in args if a.grad is not None)]
            graph = trace.graph("step", outs)
        verify(graph)
        for a, b in zip(interpret(graph, *arrays), [*values, *grads], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}")


def test_state_written_in_a_trace_becomes_an_output_and_stays_as_it_was() -> None:
    w = graphc.tensor([1.0, 2.0, 3.0, 4.0])
    trace = Trace()
    with trace.activate(), graphc.no_grad():
        w[1:3] *= 10
        w.view(2, 2)[:, 1].sub_(1)
        graph = trace.graph("step", [w.sum()])
    assert w.tolist() == [1.0, 2.0, 3.0, 4.0] and w._version == 0
    total, new = interpret(graph, w.numpy())
    assert new.tolist() == [1.0, 19.0, 30.0, 3.0] and total == 53.0
    assert graph.roles == ("state",) and graph.targets == (None, graph.inputs[0])


def test_sharing_follows_torch() -> None:
    def shares(a: Any, b: Any) -> bool:
        return bool(a.data_ptr() == b.data_ptr())

    for T in (graphc, torch):
        x = T.zeros(3, 4)
        assert shares(x, x[...]) and shares(x, x.view(12)) and shares(x, x.t())
        assert shares(x, x.detach()) and shares(x, x.reshape(4, 3)) and shares(x, x.expand(2, 3, 4))
        assert not shares(x, x.t().reshape(12)) and not shares(x, x.clone())
        assert not shares(x, x[T.tensor([0, 1, 2])])
        assert x.float() is x and x.contiguous() is x and x.to(T.float32) is x
        assert x.t().is_contiguous() is False and x.t().stride() == (1, 4)
        assert x[:, 1].stride() == (4,) and x[:, 1].storage_offset() == 1


def test_numpy_memory_is_shared_both_ways() -> None:
    a = np.zeros(3, np.float32)
    x = graphc.from_numpy(a)
    x[0] = 5
    a[1] = 7
    assert x.tolist() == [5.0, 7.0, 0.0]
    x.numpy()[2] = 9
    assert a.tolist() == [5.0, 7.0, 9.0]


def unrecorded_view(T: Any, x: Any) -> Any:
    with T.no_grad():
        return x[0]


@pytest.mark.parametrize(
    "bad",
    [
        lambda T, x: x.add_(1),
        lambda T, x: x[0].add_(1),
        lambda T, x: x.view(-1).zero_(),
        lambda T, x: x.__setitem__(0, 1.0),
        lambda T, x: T.zeros(3, 1).expand(3, 4).add_(1),
        lambda T, x: (lambda a: a[1:].__iadd__(a[:-1]))(T.zeros(4)),
        lambda T, x: (lambda a, y: (a.mul_(2), y.sum().backward()))((b := x * 1), b.exp_().exp()),
        lambda T, x: (lambda y: (y.backward(), y.backward()))((x * x).sum()),
        lambda T, x: x.backward(),
        lambda T, x: T.zeros(3).sum().backward(),
        lambda T, x: x.numpy(),
        lambda T, x: T.zeros(2, dtype=T.int64).requires_grad_(),
        lambda T, x: unrecorded_view(T, x * 1).mul_(x[0]),
        lambda T, x: x.item(),
        lambda T, x: bool(x > 0),
    ],
)
def test_what_torch_refuses(bad: Any) -> None:
    for T in (graphc, torch):
        with pytest.raises(RuntimeError):
            bad(T, T.ones(2, 3).requires_grad_())


def test_argwhere_gives_a_row_for_each_nonzero_element() -> None:
    assert graphc.argwhere(graphc.tensor([[0, 1], [2, 0]])).tolist() == [[0, 1], [1, 0]]
    assert graphc.argwhere(graphc.tensor(3)).shape == (1, 0)


def test_a_leaf_written_with_itself_is_refused() -> None:
    for T in (graphc, torch):
        x = T.ones(2, 3, requires_grad=True)
        with pytest.raises(RuntimeError):
            x[...] = x.transpose(0, 0)
