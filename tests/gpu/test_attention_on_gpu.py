"""Attention's kernels against what they mean, by Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

from attention_cases import Case, checked, launched, meaning

import graphc as torch
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.target import Target
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array, bf16, bool_, f16, f32
from graphc.nn import functional as F

CASES = {
    "plain": Case((2, 2), 17, 33, 16, 16),
    "causal": Case((1, 2), 37, 37, 24, 8, causal=True),
    "more queries than keys": Case((1,), 40, 18, 16, 16, causal=True, named=True),
    "fewer": Case((1,), 18, 40, 16, 16, causal=True, named=True),
    "who may be seen": Case((2,), 19, 21, 16, 16, mask=bool_),
    "a bias": Case((2,), 16, 32, 8, 16, mask=f32, named=True),
    "dropout": Case((1, 2), 20, 40, 16, 16, dropout=0.3),
    "dropout of odd rows": Case((2,), 18, 21, 16, 16, dropout=0.3, causal=True, named=True),
    "wide offsets": Case(
        (1, 2), 20, 37, 16, 16, causal=True, mask=bool_, dropout=0.3, named=True, wide=True
    ),
    "all dropped": Case((1,), 4, 8, 16, 16, dropout=1.0),
    "one of each": Case((1,), 1, 1, 1, 1),
    "wide heads": Case((1,), 17, 20, 256, 100),
    "no keys": Case((2,), 5, 0, 16, 16, named=True),
    "no queries": Case((2,), 0, 5, 16, 16, named=True),
    "an empty batch": Case((0, 3), 5, 5, 16, 16),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_both_gradients(name: str) -> None:
    checked(CASES[name])


@pytest.mark.parametrize("dtype", [f16, bf16])
def test_halves(dtype: object) -> None:
    case = Case((1, 2), 33, 70, 32, 40, dtype, causal=True, dropout=0.2)  # type: ignore[arg-type]
    checked(case, rtol=3e-2 if dtype is bf16 else 4e-3)


@pytest.mark.parametrize("queries", [33, 150])
def test_blocks_by_descriptors(queries: int) -> None:
    """Of what a program goes along, where its rows are lines; the ends are zeros."""
    case = Case((1, 2), queries, 70, 32, 64, bf16, causal=True)
    data, made = case.data(), "tl.make_tensor_descriptor("
    for part, along in (("forward", "kv"), ("queries", ""), ("keys", ("q", "grad"))):
        assert launched(case, part, data).text.count(made) == len(along)  # type: ignore[arg-type]
    checked(case, rtol=3e-2)


def test_tf32() -> None:
    checked(Case((1,), 20, 70, 32, 32, tf32=True), rtol=4e-3)


def test_a_row_that_sees_nothing_is_zero() -> None:
    case = Case((1,), 6, 20, 16, 16, mask=bool_)
    data = case.data()
    data["mask"][:, 2] = False
    launched(case, "forward", data)
    assert not data["out"][:, 2].any() and np.isposinf(data["lse"][:, 2]).all()
    launched(case, "queries", data)
    launched(case, "keys", data)
    want = meaning(case, data)
    for name in ("dq", "dk", "dv"):
        np.testing.assert_allclose(data[name], want[name], rtol=1e-4, atol=1e-5)


def test_nan_and_infinity_stay_in_their_row() -> None:
    case = Case((1,), 5, 20, 16, 16)
    data = case.data()
    data["q"][:, 1, 3], data["q"][:, 3, 0] = np.nan, np.inf
    launched(case, "forward", data)
    broken = np.isnan(data["out"]).all(-1)[0]
    assert broken.tolist() == [False, True, False, True, False]


def test_dropped_weights_are_those_of_memory() -> None:
    """With equal keys and v of ones a row's result counts what is kept: exactly."""
    case = Case((2, 3), 9, 16, 16, 16, dropout=0.5)
    data = case.data()
    data["k"][...], data["v"][...] = 0, 1
    launched(case, "forward", data)
    np.testing.assert_allclose(data["out"], meaning(case, data)["out"], rtol=1e-6)
    odd = replace(case, keys=15, named=True)
    data = odd.data()
    data["k"][...], data["v"][...] = 0, 1
    launched(odd, "forward", data)
    np.testing.assert_allclose(data["out"], meaning(odd, data)["out"], rtol=1e-6)


# ---- kernels of graphs -------------------------------------------------------------------------


