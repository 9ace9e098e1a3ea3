"""Winograd's convolutions: within 1e-5 of the sums in float64, and a tile is computed by itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pytest

from graphc.codegen_cpu import winograd
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import assembly
from graphc.codegen_cpu.module import emit_kernel
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd import gradient
from graphc.ir.kernel import Apply, Buffer, Kernel, Load, Roles, Store, WindowAxis
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse, show
from graphc.ir.types import Array, f32
from tests.codegen_cpu.contract_kernels import Case, Compiled, at, contract, module_text, narrowed
from tests.codegen_cpu.test_contraction import TARGETS

HOST = Target.host()
BOUND = 1e-5  # rms of the error over rms of the result, as documented
WINDOW = (WindowAxis("h", "r", 1, 1), WindowAxis("w", "s", 1, 1))


def asked(kernel: Kernel, roles: Mapping[str, tuple[str, ...] | str], **inner: int) -> Kernel:
    """The kernel with what its loops run over, asking for Winograd's algorithm."""
    told = []
    for loop, names in roles.items():
        parts = (names,) if isinstance(names, str) else names
        told.append(Roles(loop, parts, tuple(inner[name] for name in parts[1:])))
    return dataclasses.replace(kernel, roles=tuple(told), window=WINDOW, winograd=4)


def forward(n: int, h: int, w: int, c: int, o: int, epilogue: bool = False) -> Case:
    """Images of (h + 2) by (w + 2) by c, weights [3][3][c][o]; rows of taps merge with channels."""
    x = at(n=(h + 2) * (w + 2) * c, h=(w + 2) * c, w=c, r=(w + 2) * c, sc=1)
    weight, y = at(r=3 * c * o, sc=o, k=1), at(n=h * w * o, h=w * o, w=o, k=1)
    more: dict[str, object] = {}
    lengths = {"a": n * (h + 2) * (w + 2) * c, "b": 9 * c * o, "y": n * h * w * o}
    if epilogue:
        bias = Load("%bias", f32, "bias", at(k=1)), Apply("%z", f32, "add", ("%dot", "%bias"))
        keep = Load("%old", f32, "y", y), Apply("%s", f32, "add", ("%z", "%old"))
        more = {
            "epilogue": (*bias, *keep, Apply("%p", f32, "relu", ("%s",)), Store("y", "%p", y)),
            "buffers": (Buffer("bias", f32, "r"), Buffer("y", f32, "rw")),
        }
        lengths["bias"] = o
    kernel = contract(
        [("n", "n0"), ("h", h), ("w", w), ("k", o)], [("r", 3), ("sc", 3 * c)], x, weight, y,
        sizes=("n0",), **more,
    )  # type: ignore[arg-type]  # fmt: skip
    roles = {"n": "n", "h": "h", "w": "w", "k": "k", "r": "r", "sc": ("s", "c")}
    return Case(asked(kernel, roles, c=c), lengths, {"n0": n})


def data_gradient(n: int, h: int, w: int, c: int, o: int) -> Case:
    """The same with weights [3][3][o][c], turned, and the taps backwards."""
    case = forward(n, h, w, c, o)
    x = at(n=(h + 2) * (w + 2) * c, h=(w + 2) * c, w=c, r=(w + 2) * c, s=c, c=1)
    weight = at(const=8 * c * o, r=-3 * c * o, s=-c * o, c=1, k=c)
    y = at(n=h * w * o, h=w * o, w=o, k=1)
    axes = [(a.name, a.extent) for a in case.kernel.axes]
    kernel = contract(axes, [("r", 3), ("s", 3), ("c", c)], x, weight, y, sizes=("n0",))
    roles = {name: name for name in ("n", "h", "w", "k", "r", "s", "c")}
    return Case(asked(kernel, roles), case.lengths, case.sizes)


