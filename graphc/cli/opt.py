"""`graphc opt FILE.gir --pass NAME`: one stage of the compiler on a graph that was printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from graphc.cli.command import Command, Report, not_found
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.errors import GraphcError
from graphc.ir import text
from graphc.passes.pipeline import PIPELINE, compile_graph, run_passes

STAGES = {stage.name: stage for stage in PIPELINE}
LOWER = "fuse", "memory"  # what a graph becomes behind the passes, as it stands


def arguments(parser: argparse.ArgumentParser) -> None:
    names = [*STAGES, *LOWER]
    parser.add_argument("--pass", dest="stage", choices=names, metavar="NAME", required=True,
                        help=", ".join(names))  # fmt: skip
    parser.add_argument("file", type=Path, help="a graph, as GRAPHC_DUMP or step.ir writes it")


def run(args: argparse.Namespace) -> Report:
    if not args.file.is_file():
        return not_found(f"{args.file}: no such file")
    try:
        graph = text.parse(args.file.read_text())
    except GraphcError as e:
        return not_found(f"{args.file} holds no graph: {e.what}")
    target = profile(Target.host())
    if args.stage in LOWER:
        records = compile_graph(graph, target, ()).stages
        shown = next(r.text() for r in records if r.name == args.stage)
    else:
        shown = text.show(run_passes(graph, [STAGES[args.stage]], target))
    return Report(shown.rstrip(), {"stage": args.stage, "text": shown})


COMMAND = Command("opt", "run one stage of the compiler on a printed graph", arguments, run)
