"""Stores of a short axis innermost in memory: woven vectors, the same values as one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.map import lanes
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native, module_text

NARROW = dataclasses.replace(Target.host(), vector_bytes=16, registers=16)

# Images of few channels, laid out anew with their channels innermost, `step` from pixel to pixel.
CHANNELS_LAST = """kernel last map (x: r SOURCE, y: w RESULT | n, m, image, far, step | ) {
  for i in n, k in m, c in COUNT {
    once {
      %0: SOURCE = load x[i*image + c*m + k]
      %1: RESULT = cast %0
      store y[i*far + c + k*step] = %1
    }
  }
}"""


def channels_last(count: int, source: str = "f32", result: str = "f32") -> Kernel:
    words = {"COUNT": str(count), "SOURCE": source, "RESULT": result}
    text = CHANNELS_LAST
    for word, meant in words.items():
        text = text.replace(word, meant)
    return parse(text)


def check(kernel: Kernel, module: Native, k: int, pixels: int, step: int) -> None:
    """Against the interpreter: what lies between and behind stays as it was."""
    count = int(kernel.axes[-1].extent)
    n, image, far = 3, count * pixels, step * pixels + 5
    sizes = {"n": n, "m": pixels, "image": image, "far": far, "step": step}
    rng, lengths = np.random.default_rng(0), {"x": n * image, "y": n * far}
    buffers = {
        b.name: rng.integers(-9, 9, lengths[b.name]).astype(b.dtype.numpy) for b in kernel.buffers
    }
    want = {name: x.copy() for name, x in buffers.items()}
    run_kernel(kernel, want, sizes, {})
    for threads in (1, 2, 3):
        got: dict[str, Array] = {name: x.copy() for name, x in buffers.items()}
        module.run(got, sizes, {}, threads, k)
        assert np.array_equal(got["y"], want["y"]), (threads, pixels, step)


@pytest.mark.parametrize("target", [Target.host(), NARROW], ids=["host", "narrow"])
def test_woven_channels(target: Target) -> None:
    """In any number of pixels, whole vectors or not, and where there is room between pixels."""
    kernels = [channels_last(n) for n in (2, 3, 5, 8)]
    kernels += [channels_last(3, "f32", "f64"), channels_last(3, "bool", "bf16")]
    kernels += [channels_last(4, "f32", "bool"), channels_last(3, "i64", "u8")]
    assert {lanes.plan(kernel, target).woven for kernel in kernels[:2]} == {"c"}
    module = Native(kernels, target)
    for k, kernel in enumerate(kernels):
        count = int(kernel.axes[-1].extent)
        for pixels in (1, 5, 16, 45, 64):
            check(kernel, module, k, pixels, count)
            check(kernel, module, k, pixels, count + 2)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_known_steps_take_no_scatter(name: str) -> None:
    target = Target.named(name)
    kernel = parse(CHANNELS_LAST.replace("COUNT", "3").replace("SOURCE", "f32")
                   .replace("RESULT", "f32").replace("k*step", "k*3"))  # fmt: skip
    text = module_text([kernel], target)
    assert "shufflevector" in text
    assert "scatter" not in text


def test_what_is_not_woven() -> None:
    """Many channels, a step that is another number, and places that the kernel reads as well."""
    target = Target.named("sapphirerapids")

    def woven(text: str) -> str:
        words = {"COUNT": "3", "SOURCE": "f32", "RESULT": "f32"}
        for word, meant in words.items():
            text = text.replace(word, meant)
        return lanes.plan(parse(text), target).woven

    assert woven(CHANNELS_LAST) == "c"
    assert woven(CHANNELS_LAST.replace("COUNT", "9")) == ""
    assert woven(CHANNELS_LAST.replace("k*step", "k*4")) == ""
    assert woven(CHANNELS_LAST.replace("y: w RESULT", "y: w RESULT alias x")) == ""
    assert woven(CHANNELS_LAST.replace("] = %1", "] += %1")) == ""
