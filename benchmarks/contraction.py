"""GFLOP/s of the contraction template, shape by shape: for whoever tunes tiles, panels and chunks.

    python benchmarks/contraction.py [--threads 2] [--seconds 0.3] [--narrow] [--without FEATURE]
                                     [part of a name ...]

Prints the best and the median call, the plan and the milliseconds that compiling took. Operands
lie in ordinary memory and stay warm between calls, as they do between the kernels of a step; with
`--narrow` they are bfloat16. `--without avx512bf16` compiles as if the processor lacked it.
"""

from __future__ import annotations

import argparse
import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.contract.plan import Plan, plan
from graphc.codegen_cpu.jit import compile_module, load_objects
from graphc.codegen_cpu.target import Target
from graphc.ir.cpu_abi import CELL_BYTES, ROOM_BYTES
from graphc.ir.kernel import Affine, Axis, Buffer, Dot, Kernel, Load, Phase, Store
from graphc.ir.types import bf16, f32
from graphc.runtime.cpu.threads import aligned_cells


@dataclass(frozen=True)
class Shape:
    """A kernel and the elements of a, b and y."""

    kernel: Kernel
    elements: tuple[int, int, int]
    flops: int


def contract(
    axes: dict[str, int],
    reduced: dict[str, int],
    a: dict[str, int],
    b: dict[str, int],
    out: dict[str, int],
) -> Shape:
    extents = axes | reduced
    loads = (Load("%a", f32, "a", affine(a)), Load("%b", f32, "b", affine(b)))
    first = Phase(loops(reduced), (*loads, Dot("%y", f32, "%a", "%b")))
    buffers = (Buffer("a", f32, "r"), Buffer("b", f32, "r"), Buffer("y", f32, "w"))
    last = Phase((), (Store("y", "%y", affine(out)),))
    kernel = Kernel("bench", "contract", buffers, (), (), loops(axes), (first, last))
    spans = [1 + sum((extents[k] - 1) * s for k, s in at.items()) for at in (a, b, out)]
    points = int(np.prod([*axes.values(), *reduced.values()], dtype=np.int64))
    return Shape(kernel, (spans[0], spans[1], spans[2]), 2 * points)


def affine(strides: dict[str, int]) -> Affine:
    return Affine(tuple(strides.items()))


def loops(extents: dict[str, int]) -> tuple[Axis, ...]:
    return tuple(Axis(name, extent) for name, extent in extents.items())


