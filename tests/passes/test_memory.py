"""Plans checked by a quadratic checker of its own; barriers by replaying the rule."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from itertools import combinations

import pytest

from graphc.ir.kernel import Buffer, Kernel
from graphc.ir.program import Launch, Slot
from graphc.ir.text import read_type
from graphc.ir.types import f32
from graphc.passes.memory import Plan, Request, place_barriers, plan_offsets
from tests.targets import CPU


def check(requests: list[Request], plan: Plan) -> None:
    """No two buffers that are alive at once share a byte; all are aligned and inside."""
    placed = list(zip(requests, plan.offsets, strict=True))
    for r, at in placed:
        assert at % 64 == 0 and at >= 0 and at + r.size_bytes <= plan.total
    for (a, at), (b, bt) in combinations(placed, 2):
        apart = a.last < b.first or b.last < a.first
        assert apart or at + a.size_bytes <= bt or bt + b.size_bytes <= at


def training_step(layers: int, seed: int) -> list[Request]:
    """Lifetimes of a forward and a backward pass: activations, statistics, temporaries, skips."""
    rng, end, requests = random.Random(seed), 2 * layers, []
    for i in range(layers):
        size, back = int(2 ** rng.uniform(14, 22)), end - i
        requests += [Request(size, i, back), Request(rng.choice([256, 512, 1024]), i, back)]
        requests.append(Request(int(size * rng.uniform(0.3, 2)), i, i + 1))
        if i % 2 == 0:
            requests.append(Request(size, i, min(i + rng.randint(2, 4), end)))
        requests += [Request(size, back, back + 2), Request(int(size * 0.7), back, back + 1)]
        requests.append(Request(rng.choice([2304, 36864, 147456, 589824]), back, back + 1))
    return requests


@pytest.mark.parametrize("layers", [1, 6, 20, 40])
def test_training_steps_are_within_three_percent_of_the_bound(layers: int) -> None:
    over = []
    for seed in range(6):
        requests = training_step(layers, seed)
        plan = plan_offsets(requests, CPU)
        check(requests, plan)
        assert plan == plan_offsets(requests, CPU)
        over.append(plan.total / plan.bound)
    assert statistics.mean(over) <= 1.01 and max(over) <= 1.03


def test_random_lifetimes() -> None:
    rng = random.Random(0)
    for _ in range(60):
        requests = []
        for _ in range(rng.randrange(30)):
            first = rng.randrange(20)
            requests.append(Request(rng.choice([0, 1, 63, 64, 65, 5000]), first, first + 5))
        plan = plan_offsets(requests, CPU)
        check(requests, plan)
        most = max(
            (sum(-(-r.size_bytes // 64) * 64 for r in requests if r.first <= t <= r.last)
             for t in range(30)), default=0,
        )  # fmt: skip
        assert plan.bound == most <= plan.total


def test_lifetimes_are_inclusive() -> None:
    touching = [Request(64, 0, 1), Request(64, 1, 2)]
    assert plan_offsets(touching, CPU).total == 128
    apart = [Request(64, 0, 1), Request(64, 2, 2)]
    assert plan_offsets(apart, CPU).total == 64
    assert plan_offsets([], CPU) == Plan((), 0, 0, ())


def test_a_profile_says_how_long_to_search_and_where_buffers_begin() -> None:
    requests = training_step(11, 1)
    plan = plan_offsets(requests, CPU)
    for less in ({"trials": 1}, {"enough": 9.0}):
        hasty = plan_offsets(requests, dataclasses.replace(CPU, **less))
        check(requests, hasty)
        assert hasty.total > plan.total
    coarse = plan_offsets(requests, dataclasses.replace(CPU, align=1 << 12))
    assert not any(offset % (1 << 12) for offset in coarse.offsets)


def test_a_thousand_buffers_are_planned_quickly() -> None:
    requests = training_step(160, 0)
    start = time.process_time()
    plan_offsets(requests, CPU)
    assert time.process_time() - start < 0.5  # 25 ms alone on a core; slack for a busy machine


# ---- barriers -----------------------------------------------------------------------------------


def slot(name: str, space: str, index: int, numel: int = 16) -> Slot:
    return Slot(name, read_type(f"f32[{numel}]"), space, index, 0, 9)  # type: ignore[arg-type]


SLOTS = {
    s.name: s
    for s in (
        slot("a", "arena", 0), slot("b", "arena", 64), slot("ab", "arena", 32),
        slot("x", "arg", 0), slot("y", "arg", 1), slot("w", "state", 0), slot("w2", "state", 0),
        slot("none", "arena", 0, 0),
    )
}  # fmt: skip


def launch(*operands: str) -> Launch:
    """`r:x` reads, `w:x` writes, `rw:x` does both."""
    pairs = [o.split(":") for o in operands]
    buffers = tuple(Buffer(f"p{i}", f32, a) for i, (a, _) in enumerate(pairs))  # type: ignore[arg-type]
    kernel = Kernel("k", "map", buffers, (), (), (), ())
    return Launch(kernel, tuple(name for _, name in pairs), (), ())


BARRIERS = [
    ("nothing shared", ["r:x w:a", "r:x w:b"], ".."),
    ("read after write", ["r:x w:a", "r:a w:b"], ".B"),
    ("write after read", ["r:a w:b", "r:x w:a"], ".B"),
    ("write after write", ["r:x w:a", "r:y w:a"], ".B"),
    ("partial overlap", ["r:x w:a", "r:ab w:w"], ".B"),
    ("same state by another name", ["rw:w", "rw:w2"], ".B"),
    ("arguments differ", ["r:x w:a", "r:y w:b", "r:x w:w"], "..."),
    ("in place is one launch", ["r:x w:a", "rw:a", "rw:a"], ".BB"),
    ("a barrier clears the past", ["r:x w:a", "r:a w:b", "r:y w:w"], ".B."),
    ("the past since the barrier counts", ["r:x w:a", "r:a w:w", "r:x w:b", "r:w w:a"], ".B.B"),
    ("empty buffers touch nothing", ["r:x w:none", "r:none w:a"], ".."),
    ("all meet at the commit point", ["r:x w:a", "r:x w:b", "r:a w:w", "r:b r:y"], "..|B."),
    ("also where it needs none", ["r:x w:a", "r:x w:b", "r:y w:w", "r:a r:b"], "..|.."),
]


@pytest.mark.parametrize(("name", "rows", "marks"), BARRIERS, ids=lambda v: str(v)[:30])
def test_barriers(name: str, rows: list[str], marks: str) -> None:
    commit = marks.index("|") if "|" in marks else -1
    placed = place_barriers([launch(*row.split()) for row in rows], SLOTS, commit)
    assert "".join(".B"[x.barrier] for x in placed) == marks.replace("|", ""), name
