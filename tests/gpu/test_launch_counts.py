"""How many launches things take: a loss over classes, and an optimizer."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc import nn
from graphc.nn import functional as F

pytest.importorskip("triton")

from gpu_steps import compiled

from graphc.codegen_gpu.contract_parts import product_dtype
from graphc.ir.kernel import Load, Reduce


def test_cross_entropy_and_its_gradient_are_one_kernel() -> None:
    """Beside it labels are checked and counted, and the rows' losses added up."""

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(x, y)
        return loss, graphc.autograd.grad(loss, x)[0]

    found = compiled(step, graphc.rand(64, 1000), graphc.randint(0, 1000, (64,)))
    launches = [k.kernel for k in found.kernels]
    wide = [
        k
        for k in launches
        if any(isinstance(s, Load) and s.dtype is graphc.float32 for s in k.statements())
        and any(isinstance(s, Reduce) and s.op == "max" for s in k.statements())
    ]
    assert len(launches) == 3 and len(wide) == 1
    assert {s.op for s in wide[0].statements() if isinstance(s, Reduce)} >= {"max", "sum"}


@pytest.mark.parametrize("make", [graphc.optim.Adam, graphc.optim.SGD])
def test_an_optimizer_rides_in_the_kernels_of_the_gradients(make: Any) -> None:
    """Of 40 parameters; one launch counts the steps, where steps are counted."""

    def launches(updates: bool) -> int:
        model = nn.Sequential(*[nn.Linear(6, 6) for _ in range(20)])
        optimizer = make(model.parameters(), lr=0.1)

        @graphc.compile
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = model(x).sum()
            loss.backward()
            if updates:
                optimizer.step()
            return loss

        return len(compiled(step, graphc.rand(4, 6)).program.launches)

    assert launches(True) - launches(False) <= 1


def test_products_under_autocast_read_halves() -> None:
    """So tensor cores compute them: forward, and both gradients; sums and updates are float32."""
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 16))
    optimizer = graphc.optim.SGD(model.parameters(), lr=0.1)

    @graphc.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        with graphc.autocast("cpu"):
            loss = model(x).float().square().sum()
        loss.backward()
        optimizer.step()
        return loss

    found = compiled(step, graphc.rand(4, 8, 6, 6))
    products = [k.kernel for k in found.kernels if k.kernel.kind == "contract"]
    assert len(products) == 5  # none for the gradient of x
    assert {product_dtype(k).name for k in products} == {"bf16"}
    assert all(p.dtype is graphc.float32 for p in model.parameters())


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
def test_a_scan_is_a_few_launches_in_a_step(name: str, fake_gpu: None) -> None:
    """Not two for each doubling of a stride; and gives on a GPU what it gives elsewhere."""
    step: Any = graphc.compile(lambda x: getattr(x, name)(1))
    x = (graphc.arange(260.0) * 7 % 11 - 5).reshape(2, 130).sign()
    x[1, :70] = -float("inf") if name == "logcumsumexp" else 1.0
    got = step(x.cuda())
    assert len(step._last.plan.native.program.launches) <= 4
    assert graphc.allclose(got.cpu(), getattr(x, name)(1), rtol=1e-5, atol=0.0)
