"""What is measured on a GPU, and how: nets with batch and element type, convolutions, attention.

The same table serves the peers (`gpu_peers.py`), the stages (`gpu_window.py`) and what is compiled
beforehand (`gpu_pack.py`). Under GRAPHC_CUDA=fake the shapes are tiny: that proves the path.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import nets
import numpy as np

FAKE = os.environ.get("GRAPHC_CUDA") == "fake"
STEPS, WARM_UP = (2, 1) if FAKE else (30, 10)
NOISE = (1 << 22) - 3  # numbers that are drawn: no power of two, so that rows differ


@dataclass(frozen=True)
class Work:
    """A net's training step at a batch size, in f32 or with parameters and data in bf16."""

    net: nets.Net
    half: bool = False

    @property
    def name(self) -> str:
        return f"{self.net.name}-b{self.net.batch}-{'bf16' if self.half else 'f32'}"


RESNET50 = nets.Net("resnet50_224", nets.resnet50, (3, 224, 224), 1000, 256, "sgd-m", 1e-3)


def sized(name: str, batch: int) -> nets.Net:
    return replace(nets.NETS[name], batch=batch)


NETS = [  # what takes PyTorch longest to compile first, as long as there is time
    Work(RESNET50, half=True),
    *(Work(nets.NETS[name]) for name in ("mlp", "conv3", "lenet", "convfc", "tinybert")),
    Work(sized("tinybert", 256), half=True),
    Work(sized("resnet18_224", 256), half=True),
    Work(sized("mobilenetv2_224", 128), half=True),
]


def tiny(T: Any) -> Any:
    return T.nn.Sequential(T.nn.Linear(6, 4), T.nn.ReLU(), T.nn.Linear(4, 3))


TINY = [Work(nets.Net("tiny", tiny, (6,), 3, 2, "sgd", 0.01))]


def works() -> list[Work]:
    return TINY if FAKE else NETS


