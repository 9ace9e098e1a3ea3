"""Facts of the interpreter that every kernel's test rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("triton")

import ml_dtypes
from on_host import aligned, run

from graphc.errors import BackendError, OutOfBounds
from graphc.ir.cuda_abi import GridDim, Param, Source
from graphc.ir.types import Array
from graphc.runtime.cuda import interp

HEAD = """
import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice


"""
ROW = """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
"""


def source(body: str, dtypes: str, block: int = 64) -> Source:
    """A kernel over `x` (and `y`, `z`, ...) of n elements with the given body."""
    names = [*"xyzw"[: len(dtypes.split())]]
    head = f"@triton.jit\ndef kernel({', '.join(names)}, n, BLOCK: tl.constexpr):"
    pointers = [
        Param(name, "pointer", "buffer", k, dtype)
        for k, (name, dtype) in enumerate(zip(names, dtypes.split()))
    ]
    params = (*pointers, Param("n", "i32", "size"))
    text = HEAD + head + ROW + "".join(f"    {line}\n" for line in body.split("; "))
    return Source("kernel", text, params, (("BLOCK", block),), (GridDim(("n",), block),))


def all_bf16() -> Array:
    return np.arange(1 << 16, dtype=np.uint16)


def awkward() -> Array:
    """Float32 with ties, overflow to infinity, denormals and NaNs of both signs."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, np.uint32)
    ties = (np.arange(1 << 11, dtype=np.uint32) << np.uint32(20)) | np.uint32(0x8000)
    return np.concatenate([bits, ties, ties | np.uint32(0x10000)]).view(np.float32)


def test_bf16_rounds_to_nearest_even_exactly() -> None:
    x = awkward()
    with np.errstate(all="ignore"):
        expected = x.astype(ml_dtypes.bfloat16)
    got = interp.f32_to_bf16(x).view(ml_dtypes.bfloat16)
    nan = np.isnan(x)
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[~nan].view(np.uint16), expected[~nan].view(np.uint16))
    assert np.array_equal(np.signbit(got[nan]), np.signbit(x[nan]))


def test_bf16_widens_exactly() -> None:
    got = interp.bf16_to_f32(all_bf16())
    expected = all_bf16().view(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(got.view(np.uint32), expected.view(np.uint32))


def test_bf16_through_a_kernel() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(100).astype(ml_dtypes.bfloat16)
    out = np.zeros_like(x)
    text = "v = tl.load(x + i, mask=m).to(tl.float32); tl.store(y + i, v * 1.1 + 0.3, mask=m)"
    run(source(text, "bf16 bf16"), [x, out], {"n": 100})
    wide = x.astype(np.float32) * np.float32(1.1) + np.float32(0.3)
    assert np.array_equal(out, wide.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("body", ["v + v", "v < v", "tl.sum(v, axis=0)", "-v", "tl.exp(v)"])
def test_raw_bf16_arithmetic_is_refused(body: str) -> None:
    text = f"v = tl.load(x + i, mask=m, other=0.0); u = {body}; tl.store(x + i, v, mask=m)"
    x = np.ones(8, ml_dtypes.bfloat16)
    # exp of bf16 is refused by Triton itself, at compile time on a GPU, too
    with pytest.raises((BackendError, ValueError)):
        run(source(text, "bf16"), [x], {"n": 8})


DOT = (
    "r = tl.arange(0, 16)[:, None]; c = tl.arange(0, 16)[None, :]; "
    "a = tl.load(x + r * 16 + c); b = tl.load(y + r * 16 + c); "
    "d = tl.dot(a, b, input_precision='{}'); tl.store(z + r * 16 + c, d)"
)


@pytest.mark.parametrize("name", ["bf16", "f16", "f32"])
def test_dot_multiplies_in_float32(name: str) -> None:
    rng = np.random.default_rng(2)
    dtype = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}[name]
    a, b = (rng.standard_normal((16, 16)).astype(dtype) for _ in range(2))
    out = np.zeros((16, 16), np.float32)
    run(source(DOT.format("ieee"), f"{name} {name} f32"), [a, b, out], {"n": 1})
    np.testing.assert_allclose(out, a.astype(np.float64) @ b.astype(np.float64), atol=1e-5)


def test_a_forgotten_input_precision_is_seen() -> None:
    """Triton's default for float32 is TF32, which a test in the interpreter must notice."""
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((16, 16)).astype(np.float32) for _ in range(2))
    out = np.zeros((16, 16), np.float32)
    run(source(DOT.format("tf32"), "f32 f32 f32"), [a, b, out], {"n": 1})
    assert 1e-5 < np.abs(out - a @ b).max() < 2e-2


