"""`graphc doctor --measure`: what this processor can do at most, measured by loops that do nothing
else: chains of fused multiply-adds in registers, and copies of arrays that no cache holds."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.jit import compile_module, load_objects
from graphc.codegen_cpu.target import Target
from graphc.runtime.cpu.threads import get_num_threads
from graphc.runtime.peaks import Peaks

CHAINS = 10  # independent sums: more than the latency of one times the units that add
STEPS = 2_000_000
COPIED_BYTES = 128 << 20  # of each thread: beyond every cache
ROUNDS = 5


def measure() -> Peaks:
    """Of as many threads as steps use; the best of several rounds."""
    target = Target.host()
    threads = get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        return Peaks(target.cpu, threads, _flops(target, threads, pool), _bytes(threads, pool))


def _best(pool: ThreadPoolExecutor, tasks: list[Callable[[], object]]) -> float:
    """The least seconds in which all tasks together were done."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for done in [pool.submit(task) for task in tasks]:
            done.result()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _flops(target: Target, threads: int, pool: ThreadPoolExecutor) -> float:
    code = load_objects([compile_module(_chains(target), target)], target)
    run = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(code.address("chains"))
    seconds = _best(pool, [lambda: run(STEPS, 0.5)] * threads)
    return threads * STEPS * CHAINS * 2 * (target.vector_bytes // 4) / seconds


def _chains(target: Target) -> str:
    """A loop of CHAINS vector additions of products, each on its own sum.

    Each starts from a number of its own: of chains that are equal, LLVM would leave one.
    """
    lanes = target.vector_bytes // 4
    t = f"<{lanes} x float>"
    zero = "zeroinitializer"
    starts = [literal(float(k), Vec("float", lanes)) for k in range(CHAINS)]
    phis = [f"  %a{k} = phi {t} [ {x}, %entry ], [ %n{k}, %next ]" for k, x in enumerate(starts)]
    steps = [
        f"  %n{k} = call {t} @llvm.fma.v{lanes}f32({t} %x, {t} %a{k}, {t} %x)"
        for k in range(CHAINS)
    ]
    total = [f"  %t0 = fadd {t} %n0, %n1"]
    total += [f"  %t{k - 1} = fadd {t} %t{k - 2}, %n{k}" for k in range(2, CHAINS)]
    return "\n".join(
        [
            f'target triple = "{target.triple}"',
            f"declare {t} @llvm.fma.v{lanes}f32({t}, {t}, {t})",
            "define float @chains(i64 %n, float %value) {",
            "entry:",
            f"  %one = insertelement {t} undef, float %value, i32 0",
            f"  %x = shufflevector {t} %one, {t} undef, <{lanes} x i32> {zero}",
            "  br label %next",
            "next:",
            "  %i = phi i64 [ 0, %entry ], [ %j, %next ]",
            *phis,
            *steps,
            "  %j = add i64 %i, 1",
            "  %more = icmp slt i64 %j, %n",
            "  br i1 %more, label %next, label %done",
            "done:",
            *total,
            f"  %r = extractelement {t} %t{CHAINS - 2}, i32 0",
            "  ret float %r",
            "}",
            "",
        ]
    )


def _bytes(threads: int, pool: ThreadPoolExecutor) -> float:
    """What is read and written by copies; a store's fetch of its line is not counted."""
    pairs = [tuple(np.ones(COPIED_BYTES // 8) for _ in range(2)) for _ in range(threads)]
    tasks: list[Callable[[], object]] = [
        lambda source=source, target=target: np.copyto(target, source)  # type: ignore[misc]  # mypy: default arguments of a lambda
        for target, source in pairs
    ]
    return threads * 2 * COPIED_BYTES / _best(pool, tasks)
