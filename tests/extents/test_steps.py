"""Compiled steps over other sizes: the values of eager code, and nothing compiled anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import Tensor, nn, optim
from graphc.errors import ShapeMismatch

SIZES = (5, 3, 1, 8, 5)


def made(*shape: int, seed: int = 0) -> Tensor:
    return graphc.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


W = made(4, 3, seed=1)
FUNCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "mean": lambda x: x.mean(),
    "mean over rows": lambda x: x.mean(0),
    "var": lambda x: x.var(0, correction=0),
    "softmax": lambda x: x.softmax(-1),
    "softmax over rows": lambda x: x.softmax(0),
    "matmul": lambda x: x @ W.T,
    "gram": lambda x: x.T @ x,
    "outer": lambda x: x @ x.T,
    "reshape": lambda x: x.reshape(-1),
    "view as pairs": lambda x: x.view(x.size(0), 1, -1).flatten(1),
    "flatten all": lambda x: x.flatten() * 2,
    "transpose": lambda x: x.t().contiguous(),
    "first row": lambda x: x[0],
    "last row": lambda x: x[-1],
    "row by size": lambda x: x[x.size(0) - 1],
    "every other": lambda x: x[::2],
    "reversed": lambda x: x.flip(0),
    "cat": lambda x: graphc.cat([x, x * 2], 0),
    "stack": lambda x: graphc.stack([x, -x]),
    "expand": lambda x: x[:1].expand(x.size(0), -1) + x,
    "broadcast": lambda x: x[:, None] - x[None],
    "cumsum": lambda x: x.cumsum(1),
    "cumsum of rows": lambda x: x.cumsum(0),
    "sort": lambda x: x.sort(0).values,
    "argmax": lambda x: x.argmax(0),
    "max": lambda x: x.max(1).values,
    "amax": lambda x: x.amax(0),
    "gather": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "index": lambda x: x[:, [2, 0]],
    "select rows": lambda x: x[graphc.arange(x.size(0))],
    "one hot": lambda x: F.one_hot(x.argmax(1), 3),
    "cross entropy": lambda x: F.cross_entropy(x, x.argmax(1)),
    "layer norm": lambda x: F.layer_norm(x, (3,)),
    "normalize": lambda x: F.normalize(x, dim=0),
    "pad": lambda x: F.pad(x, (1, 2)),
    "pad rows": lambda x: F.pad(x, (0, 0, 1, 2)),
    "tril": lambda x: (x @ x.T).tril(),
    "roll": lambda x: x.roll(1, 0),
    "repeat": lambda x: x.repeat(2, 1),
    "chunk": lambda x: x.chunk(3, 1)[1],
    "numel": lambda x: x.sum() / x.numel(),
    "length": lambda x: x.sum() / len(x) + len([1, 2]) + max(map(len, [x, x[:1]])),
    "zeros like": lambda x: graphc.zeros_like(x) + x,
    "new zeros": lambda x: x.new_zeros(x.shape[0], 2) + 1,
    "arange": lambda x: x.sum(1) * graphc.arange(x.shape[0]),
    "ones of shape": lambda x: graphc.ones(x.shape) * x,
    "where": lambda x: graphc.where(x > 0, x, 0.0),
    "einsum": lambda x: graphc.einsum("bi,oi->bo", x, W),
    "std": lambda x: x.std() if x.size(0) > 1 else x.sum(),
    "embedding": lambda x: F.embedding(x.argmax(1), W),
    "scatter": lambda x: graphc.zeros(x.shape).scatter_add(1, x.argsort(1), x),
    "median": lambda x: x.median(0).values,
    "norm": lambda x: x.norm(),
    "quantile": lambda x: x.quantile(0.5, 0),
    "unbind": lambda x: x.unbind(1)[2],
    "logsumexp": lambda x: x.logsumexp(0),
    "outputs": lambda x: (x.size(0), x.shape, 1 / x.size(0), x.sum(0)),
}  # fmt: skip


def plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return tuple(map(plain, x)) if isinstance(x, tuple) else x


def close(a: Any, b: Any) -> bool:
    return type(a) is type(b) and np.allclose(
        np.asarray(a, object).astype(float) if not isinstance(a, tuple) else 0,
        np.asarray(b, object).astype(float) if not isinstance(b, tuple) else 0,
        rtol=1e-5, atol=1e-6, equal_nan=True,
    ) and (not isinstance(a, tuple) or all(map(close, a, b)))  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_over_other_sizes(name: str) -> None:
    function = FUNCTIONS[name]
    step = graphc.compile(lambda x: function(x))
    for n in SIZES:
        x = made(n, 3, seed=n)
        assert close(plain(step(x)), plain(function(x))), n


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_over_other_sizes(name: str) -> None:
    function = FUNCTIONS[name]
    if name in ("argmax", "one hot", "new zeros", "embedding"):
        pytest.skip("has no gradient")

    def gradient(x: Tensor) -> Tensor:
        out = function(x * 1.0)
        (out[-1] if isinstance(out, tuple) else out).square().sum().backward()
        return x.grad

    step = graphc.compile(lambda x: gradient(x.detach().requires_grad_()))
    for n in SIZES:
        x = made(n, 3, seed=n)
        assert close(plain(step(x)), plain(gradient(x.detach().requires_grad_()))), n


ONE_PROGRAM = [
    "mean", "mean over rows", "var", "softmax", "matmul", "reshape", "view as pairs", "first row",
    "last row", "cat", "broadcast", "cumsum", "max", "gather", "cross entropy", "layer norm",
    "numel", "length", "zeros like", "new zeros", "ones of shape", "where", "einsum", "embedding",
    "norm", "outputs", "flatten all", "row by size", "arange", "gram", "outer",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_PROGRAM)
def test_these_need_one_program(name: str) -> None:
    function = FUNCTIONS[name]
    step = graphc.compile(lambda x: function(x))
    with graphc.assert_max_compiles(1):
        for n in SIZES:
            step(made(n, 3))
    assert step.stats.programs == 1


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(4 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


def losses(compiled: bool, sizes: Sequence[int]) -> tuple[list[float], Any]:
    graphc.manual_seed(0)
    net = Block()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = graphc.compile(step) if compiled else step
    out = []
    for n in sizes:
        out.append(run(made(n, 2, 6, 6, seed=n), graphc.arange(n) % 5).item())
    return out, run


def test_a_training_step_over_batches_compiles_once() -> None:
    sizes = (128, 64, 37, 2, 1, 128)
    expected, _ = losses(False, sizes)
    first, step = losses(True, sizes[:1])
    kernels, compiled = step.stats.kernels, step.stats.kernels_compiled
    got, step = losses(True, sizes)
    np.testing.assert_allclose(got, expected, rtol=2e-4)
    assert first == got[:1]
    assert step.stats.compiles == 1 and step.stats.programs == 1
    assert step.stats.kernels == kernels and step.stats.kernels_compiled <= compiled
    assert not step.explain().recompiles and "B: batch" in str(step.explain())
    assert "f32[B,2,6,6]" in step.ir("trace")


def test_a_compiled_module_with_an_eager_backward_over_batches() -> None:
    eager, net = Block(), Block()
    net.load_state_dict(eager.state_dict())
    graphc.compile(net)
    for n in SIZES:
        x = made(n, 2, 6, 6, seed=n)
        for model in (eager, net):
            model.zero_grad()
            model(x).square().sum().backward()
        for p, q in zip(eager.parameters(), net.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4)
    assert net._compiled.stats.programs == 1


def test_rows_have_the_same_bits_in_any_batch() -> None:
    graphc.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7),
    ).eval()  # fmt: skip
    mlp = nn.Sequential(nn.Linear(20, 33), nn.GELU(), nn.LayerNorm(33), nn.Linear(33, 9)).eval()
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    for net, shape in ((conv, (3, 9, 9)), (mlp, (20,)), (layer, (7, 16))):
        x = made(37, *shape)
        with graphc.no_grad():
            rows = graphc.compile(lambda x, net=net: net(x))(x).numpy()
            for sizes in ((1,), (5, 1, 16)):
                again = graphc.compile(lambda x, net=net: net(x))
                for n in sizes:
                    for at in (0, 37 - n):
                        np.testing.assert_array_equal(
                            again(x[at : at + n]).numpy(), rows[at : at + n]
                        )


def test_a_second_length_makes_an_extent_and_compiles_once_more() -> None:
    graphc.manual_seed(0)
    embed, layer = (
        nn.Embedding(50, 16),
        nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True),
    )
    head = nn.Linear(16, 3)

    def logits(tokens: Tensor) -> Tensor:
        return head(layer(embed(tokens)).mean(1))

    step = graphc.compile(logits)
    rng = np.random.default_rng(0)
    for b, n in [(2, 5), (3, 5), (3, 9), (1, 7), (4, 1), (2, 16), (6, 9)]:
        tokens = graphc.from_numpy(rng.integers(0, 50, (b, n)))
        np.testing.assert_allclose(
            step(tokens).detach().numpy(), logits(tokens).detach().numpy(), rtol=1e-4, atol=1e-5
        )
    assert step.stats.programs == 2 and len(step.explain().recompiles) == 1
    assert "L: sequence" in str(step.explain())


def _lengths(count: int) -> tuple[Any, Any]:
    """A compiled step, and its call with a length."""
    step = graphc.compile(lambda x: (x * 2 + 1).exp())
    for n in range(1, count + 1):
        step(graphc.ones(n))
    return step, lambda n: step(graphc.ones(n))


def _plans(step: Any) -> set[Any]:
    return {e for entries in step._entries.values() for e in entries}


def test_plans_of_many_lengths_fit_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_PLAN_MIB", "1")
    step, call = _lengths(500)
    stats = step.stats
    assert stats.programs == 1
    assert stats.plans == len(_plans(step)) < 500 and stats.plans + stats.plans_dropped == 500
    assert 1 << 19 < stats.plan_bytes <= 1 << 20
    assert f"{stats.plans}, " in step.explain().plans and "plans: " in str(step.explain())
    kept = _plans(step)
    for n in range(501 - stats.plans, 501):  # those used last
        call(n)
    assert _plans(step) == kept
    call(1)  # long gone
    assert len(_plans(step) - kept) == 1 and stats.programs == 1


def test_two_hundred_lengths_in_rotation_keep_their_plans() -> None:
    step, call = _lengths(200)
    kept = _plans(step)
    for n in range(1, 201):
        call(n)
    assert _plans(step) == kept and step.stats.plans_dropped == 0


def test_what_is_used_stays_while_other_lengths_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_PLAN_MIB", "1")
    step, call = _lengths(3)
    for _ in range(8):
        call(2)  # the last ones are prepared, and go past the table
    used = step._last
    for n in range(4, 900):
        call(n)
        if n % 50 == 0:
            call(2)
    assert step.stats.plans_dropped and used in _plans(step)


def test_results_of_earlier_calls_go_before_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_PLAN_MIB", "2")
    step = graphc.compile(lambda x: x * 2)
    for n in range(1, 9):
        for _ in range(3):
            step(graphc.ones(100_000 + n))
    assert step.stats.plans == 8 and not step.stats.plans_dropped
    rings = [sum(a.nbytes for r in e.plan.results for a, *_ in r.ring) for e in _plans(step)]
    assert sum(rings) == sum(e.plan.kept.bytes for e in _plans(step)) <= 2 << 20
    assert any(rings) and not all(rings)


def test_python_that_looks_at_a_size() -> None:
    @graphc.compile
    def step(x: Tensor) -> Tensor:
        if x.size(0) > 3:
            return x.sum()
        return x.mean()

    assert [step(graphc.ones(n, 2)).item() for n in (4, 5, 2, 3, 9)] == [8, 10, 1, 1, 18]
    assert step.stats.programs == 2
    (row,) = step.explain().recompiles
    assert row.line and "3 < B" in str(row)


def test_a_use_that_needs_the_number_says_so() -> None:
    @graphc.compile
    def step(x: Tensor) -> Tensor:
        out = x.sum()
        for k in range(x.size(0)):
            out = out + k
        return out

    assert [step(graphc.ones(n)).item() for n in (2, 4, 2)] == [3, 10, 3]
    (row,) = step.explain().recompiles
    assert "needs its value" in row.argument and row.line


def test_sizes_that_do_not_fit_are_refused_with_their_numbers() -> None:
    step = graphc.compile(lambda x, y: x + y)
    assert step(graphc.ones(4, 2), graphc.ones(4, 2)).shape == (4, 2)
    assert step(graphc.ones(4, 2), graphc.ones(1, 2)).shape == (4, 2)
    with pytest.raises(ShapeMismatch, match=r"\(4, 2\).*\(3, 2\)|4 against 3|4.*3"):
        step(graphc.ones(4, 2), graphc.ones(3, 2))
    assert step(graphc.ones(6, 2), graphc.ones(6, 2)).shape == (6, 2)


def test_micro_batches_by_chunk_need_one_program() -> None:
    """However the batch is odd; one that is too small for so many chunks is another program."""
    net = nn.Linear(6, 3)

    def learn(x: Tensor, y: Tensor) -> Tensor:
        net.zero_grad()
        parts = zip(x.chunk(2), y.chunk(2), strict=True)
        loss = sum(F.cross_entropy(net(a), b, reduction="sum") for a, b in parts) / len(x)
        loss.backward()
        return loss

    step = graphc.compile(learn)
    for n in (4, 7, 12, 5, 1):
        x, y = made(n, 6, seed=n), graphc.arange(n) % 3
        loss, grad = step(x, y), net.weight.grad.clone()
        assert close(plain(learn(x, y)), plain(loss)) and close(plain(net.weight.grad), plain(grad))
        assert step.stats.programs == 1 + (n == 1)
