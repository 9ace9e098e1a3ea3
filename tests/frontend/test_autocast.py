"""Automatic casts on the CPU, as PyTorch's are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.codegen_cpu.target import Target

torch = pytest.importorskip("torch")

PLAIN = "exp log rsqrt sum prod mean std sigmoid trace"
LOSSES = "mse_loss l1_loss huber_loss binary_cross_entropy"
Case = Callable[[Any, Any, Any], Any]  # of the namespace, and of a float32 and a half tensor maker


def plain(name: str) -> Case:
    return lambda t, f, h: getattr(h(3, 3), name)()


def loss(name: str) -> Case:
    return lambda t, f, h: getattr(t.nn.functional, name)(h(3), h(3))


CASES: dict[str, Case] = {
    "addbmm": lambda t, f, h: t.addbmm(f(3, 3), f(2, 3, 3), f(2, 3, 3)),
    "addmm": lambda t, f, h: t.addmm(f(3, 3), f(3, 3), f(3, 3)),
    "addmv": lambda t, f, h: t.addmv(f(3), f(3, 3), f(3)),
    "addr": lambda t, f, h: t.addr(f(3, 3), f(3), f(3)),
    "baddbmm": lambda t, f, h: t.baddbmm(f(2, 3, 3), f(2, 3, 3), f(2, 3, 3)),
    "bmm": lambda t, f, h: t.bmm(f(2, 3, 3), f(2, 3, 3)),
    "chain_matmul": lambda t, f, h: t.linalg.multi_dot([f(3, 3), f(3, 3)]),
    "conv1d": lambda t, f, h: t.nn.functional.conv1d(f(1, 1, 4), f(1, 1, 2)),
    "conv_transpose2d": lambda t, f, h: t.nn.functional.conv_transpose2d(
        f(1, 1, 4, 4), f(1, 1, 2, 2)
    ),
    "einsum": lambda t, f, h: t.einsum("ij,jk->ik", f(3, 3), f(3, 3)),
    "linear": lambda t, f, h: t.nn.functional.linear(f(3, 3), f(3, 3)),
    "operator": lambda t, f, h: f(3, 3) @ f(3, 3),
    "method": lambda t, f, h: f(3, 3).mm(h(3, 3)),
    "mv": lambda t, f, h: t.mv(f(3, 3), f(3)),
    "dot": lambda t, f, h: t.dot(f(3), f(3)),
    "outer": lambda t, f, h: t.outer(f(3), f(3)),
    "prelu": lambda t, f, h: t.nn.functional.prelu(f(3, 3), f(1)),
    "vecdot": lambda t, f, h: t.linalg.vecdot(f(3), f(3)),
    "attention": lambda t, f, h: t.nn.functional.scaled_dot_product_attention(
        f(1, 1, 3, 4), f(1, 1, 3, 4), f(1, 1, 3, 4)
    ),
    "tensordot": lambda t, f, h: t.tensordot(f(3, 3), f(3, 3), 1),
    "bilinear": lambda t, f, h: t.nn.functional.bilinear(f(3, 3), f(3, 3), f(2, 3, 3)),
    "doubles": lambda t, f, h: f(3, 3).double() @ f(3, 3).double(),
    "mixed": lambda t, f, h: f(3) * h(3),
    "cat": lambda t, f, h: t.cat([f(3), h(3)]),
    "lstm": lambda t, f, h: t.nn.LSTM(3, 3)(f(2, 1, 3))[0],
    "gru": lambda t, f, h: t.nn.GRU(3, 3)(f(2, 1, 3))[0],
    "rnn": lambda t, f, h: t.nn.RNN(3, 3)(f(2, 1, 3))[0],
    "lstm_cell": lambda t, f, h: t.nn.LSTMCell(3, 3)(f(1, 3))[0],
    "heads": lambda t, f, h: t.nn.MultiheadAttention(4, 2)(f(2, 1, 4), f(2, 1, 4), f(2, 1, 4))[0],
    **{name: plain(name) for name in PLAIN.split()},
    "softmax": lambda t, f, h: h(3, 3).softmax(0),
    "pow": lambda t, f, h: h(3) ** 2,
    "layer_norm": lambda t, f, h: t.nn.functional.layer_norm(h(3, 3), (3,)),
    "batch_norm": lambda t, f, h: t.nn.functional.batch_norm(h(3, 4), f(4), f(4), f(4), f(4), True),
    "cross_entropy": lambda t, f, h: t.nn.functional.cross_entropy(h(3, 3), t.tensor([0, 1, 2])),
    "nll_loss": lambda t, f, h: t.nn.functional.nll_loss(h(3, 3), t.tensor([0, 1, 2])),
    **{name: loss(name) for name in LOSSES.split()},
    "cdist": lambda t, f, h: t.cdist(h(3, 4), h(3, 4)),
    "avg_pool3d": lambda t, f, h: t.nn.functional.avg_pool3d(h(1, 1, 4, 4, 4), 2),
}


def result(t: Any, case: Case, half: str) -> str:
    def floats(*shape: int) -> Any:
        return t.rand(*shape)

    def halves(*shape: int) -> Any:
        return t.rand(*shape).to(getattr(t, half))

    with t.autocast("cpu", dtype=getattr(t, half)):
        return str(case(t, floats, halves).dtype).rpartition(".")[2]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")  # of PyTorch's, on what a machine is slow at
def test_types_are_pytorchs(name: str) -> None:
    assert result(graphc, CASES[name], "bfloat16") == result(torch, CASES[name], "bfloat16")


def test_what_a_network_computes_and_its_gradients() -> None:
    mine = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    theirs = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    theirs.load_state_dict({k: torch.from_numpy(v.numpy()) for k, v in mine.state_dict().items()})
    x = graphc.rand(5, 8)

    def run(t: Any, model: Any, x: Any) -> Any:
        with t.autocast("cpu"):
            y = model(x)
            loss = t.nn.functional.cross_entropy(y, t.tensor([0, 1, 2, 3, 0]))
        loss.backward()
        return loss.item(), [p.grad.float().numpy() for p in model.parameters()]

    (a, grads), (b, want) = run(graphc, mine, x), run(torch, theirs, torch.from_numpy(x.numpy()))
    assert a == pytest.approx(b, rel=5e-3)
    for g, w in zip(grads, want, strict=True):
        assert g == pytest.approx(w, abs=5e-3)
    assert all(p.grad is not None and p.grad.dtype is graphc.float32 for p in mine.parameters())


def test_nesting_and_decorators() -> None:
    x = graphc.rand(3, 3)
    assert not graphc.is_autocast_enabled("cpu")
    with graphc.autocast("cpu"):
        assert graphc.is_autocast_enabled("cpu") and (x @ x).dtype is graphc.bfloat16
        with graphc.autocast("cpu", dtype=graphc.float16):
            assert (x @ x).dtype is graphc.get_autocast_dtype("cpu") is graphc.float16
        with graphc.autocast("cpu", enabled=False):
            assert (x @ x).dtype is graphc.float32
        assert (x @ x).dtype is graphc.bfloat16
        out = graphc.empty(3, 3)
        assert graphc.mm(x, x, out=out) is out and out.allclose(x.matmul(x).float(), atol=0.02)

    @graphc.autocast("cpu")
    def product(a: Any) -> Any:
        return a @ a

    assert product(x).dtype is graphc.bfloat16 and (x @ x).dtype is graphc.float32
    with pytest.warns(UserWarning, match="not supported"), graphc.autocast("cpu", graphc.float64):
        assert (x @ x).dtype is graphc.float32


def test_a_compiled_step_is_of_the_mode_it_is_called_in() -> None:
    x = graphc.rand(3, 3)

    @graphc.compile
    def outside(a: Any) -> Any:
        return a @ a

    @graphc.compile
    def inside(a: Any) -> Any:
        with graphc.autocast("cpu"):
            return a @ a, a.sum()

    for _ in range(4):  # the last ones go the shortest way
        assert outside(x).dtype is graphc.float32
        with graphc.autocast("cpu"):
            assert outside(x).dtype is graphc.bfloat16
    for _ in range(4):
        assert outside(x).dtype is graphc.float32
    with graphc.autocast("cpu"):
        assert outside(x).dtype is graphc.bfloat16
    assert outside.stats.programs == 2
    product, total = inside(x)
    assert product.dtype is graphc.bfloat16 and total.dtype is graphc.float32
    assert "autocast" in str(outside.explain())


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_training_steps_come_out_as_torchs_and_say_how_products_are_made(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3, 9, 9) if kind == "conv" else (8, 27)).astype(np.float32)
    y = rng.integers(0, 4, 8)
    losses = {}
    for t in (graphc, torch):
        t.manual_seed(0)
        net = t.nn.Sequential(
            *(
                [t.nn.Conv2d(3, 20, 3, padding=1), t.nn.ReLU(), t.nn.Conv2d(20, 8, 3, stride=2)]
                if kind == "conv"
                else [t.nn.Linear(27, 50), t.nn.ReLU(), t.nn.Linear(50, 128)]
            ),
            *(t.nn.ReLU(), t.nn.Flatten(), t.nn.Linear(128, 4)),
        )
        with t.no_grad():
            for k, p in enumerate(net.parameters()):
                values = np.random.default_rng(k).uniform(-0.2, 0.2, tuple(p.shape))
                p.copy_(t.from_numpy(values.astype(np.float32)))
        optimizer = t.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

        def step(x: Any, y: Any, t: Any = t, net: Any = net, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            with t.autocast("cpu", dtype=t.bfloat16):
                loss = t.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = graphc.compile(step) if t is graphc else step
        losses[t] = [float(run(t.from_numpy(x), t.from_numpy(y))) for _ in range(6)]
        if t is graphc:
            (told,) = run.explain().products
            pairs = Target.host().pairs
            assert told.startswith(
                "of bfloat16 in pairs, by avx512bf16" if pairs else "of bfloat16 in float32"
            )
            assert str(told) in str(run.explain()).replace("\n    ", " ")
    assert losses[torch][-1] < losses[torch][0]
    np.testing.assert_allclose(losses[graphc], losses[torch], rtol=1e-2, atol=5e-3)
