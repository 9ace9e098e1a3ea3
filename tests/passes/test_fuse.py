"""What fusion says about itself: a reason for the end of every kernel, on small graphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc
import graphc.nn.functional as F
from graphc import Tensor
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.program import Program
from graphc.ir.types import TensorSpec, bool_, f32, i64
from graphc.passes.pipeline import compile_graph
from tests.passes.graphs import CASES, Case, make
from tests.passes.texts import groups
from tests.targets import CPU

Build = Callable[[Value, Value], tuple[Value, ...]]


def program(build: Build, shape: tuple[int, ...] = (64, 300), state: bool = False) -> Program:
    """The program of a graph of a matrix and its row numbers."""
    b = Builder()
    x = b.input("x", TensorSpec(f32, shape), Where())
    rows = b.input("rows", TensorSpec(i64, (5,)), Where())
    with b.at(Where("", "a.py", 1)):
        outs = build(x, rows)
    targets = (x if state else None, *(None for _ in outs[1:]))
    roles = ("state" if state else "arg", "arg")
    return compile_graph(Graph("f", (x, rows), roles, outs, targets), CPU).program


def notes(build: Build, shape: tuple[int, ...] = (64, 300), state: bool = False) -> str:
    return "\n".join(x.kernel.note for x in program(build, shape, state).launches)


def apply(name: str, *args: Value | float, **attrs: object) -> Value:
    first = next(a for a in args if isinstance(a, Value))
    return first.builder.apply(name, *args, **attrs)


def total(x: Value, *axes: int) -> Value:
    return apply("sum", x, axes=axes)


def spread(x: Value, shape: tuple[int, ...], *kept: int) -> Value:
    small = tuple(n if k in kept else 1 for k, n in enumerate(shape))
    return apply("expand", apply("reshape", x, shape=small), shape=shape)


def of_columns(x: Value, _rows: Value) -> tuple[Value, ...]:
    """Columns are far apart in memory: their sums are not there before all rows are read."""
    e = apply("exp", x)
    return (e * spread(total(e, 0), x.shape, 1),)


def contraction(x: Value, _rows: Value) -> tuple[Value, ...]:
    return (apply("dot", apply("exp", x), x, batch=(), contract=((1, 1),)),)


def gather(x: Value, rows: Value) -> tuple[Value, ...]:
    return (apply("gather", apply("exp", x), rows, axis=0),)


def routine(x: Value, _rows: Value) -> tuple[Value, ...]:
    return (apply("argsort", apply("exp", x), axis=1, descending=False),)


def other_axes(x: Value, _rows: Value) -> tuple[Value, ...]:
    e = apply("exp", apply("exp", x))
    return total(e, 0), total(e, 1)


def other_domain(x: Value, _rows: Value) -> tuple[Value, ...]:
    return (apply("exp", spread(total(x, 1), (64, 5, 9), 0)),)


def many_members(x: Value, _rows: Value) -> tuple[Value, ...]:
    for k in range(100):
        x = apply("exp", x * (k + 2.0))
    return (x,)


def read_anyway(x: Value, _rows: Value) -> tuple[Value, ...]:
    """A mask whose reader in another kernel reads what the mask is made of, too."""
    mask, zeros = apply("lt", x * 2.0, 6.0), x * 0.0
    a = apply("where", mask, x, zeros)
    return a, apply("where", mask, spread(total(a, 0), x.shape, 1), zeros) * x


def read_for_it_alone(x: Value, _rows: Value) -> tuple[Value, ...]:
    """A mask whose other reader reads nothing of what it is made of."""
    mask = apply("lt", x * 2.0, 6.0)
    a = apply("where", mask, x, x * 0.0)
    columns = spread(total(a, 0), x.shape, 1)
    return a, apply("where", mask, columns, columns * 0.5)


@pytest.mark.parametrize(("build", "stored"), [(read_anyway, 0), (read_for_it_alone, 1)])
def test_a_mask_is_stored_for_readers_that_do_not_read_what_it_is_made_of(
    build: Build, stored: int
) -> None:
    buffers = [b for x in program(build).launches for b in x.kernel.buffers]
    assert sum("w" in b.access and b.dtype is bool_ for b in buffers) == stored


REASONS: dict[str, tuple[Build, str]] = {
    "rows": (of_columns, "reads rows that are still being summed"),
    "contraction": (contraction, "needs it in memory: a contraction reads it"),
    "gather": (gather, "needs it in memory: a gather reads it"),
    "routine": (routine, "needs it in memory: a routine reads it"),
    "axes": (other_axes, "reduces other axes: [1], not [0]"),
    "domain": (other_domain, "has another domain: [64, 5, 9], not [64, 300]"),
    "members": (many_members, "would make too many members: more than 64"),
    "bytes": (other_axes, "1 reader: cheaper stored: "),
    "returned": (lambda x, _: (x + 1.0,), "returned"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_reasons(reason: str) -> None:
    build, text = REASONS[reason]
    assert text in notes(build)


def test_a_new_state_says_whose_it_is() -> None:
    assert "new state %x" in notes(lambda x, _: (x + 1.0,), state=True)


def test_readers_and_values_are_named() -> None:
    (first, _) = program(contraction).launches
    written = first.slots[[b.access for b in first.kernel.buffers].index("w")]
    assert first.kernel.note.startswith(f"%{written}: %")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_output_of_every_kernel_has_a_reason(case: Case) -> None:
    for launch in compile_graph(make(case), CPU).program.launches:
        outputs = sum("w" in b.access for b in launch.kernel.buffers)
        told = launch.kernel.note.split("; ")
        assert len(told) == outputs
        assert all(reason.partition(": ")[2] for reason in told)


def test_launches_name_the_values_they_compute() -> None:
    first, second = program(contraction).launches
    assert len(first.members) == 1 and first.kernel.note.startswith(f"{first.members[0]}: ")
    assert second.members[-1] in first.kernel.note


def test_notes_keep_no_kernels_apart() -> None:
    """Launches of one text are one kernel, whatever their notes say."""

    def build(x: Value, _rows: Value) -> tuple[Value, ...]:
        y = apply("dot", apply("exp", x), x, batch=(), contract=((1, 1),))
        z = apply("dot", apply("exp", x * 3.0), x, batch=(), contract=((0, 0),))
        return y, z, apply("exp", x * 5.0)

    made = program(build, (32, 32))
    scaled = [x.kernel for x in made.launches if x.kernel.name.startswith("mul_exp")]
    assert len({k.note for k in scaled}) == 2
    assert len(set(scaled)) == 1 and len({k.key() for k in scaled}) == 1


def test_explain_shows_the_reasons() -> None:
    @graphc.compile
    def f(x: Tensor, w: Tensor) -> Tensor:
        return F.relu(x.exp() @ w)

    f(graphc.ones(6, 6), graphc.ones(6, 6))
    told = f.explain()
    assert [name for name, _ in told.unfused] == [k.name for k in f.kernels]
    assert "needs it in memory: a contraction reads it" in str(told)
    assert all(name in f.ir("fuse") and why in f.ir("fuse") for name, why in told.unfused)


SOFTMAX = """
graph(%x: f32[5,7]) {
  %0: f32[5] = max %x {axes=(1,)}
  %1: f32[5,1] = reshape %0 {shape=(5,1)}
  %2: f32[5,7] = expand %1 {shape=(5,7)}
  %3: f32[5,7] = sub %x %2
  %4: f32[5,7] = exp %3
  %5: f32[5] = sum %4 {axes=(1,)}
  %6: f32[5,1] = reshape %5 {shape=(5,1)}
  %7: f32[5,7] = expand %6 {shape=(5,7)}
  %8: f32[5,7] = div %4 %7
  return %8
}"""
COLUMNS = """
graph(%x: f32[64,300]) {
  %0: f32[64,300] = exp %x
  %1: f32[300] = sum %0 {axes=(0,)}
  %2: f32[1,300] = reshape %1 {shape=(1,300)}
  %3: f32[64,300] = expand %2 {shape=(64,300)}
  %4: f32[64,300] = mul %0 %3
  return %4
}"""
EPILOGUE = """
graph(%x: f32[4,3], %y: f32[3,5], %b: f32[4,5]) {
  %0: f32[4,5] = dot %x %y {batch=() contract=((1,0),)}
  %1: f32[4,5] = add %0 %b
  %2: f32[5] = sum %1 {axes=(0,)}
  return %1, %2
}"""
TURNED = """
graph(%x: f32[4,5], %y: f32[5,4]) {
  %0: f32[4,5] = exp %x
  %1: f32[5,4] = transpose %0 {perm=(1,0)}
  %2: f32[5,4] = add %1 %y
  return %2, %0
}"""
COUNTERS = """
graph(state %a: i64[], state %b: i64[], %x: f32[3]) {
  %0: i64[] = 1
  %1: i64[] = add %a %0
  %2: i64[] = add %b %0
  %3: f32[3] = exp %x
  return %3, state %a = %1, state %b = %2
}"""
STATISTICS = """
graph(%x: f32[64,300]) {
  %0: f32[64] = sum %x {axes=(1,)}
  %1: f32[64] = max %x {axes=(1,)}
  return %0, %1
}"""


@pytest.mark.parametrize(
    ("body", "kernels"),
    [
        (SOFTMAX, ["max sub exp sum div"]),
        (COLUMNS, ["exp sum", "mul"]),
        (EPILOGUE, ["dot add", "sum"]),
        (TURNED, ["exp add"]),
        (STATISTICS, ["sum max"]),
        (COUNTERS, ["add add", "exp"]),
    ],
    ids=["rows", "columns", "epilogue", "turned", "statistics", "counters"],
)
def test_values_that_share_a_kernel(body: str, kernels: list[str]) -> None:
    assert groups(body) == kernels


UPDATE = """
graph(%x: f32[2,64,10,10], %g: f32[2,32,8,8], state %w: f32[64,32,3,3] order (2,3,0,1)) {{
  %0: f32[2,64,10,10] = contiguous %x {{order=(0,2,3,1)}}
  %1: f32[2,32,8,8] = contiguous %g {{order=(0,2,3,1)}}
  %2: f32[64,2,10,10] = transpose %0 {{perm=(1,0,2,3)}}
  %3: f32[32,2,8,8] = transpose %1 {{perm=(1,0,2,3)}}
  %4: f32[64,32,3,3] = conv %2 %3 {{stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1) winograd={}}}
  %5: f32[64,32,3,3] = sub %w %4
  return state %w = %5
}}"""


@pytest.mark.parametrize(
    ("winograd", "made"), [(0, ["conv sub"]), (4, ["conv", "sub"])], ids=["plain", "winograd"]
)
def test_an_update_is_no_part_of_a_gradient_by_tiles(winograd: int, made: list[str]) -> None:
    """Which has a few channels of each tap at a time, so it would go over weights in short rows."""
    assert groups(UPDATE.format(winograd)) == ["contiguous", "contiguous", *made]
