"""`python -m graphc COMMAND`: each command takes --json and exits with a meaning."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import graphc
from graphc.cli import (
    bench,
    bisect,
    cache,
    demo,
    doctor,
    explain,
    ir,
    opt,
    profile,
    report,
    run,
)
from graphc.cli.command import Exit
from graphc.frontend.terminal import coloured

COMMANDS = (
    doctor.COMMAND,
    demo.COMMAND,
    ir.COMMAND,
    opt.COMMAND,
    explain.COMMAND,
    cache.COMMAND,
    bench.COMMAND,
    bisect.COMMAND,
    run.COMMAND,
    report.COMMAND,
    profile.COMMAND,
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphc", description="A compiler for training steps.")
    version = f"graphc {graphc.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.doc, description=command.doc)
        sub.add_argument("--json", action="store_true", help="print the answer as JSON")
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    report = args.run(args)
    plain_error = report.status in (Exit.NOT_FOUND, Exit.MISUSED) and not args.json
    if not report.text and not args.json:
        return int(report.status)  # a script has printed for itself
    try:
        shown = report.show(args.json) if args.json else coloured(report.show(False))
        print(shown, file=sys.stderr if plain_error else sys.stdout, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(report.status)


if __name__ == "__main__":
    sys.exit(main())
