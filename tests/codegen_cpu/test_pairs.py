"""Contractions of bfloat16 in pairs: every way to read operands, exactly and against float64.

On a processor without the instruction the same kernels compute in float32, and have to be as right.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.contract import plan as contraction_plan
from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import assembly
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Const, Kernel
from graphc.ir.types import bf16, f16, f32
from tests.codegen_cpu.contract_kernels import (
    Case,
    Compiled,
    at,
    contract,
    conv,
    depthwise,
    flipped_conv,
    matmul,
    module_text,
    narrowed,
    random_product,
    weight_gradient,
)

FEATURE = "avx512bf16"
HOST = Target.host()
WITHOUT = dataclasses.replace(HOST, features=HOST.features.replace(f"+{FEATURE}", f"-{FEATURE}"))
AVX2 = dataclasses.replace(WITHOUT, vector_bytes=32, registers=16)
TARGETS = [HOST, WITHOUT, *([AVX2] if HOST.vector_bytes == 64 else [])]
KNOWN = dataclasses.replace(Target.named("sapphirerapids"), features=f"+{FEATURE}")
needs_pairs = pytest.mark.skipif(not HOST.pairs, reason="no AVX512-BF16 here")


def check(case: Case, targets: list[Target] | None = None) -> None:
    """Equal to the interpreter on every target, with the same bits from any number of threads."""
    want = case.expected()["y"]
    for target in targets or TARGETS:
        chosen = plan(case.kernel, target)
        assert chosen is not None
        compiled = Compiled(case, target)
        for threads in (1, 2, 3):
            got = compiled.run(threads)["y"]
            np.testing.assert_array_equal(got, want, f"{target.pairs} T={threads}")


SHAPES = {
    "conv": conv(2, 7, 16, 32),
    "conv, odd depth": conv(2, 6, 3, 10),
    "conv, stride 2": conv(2, 9, 4, 48, s=2),
    "conv, one channel, shared pixels": conv(2, 12, 1, 16),
    "conv 1x1, odd depth": conv(2, 5, 15, 40, k=1),
    "conv, symbolic batch": conv(3, 6, 8, 20, symbolic=True),
    "flipped weights": flipped_conv(2, 6, 8, 20),
    "weight gradient": weight_gradient(2, 8, 5, 20),
    "weight gradient, odd rows": weight_gradient(3, 7, 7, 32),
    "weight gradient, symbolic batch": weight_gradient(3, 9, 8, 20, symbolic=True),
    "depthwise": depthwise(2, 7, 20),
    "product": matmul(30, 33, 17),
    "product, few rows": matmul(5, 33, 18),
    "product, transposed a": matmul(40, 35, 63, "tn"),
    "product, transposed b": matmul(40, 35, 65, "nt"),
    "product, both": matmul(20, 35, 34, "tt"),
    "few columns along": matmul(9, 5, 301, "nt"),
    "along whole vectors": matmul(3, 2, 320, "nt"),
    "matrix by vector": matmul(100, 1, 70),
    "vector by matrix": matmul(1, 100, 71),
    "depth 1": matmul(14, 40, 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    check(narrowed(SHAPES[name]))


@pytest.mark.parametrize("seed", range(20))
def test_random_products(seed: int) -> None:
    case = narrowed(random_product(seed))
    if contraction.supports(case.kernel, HOST):
        check(case, [HOST])


@pytest.mark.parametrize("samples", [0, 1, 7, 64, 65, 301])
def test_sums_over_few_or_many_samples(samples: int) -> None:
    """Two plans of one kernel, for few and for many."""
    kernel = contract(
        [("m", 45), ("n", 512)], [("k", "n0")], at(k=45, m=1), at(k=512, n=1), at(m=512, n=1),
        sizes=("n0",),
    )  # fmt: skip
    case = Case(kernel, {"a": 45 * samples, "b": 512 * samples, "y": 45 * 512}, {"n0": samples})
    check(narrowed(case))


@pytest.mark.parametrize(
    "case",
    [
        conv(4, 7, 32, 96),
        weight_gradient(6, 9, 7, 40),
        weight_gradient(5, 9, 7, 40, symbolic=True),
        matmul(64, 100, 151),
        matmul(64, 100, 151, "nt"),
        matmul(70, 100, 151, "tn"),
        matmul(6, 9, 20_001, "nt"),
    ],
)
def test_panels_and_chunks(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"L2": 4096, "CHUNK": 4096, "PANEL": 4096, "GROUP": 8192, "STRIP": 1024}
    for name, size in sizes.items():
        monkeypatch.setattr(contraction_plan, f"{name}_BYTES", size)
    plan.cache_clear()
    narrow = narrowed(case)
    chosen = plan(narrow.kernel, HOST)
    assert chosen is not None and (chosen.chunk is not None or chosen.packed)
    check(narrow)
    plan.cache_clear()


def test_operands_rounded_as_they_are_read() -> None:
    """float32 in memory, bfloat16 in the product; lanes past the end of a line count as zero."""
    one = Const("%one", bf16, 1.0)
    stage = (
        one,
        Apply("%na", bf16, "cast", ("%a",)),
        Apply("%nb", bf16, "cast", ("%b",)),
        Apply("%ra", bf16, "add", ("%na", "%one")),
        Apply("%rb", bf16, "add", ("%nb", "%one")),
    )
    for m, n, k, b in ((20, 40, 13, at(k=40, n=1)), (3, 5, 299, at(n=299, k=1))):
        kernel = contract(
            [("m", m), ("n", n)], [("k", k)], at(m=k, k=1), b, at(m=n, n=1),
            stage=stage, operands=("%ra", "%rb"),
        )  # fmt: skip
        check(Case(kernel, {"a": m * k, "b": n * k, "y": m * n}))


@pytest.mark.skipif(HOST.vector_bytes != 64, reason="vectors of AVX-512")
def test_half_vectors() -> None:
    half = dataclasses.replace(
        HOST, cpu="znver4", features=HOST.features.replace("vp2intersect", "")
    )
    case = narrowed(conv(2, 9, 8, 7, symbolic=True))
    chosen = plan(case.kernel, half)
    assert chosen is not None and chosen.lanes == 8
    check(case, [half])


# ---- numbers -----------------------------------------------------------------------------------


def product_of(x: np.ndarray, w: np.ndarray, target: Target) -> np.ndarray:
    """x @ w in bfloat16, as compiled."""
    (m, k), n = x.shape, w.shape[1]
    case = narrowed(matmul(m, n, k, symbolic=True))

    class Given(Case):
        def data(self, seed: int = 0) -> dict[str, np.ndarray]:
            y = np.zeros(m * n, np.float32)
            return {"a": x.ravel().copy(), "b": w.ravel().copy(), "y": y}

    given = Given(case.kernel, case.lengths, case.sizes)
    return Compiled(given, target).run(2)["y"].reshape(m, n)


def bfloats(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(bf16.numpy)


@pytest.mark.parametrize("depth", [5, 576, 4608, 20_000])
def test_sums_are_as_exact_as_those_of_float32(depth: int) -> None:
    x, w = bfloats(7, depth), bfloats(depth, 40)
    want = x.astype(np.float64) @ w.astype(np.float64)
    for target in TARGETS:
        error = product_of(x, w, target) - want
        assert np.sqrt(np.mean(error**2)) <= 1e-6 * np.sqrt(np.mean(want**2))


def test_a_row_has_the_same_bits_in_any_batch() -> None:
    x, w = bfloats(31, 101), bfloats(101, 45)
    for target in TARGETS:
        whole = product_of(x, w, target)
        for rows in (1, 5, 13):
            np.testing.assert_array_equal(product_of(x[:rows], w, target), whole[:rows])


def test_special_values() -> None:
    """What is not finite stays in its row: the zeros of a halved pair meet zeros alone."""
    x, w = bfloats(5, 3), bfloats(3, 20)
    x[0, 2], x[1, 1], w[1, 7] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float32) @ w.astype(np.float32)
    for target in TARGETS:
        got = product_of(x, w, target)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        finite = ~np.isnan(want)
        np.testing.assert_allclose(got[finite], want[finite], rtol=1e-5, atol=1e-6)


@needs_pairs
def test_denormals_are_zeros_to_the_instruction() -> None:
    x, w = np.full((1, 2), 1e-39, bf16.numpy), np.full((2, 16), 2.0, bf16.numpy)
    assert (product_of(x, w, HOST) == 0).all()
    assert (product_of(x, w, WITHOUT) != 0).all()


# ---- which kernels, and what they become -------------------------------------------------------


def fold(kernel: Kernel, target: Target = KNOWN) -> int:
    chosen = plan(kernel, target)
    assert chosen is not None
    return chosen.fold


def test_pairs_are_of_bfloat16_where_the_processor_has_them() -> None:
    narrow = narrowed(matmul(32, 64, 64)).kernel
    half = contract(
        [("m", 32), ("n", 64)], [("k", 64)], at(m=64, k=1), at(k=64, n=1), at(m=64, n=1),
        dtypes=(f16, f16, f32),
    )  # fmt: skip
    mixed = contract(
        [("m", 32), ("n", 64)], [("k", 64)], at(m=64, k=1), at(k=64, n=1), at(m=64, n=1),
        dtypes=(bf16, f32, f32),
    )  # fmt: skip
    assert fold(narrow) == 2
    assert fold(narrow, Target.named("haswell")) == fold(narrow, Target.named("neoverse-n1")) == 1
    assert fold(half) == fold(mixed) == fold(matmul(32, 64, 64).kernel) == 1
    assert fold(narrowed(depthwise(2, 7, 32)).kernel) == 1  # its lanes share no pixel


@pytest.mark.parametrize(
    "case", [conv(8, 58, 64, 64), weight_gradient(8, 30, 128, 128), matmul(2048, 128, 512, "nt")]
)
def test_hot_loops_keep_sums_in_registers(case: Case) -> None:
    """One instruction for each vector of sums and two points, none of them on the stack."""
    text = assembly(module_text(narrowed(case).kernel, KNOWN), KNOWN)
    blocks = re.split(r"\n(?=\.?L?BB\w*:|\.LBB\w*:)", text)
    hot = max(blocks, key=lambda block: block.count("vdpbf16ps"))
    assert hot.count("vdpbf16ps") >= 12 and "vfmadd" not in hot
    assert not re.search(r"\s(v\w+\s.*\(%r[sb]p\))", hot)


def test_the_plan_says_how() -> None:
    kernel = narrowed(matmul(32, 64, 64)).kernel
    assert "products: of bfloat16 in pairs, by avx512bf16" in describe(kernel, KNOWN)
    lacking = describe(kernel, Target.named("haswell"))
    assert "products: of bfloat16 in float32" in lacking
    assert "products:" not in describe(matmul(32, 64, 64).kernel, KNOWN)
