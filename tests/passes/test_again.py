"""Kernels that run twice: less is in use at once, the bits are the same, and only where it may."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphc.ir.interpret import interpret
from graphc.ir.program import Program
from graphc.ir.verify_program import verify_program
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Again, Profile
from tests.passes.texts import graph
from tests.plans import assert_no_overlap
from tests.program_interpret import run_program
from tests.targets import CPU

# %h is read by a product, and by another once %c, where most is in use, is gone.
LAYERS = """
graph(%x: f32[64,64], %v: f32[64,256]) {
  %h: f32[64,64] = relu %x
  %b: f32[64,256] = dot %h %v {batch=() contract=((1,0),)}
  %c: f32[256,256] = dot %b %b {batch=() contract=((0,0),)}
  %d: f32[64,256] = dot %v %c {batch=() contract=((1,0),)}
  %e: f32[64,64] = dot %d %v {batch=() contract=((1,1),)}
  %f: f32[64,64] = dot %h %e {batch=() contract=((0,0),)}
  return %f
}"""
# %1 is computed of a state that is overwritten before %1 is read again.
RENEWED = """
graph(state %s: f32[64,64], %v: f32[64,256]) {
  %1: f32[64,64] = relu %s
  %2: f32[64,256] = dot %1 %v {batch=() contract=((1,0),)}
  %3: f32[256,256] = dot %2 %2 {batch=() contract=((0,0),)}
  %4: f32[64,256] = dot %v %3 {batch=() contract=((1,0),)}
  %5: f32[64,64] = dot %4 %v {batch=() contract=((1,1),)}
  %6: f32[64,64] = sub %s %5
  %7: f32[64,64] = dot %6 %5 {batch=() contract=((1,0),)}
  %8: f32[64,64] = dot %1 %7 {batch=() contract=((0,0),)}
  return %8, state %s = %6
}"""
ANY = replace(CPU, again=Again(flops_a_byte=0, least_bytes=1))
NEVER = replace(CPU, again=None)


def program(body: str, profile: Profile) -> Program:
    made = compile_graph(graph(body), profile).program
    verify_program(made)
    assert_no_overlap(made)
    return made


def twice(p: Program) -> list[str]:
    """Kernels that are launched with what they were launched with before."""
    found, seen = [], set()
    for x in p.launches:
        sides = zip(x.slots, x.kernel.buffers, strict=True)
        key = x.kernel.key(), tuple(name for name, b in sides if b.access == "r")
        found += [x.kernel.name] * (key in seen)
        seen.add(key)
    return found


def outputs(body: str, profile: Profile) -> list[np.ndarray]:
    rng, g = np.random.default_rng(0), graph(body)
    inputs = [rng.standard_normal(v.shape).astype("f4") for v in g.inputs]
    return run_program(program(body, profile), g, inputs)


def test_what_is_cheap_is_computed_again_where_most_is_in_use() -> None:
    once, more = program(LAYERS, NEVER), program(LAYERS, ANY)
    assert twice(once) == [] and len(twice(more)) == 1
    assert len(more.launches) == len(once.launches) + 1
    assert more.bound_bytes < once.bound_bytes


def test_the_bits_are_the_same() -> None:
    for got, want in zip(outputs(LAYERS, ANY), outputs(LAYERS, NEVER), strict=True):
        np.testing.assert_array_equal(got, want)


def test_what_runs_again_is_named_after_the_first() -> None:
    names = [s.name for s in program(LAYERS, ANY).slots]
    assert len(names) == len(set(names))
    new = set(names) - {s.name for s in program(LAYERS, NEVER).slots}
    assert len(new) == 1 and new.pop().startswith("h.")


@pytest.mark.parametrize(
    "likes",
    [Again(flops_a_byte=1 << 20, least_bytes=1), Again(flops_a_byte=0, least_bytes=1 << 20)],
    ids=["too dear", "too little"],
)
def test_it_has_to_pay(likes: Again) -> None:
    assert twice(program(LAYERS, replace(CPU, again=likes))) == []


def test_nothing_is_computed_again_of_what_has_changed() -> None:
    rng, g = np.random.default_rng(0), graph(RENEWED)
    inputs = [rng.uniform(-1, 1, v.shape).astype("f4") for v in g.inputs]
    got = run_program(program(RENEWED, ANY), g, inputs)
    for a, b in zip(got, interpret(g, *inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
