"""Benchmark rows as Markdown tables: `python benchmarks/report.py RESULT.json...` prints those of
the README, a row for each net, from what `run.py --json` wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Column = tuple[str, Callable[[Row, dict[str, Row]], str]]


def number(key: str, form: str) -> Callable[[Row, dict[str, Row]], str]:
    return lambda row, _: format(row[key], form) if row.get(key) is not None else "-"


def speed_up(row: Row, peers: dict[str, Row]) -> str:
    """How many steps of PyTorch eager fit into the time this variant needs for one."""
    base = peers.get("torch-eager", {}).get("median_ms")
    return f"{base / row['median_ms']:.2f}x" if base and "median_ms" in row else "-"


def arena(row: Row, _: dict[str, Row]) -> str:
    if "arena_mb" not in row:
        return "-"
    return f"{row['arena_mb']:.2f} / {row['bound_mb']:.2f}"


STEP: list[Column] = [
    ("net", lambda row, _: row["net"]),
    ("variant", lambda row, _: row["variant"]),
    ("median ms", number("median_ms", ".3g")),
    ("IQR ms", number("iqr_ms", ".2g")),
    ("vs torch eager", speed_up),
    ("first call s, cold", number("cold_s", ".2f")),
    ("warm", number("warm_s", ".2f")),
    ("peak RSS MB", number("rss_mb", ".0f")),
    ("loss error at step 10", number("loss_error", ".1e")),
]
COMPILER: list[Column] = [
    ("net", lambda row, _: row["net"]),
    ("kernels", number("kernels", ".0f")),
    ("compiled cold", number("kernels_compiled", ".0f")),
    ("compiled warm", number("warm_kernels_compiled", ".0f")),
    ("arena / bound MB", arena),
    ("new batch ms", number("batch_change_ms", ".1f")),
    ("programs traced then", number("batch_change_programs", ".0f")),
    ("kernels compiled then", number("batch_change_kernels", ".0f")),
    ("Python us per call", number("python_us", ".1f")),
]


PEERS = {
    "torch eager": "torch-eager",
    "channels_last": "torch-channels-last",
    "torch.compile": "torch-compile",
    "JAX jit": "jax",
}


def of_peer(variant: str, key: str, form: str) -> Callable[[Row, dict[str, Row]], str]:
    return lambda _, peers: number(key, form)(peers.get(variant, {}), peers)


def ahead(row: Row, peers: dict[str, Row], *variants: str) -> str:
    """How many steps of the fastest of these fit into the time of one of graphc's."""
    medians = [peers[v]["median_ms"] for v in variants if "median_ms" in peers.get(v, {})]
    return f"{min(medians) / row['median_ms']:.2f}x" if medians else "-"


def first_calls(row: Row, peers: dict[str, Row]) -> str:
    others = (of_peer(v, "cold_s", ".3g")(row, peers) for v in ("torch-compile", "jax"))
    return " / ".join((number("cold_s", ".2f")(row, peers), *others))


SPEED: list[Column] = [
    ("net", lambda row, _: row["net"]),
    ("graphc", lambda row, _: f"**{row['median_ms']:.3g}**"),
    *((title, of_peer(variant, "median_ms", ".3g")) for title, variant in PEERS.items()),
    ("graphc / eager", lambda row, peers: ahead(row, peers, "torch-eager")),
    ("graphc / best peer", lambda row, peers: ahead(row, peers, *PEERS.values())),
    ("loss error", number("loss_error", ".1e")),
]
COST: list[Column] = [
    ("net", lambda row, _: row["net"]),
    ("kernels", number("kernels", ".0f")),
    ("cold first call s (graphc / torch.compile / JAX)", first_calls),
    ("warm s", number("warm_s", ".2f")),
    ("peak RSS MB (graphc / torch eager)", lambda row, peers: " / ".join(
        number("rss_mb", ".0f")(x, peers) for x in (row, peers.get("torch-eager", {})))),
    ("arena / bound MB", arena),
    ("new batch ms", number("batch_change_ms", ".1f")),
    ("us per call", number("python_us", ".0f")),
]  # fmt: skip


def table(columns: list[Column], rows: list[Row], peers: dict[str, dict[str, Row]]) -> str:
    head = [title for title, _ in columns]
    body = [[cell(row, peers[row["net"]]) for _, cell in columns] for row in rows]
    rule = ["-" for _ in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *body))


def markdown(result: dict[str, Any]) -> str:
    """Environment, the table of steps, what only graphc reports, and why any row is missing."""
    rows: list[Row] = result["rows"]
    peers: dict[str, dict[str, Row]] = {}
    for row in rows:
        peers.setdefault(row["net"], {})[row["variant"]] = row
    where = result["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    parts = [
        f"{where['cpu']}, {where['threads']} threads; Python {where['python']}, {versions}; "
        f"load average before the run {where['load']:.1f}",
        table(STEP, rows, peers),
    ]
    own = [row for row in rows if "kernels" in row]
    if own:
        parts.append(table(COMPILER, own, peers))
    notes = [
        f"{row['net']} {row['variant']}: {row[key].strip().splitlines()[-1]}"
        for row in rows
        for key in ("failed", "incomplete")
        if key in row
    ]
    return "\n\n".join([*parts, *notes])


def net_lines(rows: list[Row]) -> str:
    """One line per variant, for whoever watches the run."""
    peers = {row["variant"]: row for row in rows}
    return "\n".join("  ".join(cell(row, peers) for _, cell in STEP) for row in rows)


def main(paths: list[str]) -> None:
    rows = [row for path in paths for row in json.loads(Path(path).read_text())["rows"]]
    peers: dict[str, dict[str, Row]] = {}
    for row in rows:
        peers.setdefault(row["net"], {})[row["variant"]] = row
    own = [row for row in rows if row["variant"] == "graphc"]
    print(table(SPEED, own, peers), table(COST, own, peers), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
