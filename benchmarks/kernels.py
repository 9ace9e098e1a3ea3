"""GFLOP/s of single kernels, shape by shape and direction by direction, beside oneDNN's.

    python benchmarks/kernels.py [part of a name ...] [--threads 1 2] [--seconds 0.2] [--json FILE]

Shapes are those of the nets of `nets.py`, and odd ones. graphc's figure is its kernel's, as
`step.profile` times it; PyTorch's is a call on operands that lie as it likes them (channels last).
Winograd's algorithm counts by the operations of the plain sum. The share is of the peak that
`python -m graphc doctor --measure` found, scaled to the threads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphc
from graphc.runtime import peaks

DIRECTIONS = ("forward", "data", "weight")
PARTS = 16  # of the products that a launch has at least: a strided data gradient has up to nine


@dataclass(frozen=True)
class Shape:
    """A convolution of square images and kernels; a matrix product has one pixel."""

    batch: int
    pixels: int
    channels: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def name(self) -> str:
        if self.pixels == 1:
            return f"dot {self.batch}x{self.outputs}x{self.channels}"
        depthwise = " depthwise" if self.groups > 1 else ""
        k = f"{self.kernel}x{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else "")
        return f"conv {k} {self.channels}->{self.outputs} {self.pixels}px b{self.batch}{depthwise}"

    @property
    def out(self) -> int:
        return (self.pixels + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def flops(self) -> int:
        taps = self.kernel**2 * self.channels // self.groups
        return 2 * self.batch * self.out**2 * self.outputs * taps


def resnet(batch: int, pixels: int) -> Iterator[Shape]:
    for k in range(4):
        c, h = 64 << k, pixels >> k
        yield Shape(batch, h, c, c, 3, 1, 1)
        if k:
            yield Shape(batch, 2 * h, c // 2, c, 3, 2, 1)
            yield Shape(batch, 2 * h, c // 2, c, 1, 2)


SMALL = (
    *(Shape(64, 28, 1, 16, 3, 2, 1), Shape(64, 14, 16, 16, 3, 2, 1), Shape(64, 7, 16, 10, 3, 2, 1)),
    *(Shape(64, 32, 3, 6, 5), Shape(64, 14, 6, 16, 5)),
    *(Shape(64, 28, 1, 10, 5), Shape(64, 24, 10, 20, 5)),
)
STEMS = (
    Shape(32, 32, 3, 64, 3, 1, 1),
    Shape(8, 224, 3, 64, 7, 2, 3),
    Shape(8, 224, 3, 32, 3, 2, 1),
)
HEADS = (Shape(8, 64, 64, 3, 3, 1, 1), Shape(8, 64, 64, 1), Shape(8, 64, 32, 4, 5, 1, 2))
MOBILE = (
    *(Shape(8, 112, 32, 16), Shape(8, 112, 16, 96), Shape(8, 56, 24, 144), Shape(8, 56, 144, 24)),
    *(Shape(8, 28, 192, 32), Shape(8, 14, 384, 96), Shape(8, 7, 960, 160), Shape(8, 7, 320, 1280)),
    *(Shape(8, 56, 144, 144, 3, 1, 1, 144), Shape(8, 112, 96, 96, 3, 2, 1, 96)),
)
VGG = (
    Shape(8, 64, 64, 128, 3, 1, 1),
    Shape(8, 32, 256, 256, 3, 1, 1),
    Shape(8, 8, 512, 512, 3, 1, 1),
)
DOTS = (
    *(Shape(64, 1, 1000, 100), Shape(64, 1, 8000, 200), Shape(64, 1, 400, 120)),
    *(Shape(2048, 1, 128, 384), Shape(2048, 1, 128, 512), Shape(2048, 1, 512, 128)),
    *(Shape(n, 1, 8192, 4096) for n in (1, 8, 32)),
    Shape(1024, 1, 1024, 1024),
)
ODD = (
    *(Shape(50, 45, 7, 13, 3, 1, 1), Shape(16, 17, 20, 24, 7, 1, 3), Shape(3, 33, 65, 31, 5, 2, 2)),
    *(Shape(1, 8, 64, 64, 3, 1, 1), Shape(1, 4, 512, 512, 3, 1, 1)),
)
SHAPES = {
    s.name: s
    for s in (*SMALL, *STEMS, *HEADS, *resnet(32, 32), *resnet(8, 56), *MOBILE, *VGG, *DOTS, *ODD)
}


def operands(s: Shape) -> dict[str, Any]:
    """x, w, and the cotangent of the output."""
    rng = np.random.default_rng(0)
    if s.pixels == 1:
        sizes = (s.batch, s.channels), (s.outputs, s.channels), (s.batch, s.outputs)
    else:
        window = (s.kernel, s.kernel)
        x, y = (s.batch, s.channels, s.pixels, s.pixels), (s.batch, s.outputs, s.out, s.out)
        sizes = x, (s.outputs, s.channels // s.groups, *window), y  # type: ignore[assignment]
    arrays = (rng.standard_normal(n).astype(np.float32) for n in sizes)
    return dict(zip("xwy", arrays, strict=True))


def direction_of(T: Any, s: Shape, direction: str) -> Callable[[Any, Any, Any], Any]:
    """A function of x, w and y: the result in one direction."""

    def forward(x: Any, w: Any, _: Any) -> Any:
        if s.pixels == 1:
            return T.nn.functional.linear(x, w)
        return T.nn.functional.conv2d(x, w, None, s.stride, s.padding, 1, s.groups)

    def backward(x: Any, w: Any, y: Any) -> Any:
        wanted = x if direction == "data" else w
        (found,) = T.autograd.grad(forward(x, w, y), wanted, y)
        return found

    return forward if direction == "forward" else backward


def ours(s: Shape, direction: str, threads: int, seconds: float) -> float:
    """Seconds of the kernel with the products, the least of some calls."""
    graphc.set_num_threads(threads)
    tensors = {k: graphc.from_numpy(a) for k, a in operands(s).items()}
    state = tensors["w"].requires_grad_()  # a weight lies as the compiler likes it
    tensors["x"].requires_grad_(direction == "data")
    function = graphc.compile(lambda x, y: direction_of(graphc, s, direction)(x, state, y))
    x, y = tensors["x"], tensors["y"]
    function(x, y)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        rows = function.profile(x, y).by("launch")
        best = min(best, sum(r.seconds for r in rows if r.work.flops * PARTS > s.flops))
    return best


def theirs(s: Shape, direction: str, threads: int, seconds: float) -> float:
    """Seconds of PyTorch's call, the least of some."""
    import torch

    torch.set_num_threads(threads)
    x, w, y = (torch.from_numpy(a) for a in operands(s).values())
    if s.pixels == 1:
        calls = {"forward": lambda: x @ w.T, "data": lambda: y @ w, "weight": lambda: y.T @ x}
    else:
        x, w, y = (t.to(memory_format=torch.channels_last) for t in (x, w, y))
        two = [s.stride] * 2, [s.padding] * 2, [1, 1]

        def backward(mask: list[bool]) -> Any:
            gradients = torch.ops.aten.convolution_backward
            return gradients(y, x, w, None, *two, False, [0, 0], s.groups, mask)

        calls = {
            "forward": lambda: torch.conv2d(x, w, None, *two, s.groups),
            "data": lambda: backward([True, False, False]),
            "weight": lambda: backward([False, True, False]),
        }
    return least(calls[direction], seconds)


