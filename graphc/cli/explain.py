"""`graphc explain GC104` tells about an error; `graphc explain DIR` about a dumped step."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from graphc.cli.command import Command, Report, not_found
from graphc.errors import GraphcError, all_errors


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", help="an error code, or a folder written by GRAPHC_DUMP")


def run(args: argparse.Namespace) -> Report:
    codes = all_errors()
    if args.subject.upper() in codes:
        return explain_error(codes[args.subject.upper()])
    if (Path(args.subject) / "stats.json").is_file():
        return explain_folder(Path(args.subject))
    known = " ".join(sorted(codes))
    return not_found(f"{args.subject}: neither a dump folder nor a code; the codes are {known}")


def explain_error(error: type[GraphcError]) -> Report:
    bases = [base.__name__ for base in error.__bases__ if not issubclass(base, GraphcError)]
    data: dict[str, Any] = {
        "code": error.code,
        "name": error.__name__,
        "doc": " ".join((error.__doc__ or "").split()),
        "why": error.why,
        "fix": error.fix,
        "catch_as": bases,
    }
    also = f", also caught as {bases[0]}" if bases else ""
    rows = [f"{error.code}  graphc.errors.{error.__name__}{also}", "", data["doc"], ""]
    return Report("\n".join([*rows, f"why   {error.why}", f"fix   {error.fix}"]), data)


def explain_folder(folder: Path) -> Report:
    """Each program below the folder: kernels, launches, memory, and milliseconds by stage."""
    programs = [read_stats(path) for path in sorted(folder.rglob("stats.json"))]
    text = "\n\n".join(describe(stats) for stats in programs)
    return Report(text, {"folder": str(folder), "programs": programs})


def read_stats(path: Path) -> dict[str, Any]:
    stats: dict[str, Any] = json.loads(path.read_text())
    return {"folder": str(path.parent), **stats}


def describe(stats: dict[str, Any]) -> str:
    stages = "  ".join(f"{name} {ms:.1f}" for name, ms in stats["ms"].items())
    return "\n".join(
        [
            f"{stats['name']}  ({stats['folder']})",
            f"  {stats['kernels']} kernels in {stats['launches']} launches",
            f"  peak {stats['peak_bytes']:,} bytes; arena {stats['arena_bytes']:,}, "
            f"of which {stats['bound_bytes']:,} are live at once",
            f"  ms by stage: {stages}",
        ]
    )


COMMAND = Command("explain", "what an error code means, or what a dump holds", arguments, run)
