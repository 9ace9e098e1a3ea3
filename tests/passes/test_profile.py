"""Targets are data: no pass holds a number about a machine, and every number of one decides."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import NAMED, Target
from graphc.ir import kernel_text, program_text
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.types import TensorSpec, bf16, f32
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Again, Profile
from tests.passes.graphs import CASES, Case, attend, conv_update, make, sample
from tests.plans import assert_no_overlap
from tests.program_interpret import run_program
from tests.targets import CPU

PASSES = Path(__file__).parents[2] / "graphc" / "passes"

# "file name": why the number is about no machine
NUMBERS = {
    "elementary.py SHIFT": "mathematics: terms of a series",
    "unread.py PROBES": "what is tried where a row of the ops does not say what zeros give",
    "simplify.py MAX_ROUNDS": "rules shrink what they rewrite; a rule that does not is a fault",
    "loop_body.py CHEAP": "a loop's derivative is made while it is traced, for any machine",
    "attention.py MOST_STEPS": "people write less between two products",
    "loop_body.py GROWTH": "how much more memory a loop may take than it was written to take",
    "repeats.py MANY": "how many kernels of one text are looked at before one more is lowered",
    "memory.py LARGE": "which buffers a plan is worth searching for; the rest fill gaps",
    "memory.py PATIENCE": "when a search begins anew; the plan's height alone decides",
    "memory.py SLOWER": "of two ways in Python, whatever the machine",
    "schedule.py COPIED": "as many streams as any processor follows; it bounds a kernel's text",
    "spans.py MOST": "terms of a sum that a proof allows for",
    "spans.py WINOGRAD": "mathematics: how far its transforms go",
    "spans.py SLACK": "rounding of any float",
    "spans.py TINY": "what any float may round to nothing",
    "spans.py EXP_MOST": "mathematics: from where exp is infinite",
    "watch.py CHOICES": "what a proof may take values to be at most",
    "watch.py STATE": "the same of state",
    "lower.py LITERALS": "numbers that code of any kind has for free",
}


def numbers(path: Path) -> Iterator[str]:
    """Module-level names for numbers."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            parts = list(ast.walk(node.value))
            plain = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.operator, ast.unaryop)
            is_number = all(isinstance(p, (*plain, ast.Load)) for p in parts) and any(
                isinstance(p, ast.Constant) and type(p.value) in (int, float) for p in parts
            )
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if is_number:
                yield f"{path.name} {ast.unparse(targets[0])}"


def test_no_pass_holds_a_number_about_a_machine() -> None:
    found = {name for path in PASSES.glob("*.py") for name in numbers(path)}
    assert found == set(NUMBERS)


def test_a_number_in_a_pass_is_found(tmp_path: Path) -> None:
    file = tmp_path / "fuse.py"
    file.write_text("A = 1 << 8\nB: float = -1.5\nC = 'x'\nD = frozenset()\nE = (1, 2)\n")
    assert list(numbers(file)) == ["fuse.py A", "fuse.py B", "fuse.py E"]


def test_dumps_are_the_same_on_every_cpu() -> None:
    """The files of tests/golden count on it. None has products that are or may be of bfloat16."""
    assert {_without_narrow(profile(target)) for target in NAMED.values()} == {_without_narrow(CPU)}


def _without_narrow(p: Profile) -> Profile:
    assert p.winograd is not None
    winograd = dataclasses.replace(p.winograd, narrow_rate=0.0)
    return dataclasses.replace(p, winograd=winograd, narrow=0)


def test_winograd_pays_less_where_pairs_of_bfloat16_are_multiplied() -> None:
    known = Target.named("sapphirerapids")
    pairs = dataclasses.replace(known, features="+avx512bf16")
    plain, narrow = profile(known).winograd, profile(pairs).winograd
    assert plain is not None and narrow is not None and plain.rate == narrow.rate
    assert plain.narrow_rate == plain.rate > narrow.narrow_rate


# ---- other targets -----------------------------------------------------------------------------

