"""Small graphs and the kernels they become, as texts."""

from __future__ import annotations

import pytest

from tests.passes.texts import kernels

CASES = {
    "a chain of one shape is one loop": (
        """
graph(%x: f32[4,5], %y: f32[4,5]) {
  %0: f32[4,5] = exp %x
  %1: f32[4,5] = add %0 %y
  return %1
}""",
        """
kernel exp_add map (b0: r f32, b1: r f32, b2: w f32 | n0 | ) {
  for d1 in n0 {
    once {
      %0: f32 = load b0[d1]
      %1: f32 = exp %0
      %2: f32 = load b1[d1]
      %3: f32 = add %1 %2
      store b2[d1] = %3
    }
  }
}""",
    ),
    "a reduction is a loop of its phase": (
        """
graph(%x: f32[4,500]) {
  %0: f32[4,500] = exp %x
  %1: f32[4] = sum %0 {axes=(1,)}
  return %1
}""",
        """
kernel exp_sum map (b0: r f32, b1: w f32 | s0, n1, n2 | ) {
  for d0 in n1 {
    for d1 in n2 {
      %0: f32 = load b0[d0*s0 + d1]
      %1: f32 = exp %0
      %2: f32 = sum %1
    }
    once {
      store b1[d0] = %2
    }
  }
}""",
    ),
    "movement is strides": (
        """
graph(%x: f32[4,5]) {
  %0: f32[5,4] = transpose %x {perm=(1,0)}
  %1: f32[5,4] = contiguous %0 {order=(0,1)}
  return %1
}""",
        """
kernel contiguous map (b0: r f32, b1: w f32 | s0, s1, n2 | ) {
  for d0 in n2, d1 in 4 {
    once {
      %0: f32 = load b0[d0 + d1*s0]
      store b1[d0*s1 + d1] = %0
    }
  }
}""",
    ),
    "padding is a guard": (
        """
graph(%x: f32[4,5]) {
  %0: f32[6,5] = pad %x {low=(1,0) high=(1,0) value=0.0}
  %1: f32[6,5] = contiguous %0 {order=(0,1)}
  return %1
}""",
        """
kernel contiguous map (b0: r f32, b1: w f32 | s0, o1, o2, n3 | ) {
  for d0 in n3, d1 in 5 {
    once {
      %0: f32 = load b0[d0*s0 + d1 + o1] if 1 <= d0 < o2
      store b1[d0*s0 + d1] = %0
    }
  }
}""",
    ),
    "a contraction has roles and an epilogue": (
        """
graph(%x: f32[4,3], %y: f32[3,5], %b: f32[5]) {
  %0: f32[4,5] = dot %x %y {batch=() contract=((1,0),)}
  %1: f32[1,5] = reshape %b {shape=(1,5)}
  %2: f32[4,5] = expand %1 {shape=(4,5)}
  %3: f32[4,5] = add %0 %2
  %4: f32[4,5] = relu %3
  return %4
}""",
        """
kernel dot_add_relu contract (b0: r f32, b1: r f32, b2: r f32, b3: w f32 | n0 | ) {
  roles d0: m, d1: n, d2: k
  for d0 in n0, d1 in 5 {
    for d2 in 3 {
      %0: f32 = load b0[d0*3 + d2]
      %1: f32 = load b1[d1 + d2*5]
      %2: f32 = dot %0 %1
    }
    once {
      %3: f32 = load b2[d1]
      %4: f32 = add %2 %3
      %5: f32 = relu %4
      store b3[d0*5 + d1] = %5
    }
  }
}""",
    ),
    "a gather's address holds a value": (
        """
graph(%x: f32[4,3], %i: i64[5]) {
  %0: f32[5,3] = gather %x %i {axis=0}
  return %0
}""",
        """
kernel gather map (b0: r i64, b1: r f32, b2: w f32 | o0, s1, n2 | ) {
  for d0 in n2, d1 in 3 {
    once {
      %0: i64 = load b0[d0]
      %1: f32 = load b1[d1 + %0*o0]
      store b2[d0*s1 + d1] = %1
    }
  }
}""",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_becomes(what: str) -> None:
    before, after = CASES[what]
    assert kernels(before) == [after.strip()]
