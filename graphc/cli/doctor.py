"""`graphc doctor`: what this installation runs on, and a step compiled and checked to prove it."""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib import metadata
from typing import Any

import llvmlite.binding as llvm
import numpy as np

import graphc
from graphc import config
from graphc.cli.command import Command, Exit, Report
from graphc.cli.measure import measure, measure_gpu
from graphc.codegen_cpu.target import Target
from graphc.errors import CudaError
from graphc.runtime import peaks
from graphc.runtime.cpu.threads import machine_threads
from graphc.runtime.cuda import device as gpus
from graphc.runtime.cuda import probe
from graphc.runtime.disk_cache import DiskCache

PACKAGES = (
    *("graphc", "numpy", "ml_dtypes", "llvmlite", "safetensors", "networkx"),
    *("triton", "cuda-bindings", "torch", "jax"),
)
FEATURES = ("avx2", "fma", "avx512f", "avx512bf16", "amx-bf16", "neon", "sve", "bf16")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measure", action="store_true", help="measure the machine's peaks, which profiles compare"
    )


def run(args: argparse.Namespace) -> Report:
    if args.measure:
        peaks.save(measure())
        if probe.unavailable() is None:
            peaks.save(measure_gpu(), "cuda")
    here = gpu()
    tests = {"self_test": self_test("cpu")}
    if "none" not in here:
        tests["gpu_test"] = self_test("cuda")
    data: dict[str, Any] = {
        "versions": versions(),
        "cpu": processor(),
        "threads": {"available": machine_threads(), "used": graphc.get_num_threads()},
        "peaks": measured("cpu"),
        "gpu_peaks": measured("cuda"),
        "gpu": here,
        "cache": cache(),
        "switches": {
            s.variable: os.environ[s.variable]
            for s in config.SWITCHES.values()
            if s.variable in os.environ
        },
        **tests,
    }
    sections = [f"{name:<10} {line(value)}" for name, value in data.items()]
    status = Exit.OK if all(test["passed"] for test in tests.values()) else Exit.FAILED
    text = "\n".join([*sections, "", "switches there are:", config.describe()])
    return Report(text, data, status)


def line(section: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in section.items()) or "none set"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"llvm": ".".join(map(str, llvm.llvm_version_info))}


def processor() -> dict[str, Any]:
    target = Target.host()
    return {
        "tuned_for": target.cpu,
        "vector_bits": target.vector_bytes * 8,
        "registers": target.registers,
        "features": " ".join(f for f in FEATURES if target.has(f)),
    }


def measured(device: str) -> dict[str, Any]:
    """What `--measure` found, on this machine or the one that the cache folder was made on."""
    found = peaks.load(device)
    if found is None:
        return {}
    caches = {f"gbytes_{level}": round(rate / 1e9, 1) for level, rate in found.levels.items()}
    return {
        "threads": found.threads,
        "gflops": round(found.flops / 1e9, 1),
        "gbytes": round(found.bytes / 1e9, 1),
        **caches,
        **({"barrier_us": round(1e6 * found.barrier, 2)} if found.barrier else {}),
    }


def gpu() -> dict[str, Any]:
    """The device, or what keeps kernels from running on one."""
    missing = probe.unavailable()
    if missing is not None:
        return {"none": missing.what, "fix": missing.remedy}
    try:
        device = gpus.current()
        free, total = device.driver.MemGetInfo()
    except CudaError as e:
        return {"none": e.what, "fix": e.remedy}
    return {
        "name": device.properties.name,
        "count": gpus.count(),
        "arch": device.arch,
        "multiprocessors": device.properties.multi_processor_count,
        "free_bytes": free,
        "total_bytes": total,
        "cuda": probe.cuda_version(device.driver),
    }


def cache() -> dict[str, Any]:
    info = DiskCache().info()
    return {"path": info.path, "entries": info.entries, "size_bytes": info.size_bytes}


def self_test(device: str) -> dict[str, Any]:
    """Compile and run one step there; compare with NumPy in float64."""
    n = 1003  # not a multiple of any vector width, so the masked tail runs too
    x = np.linspace(-3, 3, n, dtype=np.float32)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        return (x.exp() * x + 1.0).sum()

    start = time.perf_counter()
    try:
        got = float(step(graphc.from_numpy(x).to(device)).item())
    except Exception as e:  # any failure is the answer that doctor is asked for
        return {"passed": False, "error": f"{type(e).__name__}: {e}"}
    seconds = time.perf_counter() - start
    wide = x.astype(np.float64)
    expected = float((np.exp(wide) * wide + 1).sum())
    error = abs(got - expected) / abs(expected)
    return {"passed": error < 1e-5, "relative_error": error, "seconds": round(seconds, 3)}


COMMAND = Command("doctor", "versions, processor, GPU, cache, and a self-test", arguments, run)