# ---- convolutions and attention ----------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """A square convolution in NCHW terms, padded by half its window."""

    batch: int
    size: int
    channels_in: int
    channels: int
    window: int
    stride: int = 1

    @property
    def name(self) -> str:
        window = f"{self.window}x{self.window}s{self.stride}"
        return f"{self.channels_in}->{self.channels} {window} at {self.size}, batch {self.batch}"

    @property
    def out(self) -> int:
        return (self.size + 2 * (self.window // 2) - self.window) // self.stride + 1

    @property
    def flop(self) -> float:
        taps = self.channels_in * self.window**2
        return 2.0 * self.batch * self.out**2 * self.channels * taps


CONVS = [  # ResNet-50's, those that take longest first
    Conv(256, 56, 64, 64, 3),
    Conv(256, 28, 128, 128, 3),
    Conv(256, 14, 256, 256, 3),
    Conv(256, 7, 512, 512, 3),
    Conv(256, 56, 64, 256, 1),
    Conv(256, 56, 256, 64, 1),
    Conv(256, 14, 1024, 256, 1),
    Conv(256, 56, 128, 128, 3, 2),
    Conv(256, 28, 512, 1024, 1, 2),
    Conv(256, 224, 3, 64, 7, 2),
]
TINY_CONVS = [Conv(1, 6, 16, 16, 3)]
DIRECTIONS = ("forward", "data", "weight")


@dataclass(frozen=True)
class Attention:
    batch: int
    heads: int
    length: int
    width: int
    causal: bool

    @property
    def name(self) -> str:
        mask = "causal" if self.causal else "full"
        return f"{self.batch}x{self.heads}x{self.length}x{self.width} {mask}"

    @property
    def flop(self) -> float:
        whole = 4.0 * self.batch * self.heads * self.length**2 * self.width
        return whole / 2 if self.causal else whole


ATTENTIONS = [
    Attention(16, 16, 1024, 64, False),
    Attention(16, 16, 1024, 64, True),
    Attention(4, 16, 4096, 128, True),
    Attention(32, 12, 512, 64, False),
]
TINY_ATTENTIONS = [Attention(1, 1, 4, 4, False)]
MATMULS = (1024, 2048, 4096, 8192)
TINY_MATMULS = (16,)


def chosen(real: Sequence[Any], tiny: Sequence[Any]) -> Sequence[Any]:
    return tiny if FAKE else real


# ---- the two frameworks ------------------------------------------------------------------------


def training(T: Any, work: Work, device: str, channels_last: bool = False) -> tuple[Any, ...]:
    """The step as a person writes it, and its batch, with everything on the device."""
    model = work.net.build(T)
    nets.load_weights(T, model)
    x, y = (T.from_numpy(a) for a in work.net.data())
    if work.half:
        model = model.bfloat16()
        x = x if work.net.tokens else x.bfloat16()
    if device != "cpu":
        model, x, y = model.to(device), x.to(device), y.to(device)
    if channels_last and x.dim() == 4:
        model = model.to(memory_format=T.channels_last)
        x = x.to(memory_format=T.channels_last)
    optimizer = nets.OPTIMIZERS[work.net.optimizer](T, model.parameters(), work.net.lr)
    return nets.train_step(T, model, optimizer), x, y, model, optimizer


def convolution(T: Any, conv: Conv, direction: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function of tensors that gives the convolution or one of its two gradients."""
    F = T.nn.functional
    geometry = {"stride": conv.stride, "padding": conv.window // 2}

    def forward(x: Any, w: Any, g: Any) -> Any:
        return F.conv2d(x, w, **geometry)

    def data(x: Any, w: Any, g: Any) -> Any:
        x = x.detach().requires_grad_(True)
        return T.autograd.grad(F.conv2d(x, w, **geometry), x, g)[0]

    def weight(x: Any, w: Any, g: Any) -> Any:
        w = w.detach().requires_grad_(True)
        return T.autograd.grad(F.conv2d(x, w, **geometry), w, g)[0]

    shapes = (
        (conv.batch, conv.channels_in, conv.size, conv.size),
        (conv.channels, conv.channels_in, conv.window, conv.window),
        (conv.batch, conv.channels, conv.out, conv.out),
    )
    return {"forward": forward, "data": data, "weight": weight}[direction], shapes


def attention(T: Any, case: Attention, backward: bool) -> Callable[..., Any]:
    def forward(q: Any, k: Any, v: Any, g: Any) -> Any:
        return T.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=case.causal)

    def both(q: Any, k: Any, v: Any, g: Any) -> Any:
        q, k, v = (t.detach().requires_grad_(True) for t in (q, k, v))
        return T.autograd.grad(forward(q, k, v, g), (q, k, v), g)

    return both if backward else forward


def random(T: Any, shape: Sequence[int], device: str, half: bool = True) -> Any:
    """Normal noise, which repeats itself after a while: zeros run faster than data."""
    some = np.random.default_rng(0).standard_normal(min(NOISE, prod(shape)), np.float32)
    x = T.from_numpy(np.resize(some, tuple(shape)))
    x = x.to(device) if device != "cpu" else x
    return x.bfloat16() if half else x


# ---- time --------------------------------------------------------------------------------------


class TorchClock:
    """Events on PyTorch's current stream."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def mark(self) -> Any:
        event = self.torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        self.torch.cuda.synchronize()

    def milliseconds(self, marks: Sequence[Any]) -> list[float]:
        self.wait()
        return [a.elapsed_time(b) for a, b in pairwise(marks)]


class GraphcClock:
    """Events on the stream that graphc's programs run on."""

    def __init__(self) -> None:
        from graphc.runtime.cuda import device

        self.device = device.current()

    def mark(self) -> int:
        event = self.device.driver.EventCreate(timing=True)
        self.device.driver.EventRecord(event, self.device.stream)
        return event

    def wait(self) -> None:
        self.device.synchronize()

    def milliseconds(self, marks: Sequence[int]) -> list[float]:
        driver = self.device.driver
        self.wait()
        spans = [driver.EventElapsedTime(a, b) for a, b in pairwise(marks)]
        for mark in marks:
            driver.EventDestroy(mark)
        return spans


def steady(call: Callable[[], Any], clock: TorchClock | GraphcClock, steps: int = 0) -> list[float]:
    """Milliseconds from each call's end to the next one's on the device, calls back to back."""
    for _ in range(WARM_UP):
        call()
    marks = [clock.mark()]
    for _ in range(steps or STEPS):
        call()
        marks.append(clock.mark())
    return clock.milliseconds(marks)


def summary(times: Iterable[float]) -> dict[str, float]:
    ordered = sorted(times)
    if len(ordered) < 2:
        return {"median_ms": ordered[0], "iqr_ms": 0.0}
    low, middle, high = statistics.quantiles(ordered, n=4)
    return {"median_ms": middle, "iqr_ms": high - low}
