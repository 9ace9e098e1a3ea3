"""GRAPHC_CHECK_BOUNDS=1: nothing in what we generate reaches outside, and what does is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.codegen_cpu import bounds
from graphc.codegen_cpu.emitter import Emitter
from graphc.errors import InternalError, OutOfBounds
from graphc.ir.kernel import Affine, Kernel, Store
from graphc.ir.program import Program, Slot
from graphc.ir.types import TensorSpec
from graphc.passes.pipeline import compile_graph
from tests.fuzz.native import Native, threads
from tests.op_table import TABLE, OpRow
from tests.ops.rows import floats, samples, tensors, weights
from tests.passes.graphs import CASES, Case, make, sample
from tests.steps import MODELS, training
from tests.targets import CPU


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda value: monkeypatch.setenv("GRAPHC_CHECK_BOUNDS", value)


@pytest.mark.parametrize("row", TABLE[::5], ids=str)
def test_ops_stay_inside(row: OpRow, switch: Callable[[str], None]) -> None:
    switch("1")
    arrays = samples(row, np.float32)

    def step(*xs: graphc.Tensor) -> list[graphc.Tensor]:
        y = row.fn(graphc, *xs)
        if not row.grad:
            return [y]
        w = graphc.tensor(weights(tuple(y.shape), 1)).to(y.dtype)
        return [y.detach(), *graphc.autograd.grad(y, [xs[k] for k in floats(arrays)], w)]

    graphc.compile(step)(*tensors(arrays, row.grad))


@pytest.mark.parametrize("name", MODELS)
def test_nets_stay_inside_and_keep_their_bits(name: str, switch: Callable[[str], None]) -> None:
    losses = []
    for value in ("0", "1"):
        switch(value)
        step, x, y, _ = training(name)
        losses.append([step(x, y).item() for _ in range(3)])
    assert losses[0] == losses[1]


# ---- programs that are wrong on purpose ---------------------------------------------------------

NAMES = "linear softmax conv_norm conv_update max_pool concat grouped fold scatter_add put_along"
WRONG = [c for c in CASES if c.name in NAMES.split()]  # what they read, they read to the end


def narrowed(program: Program, slot: Slot) -> Program:
    """The same program, one of whose buffers is a byte shorter than its kernels count on."""
    spec = dataclasses.replace(slot, spec=_Short(slot.spec.dtype, slot.spec.shape))
    slots = tuple(spec if s is slot else s for s in program.slots)
    return dataclasses.replace(program, slots=slots)


class _Short(TensorSpec):
    @property
    def size_bytes(self) -> int:
        return super().size_bytes - 1


def shifted(kernel: Kernel, by: int) -> Kernel:
    """The kernel with every store so many elements further on."""

    def moved(s: Any) -> Any:
        if not isinstance(s, Store):
            return s
        assert isinstance(s.at.const, int)
        return dataclasses.replace(s, at=Affine(s.at.terms, s.at.const + by))

    phases = tuple(dataclasses.replace(p, body=tuple(map(moved, p.body))) for p in kernel.phases)
    return dataclasses.replace(kernel, phases=phases)


@pytest.mark.parametrize("case", WRONG, ids=lambda c: c.name)
def test_a_buffer_that_is_too_small_is_caught(case: Case) -> None:
    graph = make(case)
    program, inputs = compile_graph(graph, CPU).program, sample(case)
    Native(program, graph, inputs, checked=True)()
    used = {name for launch in program.launches for name in launch.slots}
    for slot in program.slots:
        if slot.name not in used or not slot.size_bytes:
            continue
        with pytest.raises(OutOfBounds, match=f"slot {slot.name}"):
            Native(narrowed(program, slot), graph, inputs, checked=True)()


SHIFTS = [
    (case, by)
    for case in WRONG
    for by in (-1, 1, -(1 << 20), 1 << 40)
    if abs(by) > 1 or case.name != "concat"  # whose parts have neighbours
]


@pytest.mark.parametrize(("case", "by"), SHIFTS, ids=lambda x: getattr(x, "name", str(x)))
def test_a_kernel_that_stores_elsewhere_is_caught(case: Case, by: int) -> None:
    graph = make(case)
    program, inputs = compile_graph(graph, CPU).program, sample(case)
    for k, launch in enumerate(program.launches):
        if any(isinstance(s.at.const, str) for s in launch.kernel.statements()
               if isinstance(s, Store)):  # fmt: skip
            continue
        wrong = dataclasses.replace(launch, kernel=shifted(launch.kernel, by))
        launches = (*program.launches[:k], wrong, *program.launches[k + 1 :])
        changed = dataclasses.replace(program, launches=launches)
        with threads(2), pytest.raises(OutOfBounds, match=f"launch {k} of") as caught:
            Native(changed, graph, inputs, checked=True)()
        assert caught.value.where[0] and launch.kernel.name in caught.value.what


def test_a_slot_outside_the_arena_is_refused_always() -> None:
    graph = make(next(c for c in CASES if c.name == "softmax"))
    program = compile_graph(graph, CPU).program
    slot = Slot("astray", TensorSpec(graphc.float32, (64,)), "arena", program.arena_bytes, 0, 0)
    changed = dataclasses.replace(program, slots=(*program.slots, slot))
    with pytest.raises(InternalError, match="astray lies outside the arena"):
        Native(changed, graph, [])


UNKNOWN = [
    "  %x = load float, ptr %nowhere, align 4",
    "  call void @llvm.memset.p0.i64(ptr %args, i8 0, i64 8, i1 false)",
    "  %x = atomicrmw add ptr %args, i64 1 seq_cst",
    "  %p = phi ptr [ %args, %entry ]",
]


@pytest.mark.parametrize("line", UNKNOWN)
def test_an_access_in_a_form_that_the_check_does_not_know_is_refused(line: str) -> None:
    e = Emitter()
    e.lines.append(line)
    with pytest.raises(InternalError):
        bounds.checked(e, Kernel("k", "map", (), (), (), (), ()))
