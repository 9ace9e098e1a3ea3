"""Nets of other kinds than the table's, against PyTorch: `python benchmarks/others.py`.

Each peer runs in its own process, all of a net's on the same cores with the same weights and
batch; short bursts alternate between them. The fastest step of all is what stands in the table: on
a shared machine everything else measures the neighbours. The losses are those of step 10.
"""

from __future__ import annotations

import argparse
import contextlib

import other_nets
import run
import worker

PEERS = ("torch-eager", "torch-channels-last", "torch-compile")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=[*other_nets.NETS], default=other_nets.NETS)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS[:1])
    parser.add_argument("--rounds", type=int, default=6, help="bursts per peer (default 6)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a burst")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = parse()
    names = [f"{peer} ms | ratio" for peer in args.peers]
    print(f"| net | graphc ms | {' | '.join(names)} | losses differ by |")
    print("|" + "---|" * (3 + 2 * len(names)))
    for net in args.nets:
        try:
            print(row(net, args), flush=True)
        except run.PeerFailed as e:
            print(f"| {net} | failed: {str(e).strip().splitlines()[-1]} |", flush=True)


def row(net: str, args: argparse.Namespace) -> str:
    """One line: the fastest step of each, how many of ours fit in theirs, how far losses part."""
    with contextlib.ExitStack() as stack:
        peers = {name: run.Worker(name, net, args.threads) for name in ("graphc", *args.peers)}
        for peer in peers.values():
            stack.callback(peer.close)
        started = {name: peer.ask("start", worker.LOSS_STEPS) for name, peer in peers.items()}
        times = bursts({name: peers[name] for name in peers if started[name]}, args)
    ours = times["graphc"]
    cells = [
        f"{times[name]:.2f} | {times[name] / ours:.2f}" if name in times else "- | -"
        for name in args.peers
    ]
    here, *there = (each["losses"][-1] for each in started.values() if each)
    apart = max(abs(here - loss) / abs(loss) for loss in there)
    return f"| {net} | {ours:.2f} | {' | '.join(cells)} | {apart:.0e} |"


def bursts(peers: dict[str, run.Worker], args: argparse.Namespace) -> dict[str, float]:
    """The fastest step of each peer; every second round runs backwards."""
    best = {name: min(peer.ask("burst", 5)) for name, peer in peers.items()}
    for k in range(args.rounds):
        for name in list(peers)[:: -1 if k % 2 else 1]:
            count = max(3, round(args.seconds * 1e3 / best[name]))
            best[name] = min(best[name], *peers[name].ask("burst", count))
    return best


if __name__ == "__main__":
    main()
