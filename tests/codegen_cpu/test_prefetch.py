"""What tiles ask memory for ahead of time: which kernels do, and that no result changes by it."""

from __future__ import annotations

import pytest

from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Buffer, Load, Store
from graphc.ir.types import f32
from tests.codegen_cpu.contract_kernels import (
    Case,
    at,
    contract,
    conv,
    depthwise,
    matmul,
    module_text,
)
from tests.codegen_cpu.test_contraction import HOST, check


def gradient(rows: int, columns: int, samples: int) -> Case:
    """Of the weight of a 1x1 convolution, over an unknown number of pixels."""
    kernel = contract(
        [("m", rows), ("n", columns)], [("k", "n0")], at(k=rows, m=1), at(k=columns, n=1),
        at(m=columns, n=1), sizes=("n0",),
    )  # fmt: skip
    lengths = {"a": rows * samples, "b": samples * columns, "y": rows * columns}
    return Case(kernel, lengths, {"n0": samples})


def strided_gradient(rows: int, columns: int, samples: int, places: int = 5) -> Case:
    """The same where a stride of two leaves out pixels and rows of them, so that these are two
    loops."""
    kernel = contract(
        [("m", rows), ("n", columns)], [("k", "n0"), ("x", places)],
        at(k=4 * places * rows, x=2 * rows, m=1), at(k=places * columns, x=columns, n=1),
        at(m=columns, n=1), sizes=("n0",),
    )  # fmt: skip
    a, b = (samples * places * n for n in (4 * rows, columns))
    return Case(kernel, {"a": a, "b": b, "y": rows * columns}, {"n0": samples})


def data_gradient(samples: int, outputs: int, inputs: int) -> Case:
    """Of an unknown number of samples: the weights' rows are what is summed over."""
    kernel = contract(
        [("m", "n0"), ("n", inputs)], [("k", outputs)], at(m=outputs, k=1), at(k=inputs, n=1),
        at(m=inputs, n=1), sizes=("n0",),
    )  # fmt: skip
    lengths = {"a": samples * outputs, "b": outputs * inputs, "y": samples * inputs}
    return Case(kernel, lengths, {"n0": samples})


def depthwise_gradient(h: int, c: int) -> Case:
    o = h - 2
    kernel = contract(
        [("ky", 3), ("kx", 3), ("ch", c)], [("oy", o), ("ox", o)],
        at(oy=h * c, ox=c, ky=h * c, kx=c, ch=1), at(oy=o * c, ox=c, ch=1),
        at(ky=3 * c, kx=c, ch=1),
    )  # fmt: skip
    return Case(kernel, {"a": h * h * c, "b": o * o * c, "y": 9 * c})


def depthwise_gradient_of_images(h: int, c: int, stride: int) -> Case:
    """As above, over an unknown number of images."""
    o = (h - 3) // stride + 1
    kernel = contract(
        [("ky", 3), ("kx", 3), ("ch", c)], [("n", "n0"), ("oy", o), ("ox", o)],
        at(n=h * h * c, oy=stride * h * c, ox=stride * c, ky=h * c, kx=c, ch=1),
        at(n=o * o * c, oy=o * c, ox=c, ch=1), at(ky=3 * c, kx=c, ch=1), sizes=("n0",),
    )  # fmt: skip
    return Case(kernel, {"a": 2 * h * h * c, "b": 2 * o * o * c, "y": 9 * c}, {"n0": 2})


def depthwise_image(h: int, c: int, stride: int, residual: bool = False) -> Case:
    """A depthwise convolution, whose epilogue may add another image."""
    o = (h - 3) // stride + 1
    y = at(n=o * o * c, oy=o * c, ox=c, ch=1)
    added = (Load("%r", f32, "r", y), Apply("%sum", f32, "add", ("%dot", "%r")))
    kernel = contract(
        [("n", 2), ("oy", o), ("ox", o), ("ch", c)], [("ky", 3), ("kx", 3)],
        at(n=h * h * c, oy=stride * h * c, ox=stride * c, ky=h * c, kx=c, ch=1),
        at(ky=3 * c, kx=c, ch=1), y, buffers=(Buffer("r", f32, "r"),) if residual else (),
        epilogue=(*added, Store("y", "%sum", y)) if residual else (),
    )  # fmt: skip
    outputs = 2 * o * o * c
    return Case(kernel, {"a": 2 * h * h * c, "b": 9 * c, "r": outputs, "y": outputs})


