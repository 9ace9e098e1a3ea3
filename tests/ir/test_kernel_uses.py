"""What statements read and depend on."""

from __future__ import annotations

from graphc.ir.kernel import Store
from graphc.ir.kernel_text import parse
from graphc.ir.kernel_uses import accesses, arguments, depends, uses
from graphc.ir.types import f32, i64

ROWS = parse("""\
kernel rows map (x: r f32, i: r i64, y: w f32, z: rw f32 alias y | n0 | c0: f32) {
  for d0 in n0 {
    for d1 in 8 {
      %0: i64 = load i[d1]
      %1: f32 = load x[d0*8 + %0*1] if 1 <= d1 < 8
      %2: f32 = mul %1 c0
      %3: f32 = sum %2
    }
    once {
      store y[d0] = %3
    }
  }
}""")


def test_values_depend_on_the_axes_of_their_addresses_and_arguments() -> None:
    found = uses(ROWS)
    assert found.axes["%0"] == {"d1"}
    assert found.axes["%1"] == found.axes["%2"] == {"d0", "d1"}
    assert found.axes["%3"] == {"d0"}  # the sum has left its loop
    assert found.dtypes["%0"] is i64 and found.dtypes["c0"] is f32 and found.dtypes["n0"] is i64
    assert found.extents == {"d0": "n0", "d1": 8}


def test_loads_of_what_is_stored_under_any_name_may_not_move() -> None:
    found = uses(ROWS)
    assert found.written == {"y", "z"}
    assert found.memory["y"] == found.memory["z"] != found.memory["x"]


def test_statements_say_what_they_read() -> None:
    index, load, scaled, folded, store = ROWS.statements()
    assert [arguments(s) for s in (index, load, scaled, folded)] == [
        (), ("%0",), ("%1", "c0"), ("%2",)
    ]  # fmt: skip
    assert isinstance(store, Store) and arguments(store) == ("%3",)
    assert [at.terms for at in accesses(load)] == [(("d0", 8),), (("d1", 1),)]
    assert depends(store, uses(ROWS)) == {"d0"}
