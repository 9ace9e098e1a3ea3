"""What a GPU would round otherwise than a CPU, in the PTX and machine code of generated kernels:
denormals kept, products and sums not fused, quotients and roots to the nearest, NaNs handed on.

The interpreter computes with NumPy and cannot tell; only the compiled text says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

pytest.importorskip("triton")

from gpu_steps import lowered

import graphc
from graphc.codegen_gpu import facts
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.target import Target
from graphc.ir.cuda_abi import Image

ARCHES = ("sm_80", "sm_90a")
N = 4096
# What the library's functions flush of themselves, of arguments that they have brought in range.
LIBRARY = {"ex2.approx.ftz.f32", "rcp.approx.ftz.f32"}


class Case(NamedTuple):
    """A step of two float32 vectors; what its PTX has, and what neither PTX nor SASS may have."""

    step: Callable[[Any, Any], Any]
    has: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


CASES = {
    "a product and a sum": Case(
        lambda x, y: x * y + x, (r"mul(\.rn)?\.f32", r"add(\.rn)?\.f32"), (r"\bfma\.", "FFMA")
    ),
    "a difference": Case(lambda x, y: x * y - y * 3.0, (), (r"\bfma\.", "FFMA")),
    "a quotient": Case(lambda x, y: x / y, (r"div\.rn\.f32",), (r"div\.(full|approx)",)),
    "a root": Case(lambda x, y: x.abs().sqrt() + y, (r"sqrt\.rn\.f32",), (r"sqrt\.approx",)),
    "a reciprocal root": Case(
        lambda x, y: (x * x).rsqrt() * y,
        (r"sqrt\.rn\.f32", r"(div|rcp)\.rn\.f32"),
        (r"rsqrt\.approx", r"sqrt\.approx"),
    ),
    "the larger": Case(lambda x, y: graphc.maximum(x, y), (r"max\.NaN\.f32",)),
    "the smaller": Case(lambda x, y: graphc.minimum(x, y), (r"min\.NaN\.f32",)),
    "to bfloat16": Case(lambda x, y: (x + y).bfloat16(), (r"cvt\.rn\.bf16",)),
    "to float16": Case(lambda x, y: (x + y).half(), (r"cvt\.rn\.f16",)),
    "a sum of a row": Case(lambda x, y: (x * y).sum(), (), (r"\bfma\.rn\.f32",)),
    "functions of the library": Case(lambda x, y: x.exp() + y.tanh() + (x * y).erf()),
}


@pytest.fixture(scope="module")
def images() -> Iterator[dict[tuple[str, str], list[Image]]]:
    pool, found = Pool(), {}
    x, y = graphc.ones(N), graphc.zeros(N)
    for arch in ARCHES:
        target = Target.named(arch)
        kernels = {
            name: [k for k in lowered(graphc.compile(case.step, dynamic=False), x, y)]
            for name, case in CASES.items()
        }
        sources = {n: [emit(k.kernel, k.sizes, target) for k in ks] for n, ks in kernels.items()}
        flat = [s for of in sources.values() for s in of]
        made = dict(zip(flat, GpuLibrary(target, pool=pool).images(flat), strict=True))
        found |= {(name, arch): [made[s] for s in of] for name, of in sources.items()}
    yield found
    pool.close()


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", CASES)
def test_rounding(images: dict[tuple[str, str], list[Image]], name: str, arch: str) -> None:
    case, made = CASES[name], images[name, arch]
    ptx = "\n".join(i.ptx for i in made)
    for wanted in case.has:
        assert re.search(wanted, ptx), f"no {wanted}"
    assert set(re.findall(r"\b\w+[\w.]*\.ftz[\w.]*", ptx)) <= LIBRARY
    for refused in case.never:
        text = "\n".join(map(facts.sass, made)) if refused.isupper() else ptx
        assert not re.search(refused, text), re.findall(f".*{refused}.*", text)[:3]
