"""`graphc report SCRIPT` runs a script and writes one page about all that it compiled;
`graphc report DIR` puts the pages of a folder that GRAPHC_DUMP wrote into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from graphc.cli.command import Command, Report, misused, not_found, nothing_compiled
from graphc.cli.watched import watched
from graphc.frontend.report.merged import merged
from graphc.frontend.report.saved import save
from graphc.frontend.report.write import write
from graphc.frontend.step.inspect.measured import facts_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"))
    parser.add_argument("subject", type=Path, help="a script, or a folder written by GRAPHC_DUMP")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="the script's own arguments")


def run(args: argparse.Namespace) -> Report:
    if not args.output.parent.is_dir():  # found before a script has run for an hour
        return not_found(f"{args.output}: no such folder to write to")
    if args.subject.is_dir() and args.args:
        return misused(f"{args.args[0]}: options of graphc's stand before {args.subject}")
    if args.subject.is_dir():
        return of_folder(args.subject, args.output)
    if not args.subject.is_file():
        return not_found(f"{args.subject}: neither a script nor a folder")
    return of_script(args.subject, args.args, args.output)


def of_folder(folder: Path, output: Path) -> Report:
    pages = sorted(folder.rglob("report.html"))
    if not pages:
        return not_found(f"{folder}: no report here; set GRAPHC_DUMP to write some")
    try:
        save(output, merged([page.read_text(encoding="utf-8") for page in pages]))
    except ValueError as e:
        return not_found(f"{folder}: one of {len(pages)} files report.html is {e}")
    return written(output, len(pages))


def of_script(script: Path, arguments: list[str], output: Path) -> Report:
    seen = watched(script, arguments)
    if not seen.steps:
        return nothing_compiled(script)
    units, told = facts_of(seen.steps, seen.runs, seen.peaks)
    write(output, units, told)
    return written(output, len(units))


def written(output: Path, programs: int) -> Report:
    kib = output.stat().st_size >> 10
    data = {"report": str(output), "programs": programs, "kib": kib}
    return Report(f"{output}: {programs} program{'s' * (programs != 1)}, {kib} KiB", data)


COMMAND = Command("report", "one HTML page of what was compiled", arguments, run)
