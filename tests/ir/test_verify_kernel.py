"""`verify_kernel` accepts what lowering makes and names what is wrong with anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphc.errors import InternalError
from graphc.ir.kernel import Affine, Guard, Kernel, Store
from graphc.ir.kernel_text import parse
from graphc.ir.verify_kernel import verify_kernel
from graphc.passes.pipeline import compile_graph
from tests.passes.graphs import CASES, Case, make
from tests.targets import CPU

ROWS = """kernel rows map (x: r f32, t: r i64, y: w f32 alias x | n0, s0 | c0: f32, c1: i64) {
  for d0 in n0 {
    for d1 in 3 {
      %0: f32 = load x[d0*s0 + d1] if 0 <= d1 < 2
      %1: f32 = mul %0 c0
      %2: f32 = sum %1
    }
    once {
      %3: i64 = load t[d0]
      %4: i64 = check_index %3 c1 c1
      %5: f32 = load x[%4*s0]
      %6: f32 = add %2 %5
      store y[d0] = %6
    }
  }
}"""
DOT = """kernel dot contract (a: r f32, b: r f32, c: w f32 | n0 | ) {
  for d0 in n0 {
    for d1 in 8 {
      %0: f32 = load a[d1]
      %1: f32 = load b[d1 + d0*8]
      %2: f32 = dot %0 %1
    }
    once {
      store c[d0] = %2
    }
  }
}"""
CONV = """kernel conv contract (x: r f32, w: r f32, y: w f32 | n0 | ) {
  roles d0: n, d3: w, d2: k, d5: s c[4]
  window 1 <= w*2 + s*1 < 9
  for d0 in n0, d3 in 4, d2 in 8 {
    for d5 in 12 {
      %0: f32 = load x[d0*32 + d3*8 + d5 - 4] if 4 <= d3*8 + d5 < 36
      %1: f32 = load w[d5*8 + d2]
      %2: f32 = dot %0 %1
    }
    once {
      store y[d0*32 + d3*8 + d2] = %2
    }
  }
}"""
ADDS = """kernel rows scatter (x: r f32, t: r i64, y: w f32 | n0 | ) {
  for d0 in 8 {
    for d1 in n0 {
      %0: i64 = load t[d1]
      %1: f32 = load x[d0 + d1*8]
      store y[d0 + %0*8] += %1 in order
    }
  }
}"""
CALL = """kernel cholesky routine (b0: r f32, b1: w f32 | n0, n1, n2, n3 | c0: i64) {
  call cholesky(b0[n0 n1]; {}; c0) -> b1[n2 n3] on host
}"""


STATISTICS = """kernel dot contract (a: r f32, b: r f32, c: w f32, m: w f32 | n0 | ) {
  for d0 in n0, d2 in 4 {
    for d1 in 8 {
      %0: f32 = load a[d0*8 + d1]
      %1: f32 = load b[d1*4 + d2]
      %2: f32 = dot %0 %1
    }
    once {
      store c[d0*4 + d2] = %2
    }
  }
  partial m[d2 + part*4] = mean %2 over d0 by 16
}"""


@pytest.mark.parametrize("text", [STATISTICS, ROWS, DOT, CONV, ADDS, CALL])
def test_well_formed(text: str) -> None:
    verify_kernel(parse(text))


def test_only_contractions_have_roles() -> None:
    kernel = replace(parse(ROWS), roles=parse(CONV).roles)
    with pytest.raises(InternalError, match="a map with the roles of a contraction"):
        verify_kernel(kernel)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_what_lowering_makes_is_well_formed(case: Case) -> None:
    for kernel in compile_graph(make(case), CPU).program.kernels():
        verify_kernel(kernel)


@pytest.mark.parametrize(
    ("text", "old", "new", "complaint"),
    [
        (ROWS, "alias x", "alias z", "which is no other buffer"),
        (ROWS, "alias x", "alias t", "its alias t is i64"),
        (ROWS, "y: w f32 alias x", "y: w f32 renewed", "y is renewed by a later launch, but not"),
        (ROWS, "n0, s0", "n0, n0, s0", "n0 is declared 2 times"),
        (ROWS, "n0, s0", "s0", "size n0 is not declared"),
        (ROWS, "n0, s0", "n0, s0, s1", "s1 is declared and not used"),
        (ROWS, "c1: i64", "c1: i64, c2: f32", "c2 is declared and not used"),
        (ROWS, "t: r i64", "t: r i64, z: r f32", "z is declared and not used"),
        (ROWS, "for d1 in 3", "for d0 in 3", "axis d0 is declared twice"),
        (ROWS, "for d1 in 3", "for d1 in -3", "axis d1 has -3 points"),
        (ROWS, "if 0 <= d1 < 2", "if 0 <= d2 < 2", "size d2 is not declared"),
        (ROWS, "if 0 <= d1 < 2", "if 0 <= d1 < n1", "size n1 is not declared"),
        (ROWS, "d0*s0 + d1]", "d0*s0 + d0]", "stands twice"),
        (ROWS, "load x[d0", "load y[d0", "y is not declared as r"),
        (ROWS, "store y", "store x", "x is not declared as w"),
        (ROWS, "store y", "store q", "q is not declared as w"),
        (ROWS, "%0: f32 = load", "%0: i64 = load", "x holds f32"),
        (ROWS, "= %6", "= %4", "%4 is i64, not f32"),
        (ROWS, "= %6", "= %1", "%1 is not defined here"),
        (ROWS, "%1: f32 = mul", "%0: f32 = mul", "%0 is not assigned in order"),
        (ROWS, "%5: f32 = load", "%3: f32 = load", "%3 is not assigned in order"),
        (ROWS, "%6: f32 = add", "y: f32 = add", "y is not assigned in order"),
        (ROWS, "mul %0 c0", "mul %0 c1", "operands differ in dtype"),
        (ROWS, "mul %0 c0", "lt %0 c0", "the op gives bool"),
        (ROWS, "mul %0 c0", "mul %2 c0", "%2 is not defined here"),
        (ROWS, "mul %0 c0", "mul %0 c0 c0", "3 operands of 2"),
        (ROWS, "check_index %3 c1 c1", "check_index %3 c1", "no check site"),
        (ROWS, "sum %1", "max %9", "%9 is not defined here"),
        (ROWS, "x[%4*s0]", "x[%2*s0]", "%2 is f32, not i64"),
        (ROWS, "y[d0] = ", "y[d0] += ", "a map that adds to memory"),
        (ADDS, " in order", "", "adds are ordered if and only if they round"),
        (ADDS, "y: w f32", "y: w i64", "%1 is f32, not i64"),
        (ROWS, "y[d0] = %6", "y[d0] = %6 in order", "adds are ordered if and only if they round"),
        (ROWS, "rows map", "rows contract", "a contraction without a dot"),
        (ROWS, "rows map", "rows scatter", "a scatter that never adds"),
        (DOT, "dot contract", "dot map", "not the only one, at the end"),
        (DOT, "%2: f32 = dot %0 %1", "%2: f64 = dot %0 %1", "%0 is f32, not f64"),
        (CONV, "d0: n, ", "", "not those of all its loops"),
        (CONV, "d0: n, ", "d0: n, d0: g, ", "not those of all its loops"),
        (CONV, "d0: n", "d0: c", "c is no role of such a loop"),
        (CONV, "s c[4]", "s h[4]", "h is no role of such a loop"),
        (CONV, "d0: n", "d0: k", "two dimensions are k"),
        (CONV, "c[4]", "c[n1]", "size n1 is not declared"),
        (CONV, "window 1 <=", "window o1 <=", "size o1 is not declared"),
        (CONV, "window 1 <= w", "window 1 <= s", "a window of s and s"),
        (CONV, "w*2 + s*1", "w*1 + s*1", "not read as the window w, s slides"),
        (CONV, " if 4 <= d3*8 + d5 < 36", "", "which has no guard"),
        (STATISTICS, "over d0", "over d1", "over d1, which are no parallel axes"),
        (STATISTICS, "over d0", "over d0, d0", "which are no parallel axes"),
        (STATISTICS, "over d0", "over d0, d2", "addressed by axes that the statistic sums over"),
        (STATISTICS, "d2 + part*4", "d2", "runs share their place in m"),
        (STATISTICS, "by 16", "by 0", "runs of 0 points"),
        (STATISTICS, "by 16", "by n1", "size n1 is not declared"),
        (STATISTICS, "mean %2", "mean %1", "%1 is no float that the epilogue computes"),
        (STATISTICS, "m: w f32", "m: w f64", "a statistic of f32 in f64"),
        (STATISTICS, "m: w f32", "m: r f32", "m is not declared as w"),
        (CALL, "call cholesky", "call exp", "exp is no routine"),
        (CALL, "on host", "on both", "cholesky may run on host, not on both"),
        (CALL, "-> b1[n2 n3]", "-> b1[n2 n2]", "size n3 is not used"),
        (CALL, "-> b1[n2 n3]", "-> b0[n2 n3]", "b0 is not declared as w"),
        (CALL, "; c0)", "; c1)", "scalar c1 is not declared"),
    ],
)
def test_ill_formed(text: str, old: str, new: str, complaint: str) -> None:
    assert text.count(old) >= 1
    kernel = parse(text.replace(old, new, 1))
    with pytest.raises(InternalError) as e:
        verify_kernel(kernel)
    assert complaint in e.value.what and kernel.name in e.value.what


def test_the_axes_of_a_phase_are_its_own() -> None:
    kernel = parse(ROWS)
    fold, once = kernel.phases
    (store,) = (s for s in once.body if isinstance(s, Store))
    at = Affine((("d1", 1),))
    for s in (replace(store, at=at), replace(store, guards=(Guard(at, 0, 1),))):
        body = (*once.body[:-1], s)
        with pytest.raises(InternalError, match="axis d1 is not in scope"):
            verify_kernel(replace(kernel, phases=(fold, replace(once, body=body))))


def test_a_routine_has_no_loops() -> None:
    kernel: Kernel = replace(parse(CALL), phases=parse(ROWS).phases)
    with pytest.raises(InternalError, match="a routine is a call without loops"):
        verify_kernel(kernel)
