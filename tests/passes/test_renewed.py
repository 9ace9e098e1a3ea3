"""Which operands a contraction knows to be written anew, and from when."""

from __future__ import annotations

import dataclasses

import pytest

from graphc.ir.kernel import Kernel
from graphc.passes.pipeline import compile_graph
from tests.passes.graphs import CASES, Case, make
from tests.passes.test_schedule import CHECK, UPDATE, program
from tests.passes.texts import graph
from tests.targets import CPU


def test_a_contraction_knows_which_of_its_operands_is_written_anew() -> None:
    """State that the program keeps is not, nor an argument, nor what is too large for a cache; and
    only where the target wants to know."""
    (reader, update), (kept, _) = program(UPDATE).launches, program(CHECK).launches[:2]
    assert [b.renewed for b in reader.kernel.buffers] == [True, False, False]
    assert not any(b.renewed for x in (update, kept) for b in x.kernel.buffers)
    for least in (0, 80):
        one = dataclasses.replace(CPU, renewed=least)
        others = compile_graph(graph(UPDATE), one).program.kernels()
        assert not any(b.renewed for k in others for b in k.buffers)


@pytest.mark.parametrize("body", [UPDATE, CHECK], ids=["renewed", "kept"])
def test_what_is_compiled_from_when_it_is_lowered_is_a_kernel_of_the_program(body: str) -> None:
    """Else it would be compiled twice: once for nothing, once as the schedule has it."""
    begun = list[Kernel]()
    known = compile_graph(graph(body), CPU, made=begun.append).program.kernels()
    assert begun and {k.key() for k in begun} <= {k.key() for k in known}
    assert any(k.kind == "contract" for k in begun) is (body is UPDATE)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_no_graph_begins_kernels_that_its_program_lacks(case: Case) -> None:
    begun = list[Kernel]()
    known = compile_graph(make(case), CPU, made=begun.append).program.kernels()
    assert {k.key() for k in begun} <= {k.key() for k in known}