def weight_gradient(n: int, h: int, w: int, c: int, o: int) -> Case:
    """dy has a border of one pixel, which its data gradient needs."""
    x = at(h=(w + 2) * c, wn=1, c=(h + 2) * (w + 2) * c, r=(w + 2) * c, s=c)
    dy = at(const=(w + 3) * o, k=1, c=(h + 2) * (w + 2) * o, r=(w + 2) * o, s=o)
    out = at(h=3 * c * o, wn=o, k=1)
    kernel = contract(
        [("h", 3), ("wn", 3 * c), ("k", o)], [("c", "n0"), ("r", h), ("s", w)], x, dy, out,
        sizes=("n0",),
    )  # fmt: skip
    roles = {"h": "h", "wn": ("w", "n"), "k": "k", "c": "c", "r": "r", "s": "s"}
    pixels = n * (h + 2) * (w + 2)
    lengths = {"a": pixels * c, "b": pixels * o, "y": 9 * c * o}
    return Case(asked(kernel, roles, n=c), lengths, {"n0": n})


def exact(case: Case, data: Mapping[str, Array]) -> Array:
    """The sums as written: of multiples of 1/64, which float32 adds up exactly."""
    copy = {name: x.copy() for name, x in data.items()}
    run_kernel(case.kernel, copy, case.sizes, case.scalars)
    return copy["y"].astype(np.float64)


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def check(case: Case, targets: list[Target] | None = None) -> None:
    """Near the sums in float64 on every target, with the same bits from any number of threads."""
    want = exact(case, case.data())
    for target in targets or TARGETS:
        assert winograd.supports(case.kernel, target)
        compiled = Compiled(case, target, winograd.emit)
        got = compiled.run(1)["y"]
        assert rms(got - want) <= BOUND * rms(want)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(compiled.run(threads)["y"], got, f"T={threads}")


# ---- shapes ------------------------------------------------------------------------------------

DIRECTIONS = {"forward": forward, "data": data_gradient, "weight": weight_gradient}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("size", [(4, 4), (5, 9), (8, 7), (6, 13)], ids=str)
def test_any_size(direction: str, size: tuple[int, int]) -> None:
    """Whole tiles, and tiles that are moved back along either axis, by any number of pixels."""
    check(DIRECTIONS[direction](3, *size, 32, 32))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("size", [(4, 4), (5, 9)], ids=str)
def test_operands_in_bfloat16(direction: str, size: tuple[int, int]) -> None:
    """Points and sums are float32's all the same."""
    check(narrowed(DIRECTIONS[direction](3, *size, 32, 64)))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("channels", [(64, 96), (160, 32)], ids=str)
def test_several_panels_and_chunks(direction: str, channels: tuple[int, int]) -> None:
    check(DIRECTIONS[direction](2, 8, 8, *channels), [HOST])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("batch", [0, 1, 2, 14])
def test_any_batch(direction: str, batch: int) -> None:
    """More tiles than go together, fewer than a register tile's, and none."""
    check(DIRECTIONS[direction](batch, 8, 8, 32, 32), [HOST])


@pytest.mark.parametrize("size", [8, 9])
def test_an_epilogue_in_place_runs_once_for_each_output(size: int) -> None:
    check(forward(2, size, size, 32, 32, epilogue=True))


class Rows(Case):
    """Images and weights that do not depend on how many images there are."""

    def data(self, seed: int = 0) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        b = rng.standard_normal(self.lengths["b"]).astype(np.float32)
        a = rng.standard_normal(self.lengths["a"]).astype(np.float32)
        return {"a": a, "b": b, "y": np.zeros(self.lengths["y"], np.float32)}


def test_a_row_has_the_same_bits_in_any_batch() -> None:
    """Other tiles go together then; images are drawn one after the other."""
    outputs = []
    for n in (13, 4, 1):
        case = forward(n, 9, 8, 32, 32)
        case = Rows(case.kernel, case.lengths, case.sizes)
        outputs.append(Compiled(case, HOST, winograd.emit).run(1)["y"].reshape(n, -1))
    np.testing.assert_array_equal(outputs[1], outputs[0][:4])
    np.testing.assert_array_equal(outputs[2], outputs[0][:1])


