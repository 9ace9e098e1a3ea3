"""Steps that are dropped leave no memory behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc import Tensor, nn, optim

ROOT = Path(__file__).parent.parent.parent
LIMIT = 4_000_000
SCRIPT = """
import ctypes
import gc
import graphc
import graphc.nn.functional as F
from graphc import nn, optim

trim = getattr(ctypes.CDLL(None), "malloc_trim", bool)

def resident():
    gc.collect()
    trim(0)  # what malloc keeps for later is no step's
    return 4096 * int(open("/proc/self/statm").read().split()[1])

def run(k):
    width = 8 + k
    layers = [nn.Linear(20, width)]
    for j in range(4):
        layers += [nn.LayerNorm(width + j), nn.GELU(), nn.Linear(width + j, width + j + 1)]
    net = nn.Sequential(*layers)
    optimizer = optim.Adam(net.parameters())

    @graphc.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = graphc.randn(4, 20), graphc.randint(0, 5, (4,))
    step(x, y), step(x, y)

run(11)  # imports, and what any first step makes once for the process
before = resident()
for k in range(10):
    run(k)
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_dropped_steps_leave_no_memory(tmp_path: Path) -> None:
    """Once the process has compiled one."""
    cache = str(tmp_path / "cache")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GRAPHC_CACHE_DIR": cache}
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < LIMIT


def test_a_dropped_step_is_freed_without_the_collector() -> None:
    """Its trace and graphs, too: no ring holds them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        gone = _dropped(whole=True), _dropped(whole=False)
    finally:
        if collecting:
            gc.enable()
    for kinds in gone:
        assert [name for name, ref in kinds.items() if ref() is not None] == []


def _dropped(whole: bool) -> dict[str, weakref.ref[Any]]:
    """What two calls of a step have made, now that it is gone. If not `whole`, the backward is a
    program of its own."""
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2))
    optimizer = optim.Adam(net.parameters())

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        loss = net(x).square().mean()
        if whole:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    for _ in range(2):
        loss = step(graphc.ones(5, 3))
        if not whole:
            loss.backward()
    entry: Any = step._last  # type: ignore[attr-defined]
    family, plan = entry.family, entry.plan
    made = {
        "entry": entry, "plan": plan, "native": plan.native, "family": family, "net": net,
        "trace": family.taken.trace, "optimizer": optimizer,
    }  # fmt: skip
    return {name: weakref.ref(x) for name, x in made.items()}
