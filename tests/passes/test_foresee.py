"""What no address reaches is stored before fusion, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

import graphc
from graphc.passes.foresee import foresee
from graphc.passes.pipeline import compile_graph
from tests.fuzz.growth import grow
from tests.passes.texts import assert_becomes, groups
from tests.targets import CPU

STORED = {
    "a reshape of dimensions that do not merge": (
        """
graph(%x: f32[2,3]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[6] = reshape %0 {shape=(6,)}
  %2: f32[6] = exp %1
  return %2
}""",
        """
graph(%x: f32[2,3]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[3,2] = contiguous %0 {order=(0,1)}
  %2: f32[6] = reshape %1 {shape=(6,)}
  %3: f32[6] = exp %2
  return %3
}""",
    ),
    "a table with borders": (
        """
graph(%x: f32[4,3], %i: i64[5]) {
  %0: f32[6,3] = pad %x {low=(1,0) high=(1,0) value=0.0}
  %1: f32[5,3] = gather %0 %i {axis=0}
  return %1
}""",
        """
graph(%x: f32[4,3], %i: i64[5]) {
  %0: f32[6,3] = pad %x {low=(1,0) high=(1,0) value=0.0}
  %1: f32[6,3] = contiguous %0 {order=(0,1)}
  %2: f32[5,3] = gather %1 %i {axis=0}
  return %2
}""",
    ),
    "an operand of a contraction that is nowhere": (
        """
graph(%x: f32[4,3], %y: f32[5,3]) {
  %0: f32[6,3] = pad %x {low=(1,0) high=(1,0) value=1.0}
  %1: f32[6,5] = dot %0 %y {batch=() contract=((1,1),)}
  return %1
}""",
        """
graph(%x: f32[4,3], %y: f32[5,3]) {
  %0: f32[6,3] = pad %x {low=(1,0) high=(1,0) value=1.0}
  %1: f32[6,3] = contiguous %0 {order=(0,1)}
  %2: f32[6,5] = dot %1 %y {batch=() contract=((1,1),)}
  return %2
}""",
    ),
    "an operand of a routine that is no whole array": (
        """
graph(%x: f32[4,3]) {
  %0: f32[3,4] = transpose %x {perm=(1,0)}
  %1: i64[3,4] = argsort %0 {axis=1 descending=False}
  return %1
}""",
        """
graph(%x: f32[4,3]) {
  %0: f32[3,4] = transpose %x {perm=(1,0)}
  %1: f32[3,4] = contiguous %0 {order=(0,1)}
  %2: i64[3,4] = argsort %1 {axis=1 descending=False}
  return %2
}""",
    ),
    "a copy of what is a part already, whose rows lie apart": (
        """
graph(%x: f32[2,3], %y: f32[3,1]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[3,1] = contiguous %y {order=(0,1)}
  %2: f32[3,2] = contiguous %0 {order=(0,1)}
  %3: f32[3,3] = assemble %1 %2 {shape=(3,3) starts=((0,0),(0,1)) steps=((1,1),(1,1))}
  %4: f32[6] = reshape %0 {shape=(6,)}
  %5: f32[6] = exp %4
  return %3, %5
}""",
        """
graph(%x: f32[2,3], %y: f32[3,1]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[3,1] = contiguous %y {order=(0,1)}
  %2: f32[3,2] = contiguous %0 {order=(0,1)}
  %3: f32[3,3] = assemble %1 %2 {shape=(3,3) starts=((0,0),(0,1)) steps=((1,1),(1,1))}
  %4: f32[3,2] = contiguous %2 {order=(0,1)}
  %5: f32[6] = reshape %4 {shape=(6,)}
  %6: f32[6] = exp %5
  return %3, %6
}""",
    ),
    "a part of what is a copy already": (
        """
graph(%x: f32[2,3], %y: f32[3,1]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[6] = reshape %0 {shape=(6,)}
  %2: f32[6] = exp %1
  %3: f32[3,1] = contiguous %y {order=(0,1)}
  %4: f32[3,2] = contiguous %0 {order=(0,1)}
  %5: f32[3,3] = assemble %3 %4 {shape=(3,3) starts=((0,0),(0,1)) steps=((1,1),(1,1))}
  return %2, %5
}""",
        """
