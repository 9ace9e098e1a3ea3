"""Compare graphc with PyTorch and JAX on whole training steps: `python benchmarks/run.py`.

Every peer runs in its own process on the same cores, with the same weights and data. One run
interleaves them: in each round every peer takes a burst of steps, in alternating order, so that
drifting clocks and noisy neighbours hit all alike. Reported are the median step and its
interquartile range, the seconds of the first call from an empty and from a filled cache, memory,
and the loss at step 10 against a float64 reference.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import nets
import report
import variants
import worker

Row = dict[str, Any]

DEFAULT_VARIANTS = ["graphc", "torch-eager", "torch-channels-last", "torch-compile", "jax"]
CACHED = {"graphc", "torch-compile"}  # the peers that keep compiled code on disk
START_TIMEOUT_S = 600  # a cold torch.compile of MobileNetV2 takes 72 s on two cores
WARM_UP = 2  # steps at the start of a burst that are run but not counted


class PeerFailed(Exception):
    """A worker answered with an error, or died; its text goes into the row."""


class Worker:
    """The parent's end of one peer process."""

    def __init__(self, variant: str, net: str, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(
            target=worker.serve, args=(theirs, variant, net, threads), daemon=True
        )
        self.process.start()
        theirs.close()

    def ask(self, command: str, argument: Any = None, timeout_s: float = START_TIMEOUT_S) -> Any:
        try:
            self.pipe.send((command, argument))
            if not self.pipe.poll(timeout_s):
                raise PeerFailed(f"no answer to {command} within {timeout_s:.0f} s")
            status, answer = self.pipe.recv()
        except (EOFError, OSError) as e:
            raise PeerFailed(f"the process died during {command}") from e
        if status != "ok":
            raise PeerFailed(answer)
        return answer

    def close(self) -> None:
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def bench_net(net: str, args: argparse.Namespace) -> list[Row]:
    """All variants on one net: start each, interleave the rounds, then ask for the rest."""
    with fresh_caches():
        reference = reference_losses(net, args.threads)
        workers: dict[str, Worker] = {}
        rows: dict[str, Row] = {}
        for variant in args.variants:
            rows[variant] = {"net": net, "variant": variant}
            start_peer(variant, net, args, workers, rows[variant])
        interleave(workers, rows, args)
        for variant, peer in workers.items():
            finish_peer(peer, variant, net, args, rows[variant])
            peer.close()
    for row in rows.values():
        add_agreement(row, reference)
    return list(rows.values())


def start_peer(
    variant: str, net: str, args: argparse.Namespace, workers: dict[str, Worker], row: Row
) -> None:
    peer = Worker(variant, net, args.threads)
    try:
        started = peer.ask("start", worker.LOSS_STEPS)
        if started is None:
            raise PeerFailed("does not apply to this net")
        row |= {"cold_s": started["first_call_s"], "rss_mb": started["rss_mb"]}
        row |= {"losses": started["losses"], "times_ms": []}
        workers[variant] = peer
    except PeerFailed as e:
        row["failed"] = str(e)
        peer.close()


def interleave(workers: dict[str, Worker], rows: dict[str, Row], args: argparse.Namespace) -> None:
    """Rounds of bursts; a burst lasts about `--seconds`, every second round runs backwards."""
    for i in range(args.rounds):
        for variant in list(workers)[:: -1 if i % 2 else 1]:
            row = rows[variant]
            try:
                step_ms = statistics.median(row["times_ms"] or workers[variant].ask("burst", 3))
                count = min(500, max(2, round(args.seconds * 1e3 / step_ms)))
                row["times_ms"] += workers[variant].ask("burst", WARM_UP + count)[WARM_UP:]
            except PeerFailed as e:
                row["failed"] = str(e)
                workers.pop(variant).close()


def finish_peer(peer: Worker, variant: str, net: str, args: argparse.Namespace, row: Row) -> None:
    """Facts and probes of the peer, then the first call of a second process."""
    quarters = statistics.quantiles(row["times_ms"], n=4)
    row |= {"median_ms": quarters[1], "iqr_ms": quarters[2] - quarters[0]}
    try:
        row |= peer.ask("facts")
        row |= peer.ask("probe")
        if variant in CACHED:
            row |= warm_start(variant, net, args.threads)
    except PeerFailed as e:
        row["incomplete"] = str(e)


def warm_start(variant: str, net: str, threads: int) -> Row:
    peer = Worker(variant, net, threads)
    try:
        first_call_s = peer.ask("start", 1)["first_call_s"]
        compiled = peer.ask("facts").get("kernels_compiled")
    finally:
        peer.close()
    return {"warm_s": first_call_s, "warm_kernels_compiled": compiled}


def reference_losses(net: str, threads: int) -> dict[str, Any]:
    """The first losses in float64, from PyTorch if it is there, else from graphc's eager mode."""
    reasons = []
    for variant in variants.REFERENCES:
        peer = Worker(variant, net, threads)
        try:
            losses = peer.ask("start", worker.LOSS_STEPS)["losses"]
            return {"by": variant, "losses": losses}
        except PeerFailed as e:
            reasons.append(str(e))
        finally:
            peer.close()
    return {"by": None, "failed": reasons}


def add_agreement(row: Row, reference: dict[str, Any]) -> None:
    if "losses" in row and reference["by"]:
        expected = reference["losses"][-1]
        row["loss_error"] = abs(row["losses"][-1] - expected) / abs(expected)
        row["reference"] = reference["by"]


@contextlib.contextmanager
def fresh_caches() -> Iterator[None]:
    """Empty compile caches for the processes started inside, so that cold means cold."""
    names = ("GRAPHC_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            os.environ[name] = os.path.join(folder, name.lower())
            os.mkdir(os.environ[name], 0o700)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def environment(threads: int) -> Row:
    versions = {}
    for package in ("graphc", "numpy", "llvmlite", "torch", "jax"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "cpu": cpu_name(),
        "threads": threads,
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def parse(argv: list[str]) -> argparse.Namespace:
    known = [*variants.VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=[*nets.NETS], default=[*nets.NETS])
    parser.add_argument("--variants", nargs="+", choices=known, default=DEFAULT_VARIANTS)
    parser.add_argument("--rounds", type=int, default=7, help="bursts per peer (default 7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a burst")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every number into this file")
    parser.add_argument("--quick", action="store_true", help="two short rounds: does it run?")
    args = parser.parse_args(argv)
    if args.quick:
        args.rounds, args.seconds = 2, 0.1
    return args


def main(argv: list[str]) -> int:
    args = parse(argv)
    result: dict[str, Any] = {"environment": environment(args.threads), "rows": []}
    for net in args.nets:
        rows = bench_net(net, args)
        result["rows"] += rows
        print(report.net_lines(rows), file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))
    return int(any("failed" in row for row in result["rows"] if row["variant"] == "graphc"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
