"""The stages of `gpu_window.py`, each run in a process of its own; they hand rows to `record`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_work
from gpu_work import FAKE, GraphcClock, steady, summary

Row = dict[str, Any]
Record = Callable[[Row], None]

HERE = Path(__file__).parent
PACKAGES = ("graphc", "triton", "cuda-bindings", "numpy", "torch", "llvmlite", "ml_dtypes")
PYTEST_EXITS = {1: "tests failed", 4: "pytest was called wrongly", 5: "no test is marked gpu"}
MARKED = "tests/gpu"  # where tests of a GPU are: others may need packages that are not there
PROCESSES = 8  # that test at once: each has its own context on the device
LAUNCHES, NODES = (3, 2) if FAKE else (2000, 100)
WARPS, STEM_S = ("4", "8"), 15.0  # numbers of them, and what is left for both
COPY_BYTES = 1 << 16 if FAKE else 1 << 30


# ---- environment -------------------------------------------------------------------------------


def environment(record: Record, deadline: float, tests: Sequence[str]) -> None:
    """What is here; every row stands alone, so that one missing thing hides no other."""
    record({"python": sys.version, "platform": platform.platform(), "cores": os.cpu_count()})
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    record({"versions": versions})
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=15)
        record({"nvidia-smi": done.stdout[-4000:]})
    from graphc.runtime.cuda import device, probe

    missing = probe.unavailable()
    record({"unavailable": str(missing) if missing else None})
    if missing is not None:
        raise missing
    here = device.current()
    record({"driver": here.driver.DriverGetVersion(), "arch": here.arch})
    record({name: getattr(here.properties, name) for name in here.properties.__slots__})
    with contextlib.suppress(Exception):
        import torch

        record({"torch": torch.__version__, "sees_gpu": torch.cuda.is_available()})


def abi(record: Record, deadline: float, tests: Sequence[str]) -> None:
    import gpu_smoke

    gpu_smoke.run(record)


# ---- tests -------------------------------------------------------------------------------------


def suite(record: Record, deadline: float, tests: Sequence[str]) -> None:
    """`pytest -m gpu`: counts, and what failed with its last lines."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rfE", "--tb=short"]
    command += ["-o", "addopts="]  # the repository's own, with which no counts are printed
    command += ["--continue-on-collection-errors"]
    command += ["-W", "default", "-p", "no:cacheprovider", *(tests or [MARKED])]
    if not FAKE and find_spec("xdist") is not None:
        command += ["-n", str(min(PROCESSES, os.cpu_count() or 1))]
    output, ended = "", ""
    try:
        for line in lines(command, deadline, cwd=HERE.parent):
            output += line
    except subprocess.TimeoutExpired:
        ended = "the time was up"
    except subprocess.CalledProcessError as e:
        ended = PYTEST_EXITS.get(e.returncode, f"pytest ended with {e.returncode}")
    found = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", output)}
    record({"counts": found, "failures": re.findall(r"^(?:FAILED|ERROR) .*", output, re.M)[:200]})
    record({"output": output[-20000:]})
    if ended:
        raise RuntimeError(ended)


# ---- ceilings ----------------------------------------------------------------------------------


def ceilings(record: Record, deadline: float, tests: Sequence[str]) -> None:
    for name, measure in (("launch", launches), ("graph", graph_nodes), ("copy", copies)):
        try:
            record({"ceiling": name, **measure()})
        except Exception as e:
            record({"ceiling": name, "failed": f"{type(e).__name__}: {e}"[:1500]})
    for framework in ("graphc", "torch"):
        peers(record, deadline, ["matmul", framework])


def launches() -> Row:
    """Microseconds that a launch takes the host, and the device, of a kernel that does nothing
    worth mention."""
    import gpu_smoke

    bench = gpu_smoke.Bench()
    launch = small_launch(bench)
    launch()
    bench.device.synchronize()
    start = time.perf_counter()
    for _ in range(LAUNCHES):
        launch()
    host = time.perf_counter() - start
    bench.device.synchronize()
    whole = time.perf_counter() - start
    return {"host_us": host * 1e6 / LAUNCHES, "device_us": whole * 1e6 / LAUNCHES}


def small_launch(bench: Any) -> Callable[[], None]:
    import gpu_smoke
    import numpy as np

    place = bench.upload(np.zeros(256, np.float32))
    ready: Callable[[], None] = bench.ready(gpu_smoke.ADD_ONE, [place], {"n": 256}, [])
    return ready