def conv(n: int, h: int, c: int, oc: int, k: int = 3, s: int = 1) -> Shape:
    """Forward, NHWC, padding materialised; a data gradient of stride 1 has the same form."""
    hp = h + 2 * (k // 2)
    o = (hp - k) // s + 1
    return contract(
        {"n": n, "oy": o, "ox": o, "oc": oc},
        {"ky": k, "kx": k * c},
        {"n": hp * hp * c, "oy": s * hp * c, "ox": s * c, "ky": hp * c, "kx": 1},
        {"ky": k * c * oc, "kx": oc, "oc": 1},
        {"n": o * o * oc, "oy": o * oc, "ox": oc, "oc": 1},
    )


def weight_gradient(n: int, h: int, c: int, oc: int, k: int = 3, s: int = 1) -> Shape:
    hp = h + 2 * (k // 2)
    o = (hp - k) // s + 1
    return contract(
        {"ky": k, "kx": k * c, "oc": oc},
        {"n": n, "oy": o, "ox": o},
        {"n": hp * hp * c, "oy": s * hp * c, "ox": s * c, "ky": hp * c, "kx": 1},
        {"n": o * o * oc, "oy": o * oc, "ox": oc, "oc": 1},
        {"ky": k * c * oc, "kx": oc, "oc": 1},
    )


def matmul(m: int, n: int, k: int, layout: str = "nn", batch: int = 1) -> Shape:
    """Layout "t" stores an operand transposed: "nt" is x W^T, "tn" the gradient of weights."""
    a = {"m": k, "k": 1} if layout[0] == "n" else {"m": 1, "k": m}
    b = {"k": n, "n": 1} if layout[1] == "n" else {"n": k, "k": 1}
    return contract(
        {"b": batch, "m": m, "n": n},
        {"k": k},
        {"b": m * k} | a,
        {"b": k * n} | b,
        {"b": m * n, "m": n, "n": 1},
    )


def depthwise(n: int, h: int, c: int) -> Shape:
    hp = h + 2
    return contract(
        {"n": n, "oy": h, "ox": h, "c": c},
        {"ky": 3, "kx": 3},
        {"n": hp * hp * c, "oy": hp * c, "ox": c, "ky": hp * c, "kx": c, "c": 1},
        {"ky": 3 * c, "kx": c, "c": 1},
        {"n": h * h * c, "oy": h * c, "ox": c, "c": 1},
    )


# ResNet-18 at 224 pixels (batch 8) and for CIFAR (batch 32): channels, pixels, batch.
RESNETS = ((64, 56, 8), (128, 28, 8), (256, 14, 8), (512, 7, 8))
RESNETS += ((64, 32, 32), (128, 16, 32), (256, 8, 32), (512, 4, 32))

SHAPES: dict[str, Shape] = {
    **{f"conv {c} {h}x{h} b{n}": conv(n, h, c, c) for c, h, n in RESNETS},
    **{f"weight gradient {c} {h}x{h} b{n}": weight_gradient(n, h, c, c) for c, h, n in RESNETS},
    "conv 7x7 s2 3->64 224 b8": conv(8, 224, 3, 64, k=7, s=2),
    "conv 1->16 28x28 b64": conv(64, 28, 1, 16),
    "conv 16->32 14x14 b64": conv(64, 14, 16, 32),
    "conv 1x1 64->256 56x56 b8": conv(8, 56, 64, 256, k=1),
    "conv 1x1 16->96 112x112 b8": conv(8, 112, 16, 96, k=1),
    "depthwise 96 56x56 b8": depthwise(8, 56, 96),
    "matmul 2048x128x512": matmul(2048, 128, 512),
    "matmul 2048x128x512 nt": matmul(2048, 128, 512, "nt"),
    "matmul 2048x512x128": matmul(2048, 512, 128),
    "matmul 1024x1024x1024": matmul(1024, 1024, 1024),
    "mlp forward 64x100x1000 nt": matmul(64, 100, 1000, "nt"),
    "mlp input gradient 64x1000x100": matmul(64, 1000, 100),
    "mlp weight gradient 100x1000x64 tn": matmul(100, 1000, 64, "tn"),
    "attention scores 128x128x64 nt x32": matmul(128, 128, 64, "nt", 32),
    "attention values 128x64x128 x32": matmul(128, 64, 128, "nn", 32),
}


@dataclass(frozen=True)
class Timing:
    best_s: float
    median_s: float
    compile_ms: float
    plan: Plan


def narrowed(shape: Shape) -> Shape:
    """The same with operands in bfloat16; sums and the result stay float32."""
    first, last = shape.kernel.phases
    body = tuple(replace(s, dtype=bf16) if isinstance(s, Load) else s for s in first.body)
    buffers = tuple(replace(b, dtype=bf16) if b.name != "y" else b for b in shape.kernel.buffers)
    phases = (replace(first, body=body), last)
    return replace(shape, kernel=replace(shape.kernel, phases=phases, buffers=buffers))


def measure(shape: Shape, target: Target, threads: int, seconds: float) -> Timing:
    start = time.perf_counter()
    e = contraction.emit(shape.kernel, target)
    text = "\n".join([f'target triple = "{target.triple}"', *e.declarations, e.function("k")])
    code = load_objects([compile_module(text, target)], target)
    compile_ms = 1e3 * (time.perf_counter() - start)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    rooms = [aligned_cells(ROOM_BYTES // CELL_BYTES) for _ in range(threads)]
    function = kind(code.address("k"))
    rng = np.random.default_rng(0)
    dtypes = [b.dtype.numpy for b in shape.kernel.buffers]
    held = [rng.standard_normal(n).astype(d) for n, d in zip(shape.elements, dtypes, strict=True)]
    error = np.zeros(4, np.int64)
    cells = np.array([error.ctypes.data, *(x.ctypes.data for x in held)], np.int64)

    def call(tid: int) -> None:
        function(cells.ctypes.data, tid, threads, rooms[tid].ctypes.data)

    times = in_step(call, threads, seconds)
    chosen = plan(shape.kernel, target)
    assert chosen is not None
    return Timing(min(times), float(np.median(times)), compile_ms, chosen)


def in_step(call: Callable[[int], None], threads: int, seconds: float) -> list[float]:
    """Seconds of each round, in which every thread calls once; threads wait for one another."""
    times: list[float] = []
    stop = False

    def note() -> None:
        nonlocal stop
        now = time.perf_counter()
        times.append(now)
        stop = len(times) > 5 and now - times[0] > seconds

    barrier = threading.Barrier(threads, action=note)

    def work(tid: int) -> None:
        while not stop:
            call(tid)
            barrier.wait()

    workers = [threading.Thread(target=work, args=(tid,)) for tid in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [b - a for a, b in pairwise(times)]


def describe(p: Plan) -> str:
    rows = " ".join(f"{r.axis.name}:{r.count}" for r in p.rows)
    lane = f"{p.lane.name}:{p.vectors}" + (f"x{p.lanes}" if p.how == "lanes" else "")
    parts = [p.how, rows, lane, "panel" if p.packed else "", "pairs" if p.fold > 1 else ""]
    if p.chunk is not None:
        parts.append(f"chunk {p.contraction.reduced[p.chunk].name}:{p.chunk_size}")
    return " ".join(part for part in parts if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--without", nargs="*", default=())
    args = parser.parse_args()
    target = Target.host()
    features = [f for f in target.features.split(",") if f[1:] not in args.without]
    target = replace(target, features=",".join(features))
    print(f"{'shape':36} {'best':>6} {'median':>6} GF/s  compile  plan")
    for name, shape in SHAPES.items():
        if args.names and not any(part in name for part in args.names):
            continue
        shape = narrowed(shape) if args.narrow else shape
        t = measure(shape, target, args.threads, args.seconds)
        best, median = (shape.flops / s / 1e9 for s in (t.best_s, t.median_s))
        print(f"{name:36} {best:6.1f} {median:6.1f}     {t.compile_ms:4.0f} ms  {describe(t.plan)}")


if __name__ == "__main__":
    main()
