"""What a step for a GPU takes of the host, without one: `python benchmarks/gpu_host.py calls` or
`start`, then names of nets.

A driver that does nothing but count takes the real one's place, so all that is left is ours.
`calls`: microseconds of a call like the last one, with what such a driver takes itself. `start`:
seconds of a first call by stage, compiled kernels and schedules being looked up in GRAPHC_CACHE_DIR
(which `gpu_pack.py` fills with kernels, and a first run of this with schedules). A number of this
says nothing of a device.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import gpu_work
import nets

from graphc.ir.cuda_abi import Image
from graphc.runtime.cuda import probe
from graphc.runtime.cuda.driver import Grid
from graphc.runtime.cuda.fake import FakeDriver

CALLS, ROUNDS = 2000, 5
NETS = ("mlp", "conv3", "lenet", "convfc")


class NullDriver(FakeDriver):
    """Accepts everything, runs nothing and counts the graphs; its memory is nowhere."""

    name = "null"

    def __init__(self) -> None:
        super().__init__(total_bytes=1 << 40)
        self.graphs = self.kernels = 0
        self._free = 1 << 40

    def MemAlloc(self, size_bytes: int) -> int:
        address, self._free = self._free, self._free + size_bytes
        return address

    def MemFree(self, address: int) -> None: ...

    def LaunchKernel(
        self,
        function: int,
        grid: Grid,
        threads: int,
        shared_bytes: int,
        stream: int,
        parameters: int,
    ) -> None:
        self.kernels += 1

    def GraphLaunch(self, executable: int, stream: int) -> None:
        self.graphs += 1

    def MemcpyDtoHAsync(self, host: int, device: int, size_bytes: int, stream: int) -> None:
        ctypes.memset(host, 0, size_bytes)

    def _issue(self, *_: Any) -> None: ...


def timed(call: Callable[[], Any]) -> float:
    """Microseconds of one, the fastest round's."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return best * 1e6 / CALLS


def calls(name: str) -> dict[str, Any]:
    """A training step of a net, called again and again as a loop would."""
    import graphc
    from graphc.runtime.cuda import device

    plain, x, y, *_ = gpu_work.training(graphc, gpu_work.Work(nets.NETS[name]), "cuda")
    step: Any = graphc.compile(plain)
    held: list[Any] = [None]

    def call() -> None:
        held[0] = step(x, y)

    for _ in range(50):
        call()
    here = device.current()
    driver: Any = here.driver
    before = driver.graphs
    call_us = timed(call)
    graphs = (driver.graphs - before) / (CALLS * ROUNDS)
    launch_us = timed(lambda: driver.GraphLaunch(0, 0))
    return {"net": name, "call_us": call_us, "graphs": graphs, "null_launch_us": launch_us}


def start(name: str) -> dict[str, Any]:
    """The first call of a training step in this process, and where its time goes."""
    begin = time.perf_counter()
    import graphc

    work = next(w for w in gpu_work.NETS if w.net.name == name)
    imported = time.perf_counter()
    plain, x, y, *_ = gpu_work.training(graphc, work, "cuda", channels_last=work.half)
    step: Any = graphc.compile(plain)
    made = time.perf_counter()
    step(x, y)
    done = time.perf_counter()
    return {
        "net": work.name,
        "import_s": imported - begin,
        "model_s": made - imported,
        "first_call_s": done - made,
        "found": step.stats.programs_found,
        "kernels_compiled": step.stats.kernels_compiled,
        "stages_ms": {k: round(v, 1) for k, v in step.stats.ms.items() if v >= 1},
    }


def main(argv: Sequence[str]) -> int:
    from graphc.frontend.step.cuda_backend import GpuBackend

    kind, *names = argv
    driver = NullDriver()
    uncompiled = patch.object(GpuBackend, "compiled", lambda _, sources: [*map(Image, sources)])
    with (
        patch.object(probe, "real", lambda: driver),
        patch.object(probe, "_missing", lambda _: None),
    ):
        for name in names or (NETS if kind == "calls" else ("resnet50_224",)):
            if kind == "start":
                print(json.dumps(start(name)), flush=True)
                continue
            with uncompiled:
                print(json.dumps(calls(name)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
