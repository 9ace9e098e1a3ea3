"""Contractions as Triton code against `kernel_interpret`, by Triton's interpreter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu_steps import compiled, lowered, memory
from kernels import SMALL, TARGET, expected
from on_host import aligned, run

import graphc as torch
from graphc import nn
from graphc.codegen_gpu.contract_parts import as_product
from graphc.codegen_gpu.contract_tiles import tile
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.target import Target
from graphc.ir.kernel import (
    Apply,
    Axis,
    Buffer,
    Const,
    Dot,
    Guard,
    Index,
    Kernel,
    Load,
    Phase,
    ScalarArg,
    Statement,
    Store,
)
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array, DType, Scalar, bf16, f16, f32, f64, i32, i64
from tests.test_benchmarks_nets import losses, small

sys.path.insert(0, str(Path(__file__).parent.parent / "codegen_cpu"))
import contract_kernels
from contract_kernels import Case, at, contract, conv, matmul


def check(
    kernel: Kernel,
    data: Mapping[str, Array],
    sizes: Mapping[str, int],
    scalars: Mapping[str, Scalar],
    *,
    target: Target = TARGET,
    wide: bool = False,
    hints: tuple[int, ...] | None = None,
    rtol: float = 0.0,
) -> None:
    """Every buffer is afterwards as the reference leaves it, in either order of the programs."""
    source = emit(kernel, hints or [sizes[n] for n in kernel.sizes], target, wide=wide)
    want = expected(kernel, data, sizes, scalars)
    for reverse in (False, True):
        held: dict[str, Array] = {}
        for b in kernel.buffers:  # an alias is the same memory
            held[b.name] = held[b.alias] if b.alias else aligned(data[b.name])
        given = [scalars[s.name] for s in kernel.scalars]
        run(source, [*held.values()], sizes, given, reverse=reverse)
        overwritten = {b.alias for b in kernel.buffers}
        for name in want:
            if name not in overwritten:
                got, right = (x.astype(np.float64) for x in (held[name], want[name]))
                np.testing.assert_allclose(got, right, rtol=rtol, atol=rtol)


def check_case(case: Case, **options: object) -> None:
    check(case.kernel, case.data(), case.sizes, case.scalars, **options)  # type: ignore[arg-type]


# ---- single contractions -----------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
@pytest.mark.parametrize("shape", [(8, 16, 32), (33, 17, 40), (65, 70, 9), (16, 100, 129)])
def test_matmul(shape: tuple[int, int, int], layout: str) -> None:
    check_case(matmul(*shape, layout))


@pytest.mark.parametrize("shape", [(1, 33, 40), (50, 1, 70), (1, 1, 300), (30, 20, 1), (5, 7, 3)])
def test_thin_products_are_sums(shape: tuple[int, int, int]) -> None:
    case = matmul(*shape)
    assert tile(as_product(case.kernel), {}, TARGET, False).how == "sums"
    check_case(case)


@pytest.mark.parametrize("shape", [(0, 16, 16), (16, 0, 16), (16, 16, 0), (3, 0, 2), (4, 2, 0)])
def test_nothing_to_compute_or_to_add(shape: tuple[int, int, int]) -> None:
    check_case(matmul(*shape))


@pytest.mark.parametrize("rows", [0, 1, 15, 33])
@pytest.mark.parametrize("hint", [1, 64, 5000])
def test_sizes_are_hints(rows: int, hint: int) -> None:
    check_case(matmul(rows, 9, 20, symbolic=True), hints=(hint,))


@pytest.mark.parametrize("summed", [40, 300])
def test_hints_do_not_say_how_a_thin_product_is_added_up(summed: int) -> None:
    """Threads share the summed points by how many rows a program has."""
    kernel = matmul(9, 5, summed, symbolic=True).kernel
    few, many = (emit(kernel, [hint], TARGET) for hint in (1, 5000))
    assert few == many


def test_wide_offsets() -> None:
    check_case(matmul(33, 17, 40, symbolic=True), wide=True)
    check_case(contract_kernels.weight_gradient(2, 12, 4, 8, symbolic=True), wide=True)
    check_case(contract_kernels.depthwise(2, 7, 12), wide=True)


CONVOLUTIONS = {
    "plain": conv(2, 7, 8, 16),
    "three channels, strided": conv(3, 9, 3, 20, s=2, symbolic=True),
    "stride above the window": conv(1, 6, 5, 8, k=2, s=3),
    "one point": conv(1, 3, 9, 8),
    "no images": conv(0, 7, 8, 16, symbolic=True),
    "data gradient": contract_kernels.flipped_conv(2, 6, 9, 16),
    "weight gradient": contract_kernels.weight_gradient(3, 7, 4, 8),
    "long weight gradient": contract_kernels.weight_gradient(5, 12, 4, 8, symbolic=True),
    "depthwise": contract_kernels.depthwise(2, 7, 12),
    "depthwise, one channel": contract_kernels.depthwise(1, 5, 1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    check_case(CONVOLUTIONS[name])


@pytest.mark.parametrize("seed", range(1, 15))
def test_random_products(seed: int) -> None:
    check_case(contract_kernels.random_product(seed), target=SMALL)


# ---- types -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [f16, bf16, f64])
@pytest.mark.parametrize("shape", [(33, 17, 40), (9, 20, 3)])
def test_types(dtype: DType, shape: tuple[int, int, int]) -> None:
    """Half types reach `tl.dot` as they are; sums are float32 and rounded once."""
    m, n, k = shape
    kernel = contract(
        [("m", m), ("n", n)], [("k", k)], at(m=k, k=1), at(k=n, n=1), at(m=n, n=1),
        dtypes=(dtype, dtype, dtype),
    )  # fmt: skip
    case = Case(kernel, {"a": m * k, "b": k * n, "y": m * n})
    check_case(case, rtol=0.0 if dtype is f64 else 2 ** (-7 if dtype is bf16 else -10))
    text = emit(kernel, (), TARGET).text
    name = {"f16": "tl.float16", "bf16": "tl.bfloat16", "f64": "tl.float64"}[dtype.name]
    assert ("tl.dot" not in text) == (k < 8) and name in text


def test_mixed_types_are_multiplied_in_the_wider_one() -> None:
    kernel = contract(
        [("m", 16), ("n", 16)], [("k", 24)], at(m=24, k=1), at(k=16, n=1), at(m=16, n=1),
        dtypes=(bf16, f32, f32),
    )  # fmt: skip
    check_case(Case(kernel, {"a": 384, "b": 384, "y": 256}))


@pytest.mark.parametrize("dtype", [i32, i64])
def test_integers_wrap(dtype: DType) -> None:
    loads = (Load("%a", dtype, "a", at(m=40, k=1)), Load("%b", dtype, "b", at(k=5, n=1)))
    body = (*loads, Dot("%dot", dtype, "%a", "%b"))
    kernel = Kernel(
        "whole", "contract",
        (Buffer("a", dtype, "r"), Buffer("b", dtype, "r"), Buffer("y", dtype, "w")), (), (),
        (Axis("m", 9), Axis("n", 5)),
        (Phase((Axis("k", 40),), body), Phase((), (Store("y", "%dot", at(m=5, n=1)),))),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype.numpy).max
    data = {x.name: rng.integers(-top, top, 400, dtype.numpy) for x in kernel.buffers}
    source = emit(kernel, (), TARGET)
    held = {name: aligned(x) for name, x in data.items()}
    run(source, [*held.values()], {})
    with np.errstate(over="ignore"):
        want = data["a"][:360].reshape(9, 40) @ data["b"][:200].reshape(40, 5)
    np.testing.assert_array_equal(held["y"][:45].reshape(9, 5), want)


@pytest.mark.parametrize("tf32", [False, True])
def test_precision_is_said(tf32: bool) -> None:
    kernel = matmul(32, 32, 32).kernel
    text = emit(kernel, (), TARGET, tf32=tf32).text
    assert f'input_precision="{"tf32" if tf32 else "ieee"}"' in text


# ---- stages and epilogues ----------------------------------------------------------------------


def test_operands_that_are_computed() -> None:
    """(a + 1) * (b * scale): where the depth has no points, nothing may be added."""
    stage = (
        Const("%one", f32, 1.0),
        Apply("%ra", f32, "add", ("%a", "%one")),
        Apply("%sb", f32, "mul", ("%b", "scale")),
    )
    for k in (19, 5):
        kernel = contract(
            [("m", 20), ("n", 40)], [("k", k)], at(m=k, k=1), at(k=40, n=1), at(m=40, n=1),
            stage=stage, operands=("%ra", "%sb"), scalars=(ScalarArg("scale", f32),),
        )  # fmt: skip
        check_case(Case(kernel, {"a": 20 * k, "b": 40 * k, "y": 800}, {}, {"scale": 0.5}))


def test_an_operand_that_is_the_same_for_all_summed_points() -> None:
    """Infinities in it meet no zero that stands for padding."""
    kernel = contract(
        [("m", 20), ("n", 24)], [("k", 19)], at(m=1), at(k=24, n=1), at(m=24, n=1)
    )  # fmt: skip
    case = Case(kernel, {"a": 20, "b": 19 * 24, "y": 480})
    check_case(case)
    data = case.data()
    data["a"][3], data["b"][:] = np.inf, np.abs(data["b"]) + 1
    check(kernel, data, {}, {})


def test_epilogue() -> None:
    """Guards of loads and stores, an index, a constant, a broadcast, two stores."""
    out = at(m=40, n=1)
    epilogue: tuple[Statement, ...] = (
        Load("%g", f32, "g", at(m=40, n=1, const=-3), guards=(Guard(at(n=1), 3, 30),)),
        Load("%row", f32, "row", at(m=1)),
        Const("%one", f32, 1.0),
        Index("%at", i64, at(m=2, n=1, const=3)),
        Apply("%f", f32, "cast", ("%at",)),
        Apply("%1", f32, "add", ("%dot", "%g")),
        Apply("%2", f32, "add", ("%1", "%row")),
        Apply("%3", f32, "add", ("%2", "%f")),
        Store("z", "%1", at(m=1, n=25)),
        Store("y", "%3", out, guards=(Guard(at(m=1, n=1), 4, 50),)),
    )
    for k in (9, 700):
        kernel = contract(
            [("m", 25), ("n", 40)], [("k", k)], at(m=k, k=1), at(k=40, n=1), out,
            epilogue=epilogue,
            buffers=(Buffer("g", f32, "r"), Buffer("row", f32, "r"), Buffer("z", f32, "w")),
        )  # fmt: skip
        lengths = {"a": 25 * k, "b": 40 * k, "g": 1000, "row": 25, "z": 1000, "y": 1000}
        check_case(Case(kernel, lengths), rtol=1e-5)


def test_update_in_place() -> None:
    epilogue: tuple[Statement, ...] = (
        Load("%p", f32, "p", at(m=45, n=1)),
        Apply("%1", f32, "mul", ("%dot", "lr")),
        Apply("%2", f32, "sub", ("%p", "%1")),
        Store("y", "%2", at(m=45, n=1)),
    )
    kernel = contract(
        [("m", 26), ("n", 45)], [("k", 2000)], at(m=1, k=26), at(k=45, n=1), at(m=45, n=1),
        epilogue=epilogue, scalars=(ScalarArg("lr", f32),),
        buffers=(Buffer("p", f32, "rw"), Buffer("y", f32, "w", alias="p")),
    )  # fmt: skip
    assert emit(kernel, (), TARGET).scratch_bytes
    lengths = {"a": 26 * 2000, "b": 45 * 2000, "p": 1170, "y": 1170}
    check_case(Case(kernel, lengths, {}, {"lr": 0.125}), rtol=1e-4)


# ---- steps of a user ---------------------------------------------------------------------------


def trained(model: nn.Module, *shape: int) -> Callable[[], None]:
    """Checks every contraction of a training step of `model`, the input's gradient included."""

    def checked() -> None:
        x = torch.randn(*shape).requires_grad_()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        @torch.compile
        def step(x: torch.Tensor) -> torch.Tensor:
            loss = (model(x) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        found = [k for k in lowered(step, x) if k.kernel.kind == "contract"]
        assert len(found) >= 3, "forward and both gradients"
        for launch in found:
            kernel = launch.kernel
            sizes = dict(zip(kernel.sizes, launch.sizes, strict=True))
            scalars = {s.name: x for s, x in zip(kernel.scalars, launch.scalars, strict=True)}
            check(kernel, memory(launch), sizes, scalars, rtol=1e-5)

    return checked


class Products(nn.Module):
    """A batched product with a mask in front."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 9, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(torch.relu(x), self.w)


STEPS = {
    "linear": trained(nn.Linear(20, 30), 9, 20),
    "linear of one": trained(nn.Linear(20, 1), 9, 20),
    "bmm": trained(Products(), 3, 10, 9),
    "padded": trained(nn.Conv2d(8, 16, 3, padding=1), 2, 8, 5, 5),
    "strided": trained(nn.Conv2d(8, 16, 3, stride=2, padding=1), 2, 8, 7, 6),
    "dilated": trained(nn.Conv2d(8, 9, 3, dilation=2, padding=1), 2, 8, 6, 6),
    "stride above the window": trained(nn.Conv2d(4, 8, 1, stride=3), 2, 4, 7, 7),
    "grouped": trained(nn.Conv2d(8, 16, 3, padding=1, groups=2), 1, 8, 5, 5),
    "few channels in groups": trained(nn.Conv2d(8, 8, 3, padding=1, groups=4), 1, 8, 5, 5),
    "depthwise": trained(nn.Conv2d(8, 8, 3, padding=1, groups=8), 2, 8, 5, 5),
    "depthwise, strided": trained(nn.Conv2d(8, 16, 3, stride=2, groups=8), 2, 8, 7, 7),
    "one channel": trained(nn.Conv2d(1, 6, 5), 2, 1, 8, 8),
    "along a line": trained(nn.Conv1d(5, 7, 3, padding=2), 2, 5, 11),
    "in space": trained(nn.Conv3d(3, 8, 2, padding=1), 1, 3, 3, 4, 3),
    "transposed": trained(nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1), 1, 8, 4, 4),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    STEPS[name]()


# ---- the benchmark nets ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv3", "resnet18_cifar", "mobilenetv2_224", "tinybert"])
def test_every_contraction_of_a_net_has_text(name: str) -> None:
    """The same at every call, for every precision and width of offsets."""
    found = {
        k.kernel.key(): k
        for k in compiled(losses, torch, small(name), 1, torch.compile).program.launches
        if k.kernel.kind == "contract"
    }
    assert found
    for launch in found.values():
        for options in ({}, {"tf32": True, "wide": True}):
            source = emit(launch.kernel, launch.sizes, TARGET, **options)
            compile(source.text, source.name, "exec")
            atomics = [x for x in source.text.splitlines() if "atomic" in x]
            assert all("counters" in x for x in atomics)  # no sum depends on who comes first
            assert emit(launch.kernel, launch.sizes, TARGET, **options) == source


TAPS = """\
kernel taps contract (x: r {of}, g: r {of}, w: w f32 | n | ) {{
  for c in {c}, r in 3, s in 3 {{
    for i in n, h in 7, v in 7 {{
      %0: {of} = load x[c + r*{line} + s*{c} + i*{image} + h*{line} + v*{c} - {first}] \
if 1 <= r + h < 8, 1 <= s + v < 8
      %1: {of} = load g[c + i*{image} + h*{line} + v*{c}]
      %2: f32 = dot %0 %1
    }}
    once {{
      store w[c*9 + r*3 + s] = %2
    }}
  }}
}}"""


@pytest.mark.parametrize("channels,of", [(20, "f32"), (40, "bf16")])
def test_taps_of_a_depthwise_weight_are_summed_side_by_side(channels: int, of: str) -> None:
    """Each pixel's gradient is loaded once for all of them, in one program."""
    line = channels * 7
    text = TAPS.format(of=of, c=channels, line=line, image=line * 7, first=line + channels)
    kernel, rng, n = parse(text), np.random.default_rng(1), 5
    kind = kernel.buffers[0].dtype.numpy
    x, g = (rng.standard_normal(n * line * 7).astype(kind) for _ in range(2))
    data = {"x": x, "g": g, "w": np.zeros(channels * 9, np.float32)}
    for wide in (False, True):
        check(kernel, data, {"n": n}, {}, wide=wide, hints=(1,), rtol=1e-5)
    few, many = (emit(kernel, [hint], TARGET) for hint in (1, 1000))
    assert few == many  # in which order a sum is added up is no matter of hints
    assert few.text.count("tl.load(b1") == 1 and few.text.count("tl.load(b0") == 9
