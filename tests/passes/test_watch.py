"""Which values are tested, where, and what is assumed of state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import graphc
from graphc import nn, optim
from graphc.ir.kernel import Store
from graphc.ir.program import Program
from graphc.ir.verify_kernel import verify_kernel
from graphc.ir.verify_program import verify_program
from graphc.passes.pipeline import compile_graph
from tests.passes.test_profile import CPU

KINDS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "adam": lambda p: optim.Adam(p),
}


def made(update: Any, check: str) -> Program:
    """The program of a step of a net of two layers."""
    net = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    opt = update(net.parameters())

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    step(graphc.randn(8, 6), graphc.randint(0, 3, (8,)))
    graph = step.entry((graphc.randn(8, 6), graphc.randint(0, 3, (8,))), {})[0].family.graph
    program = compile_graph(graph, replace(CPU, check=check)).program  # type: ignore[arg-type]
    for kernel in program.kernels():
        verify_kernel(kernel)
    verify_program(program)
    return program


@pytest.mark.parametrize("kind", KINDS)
def test_state_is_written_in_place_behind_tests_of_what_updates_read(kind: str) -> None:
    plain, program = made(KINDS[kind], ""), made(KINDS[kind], "finite")
    slots = {s.name: s for s in program.slots}
    states = {s.name for s in program.slots if s.space == "state" and s.spec.numel > 1}
    copied = {n for x in program.launches if x.kernel.name.startswith("copy") for n in x.slots}
    assert not states & copied and len(program.launches) <= len(plain.launches) + 3
    tested = set()
    for n, x in enumerate(program.launches):
        names = {b.name: s for b, s in zip(x.kernel.buffers, x.slots)}
        for s in x.kernel.statements():
            if isinstance(s, Store) and s.bound is not None:
                assert s.bound.late == (n >= program.commit)
                tested.add(names[s.buffer])
        if n >= program.commit and not x.kernel.name.startswith("copy"):
            for b, name in zip(x.kernel.buffers, x.slots):
                slot = slots[name]
                if b.access == "r" and b.dtype.is_floating_point and slot.space == "arena":
                    assert name in tested or not slot.spec.shape, name
    assert {s.name for s in program.slots if s.space == "out"} <= tested


def test_of_squares_it_is_assumed_that_they_are_not_negative() -> None:
    program = made(KINDS["adam"], "nan")
    names = {s.index: s.name for s in reversed(program.slots) if s.space == "state"}
    lows = {names[a.state]: a.lo for a in program.assumed}
    assert len(lows) == 12
    assert all((low == 0.0) == name.endswith("exp_avg_sq") for name, low in lows.items())
    assert not made(KINDS["adam"], "").assumed
