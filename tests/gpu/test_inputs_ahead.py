"""Batches that are copied to a GPU beside the step before: in what order, and that none is lost."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")

import graphc
from graphc import nn
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.order import Operation


@pytest.fixture
def gpu(told_gpu: Device) -> Device:
    """A device that tells of order."""
    return told_gpu


def trained(name: str, pinned: bool, batches: int = 6) -> list[float]:
    graphc.manual_seed(0)
    model = nn.Linear(4, 3).to(name)
    optimizer = graphc.optim.SGD(model.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for k in range(batches):
        x, y = graphc.full((5, 4), 0.25 * k), graphc.full((5, 3), 1.0 - k)
        if pinned:
            x, y = x.pin_memory(), y.pin_memory()
        losses.append(step(x.to(name, non_blocking=True), y.to(name, non_blocking=True)))
        del x, y
    return [loss.item() for loss in losses]


def operations(gpu: Device) -> list[Operation]:
    assert isinstance(gpu.driver, FakeDriver)
    return [x for x in gpu.driver.timeline.log if x is not None]


def test_a_pinned_batch_waits_for_no_step_before_it(gpu: Device) -> None:
    start = len(operations(gpu))
    losses = trained("cuda", pinned=True)
    ran = operations(gpu)[start:]
    copies = [x for x in ran if x.stream == gpu.copy_stream and "copy" in x.label]
    kernels = [x for x in ran if x.label.startswith("kernel")]
    assert len(copies) == 2 * len(losses) and len(kernels) % len(losses) == 0
    each = len(kernels) // len(losses)
    for k, copy in enumerate(copies[2:], 2):
        own = kernels[k // 2 * each]
        before = kernels[k // 2 * each - 1]
        assert own.follows(copy) and not copy.follows(before)


def test_no_batch_is_lost(fake_gpu: None) -> None:
    found = trained("cuda", pinned=True, batches=12)
    assert found == trained("cuda", pinned=False, batches=12)
    assert found[:6] == pytest.approx(trained("cpu", pinned=False, batches=6), rel=1e-5)


def test_its_memory_is_used_again(gpu: Device) -> None:
    """A few batches' worth, however many there are; FakeDriver raises where one is overwritten
    that a step has yet to read."""
    trained("cuda", True, 6)
    held = gpu.allocator.stats.reserved
    trained("cuda", True, 10)
    assert gpu.allocator.stats.reserved == held


def test_other_memory_is_copied_in_the_order_of_calls(gpu: Device) -> None:
    start = len(operations(gpu))
    trained("cuda", pinned=False)
    x = graphc.ones(4).pin_memory().to("cuda")  # is to wait
    assert x.tolist() == [1.0] * 4
    assert not any(x.stream == gpu.copy_stream for x in operations(gpu)[start:])


def test_a_batch_lies_as_it_did(gpu: Device) -> None:
    x = graphc.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=graphc.channels_last)
    for y in (x.pin_memory(), x.pin_memory()[:, :, ::2]):
        z = y.to("cuda", non_blocking=True)
        assert z.stride() == y.contiguous(memory_format=graphc.channels_last).stride()
        assert (z.cpu() == y).all()
    empty = graphc.empty(0, 3).pin_memory().to("cuda", non_blocking=True)
    assert empty.shape == (0, 3)


def test_memory_is_given_back_behind_those_who_used_it(gpu: Device) -> None:
    x = graphc.ones(1 << 19).pin_memory().to("cuda", non_blocking=True)
    y = x[:9] + 1
    del x
    gpu.allocator.empty_cache()
    assert (y == 2).all()
    assert not any(s.stream == gpu.copy_stream for s, _ in gpu.allocator.blocks() if not s.small)
