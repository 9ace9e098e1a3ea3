"""Kernel text: round trips, what the key leaves out, and its speed."""

from __future__ import annotations

import dataclasses
import time

import pytest

from graphc.errors import InvalidArgument
from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Buffer,
    Const,
    Dot,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Load,
    Partial,
    Phase,
    Reduce,
    Roles,
    ScalarArg,
    Store,
    WindowAxis,
)
from graphc.ir.kernel_text import parse, show
from graphc.ir.types import bool_, f32, f64, i64
from tests.codegen_cpu.random_kernels import cases

TEXT = r"""kernel scale_sum contract (x: r f32, t: r i64, e: rw f32 alias x | n0, s0 | c0: f64) {
  roles i0: n h[s0] w[4], r0: r
  window h*2 + r*1, 3 <= w*1 + s*-1 < n0
  for i0 in n0, i1 in 3 {
    for r0 in 28, r1 in n0 {
      %0: f32 = load x[i0*s0 + r0*-64 + r1 - 3] if 0 <= r0 - 1 < 28, s0 <= r1 < n0  # net.py:9 fc
      %1: i64 = load t[0]
      %2: f32 = load x[i0 + %1*s0 + s0]
      %3: f32 = const -inf
      %4: bool = const True
      %5: f64 = const 1.0
      %6: i64 = index i0*4 + 1
      %7: bool = inside 0 <= r0 - 1 < 28
      %8: f32 = mul %0 c0  # bw C:\\net.py:3 \n odd
      %9: f32 = dot %0 %2
      %10: f32 = max %8
    }
    once {
      store e[i0] = %9 if 1 <= i1 < 2
      store e[i0*2 + %6*7] += %10 in order  # opt train.py:16 fc.weight
    }
  }
  partial e[i1 + part*8 - 2] = deviations %9 over i0 by n0  # bn net.py:4
  partial e[part] = sum %9 over i0, i1 by 16
}  // ends here: %7 sums over i0"""

KERNEL = Kernel(
    "scale_sum",
    "contract",
    (Buffer("x", f32, "r"), Buffer("t", i64, "r"), Buffer("e", f32, "rw", "x")),
    ("n0", "s0"),
    (ScalarArg("c0", f64),),
    (Axis("i0", "n0"), Axis("i1", 3)),
    (
        Phase(
            (Axis("r0", 28), Axis("r1", "n0")),
            (
                Load(
                    "%0", f32, "x", Affine((("i0", "s0"), ("r0", -64), ("r1", 1)), -3),
                    (
                        Guard(Affine((("r0", 1),), -1), 0, 28),
                        Guard(Affine((("r1", 1),)), "s0", "n0"),
                    ),
                    where="net.py:9 fc",
                ),
                Load("%1", i64, "t", Affine()),
                Load("%2", f32, "x", Affine((("i0", 1),), "s0"), (), (Indirect("%1", "s0"),)),
                Const("%3", f32, float("-inf")),
                Const("%4", bool_, True),
                Const("%5", f64, 1.0),
                Index("%6", i64, Affine((("i0", 4),), 1)),
                Inside("%7", bool_, (Guard(Affine((("r0", 1),), -1), 0, 28),)),
                Apply("%8", f32, "mul", ("%0", "c0"), "bw C:\\net.py:3 \n odd"),
                Dot("%9", f32, "%0", "%2"),
                Reduce("%10", f32, "max", "%8"),
            ),
        ),
        Phase(
            (),
            (
                Store("e", "%9", Affine((("i0", 1),)), (Guard(Affine((("i1", 1),)), 1, 2),)),
                Store(
                    "e", "%10", Affine((("i0", 2),)), (), (Indirect("%6", 7),), True, True,
                    where="opt train.py:16 fc.weight",
                ),
            ),
        ),
    ),
    "ends here: %7 sums over i0",
    roles=(Roles("i0", ("n", "h", "w"), ("s0", 4)), Roles("r0", ("r",))),
    partials=(
        Partial("e", "deviations", "%9", Affine((("i1", 1), ("part", 8)), -2), ("i0",), "n0",
                "bn net.py:4"),
        Partial("e", "sum", "%9", Affine((("part", 1),)), ("i0", "i1"), 16),
    ),
    window=(WindowAxis("h", "r", 2, 1), WindowAxis("w", "s", 1, -1, 3, "n0")),
)  # fmt: skip


def wheres(kernel: Kernel) -> list[str]:
    return [s.where for s in kernel.statements()]


def test_golden() -> None:
    assert show(KERNEL) == TEXT


def test_round_trip() -> None:
    again = parse(TEXT)
    assert again == KERNEL
    assert wheres(again) == wheres(KERNEL) and again.note == KERNEL.note


def test_a_buffer_that_is_written_anew() -> None:
    text = TEXT.replace("t: r i64,", "t: r i64 renewed,")
    again = parse(text)
    assert [b.renewed for b in again.buffers] == [False, True, False]
    assert show(again) == text and again.key() != KERNEL.key()


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_random_round_trips(start: int) -> None:
    for case in cases(start, 100):
        text = show(case.kernel)
        assert parse(text) == case.kernel
        assert show(parse(text)) == text


def test_the_key_leaves_out_names_and_provenance() -> None:
    bare = [
        dataclasses.replace(p, body=tuple(dataclasses.replace(s, where="") for s in p.body))
        for p in KERNEL.phases
    ]
    other = dataclasses.replace(KERNEL, name="k", note="", phases=tuple(bare))
    assert other.key() == KERNEL.key()
    assert dataclasses.replace(KERNEL, kind="map").key() != KERNEL.key()
    assert dataclasses.replace(KERNEL, sizes=("s0", "n0")).key() != KERNEL.key()


def test_printing_is_quick() -> None:
    start = time.perf_counter()
    for _ in range(100):
        KERNEL.key()
    assert (time.perf_counter() - start) / 100 < 1e-3  # measured: 15 us


ROUTINE = (
    "kernel k routine (b0: r i64, b1: w i64 | n0, n1 | c0: i64) {\n"
    "  call last_along(b0[n0]; {axis=0 shape=(3,4)}; c0) -> b1[n1] on both  # net.py:9 fc\n}"
)


@pytest.mark.parametrize(
    "value", [0, -1, 0.5, float("inf"), True, None, "maximum", (3, 4), (), ((1,), (2, 3)), "}; c0#"]
)
def test_attributes_of_a_routine_round_trip(value: object) -> None:
    kernel = parse(ROUTINE)
    assert kernel.call is not None and kernel.call.attrs == (("axis", 0), ("shape", (3, 4)))
    call = dataclasses.replace(kernel.call, attrs=(("axis", 1), ("what", value)))
    other = dataclasses.replace(kernel, call=call)
    again = parse(show(other))
    assert again == other and again.call is not None and again.call.where == "net.py:9 fc"
    assert repr(again.call.attrs) == repr(call.attrs)


@pytest.mark.parametrize(
    "text",
    [
        "", "kernel x", TEXT.replace("load", "lo ad"), TEXT.replace(": r f32", ": q f32"),
        TEXT.replace("c0: f64", "c0: f65"), TEXT.replace("%0: f32", "%0: g32"),
        TEXT.replace("dot %0 %2", "dot %0"), TEXT.replace("const 1.0", "const one"),
        *(TEXT.rsplit("\n", k)[0] for k in (1, 2, 4, 20)), TEXT[:300],
        ROUTINE.replace("axis=0", "axis"), ROUTINE.replace("0 shape", "? shape"),
        ROUTINE.replace("(3,4)}", "(3,4"), ROUTINE.replace("; c0", ""),
    ],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)
