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


def linear() -> tuple[Any, Any, Any]:
    """A net of two layers, and a batch."""
    net = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    return net, graphc.randn(8, 6), graphc.randint(0, 3, (8,))


def strided() -> tuple[Any, Any, Any]:
    """One whose gradients of images several contractions make, each a part."""
    convs = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((1, 16), (16, 16), (16, 10))]
    layers = [x for conv in convs for x in (conv, nn.ReLU())]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return net, graphc.randn(4, 1, 28, 28), graphc.randint(0, 10, (4,))


def made(update: Any, check: str, model: Any = linear) -> Program:
    """The program of a step."""
    net, x, y = model()
    opt = update(net.parameters())

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    graph = step.entry((x, y), {})[0].family.graph
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


def test_parts_are_tested_where_they_are_made_and_sums_by_what_they_are_of() -> None:
    plain, program = (made(KINDS["sgd"], check, strided) for check in ("", "finite"))
    slots = {s.name: s for s in program.slots}
    sums = {x.slots[k] for x in program.launches for k, b in enumerate(x.kernel.buffers)
            for p in x.kernel.partials if p.buffer == b.name}  # fmt: skip
    assert sums and any(x.kernel.name.startswith("contiguous") for x in program.launches)
    read = [slots[x.slots[0]] for x in program.launches if x.kernel.name == "bound"]
    assert [s.name for s in read if s.space == "arena"] == []
    behind = [n for x in program.launches[program.commit :] for n in x.slots if n in sums]
    assert behind and len(program.launches) <= len(plain.launches) + 4
    for x in program.launches:  # zeros around an image need no test
        constant = not any(b.access == "r" for b in x.kernel.buffers)
        stores = [s for s in x.kernel.statements() if isinstance(s, Store)]
        assert not constant or all(s.bound is None for s in stores)
