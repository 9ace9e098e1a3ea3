"""What inspecting costs: `python benchmarks/inspection.py [--nets lenet ...]`.

Of each net's step: how long its report takes to write and to open and how large it is; what of a
profile is outside of launches, and how far its sum is from a call that is not profiled (residual,
and what the machine's noise leaves open of it); what profiling adds to a call; how long the
difference of each pair of stages is beside the later stage. Calls with and without a profile take
turns and each is held against its neighbours, of which the median counts: on a shared machine all
else measures the neighbours.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nets

import graphc
from graphc.frontend.step.inspect.profile import ROUND, Profile

ROOT = Path(__file__).parents[1]
WHOLE = "autodiff"  # what it adds is the backward and the update, most of a step


def step_of(net: nets.Net) -> tuple[Any, tuple[Any, Any]]:
    """The compiled step of a net, called once, and its batch."""
    model = net.build(graphc)
    nets.load_weights(graphc, model)
    optimizer = nets.OPTIMIZERS[net.optimizer](graphc, model.parameters(), net.lr)
    step = graphc.compile(nets.train_step(graphc, model, optimizer))
    x, y = (graphc.from_numpy(a) for a in net.data())
    step(x, y)
    return step, (x, y)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def profiled(step: Any, batch: tuple[Any, Any], budget: float) -> tuple[Profile, float]:
    """A profile beside calls without one, in turns, and how much more a profiled call takes."""
    calls = ROUND * max(3, int(budget / ROUND / min(seconds(lambda: step(*batch)) for _ in "ab")))
    profile = step.profile_over(batch for _ in range(calls))
    adds = []
    for _ in range(calls // ROUND):
        *_, plain = [seconds(lambda: step(*batch)) for _ in range(ROUND - 1)]
        adds.append(seconds(lambda: step.profile(*batch)) / plain - 1)
    return profile, statistics.median(adds)


def opening(path: Path) -> float | None:
    """Seconds until a browser has drawn the page, the second time; None where there is none."""
    sys.path.insert(0, str(ROOT))
    from tests.report.browser import Browser, executable

    if executable() is None:
        return None
    with Browser() as browser:
        return min(browser.open(path) for _ in range(2))


def differences(step: Any) -> Iterator[tuple[str, float]]:
    """Each stage, and the share of its text that its difference to the stage before has."""
    names = [s.name for s in step._units()[0].stages]
    for before, after in itertools.pairwise(names):
        yield after, len(step.diff(before, after)) / len(step.ir(after))


def row(net: nets.Net, budget: float) -> tuple[str, str]:
    """A line of each table."""
    step, batch = step_of(net)
    profile, adds = profiled(step, batch, budget)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        writing = seconds(lambda: step.report(path))
        size, shown = path.stat().st_size / 1e6, opening(path)
    opened = "-" if shown is None else f"{shown:.2f}"
    assert profile.beside is not None
    plain, residual, error, _ = profile.beside
    outside = profile.outside_seconds / profile.seconds
    costs = f"{1e3 * plain:.2f} | {outside:.1%} | {residual:+.1%} ± {error:.1%} | {adds:+.1%}"
    shares = dict(differences(step))
    listed = " ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005)
    most = max(share for name, share in shares.items() if name != WHOLE)
    return (
        f"| {net.name} | {writing:.2f} | {size:.2f} | {opened} | {costs} | {most:.0%} |",
        f"{net.name}: {listed}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["lenet", "resnet18_cifar", "mobilenetv2_224"])
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, for each net")
    args = parser.parse_args()
    heads = "net", "report s", "MB", "opens s", "step ms", "outside launches", "residual"
    heads = *heads, "profiling adds", "longest difference"
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    below = []
    for name in args.nets:
        line, shares = row(nets.NETS[name], args.seconds)
        print(line, flush=True)
        below.append(shares)
    print("\nDifferences, as shares of the later stage's text:\n" + "\n".join(below))


if __name__ == "__main__":
    main()
