"""Contract kernels taken apart, whatever the back end."""

from __future__ import annotations

import pytest

from graphc.ir.kernel_contraction import dissect
from graphc.ir.kernel_text import parse
from graphc.ir.types import f32, f64

PRODUCT = """\
kernel product contract (a: r f32, b: r f32, y: w f32 | n0 | c0: f32) {
  for d0 in n0, d1 in 16 {
    for d2 in 8 {
      %0: f32 = load a[d0*8 + d2]
      %1: f32 = load b[d2*16 + d1]
      %2: f32 = mul %1 c0
      %3: f32 = dot %0 %2
    }
    once {
      %4: f32 = relu %3
      store y[d0*16 + d1] = %4
    }
  }
}"""
GUARDED = PRODUCT.replace("a[d0*8 + d2]", "a[d0*8 + d2 - 1] if 1 <= d2 < 8")
SECOND_LOOP = PRODUCT.replace("once", "for d3 in 2")
FAILS = PRODUCT.replace("mul %1 c0", "fmod %1 c0")


def test_operands_axes_and_epilogue() -> None:
    c = dissect(parse(PRODUCT))
    assert c is not None
    assert [s.name for s in c.a.statements] == ["%0"]
    assert [s.name for s in c.b.statements] == ["%1", "%2"] and c.b.value == "%2"
    assert c.a.uses("d0") and not c.a.uses("d1") and c.b.contiguous("d1")
    assert not c.b.contiguous("d2")
    assert [a.name for a in c.axes] == ["d0", "d1"] and [a.name for a in c.reduced] == ["d2"]
    assert len(c.epilogue) == 2 and c.dtype is f32 and not c.guarded


def test_sums_are_as_wide_as_their_widest_operand() -> None:
    c = dissect(parse(PRODUCT.replace("f32", "f64")))
    assert c is not None and c.dtype is f64


def test_padding_that_is_no_memory_is_told() -> None:
    c = dissect(parse(GUARDED))
    assert c is not None and c.guarded


@pytest.mark.parametrize("text", [SECOND_LOOP, FAILS], ids=["loop", "fails"])
def test_other_forms_are_none(text: str) -> None:
    assert dissect(parse(text)) is None
