"""Contract kernels taken apart, whatever the back end."""

from __future__ import annotations

import pytest

from graphc.ir.kernel import Load
from graphc.ir.kernel_contraction import dimensions, plain_contraction
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
STRIDED = """\
kernel strided contract (x: r f32, w: r f32, y: w f32 | n0, n1 | ) {
  roles d0: n, d3: w, d2: g k[8], d5: s c[4]
  window w*2 + s*1
  for d0 in n0, d3 in n1, d2 in 16 {
    for d5 in 12 {
      %0: f32 = load x[d0*36 + d3*8 + d5]
      %1: f32 = load w[d2*12 + d5]
      %2: f32 = dot %0 %1
    }
    once {
      store y[d0*64 + d3*16 + d2] = %2
    }
  }
}"""
GUARDED = PRODUCT.replace("a[d0*8 + d2]", "a[d0*8 + d2 - 1] if 1 <= d2 < 8")
SECOND_LOOP = PRODUCT.replace("once", "for d3 in 2")
FAILS = PRODUCT.replace("mul %1 c0", "fmod %1 c0")


def test_operands_axes_and_epilogue() -> None:
    c = plain_contraction(parse(PRODUCT))
    assert c is not None
    assert [s.name for s in c.a.statements] == ["%0"]
    assert [s.name for s in c.b.statements] == ["%1", "%2"] and c.b.value == "%2"
    assert c.a.uses("d0") and not c.a.uses("d1") and c.b.contiguous("d1")
    assert not c.b.contiguous("d2")
    assert [a.name for a in c.axes] == ["d0", "d1"] and [a.name for a in c.reduced] == ["d2"]
    assert len(c.epilogue) == 2 and c.dtype is f32 and not c.guards


def test_sums_are_as_wide_as_their_widest_operand() -> None:
    c = plain_contraction(parse(PRODUCT.replace("f32", "f64")))
    assert c is not None and c.dtype is f64


def test_padding_that_is_no_memory_is_told() -> None:
    c = plain_contraction(parse(GUARDED))
    assert c is not None and c.guards


def test_dimensions_behind_merged_loops() -> None:
    kernel = parse(STRIDED)
    found = {d.role: d for d in dimensions(kernel)}
    assert {role: d.extent for role, d in found.items()} == {
        "n": "n0", "w": "n1", "g": 2, "k": 8, "s": 3, "c": 4
    }  # fmt: skip
    x, w = (s for s in kernel.statements() if isinstance(s, Load))
    assert [found[r].stride(x.at) for r in ("n", "w", "g", "s", "c")] == [36, 8, 0, 4, 1]
    assert [found[r].stride(w.at) for r in ("w", "g", "k", "s", "c")] == [0, 96, 12, 4, 1]


def test_what_is_no_number_is_none() -> None:
    rows = "d0: n h[{}]"
    for extent, wanted in (("o1", (None, None)), ("7", (7, None))):
        text = STRIDED.replace("n0, n1 |", "n0, n1, o1 |").replace("d0: n", rows.format(extent))
        first = dimensions(parse(text))[0]
        assert (first.step, first.extent) == wanted


@pytest.mark.parametrize("text", [SECOND_LOOP, FAILS], ids=["loop", "fails"])
def test_other_forms_are_none(text: str) -> None:
    assert plain_contraction(parse(text)) is None
