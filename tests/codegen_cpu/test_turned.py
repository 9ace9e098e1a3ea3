"""Kernels that read along one axis and write along another: the same values, whole lines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.map import turned
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native, module_text

NARROW = dataclasses.replace(Target.host(), vector_bytes=16, registers=16)
SIZES = [(1, 1), (5, 3), (16, 8), (17, 64), (64, 65), (33, 200), (130, 19)]

# Images with their samples innermost; a number for each place, and a mask that lies as the result.
SAMPLES_LAST = """kernel last map (x: r SOURCE, v: r f32, z: r bool, y: w f32 | n, PLACES, row, far, step | c0: f32) {
  for d in 3, k in m, i in n {
    once {
      %0: f32 = load x[d*far + i*row + k]
      %1: f32 = load v[k]
      %2: bool = load z[d*far + i + k*step]
      %3: f32 = add %0 %1
      %4: f32 = where %2 %3 c0
      store y[d*far + i + k*step] = %4
    }
  }
}"""  # noqa: E501


def samples_last(places: str = "m", source: str = "f32") -> Kernel:
    text = SAMPLES_LAST.replace("PLACES", "m" if places == "m" else "w")
    return parse(text.replace("k in m", f"k in {places}").replace("SOURCE", source))


def check(module: Native, k: int, n: int, m: int, threads: int) -> None:
    kernel = module.kernels[k]
    far = (n + 2) * (m + 3)
    sizes = {"n": n, "m": m, "w": m, "row": m + 3, "far": far, "step": n + 2}
    rng = np.random.default_rng(0)
    buffers: dict[str, Array] = {
        b.name: rng.integers(0, 2 if b.name == "z" else 99, 3 * far).astype(b.dtype.numpy)
        for b in kernel.buffers
    }
    want = {name: x.copy() for name, x in buffers.items()}
    run_kernel(kernel, want, sizes, {"c0": -1.0})
    module.run(buffers, sizes, {"c0": -1.0}, threads, k)
    assert np.array_equal(buffers["y"], want["y"]), (n, m, threads)


@pytest.mark.parametrize("target", [Target.host(), NARROW], ids=["host", "narrow"])
def test_turned_blocks(target: Target) -> None:
    """Of any sizes: what lies between rows and behind them stays as it was."""
    kernels = [samples_last(), samples_last("24"), samples_last("5")]
    assert all(turned.plan(kernel, target) for kernel in kernels)
    module = Native(kernels, target)
    for n, m in SIZES:
        for threads in (1, 2, 3):
            check(module, 0, n, m, threads)
        check(module, 1, n, 24, 2)
        check(module, 2, n, 5, 2)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_no_element_is_gathered(name: str) -> None:
    text = module_text([samples_last()], Target.named(name))
    assert "shufflevector" in text
    assert "gather" not in text and "scatter" not in text


def test_its_plan_is_told() -> None:
    text = describe(samples_last(), Target.named("sapphirerapids"))
    assert "vectors: 16 lanes over i\nturned: 8 points of k in m at a time" in text


def test_what_is_not_turned() -> None:
    """Lines that are as short as a vector's part, other sizes, sums, what may change or fail."""
    target = Target.named("sapphirerapids")

    def is_turned(text: str) -> bool:
        return turned.plan(parse(text), target) is not None

    text = SAMPLES_LAST.replace("PLACES", "m").replace("SOURCE", "f32")
    assert is_turned(text)
    assert not is_turned(text.replace("i in n", "i in 8"))
    assert not is_turned(text.replace("k in m", "k in 3"))
    assert not is_turned(text.replace("x: r f32", "x: r bf16"))
    assert not is_turned(text.replace("i*row + k]", "i + k*row]"))
    assert not is_turned(text.replace("] = %4", "] += %4"))
    assert not is_turned(text.replace("y: w f32", "y: w f32 alias x"))
    assert not is_turned(text.replace("i*row + k]", "i*row + k] if 1 <= k < 9"))