def attended(**options: Any) -> Callable[..., Any]:
    @torch.compile
    def step(q: Any, k: Any, v: Any) -> Any:
        q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, **options)
        return out, *torch.autograd.grad(out.square().sum(), (q, k, v))

    return step


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal, dropped": {"is_causal": True, "dropout_p": 0.25},
    "masked": {"attn_mask": torch.tril(torch.ones(12, 20)) > 0},
    "biased": {"attn_mask": torch.arange(240).reshape(12, 20) / 100.0},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_kernels_of_graphs(name: str, fake_gpu: None) -> None:
    """Forward, the gradient of queries, and those of keys and values: as on the CPU."""
    args = [torch.rand(2, 2, n, 8) for n in (12, 20, 20)]
    options, results = OPTIONS[name], []
    for device in ("cpu", "cuda"):
        moved = {n: x.to(device) if isinstance(x, torch.Tensor) else x for n, x in options.items()}
        step = attended(**moved)
        torch.manual_seed(5)
        results.append([x.detach().cpu().numpy() for x in step(*(a.to(device) for a in args))])
        if device == "cuda":
            kinds = [k.text.split()[2] for k in step.kernels]
            assert kinds.count("attention") == 3, [k.text for k in step.kernels]
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("halves", [False, True])
def test_hints_do_not_choose_blocks(fake_gpu: None, halves: bool) -> None:
    """Other blocks may be other instructions, and other bits: lengths that are extents have one
    text, whatever a process began with, in both directions."""
    step = attended()
    with torch.autocast("cuda", torch.bfloat16, enabled=halves):
        for n in (12, 13):
            step(*(torch.rand(1, 1, rows, 64).to("cuda") for rows in (n, n + 8, n + 8)))
    kernels = [parse(k.text) for k in step.kernels if k.text.split()[2] == "attention"]
    assert len(kernels) == 3
    for kernel in kernels:
        assert kernel.sizes
        for arch, tf32 in (("sm_80", False), ("sm_90a", False), ("sm_90a", True)):
            made = {
                emit(kernel, [hint] * len(kernel.sizes), Target.named(arch), tf32=tf32)
                for hint in (1, 20, 64, 5000)
            }
            assert len(made) == 1, kernel.name


def test_constant_operands(fake_gpu: None) -> None:
    """A cotangent of ones, queries of ones, a mask that hides all."""

    @torch.compile
    def step(k: Any, v: Any) -> Any:
        k = k.detach().requires_grad_()
        q, hidden = torch.ones_like(k), torch.zeros(5, 5, dtype=torch.bool, device=k.device)
        out = F.scaled_dot_product_attention(q, k, v)
        none = F.scaled_dot_product_attention(k, k, v, attn_mask=hidden)
        return out.detach(), none.detach(), *torch.autograd.grad(out.sum(), (k,))

    args = [torch.rand(2, 5, 8) for _ in range(2)]
    want, got = ([x.cpu().numpy() for x in step(*(a.to(d) for a in args))] for d in ("cpu", "cuda"))
    assert not got[1].any()
    for x, y in zip(want, got, strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["causal, dropped", "masked", "biased"])
def test_halves_under_autocast(name: str, fake_gpu: None) -> None:
    """Weights of half types stay out of memory, too; what is dropped is what the CPU drops."""
    options = OPTIONS[name]
    args = [torch.rand(2, 2, n, 8) for n in (12, 20, 20)]
    want, got = (results(options, args, device, half) for device, half in HALVES)
    for x, y in zip(want, got, strict=True):
        np.testing.assert_allclose(y, x, rtol=5e-2, atol=3e-2)


HALVES = (("cpu", False), ("cuda", True))


def results(options: dict[str, Any], args: list[Any], device: str, half: bool) -> list[Array]:
    moved = {n: x.to(device) if isinstance(x, torch.Tensor) else x for n, x in options.items()}

    @torch.compile
    def step(q: Any, k: Any, v: Any) -> Any:
        q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
        with torch.autocast(device, torch.bfloat16, enabled=half):
            out = F.scaled_dot_product_attention(q, k, v, **moved)
        return out.float(), *torch.autograd.grad(out.float().square().sum(), (q, k, v))

    torch.manual_seed(5)
    found = [x.detach().cpu().numpy() for x in step(*(a.to(device) for a in args))]
    assert sum(k.text.split()[2] == "attention" for k in step.kernels) == (3 if half else 2)
    return found
