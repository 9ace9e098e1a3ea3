"""Kernels emitted and interpreted, beside what they mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from on_host import aligned, run

from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.target import Target
from graphc.ir.cuda_abi import Source
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import Failure, run_kernel
from graphc.ir.types import Array, Scalar

TARGET = Target()
SMALL = Target(sms=1)  # fewer, larger programs


def launch(
    kernel: Kernel,
    source: Source,
    buffers: Mapping[str, Array],
    sizes: Mapping[str, int],
    scalars: Mapping[str, Scalar],
    error: Array | None = None,
    reverse: bool = False,
) -> dict[str, Array]:
    """The buffers after a launch, and the error words under their own name."""
    data = {b.name: aligned(buffers[b.name]) for b in kernel.buffers}
    given = [float(s) if isinstance(s, float) else int(s) for s in scalars.values()]
    words = run(source, [*data.values()], sizes, given, error=error, reverse=reverse)
    return data | {"error": words}


def expected(
    kernel: Kernel,
    buffers: Mapping[str, Array],
    sizes: Mapping[str, int],
    scalars: Mapping[str, Scalar],
    errors: list[Failure] | None = None,
) -> dict[str, Array]:
    data = {name: x.copy() for name, x in buffers.items()}
    run_kernel(kernel, data, sizes, scalars, errors)
    return data


def emitted(
    kernel: Kernel, sizes: Mapping[str, int], target: Target = SMALL, wide: bool = False
) -> Source:
    return emit(kernel, [sizes[n] for n in kernel.sizes], target, wide=wide)


def alike(x: Array, y: Array, rtol: float = 0.0) -> bool:
    if x.dtype.kind in "biu":
        return bool((x == y).all())
    a, b = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(invalid="ignore"):
        close = (a == b) | (np.abs(a - b) <= rtol * np.abs(b))
    return bool((close | (np.isnan(a) & np.isnan(b))).all())
