"""Attention's template: near float64, the same bits for any threads and batch, never outside."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from graphc.codegen_cpu import attention
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import Loaded, compile_module, load_objects
from graphc.codegen_cpu.module import emit_kernel
from graphc.codegen_cpu.target import Target
from graphc.ir.builder import Builder
from graphc.ir.cpu_abi import CELL_BYTES, ROOM_BYTES
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program
from graphc.ir.types import Array, TensorSpec, bool_, f32, i64
from graphc.passes.pipeline import compile_graph
from graphc.runtime.cpu.threads import aligned_cells
from tests.codegen_cpu.contract_kernels import module_text
from tests.codegen_cpu.test_contraction import TARGETS
from tests.targets import CPU

HOST = Target.host()
PLAIN: dict[str, Any] = {
    "scale": 0.4, "causal": False, "fill": -inf, "safe": False, "drop": 0, "gain": 1.0
}  # fmt: skip
RESULTS = ("attention", "attention_lse", "attention_dq", "attention_dk", "attention_dv")


def attend(shapes: Sequence[tuple[int, ...]], mask: str = "", **attrs: Any) -> Graph:
    """Inputs q, k, v, g and perhaps a mask; outputs in the order of `RESULTS`."""
    q_shape, k_shape = shapes[:2]
    b = Builder()
    q, k, v, g = (b.input(n, TensorSpec(f32, s)) for n, s in zip("qkvg", shapes, strict=True))
    inputs = [q, k, v, g]
    whole = (*q_shape[:-1], k_shape[-2])
    seen = b.constant(True, TensorSpec(bool_, whole))
    if mask:
        kind = bool_ if mask.startswith("bool") else f32
        shape = (*(1 for _ in whole[:-1]), whole[-1]) if mask.endswith("keys") else whole[-2:]
        inputs.append(b.input("mask", TensorSpec(kind, shape)))
        wide = b.apply("reshape", inputs[-1], shape=(*(1,) * (len(whole) - len(shape)), *shape))
        seen = b.apply("expand", wide, shape=whole)
    numbers = [b.constant(n, TensorSpec(i64, ())) for n in (5, 2)]
    operands, attrs = (q, k, v, seen, *numbers), PLAIN | attrs
    z, lse = (b.apply(op, *operands, **attrs) for op in RESULTS[:2])
    pulled = [b.apply(op, *operands, z, lse, g, **attrs) for op in RESULTS[2:]]
    outs = (z, lse, *pulled)
    return Graph("step", tuple(inputs), ("arg",) * len(inputs), outs, (None,) * len(outs))


def sample(graph: Graph, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(v.shape) for v in graph.inputs]
    kinds = [v.spec.dtype.numpy for v in graph.inputs]
    return [x > -0.5 if k == np.bool_ else x.astype(k) for x, k in zip(arrays, kinds, strict=True)]


@cache
def loaded(kernel: Kernel, target: Target) -> Loaded:
    """Its code; many of the cases are other sizes of one kernel."""
    return load_objects(
        [compile_module(module_text(kernel, target, attention.emit), target)], target
    )


class Compiled:
    """The kernels of a program for one target; `run` calls each as so many threads would."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program = program
        self.loaded = [loaded(launch.kernel, target) for launch in program.launches]
        kind = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        )
        self.room = aligned_cells(ROOM_BYTES // CELL_BYTES)
        self.functions = [kind(x.address("k")) for x in self.loaded]

    def run(self, graph: Graph, inputs: Sequence[Array], threads: int) -> list[Array]:
        """The outputs. Fails if anything around a buffer changed."""
        held = {s.name: np.full(s.spec.size_bytes + 256, 7, np.uint8) for s in self.program.slots}
        inside = {
            s.name: held[s.name][128:-128].view(s.spec.dtype.numpy) for s in self.program.slots
        }
        by_space = {(s.space, s.index): inside[s.name] for s in self.program.slots}
        for k, x in enumerate(inputs):
            by_space["arg", k][:] = x.ravel()
        for launch, function in zip(self.program.launches, self.functions, strict=True):
            error = np.zeros(4, np.int64)
            cells = [error.ctypes.data, *(inside[n].ctypes.data for n in launch.slots)]
            cells += list(launch.sizes)
            for s, value in zip(launch.kernel.scalars, launch.scalars, strict=True):
                raw = np.asarray(value, s.dtype.numpy).tobytes().ljust(8, b"\0")
                cells.append(int(np.frombuffer(raw, np.int64)[0]))
            block = np.array(cells, np.int64)
            for tid in range(threads):
                function(block.ctypes.data, tid, threads, self.room.ctypes.data)
        assert all((x[:128] == 7).all() and (x[-128:] == 7).all() for x in held.values())
        return [inside[n].reshape(v.shape) for n, v in zip(self.program.outs, graph.outs)]


def check(graph: Graph, targets: Sequence[Target] = TARGETS, seed: int = 0) -> None:
    """Near the meaning on every target, with the same bits from any number of threads."""
    program, inputs = compile_graph(graph, CPU).program, sample(graph, seed)
    assert [x.kernel.kind for x in program.launches] == ["attention"] * 2
    want = interpret(graph, *inputs)
    for target in targets:
        compiled = Compiled(program, target)
        first = compiled.run(graph, inputs, 1)
        for got, ref, name in zip(first, want, RESULTS, strict=True):
            size = max(1.0, float(np.abs(ref).max(initial=0.0)))
            np.testing.assert_allclose(got, ref, rtol=0, atol=4e-6 * size, err_msg=name)
        for threads in (2, 3):
            for got, ref in zip(compiled.run(graph, inputs, threads), first, strict=True):
                np.testing.assert_array_equal(got, ref)


def shapes(
    lead: tuple[int, ...], rows: int, columns: int, depth: int, width: int
) -> tuple[tuple[int, ...], ...]:
    q, k, v = (*lead, rows, depth), (*lead, columns, depth), (*lead, columns, width)
    return q, k, v, (*lead, rows, width)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize(
    "sizes",
    [
        ((2, 2), 1, 1, 1, 1), ((1, 3), 5, 7, 3, 4), ((), 40, 40, 32, 32), ((2,), 97, 133, 8, 33),
        ((2,), 200, 70, 16, 40), ((1,), 30, 300, 64, 8), ((1,), 1, 265, 128, 128),
    ],
    ids=str,
)  # fmt: skip
def test_shapes(sizes: Any, causal: bool) -> None:
    """Lengths of one, not of whole blocks, of several, of none; heads of any depth."""
    check(attend(shapes(*sizes), causal=causal), TARGETS if sizes[1] < 50 else [HOST])


@pytest.mark.parametrize("mask", ["bool", "bool keys", "float", "float keys"])
@pytest.mark.parametrize("attrs", [{}, {"causal": True}, {"causal": True, "safe": True}, {
    "fill": -1e9, "causal": True}], ids=["", "causal", "safe", "finite"])  # fmt: skip
def test_masks(mask: str, attrs: dict[str, Any]) -> None:
    safe = {"safe": True} if mask.startswith("bool") and attrs.get("fill") is None else {}
    check(attend(shapes((2,), 45, 60, 8, 8), mask, **(safe | attrs)), [HOST])


@pytest.mark.parametrize("columns", [64, 63])
def test_dropout_is_by_positions(columns: int) -> None:
    check(attend(shapes((2, 2), 33, columns, 8, 8), drop=1 << 22, gain=4 / 3))


def test_random_shapes() -> None:
    rng = np.random.default_rng(1)
    for seed in range(6):
        rows, columns, depth, width = (int(rng.integers(1, n)) for n in (150, 150, 70, 70))
        graph = attend(shapes((2,), rows, columns, depth, width), causal=bool(seed % 2))
        check(graph, [TARGETS[seed % len(TARGETS)]], seed)


def test_a_row_is_computed_by_itself() -> None:
    """Its bits do not depend on the batch."""
    graph, one = attend(shapes((3, 2), 50, 140, 16, 16)), attend(shapes((1, 2), 50, 140, 16, 16))
    inputs = sample(graph)
    many = Compiled(compile_graph(graph, CPU).program, HOST).run(graph, inputs, 2)
    alone = Compiled(compile_graph(one, CPU).program, HOST).run(one, [x[1:2] for x in inputs], 2)
    for x, y in zip(many, alone, strict=True):
        np.testing.assert_array_equal(x[1:2], y)


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_special_values(where: int, value: float) -> None:
    """What is no number stays none, in the rows that see it and in no other."""
    graph = attend(shapes((2,), 20, 30, 8, 8))
    inputs = sample(graph)
    inputs[where][0, 3, 1] = value
    program = compile_graph(graph, CPU).program
    with np.errstate(all="ignore"):
        want = interpret(graph, *inputs)
    for got, ref in zip(Compiled(program, HOST).run(graph, inputs, 1), want, strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(ref))
        ok = np.isfinite(ref)
        np.testing.assert_allclose(got[ok], ref[ok], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("safe", [False, True])
def test_rows_that_see_nothing(safe: bool) -> None:
    """NaN, as PyTorch's softmax gives, or zeros, as its attention does."""
    graph = attend(shapes((1,), 6, 5, 4, 4), "bool", safe=safe)
    inputs = sample(graph)
    inputs[4][2] = False
    with np.errstate(all="ignore"):
        want = interpret(graph, *inputs)
    got = Compiled(compile_graph(graph, CPU).program, HOST).run(graph, inputs, 1)
    assert np.isnan(got[0][0, 2]).all() != safe and not np.isnan(got[0][0, 1]).any()
    for x, ref in zip(got, want, strict=True):
        np.testing.assert_allclose(x, ref, rtol=1e-4, atol=1e-5)


def kernels(graph: Graph) -> list[Kernel]:
    return [x.kernel for x in compile_graph(graph, CPU).program.launches]


def test_another_length_is_the_same_code() -> None:
    some, more = (attend(shapes((n, 2), n, n + 1, 16, 16)) for n in (30, 230))
    assert [k.key() for k in kernels(some)] == [k.key() for k in kernels(more)]


def test_every_access_can_be_checked() -> None:
    for kernel in kernels(attend(shapes((2,), 20, 30, 8, 8), "bool")):
        compile_module(emit_kernel(kernel, HOST, checked=True), HOST)


def test_its_plan_can_be_read() -> None:
    for kernel in kernels(attend(shapes((2,), 20, 30, 8, 8))):
        assert "96 queries by 132 keys" in describe(kernel, HOST)