COPY = "v = tl.load(x + i, mask=m); tl.store(y + i, v, mask=m)"


@pytest.mark.parametrize("n, body", [(65, COPY), (64, COPY.replace("x + i", "x + i - 1"))])
def test_an_access_outside_a_buffer_is_caught(n: int, body: str) -> None:
    x, y = np.ones(64, np.float32), np.zeros(80, np.float32)
    with pytest.raises(OutOfBounds, match="reads 4 bytes"):
        run(source(body, "f32 f32"), [x, y], {"n": n})


def test_a_masked_lane_touches_nothing() -> None:
    x, y = np.ones(10, np.float32), np.zeros(10, np.float32)
    run(source(COPY, "f32 f32"), [x, y], {"n": 10})
    assert y.sum() == 10


def test_an_atomic_outside_a_buffer_is_caught() -> None:
    body = "tl.atomic_cas(y + n, tl.full((), 0, tl.int64), tl.full((), 1, tl.int64))"
    y = np.zeros(4, np.int64)
    with pytest.raises(OutOfBounds, match="writes 8 bytes"):
        run(source(body, "f32 i64"), [np.ones(4, np.float32), y], {"n": 4})


def test_programs_that_race_differ_in_reverse() -> None:
    racy = source("tl.store(y, tl.program_id(0).to(tl.float32))", "f32 f32")
    safe = source("tl.store(y + i, tl.program_id(0).to(tl.float32), mask=m)", "f32 f32")
    x = np.ones(256, np.float32)
    results = []
    for kernel in (racy, safe):
        both = np.zeros((2, 256), np.float32)
        for k in range(2):
            run(kernel, [x, both[k]], {"n": 256}, reverse=bool(k))
        results.append(np.array_equal(both[0], both[1]))
    assert results == [False, True]


NUMPY = {
    **{"tanh": np.tanh, "erf": None, "log1p": np.log1p, "expm1": np.expm1, "atan": np.arctan},
    **{"rsqrt": lambda x: 1 / np.sqrt(x), "lgamma": None, "round": lambda x: np.floor(x + 0.5)},
}


@pytest.mark.parametrize("name", NUMPY)
def test_libdevice_by_numpy(name: str) -> None:
    from math import erf, lgamma

    function = NUMPY[name] or np.vectorize({"erf": erf, "lgamma": lgamma}[name])
    x = np.linspace(0.1, 3, 50, dtype=np.float32)
    out = np.zeros_like(x)
    body = f"v = tl.load(x + i, mask=m, other=1.0); tl.store(y + i, libdevice.{name}(v), mask=m)"
    run(source(body, "f32 f32"), [x, out], {"n": 50})
    assert np.array_equal(out, function(x.astype(np.float64)).astype(np.float32))


def test_libdevice_takes_two_and_checks_types() -> None:
    x = np.linspace(0.1, 3, 50, dtype=np.float32)
    out = np.zeros_like(x)
    body = "v = tl.load(x + i, mask=m, other=1.0); tl.store(y + i, libdevice.pow(v, {}), mask=m)"
    run(source(body.format("2.5"), "f32 f32"), [x, out], {"n": 50})
    np.testing.assert_allclose(out, x**2.5, rtol=1e-6)


def test_scalars_keep_their_declared_types() -> None:
    """An i64 of 3 must not become an i32: i * n would wrap on a device only."""
    kernel = source("tl.store(y + i, i * n, mask=m)", "f32 i64")
    params = (*kernel.params[:2], Param("n", "i64", "size"))
    kernel = replace(
        kernel, params=params, grid=(GridDim((4,), 64),), text=kernel.text.replace("i < n", "i < 4")
    )
    out = np.zeros(4, np.int64)
    run(kernel, [np.ones(4, np.float32), out], {"n": 1 << 33})
    assert out.tolist() == [k << 33 for k in range(4)]


def test_a_kernel_calls_another_function() -> None:
    text = "v = tl.load(x + i, mask=m, other=0.0); tl.store(y + i, twice(v), mask=m)"
    kernel = source(text, "f32 f32")
    helper = "@triton.jit\ndef twice(v):\n    return v + v\n\n\n"
    kernel = replace(kernel, text=kernel.text.replace("@triton.jit", helper + "@triton.jit", 1))
    x, out = aligned(np.ones(4, np.float32)), np.zeros(4, np.float32)
    run(kernel, [x, out], {"n": 4})
    assert out.tolist() == [2, 2, 2, 2]
