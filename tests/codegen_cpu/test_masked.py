"""Vectors of which some lanes are stored: no byte beside them; no mask where they are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir.kernel_text import parse
from tests.codegen_cpu.compiled_kernel import Native, module_text

ROWS = """kernel rows map (x: r {dtype}, o: rw {dtype} | n | ) {{
  for i in n, c in {width} {{
    once {{
      %0: {dtype} = load x[i*40 + c]
      store o[i*40 + c] = %0
    }}
  }}
}}"""
WIDTHS = (1, 2, 3, 5, 6, 7, 8, 9, 12, 15, 17, 24, 31)


def rows(width: int, dtype: str = "f32") -> str:
    return ROWS.format(dtype=dtype, width=width)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "u8", "bool"])
def test_lanes_of_a_known_number_are_stored_and_no_others(dtype: str, vector_bytes: int) -> None:
    target = dataclasses.replace(Target.host(), vector_bytes=vector_bytes)
    kernels = [parse(rows(width, dtype)) for width in WIDTHS]
    native, kind = Native(kernels, target), kernels[0].buffers[0].dtype.numpy
    x = (np.arange(7 * 40) % 2 + (0 if dtype == "bool" else 3)).astype(kind)
    for k, width in enumerate(WIDTHS):
        data = {"x": x, "o": np.zeros(7 * 40, kind)}
        native.run(data, {"n": 7}, {}, 2, k)
        want = np.where(np.arange(40) < width, x.reshape(7, 40), np.zeros(1, kind))
        assert (data["o"].reshape(7, 40) == want).all(), width


@pytest.mark.parametrize("name", ["host", *sorted(NAMED)])
@pytest.mark.parametrize("width", [6, 15])
def test_a_known_number_of_lanes_takes_no_mask(name: str, width: int) -> None:
    target = Target.host() if name == "host" else Target.named(name)
    text = module_text([parse(rows(width))], target)
    assert "@llvm.masked.store" not in text
    assert text.count(" x float> %") > 1  # vectors all the same
