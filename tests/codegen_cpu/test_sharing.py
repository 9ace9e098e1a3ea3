"""Which tiles are a thread's: of weights that the program updates, the rows that it updates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen_cpu.contract.plan import STRIP_BYTES, plan
from tests.codegen_cpu.contract_kernels import Case, Compiled, matmul
from tests.codegen_cpu.test_contraction import HOST, check

ROWS, DEPTH = 100, 300


def linear(samples: int, renewed: bool = True, layout: str = "nt", depth: int = DEPTH) -> Case:
    """x W^T, of weights that a later launch writes."""
    case = matmul(samples, ROWS, depth, layout, symbolic=True)
    buffers = [
        dataclasses.replace(b, renewed=renewed and b.name == "b") for b in case.kernel.buffers
    ]
    return dataclasses.replace(
        case, kernel=dataclasses.replace(case.kernel, buffers=tuple(buffers))
    )


def rows_of(case: Case, threads: int) -> list[set[int]]:
    """Of each thread, the weights' rows with which it computes anything."""
    compiled = Compiled(case, HOST)
    call, before = compiled.function, case.data()["y"]
    found: list[set[int]] = []
    for tid in range(threads):
        compiled.function = lambda cells, _, n, room, tid=tid: call(cells, tid, threads, room)
        results = (compiled.run(1)["y"] != before).reshape(-1, ROWS)
        found.append(set(np.flatnonzero(results.any(axis=0)).tolist()))
    return found


def test_threads_share_the_rows_of_weights_that_are_written_anew() -> None:
    """Each has its own, for all samples; of other weights both threads read all."""
    first, second = rows_of(linear(64), 2)
    assert first | second == set(range(ROWS)) and not first & second
    assert abs(len(first) - len(second)) <= ROWS // 10
    assert rows_of(linear(64, renewed=False), 2) == [set(range(ROWS))] * 2


def test_samples_are_shared_where_rows_would_cost_more() -> None:
    """More panels to pack than rows are worth, or rows that threads cannot share evenly."""
    chosen = plan(linear(64).kernel, HOST)
    assert chosen is not None and chosen.own_rows
    uneven = -(-ROWS // chosen.row_count) - 1
    for samples, threads in ((ROWS + 60, 2), (64, uneven)):
        own, plain = (rows_of(linear(samples, renewed), threads) for renewed in (True, False))
        assert own == plain


def test_only_whole_rows_of_one_strip_are_shared() -> None:
    def chosen(case: Case) -> bool:
        p = plan(case.kernel, HOST)
        return p is not None and p.own_rows

    assert chosen(linear(64)) and not chosen(linear(64, renewed=False))
    assert not chosen(linear(64, layout="nn"))
    assert not chosen(linear(64, depth=STRIP_BYTES // 4 + 1))


@pytest.mark.parametrize("samples", [0, 1, 8, 33, 64, ROWS, ROWS + 1])
def test_bits_do_not_depend_on_who_takes_a_row(samples: int) -> None:
    check(linear(samples))