graph(%x: f32[2,3], %y: f32[3,1]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[3,1] = contiguous %y {order=(0,1)}
  %2: f32[3,2] = contiguous %0 {order=(0,1)}
  %3: f32[6] = reshape %2 {shape=(6,)}
  %4: f32[6] = exp %3
  %5: f32[3,2] = contiguous %2 {order=(0,1)}
  %6: f32[3,3] = assemble %1 %5 {shape=(3,3) starts=((0,0),(0,1)) steps=((1,1),(1,1))}
  return %4, %6
}""",
    ),
}
KEPT = {
    "a reshape that splits": """
graph(%x: f32[2,6]) {
  %0: f32[6,2] = transpose %x {perm=(1,0)}
  %1: f32[2,3,2] = reshape %0 {shape=(2,3,2)}
  %2: f32[2,3,2] = exp %1
  return %2
}""",
    "a reshape that a reduction looks through": """
graph(%x: f32[2,3,4]) {
  %0: f32[4,3,2] = transpose %x {perm=(2,1,0)}
  %1: f32[4,6] = reshape %0 {shape=(4,6)}
  %2: f32[4] = sum %1 {axes=(1,)}
  return %2
}""",
    "borders that a contraction guards": """
graph(%x: f32[4,3], %y: f32[5,3]) {
  %0: f32[6,3] = pad %x {low=(1,0) high=(1,0) value=0.0}
  %1: f32[6,5] = dot %0 %y {batch=() contract=((1,1),)}
  return %1
}""",
}


@pytest.mark.parametrize("what", STORED)
def test_stores(what: str) -> None:
    assert_becomes(foresee, *STORED[what])


@pytest.mark.parametrize("what", KEPT)
def test_leaves_alone(what: str) -> None:
    assert_becomes(foresee, KEPT[what], KEPT[what])


@pytest.mark.parametrize("what", STORED)
def test_once_is_enough(what: str) -> None:
    after = STORED[what][1]
    assert_becomes(foresee, after, after)


@pytest.mark.parametrize("reader", ["gathered", "sorted"])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_a_part_besides_is_read_by_its_rows(reader: str, first: bool) -> None:
    """As masks of transformers read their positions: repeated, flat, and a part of another."""

    def step(ids: graphc.Tensor) -> tuple[graphc.Tensor, graphc.Tensor]:
        rows = graphc.arange(6).flip(0).unsqueeze(0).expand(ids.shape[0], -1)
        read = [rows.reshape(-1)[ids] if reader == "gathered" else rows.sort()[0]]
        read.insert(not first, graphc.cat((rows[:, :1], rows), 1))
        return read[0], read[1]

    ids = graphc.arange(12).reshape(2, 6)
    for a, b in zip(graphc.compile(step)(ids), step(ids), strict=True):
        assert a.tolist() == b.tolist()


PADDED = """
graph(%x: f32[3,4,6]) {{
  %0: f32[3,{rows},6] = pad %x {{low=(0,{low},0) high=(0,{low},0) value=0.0}}
  %1: f32[3,{rows},6] = neg %0
  %2: f32[{all},6] = reshape %1 {{shape=({all},6)}}
  %3: f32[{more},6] = pad %2 {{low=(1,0) high=(0,0) value=0.0}}
  %4: f32[{more},6] = exp %3
  return %4
}}"""


@pytest.mark.parametrize(("low", "wanted"), [(0, ["exp"]), (1, ["exp", "neg"])])
def test_what_a_reshape_would_not_find_is_not_computed_again(low: int, wanted: list[str]) -> None:
    """The result of `neg` has an address under the reshape; a padded operand of it has none."""
    rows = 4 + 2 * low
    body = PADDED.format(low=low, rows=rows, all=3 * rows, more=3 * rows + 1)
    assert groups(body) == wanted


@pytest.mark.parametrize("seed", range(60))
def test_lowering_finds_an_address_for_everything(seed: int) -> None:
    """It raises where it does not; whether padding and weights lie as on a CPU or otherwise."""
    made, _ = grow(1000 + seed)
    other = dataclasses.replace(CPU, stored_halo=False, weight_order=("out", "window", "in"))
    small = dataclasses.replace(CPU, max_movement=1, max_inlined_ops=1, short_ops=0, max_members=2)
    for profile in (CPU, other, small):
        compile_graph(made, profile)