def graph_nodes() -> Row:
    """Microseconds of a node of a graph whose kernels follow each other."""
    import gpu_smoke

    bench = gpu_smoke.Bench()
    launch = small_launch(bench)
    launch()
    driver, stream = bench.driver, bench.device.stream
    driver.StreamBeginCapture(stream)
    for _ in range(NODES):
        launch()
    graph = driver.StreamEndCapture(stream)
    executable = driver.GraphInstantiate(graph)
    times = steady(lambda: driver.GraphLaunch(executable, stream), GraphcClock())
    return {"nodes": NODES, "node_us": summary(times)["median_ms"] * 1e3 / NODES}


def copies() -> Row:
    """GB/s: on the device counting bytes read and written, and from pinned memory."""
    import numpy as np

    from graphc.runtime.cuda import device

    here = device.current()
    a, b = here.allocate(COPY_BYTES), here.allocate(COPY_BYTES)
    host = here.host.array((COPY_BYTES,), np.dtype(np.uint8))
    host[...] = 1
    here.upload(a.address, host)
    clock = GraphcClock()
    inside = steady(lambda: here.move(b.address, a.address, COPY_BYTES), clock)
    up = steady(lambda: here.upload(a.address, host, wait=False), clock)
    return {
        "device_gbs": 2 * COPY_BYTES / summary(inside)["median_ms"] / 1e6,
        "upload_gbs": COPY_BYTES / summary(up)["median_ms"] / 1e6,
        "bytes": COPY_BYTES,
    }


# ---- against PyTorch ---------------------------------------------------------------------------


def nets(record: Record, deadline: float, tests: Sequence[str]) -> None:
    """Each net in graphc, then in PyTorch: a process each, and a fair share of the time left; of
    the first, which PyTorch compiles longest, half of it, and in graphc once more, as warm."""
    works = gpu_work.works()
    for i, work in enumerate(works):
        left = deadline - time.monotonic()
        share = left / 2 if i == 0 else left / (len(works) - i)
        until = min(deadline, time.monotonic() + max(share, 60.0))
        peers(record, until, ["net", "graphc", work.name])
        if i == 0:
            peers(record, until, ["start", "graphc", work.name])
        peers(record, until, ["net", "torch", work.name])


def conv(record: Record, deadline: float, tests: Sequence[str]) -> None:
    """Then the stem of ResNet by the warps of a tile."""
    both(record, deadline - STEM_S, "conv")
    for warps in WARPS:
        peers(record, deadline, ["stem", "graphc", warps])


def attention(record: Record, deadline: float, tests: Sequence[str]) -> None:
    both(record, deadline, "attention")


def tune(record: Record, deadline: float, tests: Sequence[str]) -> None:
    """Attention by its tiles: `gpu_tune.py` keeps the fastest."""
    peers(record, deadline, ["tune", "graphc"])


def both(record: Record, deadline: float, kind: str) -> None:
    half = time.monotonic() + (deadline - time.monotonic()) / 2
    peers(record, half, [kind, "graphc"])
    peers(record, deadline, [kind, "torch"])


def peers(record: Record, deadline: float, arguments: list[str]) -> None:
    """Rows of a process as they come; what ended it early is a row, too."""
    if arguments[1] == "torch" and find_spec("torch") is None:
        record({"peer": arguments, "skipped": "torch is not installed"})
        return
    command = [sys.executable, str(HERE / "gpu_peers.py"), *arguments]
    noise = ""
    try:
        for line in lines(command, deadline):
            if line.startswith("{"):
                record(json.loads(line))
            else:
                noise = (noise + line)[-1500:]
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as e:
        record({"peer": arguments, "failed": f"{type(e).__name__}", "output": noise})


def lines(command: list[str], deadline: float, cwd: Path | None = None) -> Iterator[str]:
    """What a process prints, until it ends or the time is up."""
    process = subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    watch = selectors.DefaultSelector()
    watch.register(process.stdout, selectors.EVENT_READ)
    try:
        while watch.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if not line:
                if process.wait():
                    raise subprocess.CalledProcessError(process.returncode, command)
                return
            yield line
        raise subprocess.TimeoutExpired(command, deadline)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


STAGES: dict[str, Callable[[Record, float, Sequence[str]], None]] = {
    "environment": environment,
    "abi": abi,
    "tests": suite,
    "ceilings": ceilings,
    "nets": nets,
    "conv": conv,
    "attention": attention,
    "tune": tune,
}