def least(call: Callable[[], Any], seconds: float) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    name: str
    direction: str
    threads: int
    flops: int
    bytes: int
    gflops: float
    share: float  # of the measured peak; 0 where none was measured
    onednn: float  # GFLOP/s; 0 where PyTorch is not installed


def measure(s: Shape, direction: str, threads: int, seconds: float) -> Result:
    found = peaks.load()
    gflops = s.flops / ours(s, direction, threads, seconds) / 1e9
    peak = found.flops / found.threads * threads / 1e9 if found else 0.0
    try:
        peer = s.flops / theirs(s, direction, threads, seconds) / 1e9
    except ModuleNotFoundError:
        peer = 0.0
    size = sum(a.nbytes for a in operands(s).values())
    share = gflops / peak if peak else 0.0
    return Result(s.name, direction, threads, s.flops, size, gflops, share, peer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=DIRECTIONS)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--json", type=Path, help="also write every number into this file")
    args = parser.parse_args()
    print(f"{'shape':38} {'direction':9} threads  GFLOP/s of peak  oneDNN  ratio")
    results = []
    for shape in SHAPES.values():
        if args.names and not any(part in shape.name for part in args.names):
            continue
        for direction in args.directions:
            for threads in args.threads:
                r = measure(shape, direction, threads, args.seconds)
                ratio = f"{r.gflops / r.onednn:5.2f}x" if r.onednn else "     -"
                share = f"{r.share:7.0%}" if r.share else "      -"
                print(
                    f"{r.name:38} {r.direction:9} {threads:7} {r.gflops:8.1f} {share} "
                    f"{r.onednn:7.1f} {ratio}",
                    flush=True,
                )
                results.append(asdict(r))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
