"""One process per peer: frameworks share neither thread pools, memory nor rounding modes.

The parent drives it over a pipe, so idle peers block in `recv` and use no processor time.
"""

from __future__ import annotations

import os
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
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
        self.base_mb = resident("VmRSS") / 1e6
        forget_peak()  # a net being built may take more than its training: what NumPy draws

    def start(self, steps: int) -> dict[str, Any] | None:
        """Seconds of the first call, the first losses, and the memory it all took."""
        if self.built is None:
            return None
        start = time.perf_counter()
        losses = [self.built.step().item()]
        first_call_s = time.perf_counter() - start
        losses += [self.built.step().item() for _ in range(steps - 1)]
        taken_mb = resident("VmHWM") / 1e6 - self.base_mb
        return {"first_call_s": first_call_s, "losses": losses, "rss_mb": taken_mb}

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


def resident(name: str) -> int:
    """Bytes as the system counts them: VmRSS now, VmHWM at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) << 10 for x in lines if x.startswith(f"{name}:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
