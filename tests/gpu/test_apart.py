"""Calls whose arguments and results lie elsewhere each time: one graph, and copies around it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("triton")

import graphc
from graphc import nn
from graphc.ir.kernel import Buffer, Kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import TensorSpec, f32
from graphc.runtime.cuda import apart, capture
from graphc.runtime.cuda.apart import parts_of
from graphc.runtime.cuda.device import Device


@pytest.fixture
def calls(told_gpu: Device, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the driver was told to do what."""
    monkeypatch.setattr(capture, "MOST_CAPTURES", 3)
    driver, found = told_gpu.driver, Counter[str]()
    for name in ("LaunchKernel", "GraphLaunch", "MemcpyDtoDAsync", "StreamBeginCapture"):
        plain = getattr(driver, name)

        def counted(*args: Any, name: str = name, plain: Any = plain) -> Any:
            found[name] += 1
            return plain(*args)

        monkeypatch.setattr(driver, name, counted)
    return found


def losses(name: str, rows: int) -> list[float]:
    """Of training on slices of a data set, each loss kept."""
    graphc.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(name)
    optimizer = graphc.optim.Adam(model.parameters(), lr=0.01)
    x, y = graphc.rand(rows * 4, 4).to(name), graphc.rand(rows * 4, 2).to(name)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    kept = [step(x[k : k + 4], y[k : k + 4]) for k in range(0, rows * 4, 4)]
    return [loss.item() for loss in kept]


def test_slices_that_never_recur_share_a_graph(calls: Counter[str]) -> None:
    found = losses("cuda", 9)
    assert calls["StreamBeginCapture"] <= 5 and calls["GraphLaunch"] == 9
    assert calls["MemcpyDtoDAsync"] == 3 * 6  # two arguments and a result each
    assert found == pytest.approx(losses("cpu", 9), rel=1e-4)


def test_what_is_large_is_where_it_is(calls: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "EACH_BYTES", 1)  # so that only the loss is small enough
    found = losses("cuda", 8)
    assert calls["GraphLaunch"] == 6 and calls["MemcpyDtoDAsync"] == 3
    assert found == pytest.approx(losses("cpu", 8), rel=1e-4)


def test_an_index_out_of_range_is_told_and_nothing_is_kept(
    calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "LEAST", 1)
    table = nn.Parameter(graphc.ones(5, 3, device="cuda"))
    optimizer = graphc.optim.SGD([table], lr=1.0)

    @graphc.compile
    def step(k: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = table[k].tanh().square().sum()
        loss.backward()
        optimizer.step()
        return loss

    index = graphc.arange(64, device="cuda") % 5
    kept = [step(index[k : k + 4]) for k in range(0, 40, 4)]
    assert calls["MemcpyDtoDAsync"] >= 10
    graphc.cuda.synchronize()
    before = table.detach().cpu()
    index[44:48] = 7
    with pytest.raises(IndexError):
        kept.append(step(index[44:48]))
        graphc.cuda.synchronize()
    assert (table.detach().cpu() == before).all()
    kept.append(step(index[:4]))
    assert kept[-1].isfinite() and not (table.detach().cpu() == before).all()


def test_only_what_is_read_or_given_is_copied() -> None:
    """An argument that is written stays where it is, and of a short program everything."""
    small, large = TensorSpec(f32, (16,)), TensorSpec(f32, (1 << 21,))
    named = {"read": ("arg", 0, small), "written": ("arg", 1, small), "large": ("arg", 2, large),
             "given": ("out", 0, small)}  # fmt: skip
    slots = tuple(
        Slot(name, spec, space, k, 0, 0)  # type: ignore[arg-type]
        for name, (space, k, spec) in named.items()
    )
    access = {"read": "r", "written": "rw", "large": "r", "given": "w"}
    buffers = tuple(Buffer(name, f32, a) for name, a in access.items())  # type: ignore[arg-type]
    launch = Launch(Kernel("k", "map", buffers, (), (), (), ()), tuple(access), (), ())
    for count, found in ((1, set()), (7, {"arg", "out"}), (9, {"arg", "out"})):
        parts = parts_of(Program("p", slots, (launch,) * count, count, (), 0, 0))
        assert {p.space for p in parts} == found
        sizes = {p.size_bytes for p in parts if p.space == "arg"}
        assert sizes == ({64} if count == 7 else {64, 8 << 20} if count == 9 else set())
        assert all(p.number != 1 for p in parts)
