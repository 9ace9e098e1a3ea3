"""One process per peer: frameworks share neither thread pools, memory nor rounding modes.

The parent drives it over a pipe, so idle peers block in `recv` and use no processor time.
"""

from __future__ import annotations

import os
import resource
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

LOSS_STEPS = 10


def serve(pipe: Connection, variant: str, net_name: str, threads: int) -> None:
    """Answer ("start" | "burst" | "facts" | "probe", argument) until the pipe closes."""
    try:
        limit_cores(threads)
        peer = Peer(variant, net_name, threads)
        while True:
            command, argument = pipe.recv()
            pipe.send(("ok", getattr(peer, command)(argument)))
    except EOFError:
        return
    except ModuleNotFoundError as e:
        pipe.send(("missing", f"{e.name} is not installed"))
    except Exception:
        pipe.send(("error", traceback.format_exc(limit=-6)))


def limit_cores(threads: int) -> None:
    """Before any framework is imported: each sizes its thread pool by what it finds here."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GRAPHC_NUM_THREADS"):
        os.environ[name] = str(threads)


class Peer:
    """A net built in one framework, and the commands the parent may send."""

    def __init__(self, variant: str, net_name: str, threads: int) -> None:
        import nets
        import other_nets
        import variants

        known = {**nets.NETS, **other_nets.NETS}
        table = {**variants.VARIANTS, **variants.REFERENCES}
        self.built = table[variant](known[net_name], threads)
        self.base_mb = rss_mb()

    def start(self, steps: int) -> dict[str, Any] | None:
        """Seconds of the first call, the first losses, and the memory it all took."""
        if self.built is None:
            return None
        start = time.perf_counter()
        losses = [self.built.step().item()]
        first_call_s = time.perf_counter() - start
        losses += [self.built.step().item() for _ in range(steps - 1)]
        return {"first_call_s": first_call_s, "losses": losses, "rss_mb": peak_mb() - self.base_mb}

    def burst(self, steps: int) -> list[float]:
        """Milliseconds of each of `steps` steps."""
        assert self.built is not None
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            self.built.step()
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def facts(self, _: None) -> dict[str, float]:
        assert self.built is not None
        return self.built.facts()

    def probe(self, _: None) -> dict[str, float]:
        """The measurements only this framework offers; they disturb timing, so they come last."""
        assert self.built is not None
        return {k: v for measure in self.built.probes for k, v in measure().items()}


def rss_mb() -> float:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
