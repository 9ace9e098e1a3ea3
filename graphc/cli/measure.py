"""`graphc doctor --measure`: what this machine can do at most, measured by loops that do nothing
else: chains of fused multiply-adds in registers, copies of arrays that each cache or none holds,
empty launches that wait for each other. Of a GPU: a copy and a product, as steps compile them."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import graphc
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.target import Target
from graphc.ir.cpu_abi import BARRIER, CELL_BYTES, ENTRY_CELLS, JOB, PAIR_BYTES
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.job import Job
from graphc.runtime.cpu.threads import aligned_cells, get_num_threads
from graphc.runtime.cuda import device as gpus
from graphc.runtime.peaks import Peaks

CHAINS = 10  # independent sums: more than the latency of one times the units that add
STEPS = 2_000_000
COPIED_BYTES = 128 << 20  # of each thread: beyond every cache
ROUNDS = 5
MEETINGS = 10_000
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def measure() -> Peaks:
    """Of as many threads as steps use; the best of several rounds."""
    target = Target.host()
    threads = get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        return Peaks(
            target.cpu,
            threads,
            _flops(target, threads, pool),
            _bytes(threads, pool),
            _levels(target, threads, pool),
            _barrier(target),
        )


def _best(pool: ThreadPoolExecutor, tasks: Sequence[Callable[[], object]]) -> float:
    """The least seconds in which all tasks together were done."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for done in [pool.submit(task) for task in tasks]:
            done.result()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _flops(target: Target, threads: int, pool: ThreadPoolExecutor) -> float:
    code = KernelLibrary(target).native(_chains(target), ["chains"])
    run = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(code[0])
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


# ---- caches ------------------------------------------------------------------------------------


def _levels(target: Target, threads: int, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Bytes a second that copies read and write within each cache."""
    if not (sizes := cache_bytes()):
        return {}
    code = KernelLibrary(target).native(_copies(target), ["copies"])
    copies = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(code[0])
    found = {}
    for name, (size, shared) in sizes.items():
        each = size // (4 * (threads if shared else 1)) // PAIR_BYTES * PAIR_BYTES  # half in all
        times = COPIED_BYTES // each
        arrays = [np.ones((2, each), np.uint8) for _ in range(threads)]
        count = each // target.vector_bytes, times
        tasks = [partial(copies, *(half.ctypes.data for half in a), *count) for a in arrays]
        found[name] = threads * times * 2 * each / _best(pool, tasks)
    return found


def cache_bytes(folder: Path = CACHES) -> dict[str, tuple[int, bool]]:
    """Of each cache for data: its size, and whether threads share it. {} where none is known."""
    found = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (
            (index / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind in ("Data", "Unified") and size.endswith("K"):
            found[f"L{level}"] = int(size[:-1]) << 10, level == "3"
    return found


def _copies(target: Target) -> str:
    """`times` copies of `count` vectors."""
    t = f"<{target.vector_bytes} x i8>"
    return f"""target triple = "{target.triple}"
define void @copies(ptr noalias %from, ptr noalias %to, i64 %count, i64 %times) {{
entry:
  br label %again
again:
  %k = phi i64 [ 0, %entry ], [ %k.next, %done ]
  br label %next
next:
  %i = phi i64 [ 0, %again ], [ %i.next, %next ]
  %source = getelementptr {t}, ptr %from, i64 %i
  %target = getelementptr {t}, ptr %to, i64 %i
  %x = load volatile {t}, ptr %source, align 1
  store volatile {t} %x, ptr %target, align 1
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %next, label %done
done:
  %k.next = add i64 %k, 1
  %repeats = icmp slt i64 %k.next, %times
  br i1 %repeats, label %again, label %end
end:
  ret void
}}
"""


# ---- barriers ----------------------------------------------------------------------------------

NOTHING = """define void @nothing(ptr %args, i64 %thread, i64 %threads, ptr %room) {
  ret void
}
"""


def _barrier(target: Target) -> float:
    """Seconds of a launch that does nothing and is waited for, with as many threads as steps."""
    library = KernelLibrary(target)
    code = library.native(NOTHING, ["nothing"])
    table = aligned_cells(8 + ENTRY_CELLS * MEETINGS)  # an error cell, and the launches
    table[8:] = np.tile([code[0], 0, BARRIER, 0], MEETINGS)
    job = Job({}, [table, code])
    job.cells[JOB["error"]] = job.cells[JOB["cells"]] = table.ctypes.data
    job.cells[JOB["table"]] = table.ctypes.data + 8 * CELL_BYTES
    job.cells[JOB["entries"]], job.cells[JOB["budget"]] = MEETINGS, sys.maxsize
    engine = Engine(walker(library.native, target.triple))
    try:
        with engine.lock:
            return min(_seconds(lambda: engine.walk(job, [])) for _ in range(ROUNDS)) / MEETINGS
    finally:
        engine.close()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# ---- a GPU -------------------------------------------------------------------------------------


def measure_gpu(rows: int = 8192) -> Peaks:
    """Of the current GPU: a copy and a bfloat16 product of square matrices, the best of several."""
    device = gpus.current()
    a, b = (graphc.rand(rows, rows, device="cuda", dtype=graphc.bfloat16) for _ in "ab")
    copied, product = graphc.compile(lambda x: x * 2.0), graphc.compile(lambda x, y: x @ y)
    copies = [r for _ in range(ROUNDS) for r in copied.profile(a).by("kernel")]
    products = [r for _ in range(ROUNDS) for r in product.profile(a, b).by("kernel")]
    p = device.properties
    flops, moved = max(r.gflops for r in products), max(r.gbytes for r in copies)
    return Peaks(p.name, p.multi_processor_count, 1e9 * flops, 1e9 * moved)
