"""Which kernel runs when: readers of a state before who overwrites it, what may fail first."""

from __future__ import annotations

import pytest

from graphc.ir.program import Program
from graphc.passes.pipeline import compile_graph
from tests.passes.texts import graph
from tests.targets import CPU

UPDATE = """
graph(state %w: f32[4,5], %x: f32[4,5]) {
  %0: f32[4,5] = sub %w %x
  %1: f32[5,4] = transpose %w {perm=(1,0)}
  %2: f32[5,5] = dot %1 %x {batch=() contract=((1,0),)}
  return %2, state %w = %0
}"""
CHECK = """
graph(state %w: f32[4,5], %x: f32[4,5], %i: i64[3]) {
  %0: f32[4,5] = sub %w %x
  %1: f32[3,5] = gather %x %i {axis=0}
  return %1, state %w = %0
}"""
ROUTINE = """
graph(state %w: f32[4,4], %x: f32[4,4]) {
  %0: f32[4,4] = sub %w %x
  %1: f32[4,4] = inv %x
  return %1, state %w = %0
}"""
SWAP = """
graph(state %u: f32[4,5], state %w: f32[4,5]) {
  return state %u = %w, state %w = %u
}"""


def program(body: str) -> Program:
    return compile_graph(graph(body), CPU).program


@pytest.mark.parametrize(
    ("body", "order"),
    [
        (UPDATE, ["dot", "sub"]),
        (CHECK, ["check_index", "sub", "gather"]),
        (ROUTINE, ["inv", "sub"]),
        (SWAP, ["contiguous", "contiguous", "copy"]),
    ],
    ids=["readers", "checks", "routines", "swap"],
)
def test_order_of_launches(body: str, order: list[str]) -> None:
    assert [launch.kernel.name for launch in program(body).launches] == order


def test_an_update_is_in_place_behind_a_barrier() -> None:
    reader, update = program(UPDATE).launches
    read, _, written = update.kernel.buffers
    assert written.alias == read.name and written.access == "w"
    assert update.barrier and not reader.barrier


def test_a_swap_needs_one_copy() -> None:
    """The first of two states is overwritten when its value is safe elsewhere."""
    kept, first, second = program(SWAP).launches
    assert kept.slots[0] == "u" and first.slots[0] == "w" and second.slots[1] == "w"
    assert second.slots[0] == kept.slots[1]
    assert first.barrier and second.barrier
