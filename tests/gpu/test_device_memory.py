"""The caching allocator: blocks tile segments, never overlap, and come again in stream order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from graphc.errors import DeviceOutOfMemory, OutOfMemory
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.memory import ALIGNMENT, Allocation, Allocator, HostRing

MB = 1 << 20


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver(64 * MB)


def check(allocator: Allocator, live: list[Allocation]) -> None:
    """The invariants that the module states, and the figures, against what is in use."""
    allocator.collect()
    held = {a.address: a.size_bytes for a in live}
    used = 0
    for segment, blocks in allocator.blocks():
        assert blocks[0].address == segment.address
        assert sum(b.size for b in blocks) == segment.size
        for before, after in pairwise(blocks):
            assert before.address + before.size == after.address
            assert before.requested or after.requested, "two free neighbours"
            assert after.before is before
        for b in blocks:
            assert b.address % ALIGNMENT == 0
            assert bool(b.requested) == (b.address in held)
            if b.requested:
                assert held.pop(b.address) <= b.requested <= b.size
                used += b.requested
    assert not held
    assert allocator.stats.allocated == used
    assert allocator.stats.allocations == len(live)
    assert allocator.stats.reserved == sum(s.size for s, _ in allocator.blocks())


def test_any_order_of_requests_keeps_the_invariants(driver: FakeDriver) -> None:
    rng = np.random.default_rng(0)
    allocator = Allocator(driver)
    streams = [driver.StreamCreateWithPriority() for _ in range(2)]
    live: list[Allocation] = []
    peak = 0
    for step in range(150):
        if live and rng.random() < 0.5:
            live.pop(int(rng.integers(len(live))))
        else:
            size = int(rng.choice([0, 1, 256, 300, 5000, MB, MB + 1, 3 * MB]))
            live.append(allocator.allocate(size, streams[step % 2]))
        check(allocator, live)
        peak = max(peak, allocator.stats.allocated)
    assert allocator.stats.max_allocated == peak
    driver.CtxSynchronize()
    live.clear()
    allocator.empty_cache()
    check(allocator, live)
    assert allocator.stats.reserved == 0 == driver.memory.used_bytes
    assert allocator.stats.max_reserved > 0


def test_a_freed_block_comes_again_in_its_stream_alone(driver: FakeDriver) -> None:
    allocator = Allocator(driver)
    one, two = (driver.StreamCreateWithPriority() for _ in range(2))
    block = allocator.allocate(1000, one)
    address = block.address
    del block
    other = allocator.allocate(1000, two)
    again = allocator.allocate(1000, one)
    assert again.address == address != other.address


def test_nothing_runs_where_an_allocation_goes(driver: FakeDriver) -> None:
    """It may go during a capture; the driver hears of it at the next request."""
    allocator = Allocator(driver)
    stream = driver.StreamCreateWithPriority()
    block = allocator.allocate(1000, stream)
    driver.StreamBeginCapture(stream)
    del block
    driver.StreamEndCapture(stream)
    assert allocator.stats.allocated == 1024
    allocator.collect()
    assert allocator.stats.allocated == 0


def test_the_cache_is_given_up_before_memory_runs_out(driver: FakeDriver) -> None:
    driver.total_bytes = 8 * MB
    allocator = Allocator(driver)
    stream = driver.StreamCreateWithPriority()
    for size in (4 * MB, 6 * MB, 8 * MB):  # none fits beside the one before
        allocator.allocate(size, stream)
    assert allocator.stats.max_reserved == 8 * MB


def test_out_of_memory_tells_the_figures(driver: FakeDriver) -> None:
    allocator = Allocator(driver)
    stream = driver.StreamCreateWithPriority()
    held = allocator.allocate(40 * MB, stream)
    with pytest.raises(OutOfMemory, match=r"31\.5 MB were asked .* 25\.2 MB of 67\.1 MB") as e:
        allocator.allocate(30 * MB, stream)
    assert isinstance(e.value, DeviceOutOfMemory) and isinstance(e.value, RuntimeError)
    assert allocator.allocate(20 * MB, stream).address != held.address  # it goes on


def test_peaks_can_be_reset(driver: FakeDriver) -> None:
    allocator = Allocator(driver)
    stream = driver.StreamCreateWithPriority()
    block = allocator.allocate(3 * MB, stream)
    del block
    allocator.collect()
    allocator.stats.reset_peaks()
    assert allocator.stats.max_allocated == 0 and allocator.stats.max_reserved == 4 * MB


def test_a_ring_waits_before_it_writes_a_slot_again(driver: FakeDriver) -> None:
    """More copies than slots, each read when the device gets to it: no value is overtaken."""
    import ctypes

    stream = driver.StreamCreateWithPriority()
    ring = HostRing(driver, 8, slots=2)
    target = driver.MemAlloc(8 * 7)
    for k in range(7):
        slot = ring.take()
        ctypes.c_int64.from_address(slot).value = k
        driver.MemcpyHtoDAsync(target + 8 * k, slot, 8, stream)
        ring.sent(stream)
    out = np.zeros(7, np.int64)
    driver.MemcpyDtoHAsync(out.ctypes.data, target, out.nbytes, stream)
    ring.close()
    assert out.tolist() == [*range(7)]