ASKING = {
    "rows of pixels": matmul(60, 32, 48),
    "columns of a chunk": gradient(96, 24, 600),
    "pixels of a chunk that a stride leaves": strided_gradient(96, 24, 300),
    "columns of a later tile": data_gradient(11, 4096, 56),
    "lines of an image": depthwise(2, 12, 32),
    "pixels of the next row": depthwise_gradient_of_images(12, 16, 1),
    "pixels of the next row, strided": depthwise_gradient_of_images(13, 16, 2),
    "results of short sums": matmul(60, 32, 48, "tn"),
    "of tiles that move back": matmul(61, 35, 24, "tn"),
}


@pytest.mark.parametrize("name", ASKING)
def test_what_no_prefetcher_follows_is_asked_for(name: str) -> None:
    assert "call void @llvm.prefetch" in module_text(ASKING[name].kernel, HOST)
    check(ASKING[name])


@pytest.mark.parametrize(("stride", "lines"), [(1, 2), (2, 5)])
def test_a_depthwise_gradient_asks_once_for_each_pixel(stride: int, lines: int) -> None:
    """Of nine taps only those ask that read what none has read: one, or four of a stride of two;
    and the output's pixel."""
    text = module_text(depthwise_gradient_of_images(40, 16, stride).kernel, Target.named("haswell"))
    steps = text.count("call <8 x float> @llvm.fma") / 9
    assert text.count("call void @llvm.prefetch") == lines * steps > 0


@pytest.mark.parametrize(
    ("stride", "residual", "lines"), [(1, False, 1), (1, True, 2), (2, False, 4), (2, True, 5)]
)
def test_a_depthwise_result_asks_for_what_is_read_below(
    stride: int, residual: bool, lines: int
) -> None:
    """New lines of the image, and what the epilogue reads, beside each result: not before the tile,
    where they would wait for each other."""
    case = depthwise_image(26, 16, stride, residual)
    text = module_text(case.kernel, Target.named("haswell"))
    results = text.count("store <8 x float>")
    assert text.count("call void @llvm.prefetch") == lines * results > 0
    assert text.index("call <8 x float> @llvm.fma") < text.index("call void @llvm.prefetch")
    check(case)


@pytest.mark.parametrize(
    "case", [conv(2, 12, 16, 32), matmul(60, 32, 480, "tn")], ids=["dense", "transposed"]
)
def test_what_other_tiles_read_as_well_is_not(case: Case) -> None:
    assert "llvm.prefetch" not in module_text(case.kernel, HOST)


def test_a_gradient_of_many_pixels_goes_through_them_once() -> None:
    """However narrow: what a chunk reads stays in the cache for all tiles."""
    chosen = plan(gradient(144, 24, 600).kernel, HOST)
    assert chosen is not None and chosen.chunk == 0 and not chosen.apart


def test_a_gradient_of_every_second_pixel_goes_through_them_once() -> None:
    """By tiles of all lanes together, as nobody knows how few images there are."""
    chosen = plan(strided_gradient(64, 128, 300, 16).kernel, HOST)
    assert chosen is not None and chosen.chunk == 0 and not chosen.apart and not chosen.packed


@pytest.mark.parametrize("channels", [2, 3])
def test_few_tiles_are_shared_out_between_threads(channels: int) -> None:
    """A depthwise gradient has no other tiles than those of its channels."""
    vectors = channels * HOST.vector_bytes // 4
    chosen = plan(depthwise_gradient(12, vectors).kernel, HOST)
    assert chosen is not None and chosen.vectors == 1
    check(depthwise_gradient(12, vectors))
