"""Contractions as Triton code against `kernel_interpret`, by Triton's interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton")

from on_host import aligned, run

from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.target import Target

sys.path.insert(0, str(Path(__file__).parent.parent / "codegen_cpu"))
import contract_kernels as kernels
from contract_kernels import Case

TARGET = Target.named("sm_90a")


def check(case: Case, tolerance: float = 0.0, *, wide: bool = False, hints: dict[str, int] | None = None) -> None:
    """Every buffer afterwards, as the reference leaves it."""
    k = case.kernel
    sizes = list((hints or case.sizes).values())
    source = emit(k, sizes, TARGET, wide=wide)
    data = {n: aligned(x) for n, x in case.data().items()}
    arrays = [data[b.alias or b.name] for b in k.buffers]
    scalars = [case.scalars[s.name] for s in k.scalars]
    for reverse in (False, True):
        run(source, arrays, case.sizes, scalars, reverse=reverse)
        for name, want in case.expected().items():
            np.testing.assert_allclose(data[name], want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
@pytest.mark.parametrize("shape", [(8, 16, 32), (33, 17, 40), (65, 70, 9), (16, 100, 129)])
def test_matmul(shape: tuple[int, int, int], layout: str) -> None:
    check(kernels.matmul(*shape, layout))


@pytest.mark.parametrize(
    "case",
    [
        kernels.conv(2, 7, 8, 16),
        kernels.conv(3, 9, 3, 20, s=2, symbolic=True),
        kernels.conv(1, 6, 5, 8, k=2, s=3),
        kernels.flipped_conv(2, 6, 9, 16),
        kernels.weight_gradient(3, 7, 4, 8),
        kernels.weight_gradient(5, 12, 4, 8, symbolic=True),
        kernels.depthwise(2, 7, 12),
        kernels.depthwise(1, 5, 1),
    ],
)
def test_convolutions(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("seed", range(20))
def test_random_products(seed: int) -> None:
    check(kernels.random_product(seed))
