"""Kernels of other sizes that are one text: each computes its own, with the bits of code alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.module import Module, emit_shared
from graphc.codegen_cpu.target import Target
from graphc.runtime.disk_cache import DiskCache
from tests.codegen_cpu.contract_kernels import (
    Case,
    Compiled,
    conv,
    depthwise,
    matmul,
    narrowed,
    random_product,
    weight_gradient,
)

HOST = Target.host()
SHARED = partial(contraction.emit, shared=True)
DEPTHS = (64, 96, 128, 160, 192)  # of layers that each read what all before them made


def family() -> list[Case]:
    """Products by matrices of 256 columns, by tiles of few rows."""
    return [matmul(40, 256, depth, symbolic=True) for depth in DEPTHS]


def shared(case: Case) -> Module:
    return emit_shared(case.kernel, HOST)


def test_layers_of_other_depths_are_one_text_with_numbers_of_their_own() -> None:
    modules = [shared(case) for case in family()]
    assert len({(m.text, m.symbol) for m in modules}) < len(modules) / 2
    assert len({m.numbers for m in modules}) == len(modules)
    for module, depth in zip(modules, DEPTHS, strict=True):
        assert depth in module.numbers


def test_code_of_one_computes_all_that_are_the_same_text() -> None:
    """From their own numbers, with the bits that code for them alone gives."""
    compiled: dict[str, Compiled] = {}
    for case in family():
        module = shared(case)
        code = compiled.setdefault(module.text, Compiled(case, HOST, SHARED))
        code.case, code.numbers = case, module.numbers
        alone = Compiled(case, HOST).run(1)["y"]
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(code.run(threads)["y"], alone)
    assert len(compiled) < len(DEPTHS) / 2


@pytest.mark.parametrize(
    "case",
    [
        *(
            matmul(37, 70, 51, layout, symbolic)
            for layout in ("nn", "nt", "tn")
            for symbolic in (False, True)
        ),
        conv(2, 9, 24, 40, k=1),
        conv(2, 9, 24, 40, k=1, s=2),
        weight_gradient(3, 10, 20, 33, symbolic=True),
        narrowed(matmul(33, 65, 129, "nt")),
        *(random_product(seed) for seed in range(6)),
    ],
)
def test_the_bits_are_those_of_code_alone(case: Case) -> None:
    if not contraction.supports(case.kernel, HOST):
        pytest.skip("the loops of any kernel take it")
    alone, code = Compiled(case, HOST).run(1)["y"], Compiled(case, HOST, SHARED)
    for threads in (1, 3):
        np.testing.assert_array_equal(code.run(threads)["y"], alone)


def test_displacements_stay_in_the_text() -> None:
    """Of windows and depthwise kernels, whose rows and taps would each need a pointer; and where
    each access is checked, what lies behind the scalars are sizes of buffers."""
    for case in (conv(2, 9, 24, 40), depthwise(2, 9, 40)):
        assert not shared(case).numbers
    assert not emit_shared(family()[0].kernel, HOST, checked=True).numbers


def test_a_text_is_compiled_once_by_all_programs(tmp_path: Path) -> None:
    texts = len({shared(case).text for case in family()})
    first, *others = [case.kernel for case in family()]
    library = KernelLibrary(HOST, DiskCache(tmp_path / "k"))
    library.functions([first])
    functions = library.functions(others)
    assert (library.compiled, library.hits) == (texts, len(DEPTHS) - texts)
    again = KernelLibrary(HOST, DiskCache(tmp_path / "k"))
    found = again.functions(others)
    assert (again.compiled, again.hits) == (0, len(others))
    assert [f.numbers for f in found] == [f.numbers for f in functions]


def test_a_dense_block_compiles_its_layers_together() -> None:
    """And computes what they compute one by one."""
    graphc.manual_seed(0)
    layers = [nn.Conv2d(depth, 32, 1, bias=False) for depth in DEPTHS]

    def forward(x: graphc.Tensor) -> graphc.Tensor:
        for layer in layers:
            x = graphc.cat([x, layer(x).relu()], 1)
        return x

    x = graphc.randn(2, DEPTHS[0], 4, 4)
    step = graphc.compile(forward)
    got, want = (f(x).detach().numpy() for f in (step, forward))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_rows_of_a_large_tile_keep_their_distance() -> None:
    """Each would need a pointer, and there are more rows than registers."""
    case = matmul(40, 80, 96, symbolic=True)
    assert 96 not in shared(case).numbers and 96 in shared(family()[1]).numbers
