"""Statistics of a contraction's results, found in its tiles, by Triton's interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("triton")

import gpu_steps
from gpu_steps import lowered, memory
from kernels import TARGET
from on_host import aligned, run
from test_contract import check

import graphc as torch
from graphc import nn
from graphc.codegen_gpu import profile as gpu_profile
from graphc.codegen_gpu.contract_parts import as_product
from graphc.codegen_gpu.contract_tiles import tile
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.target import Target
from graphc.ir.types import f32, f64
from tests.codegen_cpu import contract_kernels
from tests.codegen_cpu.contract_kernels import Case
from tests.codegen_cpu.test_contraction_partials import POINTS, WIDE, pointwise, with_partials

SUMS = (("sum", "%dot", f32), ("sum", "%wide", f64), ("sum", "%square", f64))
ALL = (*SUMS, ("mean", "%dot", f32), ("deviations", "%dot", f32))
CASES = {
    "a tile is a run": with_partials(contract_kernels.conv(2, 4, 8, 16), POINTS, SUMS, 1, WIDE),
    "several tiles": with_partials(contract_kernels.conv(2, 13, 8, 20), POINTS, ALL, 1, WIDE),
    "images unknown": with_partials(
        contract_kernels.conv(3, 9, 8, 16, symbolic=True), POINTS, SUMS, 1, WIDE
    ),
    "no images": with_partials(
        contract_kernels.conv(0, 9, 8, 16, symbolic=True), POINTS, SUMS, 1, WIDE
    ),
    "places in one axis": with_partials(pointwise(2, 300, 9, 70), ("ox",), ALL, 1, WIDE),
    "three channels": with_partials(pointwise(2, 40, 3, 16), ("ox",), SUMS, 1, WIDE),
    "one output": with_partials(pointwise(2, 70, 16, 2), ("ox",), SUMS, 1, WIDE),
    "depthwise": with_partials(contract_kernels.depthwise(2, 13, 12), POINTS, SUMS, 1, WIDE),
}


@pytest.mark.parametrize("name", CASES)
def test_every_statistic(name: str) -> None:
    case: Case = CASES[name]
    check(case.kernel, case.data(), case.sizes, case.scalars, rtol=1e-5)


def test_each_way_is_tried() -> None:
    how = {tile(as_product(c.kernel), {}, TARGET, False).how for c in CASES.values() if not c.sizes}
    assert how == {"product", "block"}
    assert any("arrived" in emit(c.kernel, [*c.sizes.values()], TARGET).text
               for c in CASES.values())  # fmt: skip


def test_sums_do_not_depend_on_hints() -> None:
    case = CASES["images unknown"]
    assert len({emit(case.kernel, (n,), TARGET).text for n in (1, 16, 4000)}) == 1


def test_far_from_zero_and_infinite() -> None:
    """A variance that float32 sums of squares would lose; an infinity stays where it is."""
    case = with_partials(pointwise(1, 200, 8, 16), ("ox",), (("deviations", "%dot", f32),))
    data = case.data()
    rng = np.random.default_rng(0)
    data["b"][:] = 0
    data["b"][:16] = 1
    data["a"][:] = np.repeat(4000 + rng.standard_normal(200), 8).astype(np.float32)
    check(case.kernel, data, {}, {}, rtol=1e-3)
    data["a"][8], data["b"][0] = np.inf, 2
    check(case.kernel, data, {}, {}, rtol=1e-3)


@pytest.mark.parametrize("mean", [0, 100, 3000])
def test_variance_of_many_tiles(mean: int) -> None:
    """What float32 sums of a tile lose is no more than 1e-5 of a variance, far from zero too."""
    points = 1000
    case = with_partials(pointwise(1, points, 8, 16), ("ox",), SUMS[1:], 1, WIDE)
    tiles = points / tile(as_product(case.kernel), {}, TARGET, False).rows
    assert tiles > 4
    data = case.data()
    data["b"][:] = 0
    data["b"][:16] = 1
    values = (mean + np.random.default_rng(1).standard_normal(points)).astype(np.float32)
    data["a"][:] = np.repeat(values, 8)
    held = {b.name: aligned(data[b.name]) for b in case.kernel.buffers}
    run(emit(case.kernel, (), TARGET), [*held.values()], {}, [])
    got = held["s1"] / points - (held["s0"] / points) ** 2
    np.testing.assert_allclose(got, np.var(values.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(held["s0"] / points, np.mean(values, dtype=np.float64), atol=1e-3)


def test_batch_norm_and_its_gradients_ride_in_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward sums of x and x*x; backward those of its cotangent, in the data gradient."""

    def often(target: Target) -> object:
        return replace(gpu_profile.profile(target), partial_reductions=16)

    monkeypatch.setattr(gpu_steps, "profile", often)
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8), nn.ReLU(),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile
    def step(x: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    x = torch.rand(2, 8, 5, 5).requires_grad_()
    found = [k for k in lowered(step, x) if k.kernel.partials]
    assert len(found) == 3, "two forward, one backward"
    for launch in found:
        kernel = launch.kernel
        sizes = dict(zip(kernel.sizes, launch.sizes, strict=True))
        scalars = {s.name: x for s, x in zip(kernel.scalars, launch.scalars, strict=True)}
        check(kernel, memory(launch), sizes, scalars, rtol=1e-5)
