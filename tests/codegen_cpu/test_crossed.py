"""Copies between memory orders in squares: the same elements, whatever the sizes; no gathers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.map import lanes
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native, module_text

NARROW = dataclasses.replace(Target.host(), vector_bytes=16, registers=16)

# Images whose pixels lie side by side, to channels side by side, and what else may be read there.
COPY = """kernel turn map (x: r f32, y: w f32 | n, p, c, image | ) {
  for i in n, k in p, j in c {
    once {
      %0: f32 = load x[i*image + k + j*p]
      store y[i*image + k*c + j] = %0
    }
  }
}"""
SUM = """kernel turn map (x: r f32, z: r f32, s: r f32, v: r f32, y: w f32 | n, p, c, image | ) {
  for i in n, k in p, j in c {
    once {
      %0: f32 = load x[i*image + k + j*p]
      %1: f32 = load z[i*image + k*c + j]
      %2: f32 = load s[k]
      %3: f32 = load v[i*image + k + j*p]
      %4: f32 = mul %0 %1
      %5: f32 = sub %2 %3
      %6: f32 = add %4 %5
      store y[i*image + k*c + j] = %6
    }
  }
}"""


def buffers_of(names: dict[str, int]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(-9, 9, size).astype(np.float32) for name, size in names.items()}


@pytest.mark.parametrize("target", [Target.host(), NARROW], ids=["host", "narrow"])
def test_any_sizes(target: Target) -> None:
    """Whole squares, parts of some, and none; by one thread or several."""
    kernels = [parse(COPY), parse(SUM)]
    assert {lanes.plan(k, target).crossed for k in kernels} == {"k"}
    module = Native(kernels, target)
    for k, kernel in enumerate(kernels):
        for pixels in (0, 1, 5, 16, 33, 48, 70):
            for channels in (0, 1, 3, 16, 21, 64):
                image = pixels * channels + 5
                sizes = {"n": 2, "p": pixels, "c": channels, "image": image}
                lengths = {b.name: 2 * image for b in kernel.buffers} | {"s": max(pixels, 1)}
                buffers = buffers_of({b.name: lengths[b.name] for b in kernel.buffers})
                want = {name: x.copy() for name, x in buffers.items()}
                run_kernel(kernel, want, sizes, {})
                for threads in (1, 2, 3):
                    got = {name: x.copy() for name, x in buffers.items()}
                    module.run(got, sizes, {}, threads, k)
                    assert np.array_equal(got["y"], want["y"]), (threads, pixels, channels)


def test_the_last_row_is_read_and_no_other() -> None:
    """Lanes that are not there would be read behind the end of memory."""
    kernel = parse(COPY)
    module = Native([kernel])
    sizes = {"n": 1, "p": 32, "c": 3, "image": 96}
    page = np.full(4096, np.nan, np.float32)
    page[:96] = np.arange(96)
    got = {"x": page, "y": np.zeros(96, np.float32)}
    module.run(got, sizes, {}, 1)
    assert np.array_equal(got["y"].reshape(32, 3), np.arange(96).reshape(3, 32).T)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_squares_are_shuffled(name: str) -> None:
    """log2(lanes) shuffles for each vector of a square, in the main loop and in the last lanes."""
    target = Target.named(name)
    kernel = parse(COPY)
    width = lanes.plan(kernel, target).lanes
    text = module_text([kernel], target)
    assert text.count("shufflevector") >= 2 * width * (width.bit_length() - 1)


def test_what_has_no_squares() -> None:
    target = Target.named("sapphirerapids")

    def crossed(text: str) -> str:
        return lanes.plan(parse(text), target).crossed

    assert crossed(COPY) == "k"
    assert crossed(COPY.replace("k + j*p", "2*k + j*p")) == ""  # not side by side
    assert crossed(COPY.replace("k + j*p", "k*c + j")) == ""  # in one order
    assert crossed(COPY.replace("k in p", "k in 8")) == ""  # too few for a square
    assert crossed(COPY.replace("y: w f32", "y: w f32 alias x")) == ""  # read as it is written
    assert crossed(COPY.replace("] = %0", "] += %0")) == ""
