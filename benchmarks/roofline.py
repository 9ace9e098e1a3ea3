"""What `kernels.py --json FILE` measured, under the machine's roof: `roofline.py FILE OUT.png`.

A dot for each kernel: operations for each byte of its operands (each read or written once) across,
GFLOP/s up. The roof is what `python -m graphc doctor --measure` found, scaled to the threads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from graphc.runtime import peaks

COLOURS = {"forward": "tab:blue", "data": "tab:orange", "weight": "tab:green"}


def draw(rows: list[dict[str, Any]], found: peaks.Peaks | None, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = sorted({r["threads"] for r in rows})
    figure, axes = plt.subplots(1, len(counts), figsize=(7 * len(counts), 5), squeeze=False)
    for ax, threads in zip(axes[0], counts, strict=True):
        shown = [r for r in rows if r["threads"] == threads]
        across = np.array([r["flops"] / r["bytes"] for r in shown])
        if found is not None:
            part = threads / found.threads
            x = np.geomspace(across.min() / 2, across.max() * 2, 100)
            roof = np.minimum(found.flops, x * found.bytes) * part / 1e9
            ax.plot(x, roof, "k-", label="measured peaks")
        for direction, colour in COLOURS.items():
            at = [k for k, r in enumerate(shown) if r["direction"] == direction]
            ours, theirs = ([shown[k][key] for k in at] for key in ("gflops", "onednn"))
            ax.scatter(across[at], ours, s=18, color=colour, label=f"graphc, {direction}")
            ax.scatter(across[at], theirs, s=18, facecolors="none", edgecolors=colour)
        ax.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="GFLOP/s")
        ax.set_title(
            f"{threads} threads; empty: oneDNN" if threads > 1 else "1 thread; empty: oneDNN"
        )
        ax.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("results", type=Path, help="written by kernels.py --json")
    parser.add_argument("out", type=Path, help="the PNG")
    args = parser.parse_args()
    draw(json.loads(args.results.read_text()), peaks.load(), args.out)


if __name__ == "__main__":
    main()
