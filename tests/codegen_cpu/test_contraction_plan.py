"""Which axis of a contraction takes the lanes."""

from __future__ import annotations

import pytest

from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.target import NAMED
from graphc.ir.kernel import Apply, Buffer, Load, Statement, Store
from graphc.ir.types import f32
from tests.codegen_cpu.contract_kernels import Case, at, contract
from tests.codegen_cpu.test_contraction import check

EXPERTS, ROWS, COLUMNS, SAMPLES = 3, 24, 20, 7


def turned_update() -> Case:
    """The gradients of stacked weights, kept, and an update of weights that lie transposed."""
    kept = at(e=ROWS * COLUMNS, m=COLUMNS, n=1)
    own = at(e=ROWS * COLUMNS, m=1, n=ROWS)
    epilogue: tuple[Statement, ...] = (
        Store("y", "%dot", kept),
        Load("%p", f32, "p", own),
        Load("%v", f32, "v", own),
        Apply("%1", f32, "add", ("%v", "%dot")),
        Apply("%2", f32, "sub", ("%p", "%1")),
        Store("q", "%2", own),
    )
    kernel = contract(
        [("e", "n0"), ("m", ROWS), ("n", COLUMNS)], [("k", "n1")],
        at(e=ROWS, m=1, k=EXPERTS * ROWS), at(n=1, k=COLUMNS), kept, epilogue=epilogue,
        sizes=("n0", "n1"),
        buffers=(*(Buffer(name, f32, "r") for name in "pv"),
                 *(Buffer(name, f32, "w") for name in "qy")),
    )  # fmt: skip
    lengths = dict.fromkeys("pvqy", EXPERTS * ROWS * COLUMNS)
    lengths |= {"a": EXPERTS * ROWS * SAMPLES, "b": COLUMNS * SAMPLES}
    return Case(kernel, lengths, {"n0": EXPERTS, "n1": SAMPLES})


@pytest.mark.parametrize("target", NAMED)
def test_lanes_go_where_fewest_are_scattered(target: str) -> None:
    """Along the weights and their state, not along what is only kept, nor from expert to expert."""
    chosen = plan(turned_update().kernel, NAMED[target])
    assert chosen is not None and chosen.lane.name == "m"


def test_an_update_of_weights_that_lie_transposed() -> None:
    check(turned_update())
