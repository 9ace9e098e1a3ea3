"""One framework's measurements in a process of its own: `gpu_peers.py KIND graphc|torch [NAME ...]
[--modes ...]`, KIND being of KINDS. Each row is printed as a line of JSON when it is there, so that
what was measured before a time limit is kept. PyTorch compiles a net in each of the modes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gpu_work
from gpu_work import GraphcClock, TorchClock, Work, steady, summary

Row = dict[str, Any]
LOSSES = 2 if gpu_work.FAKE else 10
MODES = ("default", "reduce-overhead", "max-autotune")


def tried(row: Row, measure: Callable[[], Row]) -> Row:
    """The row with what `measure` found, or with its error."""
    try:
        return row | measure()
    except Exception as e:
        return row | {"failed": f"{type(e).__name__}: {e}"[:1500]}


class Framework:
    """graphc or torch: how a call is compiled, and how time is told."""

    def __init__(self, name: str, modes: Sequence[str] = MODES) -> None:
        self.name, self.modes = name, modes
        if name == "graphc":
            import graphc

            self.T: Any = graphc
            self.clock: TorchClock | GraphcClock = GraphcClock()
        else:
            import torch

            self.T = torch
            if not torch.cuda.is_available():
                raise ModuleNotFoundError("torch sees no CUDA device", name="torch with CUDA")
            self.clock = TorchClock()
            torch.backends.cudnn.benchmark = True

    def rate(self, call: Callable[[], Any], flop: float) -> Row:
        start = time.perf_counter()
        call()
        self.clock.wait()
        first_s = time.perf_counter() - start
        found = summary(steady(call, self.clock))
        return found | {"first_s": first_s, "tflops": flop / found["median_ms"] / 1e9}


# ---- nets --------------------------------------------------------------------------------------


def step_facts(framework: Framework, step: Callable[[], Any], more: Callable[[], Row]) -> Row:
    T = framework.T
    T.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    losses = [float(step().item())]
    first_s = time.perf_counter() - start
    losses += [float(step().item()) for _ in range(LOSSES - 1)]
    found = summary(steady(step, framework.clock))
    peak = T.cuda.max_memory_allocated()
    return {**found, "first_s": first_s, "losses": losses, "peak_bytes": int(peak), **more()}


def graphc_net(framework: Framework, work: Work) -> Iterator[Row]:
    def measure() -> Row:
        train, x, y, *_ = gpu_work.training(framework.T, work, "cuda")
        step = framework.T.compile(train)

        def more() -> Row:
            stats = step.stats
            return {
                "kernels": stats.kernels,
                "kernels_compiled": stats.kernels_compiled,
                "compile_s": stats.compile_seconds,
                "planned_bytes": stats.peak_bytes,
            }

        return step_facts(framework, lambda: step(x, y), more)

    yield tried({"net": work.name, "variant": "graphc"}, measure)


def torch_net(framework: Framework, work: Work) -> Iterator[Row]:
    def eager(channels_last: bool) -> Row:
        step, x, y, *_ = gpu_work.training(framework.T, work, "cuda", channels_last)
        return step_facts(framework, lambda: step(x, y), dict)

    yield tried({"net": work.name, "variant": "torch eager"}, lambda: eager(False))
    images = len(work.net.input_shape) == 3
    if images:
        row = {"net": work.name, "variant": "torch eager, channels_last"}
        yield tried(row, lambda: eager(True))
    for mode in framework.modes:
        row = {"net": work.name, "variant": f"torch.compile {mode}"}
        yield tried(row, lambda mode=mode: compiled_net(framework, work, mode, images))


def compiled_net(framework: Framework, work: Work, mode: str, channels_last: bool) -> Row:
    return step_facts(framework, compiled_step(framework, work, mode, channels_last), dict)


def compiled_step(
    framework: Framework, work: Work, mode: str, channels_last: bool
) -> Callable[[], Any]:
    """Forward with loss, and the update, each compiled: autograd runs between the two."""
    torch = framework.T
    torch._dynamo.reset()
    _, x, y, model, optimizer = gpu_work.training(torch, work, "cuda", channels_last)
    loss_of = torch.nn.functional.cross_entropy
    forward = torch.compile(lambda x, y: loss_of(model(x), y), mode=mode)
    update = torch.compile(optimizer.step, mode=mode)

    def step() -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        update()
        return loss.detach()

    return step


def net_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    measure = graphc_net if framework.name == "graphc" else torch_net
    for work in gpu_work.works():
        if not names or work.name in names:
            yield from measure(framework, work)


# ---- single operations -------------------------------------------------------------------------


def matmul_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    for n in gpu_work.chosen(gpu_work.MATMULS, gpu_work.TINY_MATMULS):
        for half in (True, False):

            def measure(n: int = n, half: bool = half) -> Row:
                a, b = (gpu_work.random(framework.T, (n, n), "cuda", half) for _ in range(2))
                return framework.rate(called(framework, lambda a, b: a @ b, (a, b)), 2.0 * n**3)

            row = {"matmul": n, "dtype": "bf16" if half else "f32", "variant": framework.name}
            yield tried(row, measure)


def conv_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    last = framework.T.channels_last
    for conv in gpu_work.chosen(gpu_work.CONVS, gpu_work.TINY_CONVS):
        for direction in gpu_work.DIRECTIONS:

            def measure(conv: gpu_work.Conv = conv, direction: str = direction) -> Row:
                call, shapes = gpu_work.convolution(framework.T, conv, direction)
                args = [gpu_work.random(framework.T, s, "cuda") for s in shapes]
                args = [a.to(memory_format=last) for a in args]
                return framework.rate(called(framework, call, args, dynamic=False), conv.flop)

            row = {"conv": conv.name, "direction": direction, "variant": framework.name}
            yield tried(row, measure)


def stem_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    """ResNet's first convolution, alone and with the statistics of its batch norm, by tiles of
    names[0] warps: one number a process, which finds the code of another no more."""
    from graphc.codegen_gpu import contract_tiles

    F, choose = framework.T.nn.functional, contract_tiles._product
    (conv,) = gpu_work.chosen(gpu_work.CONVS[-1:], gpu_work.TINY_CONVS)
    call, (images, weight, _) = gpu_work.convolution(framework.T, conv, "forward")
    args = [gpu_work.random(framework.T, s, "cuda") for s in (images, weight)]
    warps, tiles = int(names[0]), set[tuple[int, int]]()

    def product(*args: Any) -> Any:
        tile = choose(*args)
        tiles.add((tile.rows, tile.cols))
        return replace(tile, warps=warps)

    contract_tiles._product = product
    ways: dict[str, Callable[..., Any]] = {
        "alone": lambda x, w: call(x, w, None),
        "with statistics": lambda x, w: F.batch_norm(call(x, w, None), None, None, training=True),
    }
    for way, run in ways.items():

        def measure(run: Callable[..., Any] = run) -> Row:
            found = framework.rate(called(framework, run, args), conv.flop)
            return found | {"tiles": sorted(tiles)}

        yield tried({"stem": conv.name, "way": way, "warps": warps}, measure)


def attention_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    for case in gpu_work.chosen(gpu_work.ATTENTIONS, gpu_work.TINY_ATTENTIONS):
        for backward in (False, True):

            def measure(case: gpu_work.Attention = case, backward: bool = backward) -> Row:
                return attention_rate(framework, case, backward)

            way = "forward and backward" if backward else "forward"
            row = {"attention": case.name, "way": way, "variant": framework.name}
            yield tried(row, measure)


def tune_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    """Attention by its tiles, the gradients behind the fastest forward."""
    import gpu_tune

    from graphc.codegen_gpu.tuned import tuned
    from graphc.frontend.step.cuda_backend import cuda_backend
    from graphc.runtime.cuda import device

    backend = cuda_backend(device.current())
    arch, rows = backend.target.arch, list[Row]()
    for variant in gpu_tune.variants():
        tuned(arch).setdefault("attention", {}).update(gpu_tune.winners(rows))
        gpu_tune.use(arch, variant)
        backend._sources.clear()  # which would find the code of another tile
        backend._images.clear()

        def measure(v: gpu_tune.Variant = variant) -> Row:
            return attention_rate(framework, v.case, v.backward)

        row = {"tune": variant.case.name, "key": variant.key, "tile": variant.tile, "arch": arch}
        rows.append(tried(row, measure))
        yield rows[-1]


def attention_rate(framework: Framework, case: gpu_work.Attention, backward: bool) -> Row:
    call = gpu_work.attention(framework.T, case, backward)
    shape = (case.batch, case.heads, case.length, case.width)
    args = [gpu_work.random(framework.T, shape, "cuda") for _ in range(4)]
    flop = case.flop * (3.5 if backward else 1)  # the backward has five products of two
    return framework.rate(called(framework, call, args), flop)


def called(
    framework: Framework, call: Callable[..., Any], args: Any, dynamic: bool | None = None
) -> Callable[[], Any]:
    """PyTorch runs its library's kernels; graphc compiles its own.

    Not `dynamic`: no extent is an argument, as a layer's channels are none.
    """
    run = framework.T.compile(call, dynamic=dynamic) if framework.name == "graphc" else call
    return lambda: run(*args)


def start_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    """The first call of a net in this process: warm, if an earlier one has compiled it."""
    for work in [w for w in gpu_work.works() if w.name in names]:

        def measure(work: Work = work) -> Row:
            train, x, y, *_ = gpu_work.training(framework.T, work, "cuda")
            step: Any = framework.T.compile(train)
            start = time.perf_counter()
            step(x, y)
            framework.clock.wait()
            first_s = time.perf_counter() - start
            return {"first_s": first_s, "programs_found": step.stats.programs_found}

        yield tried({"net": work.name, "variant": "graphc, started again"}, measure)


def warm_rows(framework: Framework, names: list[str]) -> Iterator[Row]:
    """The first step of each net as PyTorch compiles it, whose code its cache keeps."""
    for work in [w for w in gpu_work.works() if not names or w.name in names]:
        for mode in framework.modes:

            def measure(work: Work = work, mode: str = mode) -> Row:
                start = time.perf_counter()
                step = compiled_step(framework, work, mode, len(work.net.input_shape) == 3)
                step().item()
                return {"first_s": time.perf_counter() - start}

            yield tried({"net": work.name, "variant": f"torch.compile {mode}, first"}, measure)


KINDS = {
    "warm": warm_rows,
    "net": net_rows,
    "start": start_rows,
    "matmul": matmul_rows,
    "conv": conv_rows,
    "stem": stem_rows,
    "attention": attention_rows,
    "tune": tune_rows,
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="One framework's measurements.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("framework", choices=("graphc", "torch"))
    parser.add_argument(
        "names", nargs="*", help="nets, all where none is named; of a stem its warps"
    )
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.kind == "stem":
            os.environ["GRAPHC_CACHE_DIR"] = folder
        return rows(args)


def rows(args: argparse.Namespace) -> int:
    kind, name, names = args.kind, args.framework, args.names
    try:
        framework = Framework(name, args.modes)
    except ModuleNotFoundError as e:
        print(json.dumps({"variant": name, "skipped": f"{e.name} is not there: {e}"}), flush=True)
        return 0
    for row in KINDS[kind](framework, names):
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
