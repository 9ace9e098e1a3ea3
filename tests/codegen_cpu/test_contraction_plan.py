"""Which axis of a contraction takes the lanes, and how many plans are weighed."""

from __future__ import annotations

import pytest

from graphc.codegen_cpu.contract import choice
from graphc.codegen_cpu.contract.parts import _blocks
from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.target import NAMED
from graphc.ir.kernel import Apply, Axis, Buffer, Load, Statement, Store
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


def test_tiles_that_cannot_be_the_best_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large product some hundred tiles fit; a bound of their rates leaves few."""
    seen: list[object] = []
    weighed = choice.shared_out
    monkeypatch.setattr(choice, "shared_out", lambda *what: seen.append(what) or weighed(*what))
    kernel = contract(
        [("m", 12544), ("n", 384)], [("k", 96)], at(m=96, k=1), at(k=384, n=1), at(m=384, n=1)
    )
    plan.cache_clear()
    assert plan(kernel, NAMED["sapphirerapids"]) is not None
    assert 0 < len(seen) <= 12


@pytest.mark.parametrize("most", [1, 2, 5, 12, 24])
def test_blocks_are_the_equal_parts_of_an_axis(most: int) -> None:
    for extent in range(1, 130):
        parts = {-(-extent // k) for k in range(1, extent + 1)}
        assert _blocks(Axis("a", extent), most) == sorted(n for n in parts if n <= most)
