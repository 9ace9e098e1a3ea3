"""Weight gradients of images whose samples lie innermost: what a tile and a chunk hold."""

from __future__ import annotations

import pytest

from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel_text import parse

GRADIENT = """kernel gradient contract (b0: r f32, b1: r f32, b2: w f32 | s0, s1, s2, s3, s4, s5, n6, o7 | ) {
  roles d3: h, d4: w, d0: n, d2: k, d6: r, d5: s c[o7]
  window h*1 + r*1, w*1 + s*1
  for d3 in 5, d4 in 5, d0 in 10, d2 in 20 {
    for d6 in 20, d5 in n6 {
      %0: f32 = load b0[d0*s0 + d3*s1 + d4*s2 + d5 + d6*s3]
      %1: f32 = load b1[d2*s4 + d5 + d6*s5]
      %2: f32 = dot %0 %1
    }
    once {
      store b2[d0*20 + d2 + d3*1000 + d4*200] = %2
    }
  }
}"""  # noqa: E501


@pytest.mark.parametrize("name", ["sapphirerapids", "haswell"])
def test_rows_of_a_tile_find_again_what_their_neighbours_read(name: str) -> None:
    """Taps side by side, not planes, of which each would be read anew; a chunk is of whole rows."""
    chosen = plan(parse(GRADIENT), Target.named(name))
    assert chosen is not None and chosen.how == "along"
    assert chosen.rows[0].axis.name == "d4"
    assert chosen.of_rows and chosen.chunk_size == 256 * chosen.lanes
