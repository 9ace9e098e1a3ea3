"""Kernels are compiled while others are still lowered: each as the program will have it."""

from __future__ import annotations

import pytest

from graphc.passes.pipeline import compile_graph
from tests.passes.test_schedule import CHECK, ROUTINE, SWAP, UPDATE
from tests.passes.texts import graph
from tests.targets import CPU

MOMENTUM = """
graph(state %w: f32[4,5], state %m: f32[4,5], %x: f32[6,5], %g: f32[6,4]) {
  %0: f32[5,4] = transpose %w {perm=(1,0)}
  %1: f32[6,4] = dot %x %0 {batch=() contract=((1,0),)}
  %2: f32[4,6] = transpose %g {perm=(1,0)}
  %3: f32[4,5] = dot %2 %x {batch=() contract=((1,0),)}
  %4: f32[4,5] = add %m %3
  %5: f32[4,5] = sub %w %4
  return %1, state %w = %5, state %m = %4
}"""


@pytest.mark.parametrize("body", [UPDATE, CHECK, MOMENTUM])
def test_what_is_begun_early_is_all_that_the_program_has(body: str) -> None:
    """What overwrites a state as well: it is told that both are one memory."""
    begun: list[str] = []
    program = compile_graph(graph(body), CPU, made=lambda k: begun.append(k.key())).program
    assert set(begun) == {k.key() for k in program.kernels()}


@pytest.mark.parametrize("body", [ROUTINE, SWAP])
def test_the_order_of_launches_has_the_last_word(body: str) -> None:
    """A new state that is moved over the old one later was begun by its own kernel, too."""
    begun: list[str] = []
    program = compile_graph(graph(body), CPU, made=lambda k: begun.append(k.key())).program
    late = {k.name for k in program.kernels() if k.key() not in begun}
    assert late <= {"copy"} and begun
