"""Eager mode against PyTorch's on whole training steps: `python benchmarks/eager.py`.

Each peer runs in its own process; short bursts alternate between them. The fastest step of all is
what stands in the table: on a shared machine everything else measures the neighbours.
"""

from __future__ import annotations

import argparse
import contextlib

import run
import worker

PEERS = ("graphc-eager", "torch-eager")
BURST_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["lenet", "mlp", "conv3"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print("| net | graphc ms | PyTorch ms | ratio | losses differ by |\n|---|---|---|---|---|")
    for net in args.nets:
        print(row(net, args.rounds, args.threads), flush=True)


def row(net: str, rounds: int, threads: int) -> str:
    """One line of the table: the fastest step of each peer, and how far their losses part."""
    with contextlib.ExitStack() as stack:
        peers = [run.Worker(name, net, threads) for name in PEERS]
        for peer in peers:
            stack.callback(peer.close)
        losses = [peer.ask("start", worker.LOSS_STEPS)["losses"] for peer in peers]
        counts = [max(3, round(BURST_S * 1e3 / min(peer.ask("burst", 5)))) for peer in peers]
        times: list[list[float]] = [[], []]
        for k in range(rounds):
            for peer in (0, 1) if k % 2 else (1, 0):
                times[peer] += peers[peer].ask("burst", counts[peer])
    ours, theirs = map(min, times)
    apart = max(abs(a - b) / abs(b) for a, b in zip(*losses))
    return f"| {net} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} | {apart:.0e} |"


if __name__ == "__main__":
    main()
