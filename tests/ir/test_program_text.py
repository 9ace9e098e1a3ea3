"""`parse(show(p)) == p`, provenance included."""

from __future__ import annotations

import dataclasses

import pytest

from graphc.errors import FileFormatError
from graphc.ir.kernel import Buffer, Kernel, ScalarArg
from graphc.ir.program import CheckSite, Launch, Program, Slot
from graphc.ir.program_text import parse, show
from graphc.ir.text import read_type
from graphc.ir.types import f32

DOT = Kernel(
    "dot_sub__fc", "contract",
    (Buffer("x", f32, "r"), Buffer("w", f32, "r"), Buffer("e", f32, "w"), Buffer("g", f32, "w")),
    ("n0",), (ScalarArg("c0", f32),), (), (),
)  # fmt: skip
UPDATE = Kernel(
    "mul_sub__fc.weight", "map", (Buffer("g", f32, "r"), Buffer("w", f32, "rw")), (), (), (), ()
)
KERNELS = {k.name: k for k in (DOT, UPDATE)}


def slot(name: str, type_: str, space: str, index: int, where: str = "") -> Slot:
    return Slot(name, read_type(type_), space, index, 0, 1, where)  # type: ignore[arg-type]


PROGRAM = Program(
    "train_step",
    (
        slot("x", "f32[128,64]", "arg", 0),
        slot("fc.weight", "f32[10,64]", "state", 0, "net.py:9 fc"),
        slot("9", "f32[10,64]", "state", 0, "opt train.py:16 fc.weight"),
        slot("6", "f32[128,10]", "arena", 4096, "bw train.py:14 train_step"),
        slot("loss", "f32[]", "out", 0),
    ),
    (
        Launch(DOT, ("x", "fc.weight", "loss", "6"), (128,), (2.0,)),
        Launch(UPDATE, ("6", "9"), (), (), barrier=True),
    ),
    1,
    ("loss",),
    9216,
    8192,
    (CheckSite("embedding", ("net.py", 9, "forward")),),
    ((1, 0),),
)

TEXT = """\
program train_step arena=9216 bound=8192 align=64 {
  %x: f32[128,64] at arg 0 live 0..1
  %fc.weight: f32[10,64] at state 0 live 0..1 order (1,0) # net.py:9 fc
  %9: f32[10,64] at state 0 live 0..1 order (1,0) alias %fc.weight # opt train.py:16 fc.weight
  %6: f32[128,10] at arena+0x1000 size 5120 live 0..1   # bw train.py:14 train_step
  %loss: f32[] at out 0 live 0..1
  check 0: embedding at net.py:9 in forward
  0: launch dot_sub__fc(128; %x, %fc.weight; 2.0) -> %loss, %6
     barrier
     commit
  1: launch mul_sub__fc.weight(; %6, %9; ) -> %9
  return %loss
}
"""


def test_golden() -> None:
    assert show(PROGRAM) == TEXT


def same(a: Program, b: Program) -> bool:
    """Equal with the provenance that equality leaves out."""
    return a == b and [s.where for s in a.slots] == [s.where for s in b.slots]


def test_round_trip() -> None:
    assert same(parse(TEXT, KERNELS), PROGRAM)


ODD = ["a b", 'quote " and \\', "newline\n}", "# %x, (1; 2)", "", "ünï", "\u202e", '"']


@pytest.mark.parametrize("name", ODD)
def test_odd_names_round_trip(name: str) -> None:
    launches = (
        Launch(DOT, (name, "w", "e", name + "2"), (-1,), (float("inf"),)),
        Launch(DOT, ("w", name, name + "2", "e"), (1 << 40,), (True,), barrier=True),
        Launch(DOT, ("w", name, name + "2", "e"), (0,), (-3,)),
        Launch(DOT, ("w", name, name + "2", "e"), (0,), (1e-30,)),
    )
    slots = tuple(slot(s, "f32[]", "arg", k) for k, s in enumerate((name, "w", "e", name + "2")))
    program = Program(
        name, slots, launches, 4, (name, "w"), 0, 0, (CheckSite(name, (name, 0, name)),)
    )
    back = parse(show(program), KERNELS)
    assert same(back, program)
    assert repr(back.launches[1].scalars) == "(True,)"


def test_orders_of_states_are_part_of_the_program() -> None:
    row_major = dataclasses.replace(PROGRAM, orders=((0, 1),))
    assert row_major != PROGRAM and "order" not in show(row_major)
    assert same(parse(show(row_major), KERNELS), row_major)


def test_empty_program() -> None:
    program = Program("p", (), (), 0, (), 0, 0)
    assert parse(show(program), {}) == program


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a line"),
        ("program p arena=0 bound=0 align=64 {", "ends before"),
        ("program p arena=0 bound=0 align=64 {\n  0: launch k(; ; )\n  return\n}", "no kernel"),
        (TEXT.replace("(1,0)", "(1,1)"), "is no order of 2 dimensions"),
        (TEXT.replace("%x: f32", "%x: f33"), "is not a type"),
        ("program p arena=0 bound=0 align=64 {\n  %x f32\n  return\n}", "not a line"),
    ],
)
def test_text_that_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        parse(text, KERNELS)
