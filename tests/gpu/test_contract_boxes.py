"""Convolutions whose operands come by tensor descriptors: in Triton's interpreter, and as code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("triton")

from kernels import SMALL, TARGET
from test_contract import check, check_case

from graphc.codegen_gpu import abi, facts
from graphc.codegen_gpu.contract_parts import as_product
from graphc.codegen_gpu.contract_tiles import tile
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.target import Target
from graphc.ir.kernel import (
    Affine,
    Apply,
    Buffer,
    Guard,
    Kernel,
    Load,
    Phase,
    Statement,
)
from graphc.ir.types import DType, bf16, f16, f32, f64
from tests.codegen_cpu.contract_kernels import Case, at, contract
from tests.codegen_cpu.test_contraction_partials import with_partials

MADE = "tl.make_tensor_descriptor("


def guarded(kernel: Kernel, name: str, guards: tuple[Guard, ...]) -> Kernel:
    """The kernel, with guards of one of its loads."""
    first, *rest = kernel.phases
    body = [
        replace(s, guards=guards) if isinstance(s, Load) and s.name == name else s
        for s in first.body
    ]
    return replace(kernel, phases=(Phase(first.axes, tuple(body)), *rest))


class Conv:
    """A convolution of NHWC images, padded, with weights [k][r][s][c], and its gradients."""

    def __init__(
        self, n: int, h: int, w: int, c: int, k: int, *, window: int = 3, pad: int = 1,
        stride: int = 1, dtype: DType = bf16, named: bool = False,
    ) -> None:  # fmt: skip
        self.n, self.h, self.w, self.c, self.k = n, h, w, c, k
        self.window, self.pad, self.stride, self.dtypes = window, pad, stride, (dtype,) * 3
        self.oh, self.ow = ((x + 2 * pad - window) // stride + 1 for x in (h, w))
        self.images = "n0" if named else n
        self.named = {"n0": n} if named else {}

    def guards(self, h: int, w: int, **strides: int) -> tuple[Guard, ...]:
        y, x = (at(**{o: strides.get(o, 1), t: strides.get(t, 1)}) for o, t in ("yr", "xs"))
        return Guard(y, self.pad, h + self.pad), Guard(x, self.pad, w + self.pad)

    @property
    def options(self) -> dict[str, object]:
        return {"dtypes": self.dtypes, "sizes": tuple(self.named)}

    @property
    def lengths(self) -> dict[str, int]:
        return {
            "x": self.n * self.h * self.w * self.c,
            "w": self.k * self.window**2 * self.c,
            "y": self.n * self.oh * self.ow * self.k,
        }

    def case(self, kernel: Kernel, a: str, b: str, y: str) -> Case:
        lengths = {name: self.lengths[of] for name, of in zip("aby", (a, b, y))}
        return Case(kernel, lengths, self.named)

    def forward(
        self, epilogue: tuple[Statement, ...] = (), buffers: tuple[Buffer, ...] = ()
    ) -> Case:
        s, r, c, k, row = self.stride, self.window, self.c, self.k, self.w * self.c
        x = at(
            n=self.h * row, y=s * row, x=s * c, r=row, s=c, c=1, const=-self.pad * (row + c)
        )  # fmt: skip
        kernel = contract(
            [("n", self.images), ("y", self.oh), ("x", self.ow), ("k", k)],
            [("r", r), ("s", r), ("c", c)],
            x, at(k=r * r * c, r=r * c, s=c, c=1), self.places(self.oh, self.ow, k, "k"),
            epilogue=epilogue, buffers=buffers, **self.options,
        )  # fmt: skip
        kernel = guarded(kernel, "%a", self.guards(self.h, self.w, y=s, x=s))
        return self.case(kernel, "x", "w", "y")

    @staticmethod
    def places(h: int, w: int, c: int, channel: str) -> Affine:
        return at(n=h * w * c, y=w * c, x=c, **{channel: 1})

    def data(self) -> Case:
        """Of stride 1: the taps run backwards."""
        r, c, k, row = self.window, self.c, self.k, self.ow * self.k
        lap = r - 1 - self.pad
        dy = at(n=self.oh * row, y=row, x=k, r=row, s=k, k=1, const=-lap * (row + k))
        weights = at(k=r * r * c, r=-r * c, s=-c, c=1, const=(r * r - 1) * c)
        kernel = contract(
            [("n", self.images), ("y", self.h), ("x", self.w), ("c", c)],
            [("r", r), ("s", r), ("k", k)],
            dy, weights, self.places(self.h, self.w, c, "c"), **self.options,
        )  # fmt: skip
        guards = tuple(
            replace(g, lo=lap, hi=size + lap)
            for g, size in zip(self.guards(0, 0), (self.oh, self.ow))
        )
        return self.case(guarded(kernel, "%a", guards), "y", "w", "x")

    def weight(self) -> Case:
        s, r, c, k, row = self.stride, self.window, self.c, self.k, self.w * self.c
        x = at(
            c=1, r=row, s=c, n=self.h * row, y=s * row, x=s * c, const=-self.pad * (row + c)
        )  # fmt: skip
        kernel = contract(
            [("k", k), ("r", r), ("s", r), ("c", c)],
            [("n", self.images), ("y", self.oh), ("x", self.ow)],
            x, self.places(self.oh, self.ow, k, "k"), at(k=r * r * c, r=r * c, s=c, c=1),
            **self.options,
        )  # fmt: skip
        kernel = guarded(kernel, "%a", self.guards(self.h, self.w, y=s, x=s))
        return self.case(kernel, "x", "y", "w")


def count(kernel: Kernel, target: Target = SMALL, tf32: bool = False) -> int:
    return emit(kernel, [70] * len(kernel.sizes), target, tf32=tf32).text.count(MADE)


@pytest.mark.parametrize("named", [False, True])
def test_forward(named: bool) -> None:
    case = Conv(3, 9, 6, 72, 64, named=named).forward()
    assert count(case.kernel) == 2
    check_case(case, target=SMALL, rtol=2**-7)


CASES = {
    "images cut in four": Conv(2, 8, 8, 64, 64).forward(),
    "lines that end in a box": Conv(1, 5, 13, 80, 72, dtype=f16).forward(),
    "a wide window": Conv(1, 6, 8, 32, 64, window=5, pad=2).forward(),
    "along pairs": Conv(3, 16, 10, 64, 64, stride=2, named=True).forward(),
    "data": Conv(3, 7, 7, 64, 64, named=True).data(),
    "data, no padding": Conv(2, 8, 8, 64, 64, pad=0, named=True).data(),
    "weights of many images": Conv(10, 3, 3, 64, 64, named=True).weight(),
    "weights along pairs": Conv(10, 6, 6, 64, 64, stride=2, named=True).weight(),
}


@pytest.mark.parametrize("name", CASES)
def test_every_direction(name: str) -> None:
    case = CASES[name]
    assert count(case.kernel) == 2
    check_case(case, target=SMALL, rtol=2**-7)


def test_a_box_of_several_axes_is_the_right_operand() -> None:
    """As the left one it would come through registers; of two such one would have to be it."""
    for name in ("images cut in four", "data"):
        kernel = CASES[name].kernel
        text = emit(kernel, [70] * len(kernel.sizes), SMALL).text
        (made,) = (x.split(" = ")[0].strip() for x in text.splitlines() if "[1, 8, 8, 64]" in x)
        (product,) = (x for x in text.splitlines() if "tl.dot(" in x)
        assert product.count("tl.reshape(") == 2
        assert f"{made}.load" in product.split("tl.reshape(")[2]
    assert tile(as_product(Conv(3, 8, 8, 64, 64).weight().kernel), {}, SMALL, False).boxes is None


def test_wide_offsets_and_parts_of_a_sum() -> None:
    case = Conv(2, 16, 8, 64, 64, named=True).weight()
    assert tile(as_product(case.kernel), {"n0": 2}, TARGET, False).splits > 1
    check_case(case, wide=True, rtol=2**-7)


def test_statistics_count_the_points_that_there_are() -> None:
    wide = (
        Apply("%wide", f64, "cast", ("%dot",)), Apply("%square", f64, "mul", ("%wide", "%wide"))
    )  # fmt: skip
    wanted = (("sum", "%dot", f32), ("sum", "%square", f64), ("deviations", "%dot", f32))
    for conv in (Conv(2, 7, 9, 64, 64, named=True), Conv(1, 20, 12, 64, 64)):
        case = with_partials(conv.forward(), ("y", "x"), wanted, 1, wide)
        assert count(case.kernel) == 2
        check_case(case, target=SMALL, rtol=2**-7)


def test_what_is_not_finite_stays_where_it_is() -> None:
    """Infinities at the edges meet no zero that stands for padding or for what sticks out."""
    for case, name in (
        (Conv(2, 7, 7, 72, 64).forward(), "a"),
        (Conv(3, 3, 3, 64, 64).weight(), "a"),
        (Conv(2, 8, 8, 64, 64).weight(), "b"),
    ):
        data = case.data()
        data[name][[0, -1]] = np.inf
        check(case.kernel, data, {}, {}, target=SMALL, rtol=2**-7)


def test_tf32() -> None:
    case = Conv(2, 8, 8, 64, 64, dtype=f32).forward()
    assert count(case.kernel, tf32=True) == 2
    assert not count(case.kernel), "exact products read operands from registers"


def test_pointers_where_nothing_else_will_do() -> None:
    assert not count(Conv(2, 9, 9, 64, 64, stride=2).forward().kernel), "pairs that have no second"
    assert not count(Conv(2, 8, 8, 60, 64).forward().kernel), "no whole lines of 16 bytes"
    assert not count(Conv(2, 8, 8, 64, 64, window=2).forward().kernel), "few steps"
    assert not count(Conv(2, 8, 8, 16, 64).forward().kernel), "shallow steps"
    assert not count(CASES["data"].kernel, Target("sm_80", sms=1))


BOXES = {
    (56, 64): ((2, 8, 8), None),
    (28, 128): ((16, 4, 4), None),
    (14, 256): ((32, 2, 2), None),
    (7, 512): ((128, 1, 1), (64, 1, 1)),
}


@pytest.mark.parametrize(("size", "channels"), BOXES)
def test_boxes_of_resnet(size: int, channels: int) -> None:
    """No box sticks out where that can be, and bits do not depend on hints."""
    conv = Conv(256, size, size, channels, channels, named=True)
    rows, depth = BOXES[size, channels]
    for batch in (2, 256):
        forward, weight = (
            tile(as_product(c.kernel), {"n0": batch}, TARGET, False).boxes
            for c in (conv.forward(), conv.weight())
        )
        assert forward is not None and (batch == 2 or forward.rows == rows)
        assert forward.summed == (1, 1, 64)
        assert (weight.summed if weight else None) == depth
    assert forward.rows[0] <= batch


def test_boxes_move_by_tma() -> None:
    convs = (
        Conv(256, 28, 28, 128, 128, named=True),
        Conv(256, 28, 28, 128, 128, named=True, stride=2),
        Conv(256, 7, 7, 128, 128, named=True),
    )
    cases = [convs[0].data(), convs[1].forward(), convs[2].weight()]
    pool = Pool()
    sources = [emit(c.kernel, (256,), Target.named("sm_90a")) for c in cases]
    for image in GpuLibrary(Target.named("sm_90a"), pool=pool).images(sources):
        found = facts.instructions(facts.sass(image))
        assert any(name in found for name in ("UTMALDG.4D", "UTMALDG.5D")), found
        assert any(name.startswith("HGMMA") for name in found)
        assert not any(name.startswith("LDGSTS") for name in found), "all by descriptors"
        assert image.shared_bytes <= 227 << 10 and not facts.spills(image)
        assert facts.entry_parameters(image) == abi.parameter_types(image.source)
    pool.close()
