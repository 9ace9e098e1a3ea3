"""`graphc profile SCRIPT`: run a script, and tell where the time of its compiled steps went."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from graphc.cli.command import Command, Report, not_found, nothing_compiled
from graphc.cli.watched import watched
from graphc.frontend.step.inspect.profile import KEYS, profile_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=sorted(KEYS), default="kernel", help="what a row is")
    parser.add_argument("--limit", type=int, default=20, help="rows shown")
    parser.add_argument("script", type=Path, help="a Python file that imports graphc or torch")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="the script's own arguments")


def run(args: argparse.Namespace) -> Report:
    if not args.script.is_file():
        return not_found(f"{args.script}: no such file")
    seen = watched(args.script, args.args)
    if not seen.runs:
        return nothing_compiled(args.script)
    profile = profile_of(seen.runs, seen.peaks)
    rows: list[dict[str, Any]] = [
        {"name": r.name, "ms": r.ms, "calls": r.calls, "flops": r.work.flops, "bytes": r.work.bytes}
        for r in profile.by(args.by)
    ]
    programs = [{"name": r.program.name, "calls": r.calls} for r in seen.runs]
    return Report(profile.table(args.by, args.limit), {"programs": programs, "rows": rows})


COMMAND = Command("profile", "run a script and tell where time went", arguments, run)