def test_long_sums_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the spans of a weight gradient give adds up, the last one in part."""
    monkeypatch.setattr(gradient, "SPAN", 2 * gradient.TOGETHER)
    check(weight_gradient(19, 8, 8, 32, 32), [HOST])


class WithNaN(Case):
    """Data with one pixel that is no number."""

    def data(self, seed: int = 0) -> dict[str, Array]:
        data = super().data(seed)
        image = data["a"].reshape(14, 14, 32)
        image[6, 6] = np.nan
        return data


def test_a_nan_reaches_what_it_should_and_no_other_tile() -> None:
    plain = forward(1, 12, 12, 32, 32)
    case = WithNaN(plain.kernel, plain.lengths, plain.sizes)
    got = np.isnan(Compiled(case, HOST, winograd.emit).run(1)["y"].reshape(12, 12, 32))
    must, may = np.zeros((12, 12, 32), bool), np.zeros((12, 12, 32), bool)
    must[4:7, 4:7] = True  # the outputs whose window holds the pixel
    may[4:8, 4:8] = True  # the tile of those
    assert (got >= must).all() and (got <= may).all()


# ---- what it takes -----------------------------------------------------------------------------


def without(kernel: Kernel, **changes: object) -> Kernel:
    return dataclasses.replace(kernel, **changes)  # type: ignore[arg-type]  # by name


def test_other_kernels_are_left_to_the_plain_sum() -> None:
    kernel = forward(1, 8, 8, 32, 32).kernel
    strided = tuple(dataclasses.replace(w, stride=2) for w in WINDOW)
    assert winograd.supports(kernel, HOST)
    assert not winograd.supports(without(kernel, winograd=0), HOST)
    assert not winograd.supports(without(kernel, winograd=2), HOST)
    assert not winograd.supports(without(kernel, window=strided), HOST)
    assert not winograd.supports(without(kernel, roles=()), HOST)
    for case in (forward(1, 3, 8, 32, 32), forward(1, 8, 8, 20, 32), forward(1, 8, 8, 32, 40)):
        assert not winograd.supports(case.kernel, HOST)
        assert emit_kernel(case.kernel, HOST)


def test_the_text_says_so() -> None:
    kernel = data_gradient(1, 8, 8, 32, 32).kernel
    assert "\n  winograd 4\n" in show(kernel)
    assert parse(show(kernel)) == kernel
    assert kernel.key() != without(kernel, winograd=0).key()


@pytest.mark.parametrize("name", ["haswell", "sapphirerapids", "neoverse-n1"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_register_tiles_do_not_spill(name: str, direction: str) -> None:
    """The loops with most multiply-adds, those of the products, touch the stack by its data alone:
    through pointers in registers, never beside the stack pointer."""
    target = Target.named(name)
    kernel = DIRECTIONS[direction](2, 8, 8, 64, 64).kernel
    text = module_text(kernel, target, winograd.emit)
    loops = re.split(r"\n\.L\w+:", assembly(text, target))
    fma = re.compile(r"\bvfmadd\w+|\bfmla\b")
    busiest = max(loops, key=lambda block: len(fma.findall(block)))
    assert len(fma.findall(busiest)) >= 8
    spills = re.findall(r"(?:vmov[au]ps|str|ldr)\s[^\n]*(?:\(%[re]sp\)|\[sp)", busiest)
    assert not spills


def test_the_plan_says_so() -> None:
    told = describe(forward(1, 8, 8, 64, 32).kernel, HOST)
    assert "template: winograd" in told and "64 of 64 input channels" in told
    assert "32 input by 32 output channels" in describe(
        weight_gradient(1, 8, 8, 32, 32).kernel, dataclasses.replace(HOST, vector_bytes=64)
    )
