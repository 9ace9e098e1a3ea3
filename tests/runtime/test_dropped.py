"""Steps that are dropped leave no memory behind: measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LIMIT = 4_000_000
SCRIPT = """
import gc
import graphc
import graphc.nn.functional as F
from graphc import nn, optim

def resident():
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

for k in range(12, 18):  # LLVM and malloc come to a steady state
    run(k)
growth = []
for first in (2, 22):  # a leak shows each time; where malloc puts its arenas, only once
    gc.collect()
    before = resident()
    for k in range(first, first + 10):
        run(k)
    gc.collect()
    growth.append(resident() - before)
print(min(growth))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_dropped_steps_are_freed(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GRAPHC_CACHE_DIR": str(tmp_path / "cache")}
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < LIMIT