SMALL = dataclasses.replace(
    CPU, run=1, max_movement=1, min_row=1, wide_row=1, min_elements=1, max_outputs=8, max_chunks=3,
    partial_reductions=1, panel=2, few_outputs=0,
    max_members=2, small_row=1, max_inlined_ops=1, short_ops=0, cost_of_access=1, much=1,
    many_taps=1, short_axis=1, many_terms=1, narrow=1, small_extent=1, literal_strides=False,
    renewed=0, few_channels=0, empty_lanes=1.0, half_rate=1.0,
    bounded_terms=0, again=Again(flops_a_byte=0, least_bytes=1),
    align=16, enough=1.0, trials=1,
)  # fmt: skip
LARGE = dataclasses.replace(
    CPU, run=1 << 9, max_movement=99, min_row=1 << 20, wide_row=1 << 20, max_outputs=1 << 30,
    partial_reductions=0, panel=1 << 9, few_outputs=64,
    max_members=999, small_row=1 << 20, expensive=99, max_inlined_ops=99, short_ops=99, much=99,
    many_taps=999, short_axis=999, small_extent=999, literal_strides=True, align=256, enough=9.0,
    attention_halves=True, attention_apart=True, many_zeros=1.0,
)  # fmt: skip
GUARDED = dataclasses.replace(
    CPU,
    stored_halo=False,
    weight_order=("out", "window", "in"),
    mixed_roles=False,
    winograd=None,
    attention=0,
    partial_reductions=2,
    parts_apart=False,
)
OTHERS = {"small": SMALL, "large": LARGE, "guarded": GUARDED}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_any_profile_keeps_the_meaning(case: Case, name: str) -> None:
    graph, inputs = make(case), sample(case)
    program = compile_graph(graph, OTHERS[name]).program
    assert_no_overlap(program)
    assert program.align == OTHERS[name].align
    assert all(s.index % program.align == 0 for s in program.slots if s.space == "arena")
    for got, want in zip(run_program(program, graph, inputs), interpret(graph, *inputs)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def read_twice(b: Builder, x: Value, s: Value) -> tuple[Value, ...]:
    """Values that are read along two ways, by as many points and by more."""
    e, r = b.apply("exp", b.apply("sin", b.apply("exp", x))), b.apply("sqrt", s * s + 1.0)
    wide = P.expand(P.reshape(r, (1, *r.shape)), (3, *r.shape))
    more = P.sum(wide * 2.0, (0, 2)), P.sum(wide + 1.0, (0, 1))
    return P.sum(e, (0,)), P.sum(e, (1,)), *more


def conv3(x: Value, w: Value) -> Value:
    ones = (1, 1)
    return P.apply(
        "conv", x, w, stride=ones, padding=(ones, ones), lhs_dilation=ones, rhs_dilation=ones
    )


def narrow_product(b: Builder, x: Value, w: Value) -> Value:
    return b.apply("dot", x, w, batch=(), contract=((1, 1),), narrow=True)


def updated(b: Builder, x: Value, w: Value) -> tuple[Value, ...]:
    return b.apply("dot", x, w, batch=(), contract=((1, 1),)), w * 0.5


def half_attention(b: Builder, *args: Value) -> tuple[Value, ...]:
    return attend(b, *(P.cast(x, bf16) for x in args))


def spread(b: Builder, x: Value, v: Value) -> Value:
    """A short expression of few values, read by many points."""
    return x * P.expand(P.reshape((v + 1.0) * v + 0.5, (1, *v.shape)), x.shape)


def repeated(b: Builder, h: Value, x: Value, w: Value) -> Value:
    """A loop whose trips multiply by one matrix."""
    inner = Builder(b)
    specs = {"h": h.spec, "x": TensorSpec(f32, x.shape[1:]), "w": w.spec}
    inputs = tuple(inner.input(name, spec) for name, spec in specs.items())
    step = inner.apply("dot", inputs[0], inputs[2], batch=(), contract=((1, 1),)) + inputs[1]
    return b.apply(
        "loop", h, x, w, body=Graph("trip", inputs, ("arg",) * 3, (step,), (None,)),
        carried=1, sliced=1, trips=x.shape[0], reverse=False, gives="trail", index=0,
    )  # fmt: skip


# Large enough for numbers that small cases do not reach; these are compiled only.
WIDER = [
    Case("tall", lambda b, x: b.apply("sum", x, axes=(0,)), ((8192, 300),), 2),
    Case("vector", lambda b, x: b.apply("sum", x, axes=(0,)), ((1 << 20,),), 2),
    Case("read_twice", read_twice, ((512, 512), (64, 64)), 4),
    Case("spread", spread, ((512, 16), (16,)), 2),
    Case("one_of_few", lambda b, x, i: b.apply("put_along", x, i, axis=1, length=32),
         ((4, 1), (4, 1)), 1, (1,)),
    Case("halves", half_attention, ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 3), (2, 3, 5, 3)), 2),
    Case("narrow", narrow_product, ((4, 6), (5, 6)), 3),
    Case("renewed", updated, ((4, 6), (5, 6)), 2, states=(1,)),
    Case("repeated", repeated, ((2, 4), (3, 2, 4), (4, 4)), 4),
    Case("window", lambda b, x, w: conv3(x, w), ((1, 32, 8, 8), (32, 32, 3, 3)), 2),
    Case("few", lambda b, x, w: conv3(x, w), ((1, 16, 8, 8), (3, 16, 3, 3)), 2),
    Case("few_channels", conv_update,
         ((2, 3, 6, 6), (2, 7, 6, 6), (7, 3, 3, 3), (7, 3, 3, 3)), 9, states=(2, 3)),
    Case("zeros", lambda b, x, w: conv3(x, w), ((1, 4, 4, 4), (4, 4, 3, 3)), 2),
]  # fmt: skip


@cache
def shown(numbers: Profile) -> str:
    """The programs of all cases."""
    programs = [compile_graph(make(case), numbers).program for case in (*CASES, *WIDER)]
    texts = [[program_text.show(p), *map(kernel_text.show, p.kernels())] for p in programs]
    return "\n".join(line for text in texts for line in text)


SEARCH = ("enough", "trials")  # of plans for the arena, in `test_memory.py`
DECIDING = [f.name for f in dataclasses.fields(Profile) if f.name not in SEARCH]


def changed(name: str) -> Iterator[Profile]:
    for other in (*OTHERS.values(), dataclasses.replace(CPU, check="nan")):
        if getattr(other, name) != getattr(CPU, name):
            yield dataclasses.replace(CPU, **{name: getattr(other, name)})


@pytest.mark.parametrize("name", DECIDING)
def test_each_number_decides_something(name: str) -> None:
    assert any(shown(p) != shown(CPU) for p in changed(name))


def test_a_weight_has_three_sides() -> None:
    with pytest.raises(ValueError, match="order of a weight's sides"):
        dataclasses.replace(CPU, weight_order=("in", "out", "out"))
