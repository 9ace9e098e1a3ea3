"""What `step.memory` predicts beside what a call takes: `python benchmarks/memory.py [NET ...]`.

Of each net's training step, in a process of its own: the most that was resident during some calls,
less what is resident once net, optimizer, batch and step are gone. Linux alone counts it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys

import nets
from worker import forget_peak, resident

import graphc
from graphc.frontend.step.inspect.predicted import Memory

CALLS = 3


def return_memory() -> None:
    """Give what is free to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def called(net: nets.Net) -> tuple[Memory, int]:
    """What is predicted before the first call, and the most that was resident in later ones."""
    model = net.build(graphc)
    nets.load_weights(graphc, model)
    optimizer = nets.OPTIMIZERS[net.optimizer](graphc, model.parameters(), net.lr)
    step = graphc.compile(nets.train_step(graphc, model, optimizer))
    x, y = (graphc.from_numpy(a) for a in net.data())
    predicted = step.memory(x, y)
    for _ in range(CALLS):
        step(x, y)
    return_memory()
    forget_peak()
    for _ in range(CALLS):
        step(x, y)
    return predicted, resident("VmHWM")


def measure(name: str) -> None:
    """Print a row of the table."""
    called(nets.NETS["mlp"])  # what compiling keeps for good is there before
    memory, most = called(nets.NETS[name])
    return_memory()
    measured = most - resident("VmRSS")
    mb = [n / 1e6 for n in (memory.peak_bytes, measured)]
    kinds = ", ".join(f"{kind} {n / 1e6:.1f}" for kind, n in memory.by_kind.items())
    print(
        f"| {name} | {mb[0]:.1f} | {mb[1]:.1f} | {mb[0] / mb[1] - 1:+.1%} | {kinds} |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=list(nets.NETS))
    parser.add_argument("--here", action="store_true", help="in this process, a single net")
    args = parser.parse_args()
    if args.here:
        measure(args.nets[0])
        return
    print(
        "| net | predicted MB | measured MB | difference | of it |\n|---|---|---|---|---|",
        flush=True,
    )
    for name in args.nets:
        subprocess.run([sys.executable, __file__, "--here", name], check=True)


if __name__ == "__main__":
    main()
