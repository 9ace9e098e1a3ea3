"""`graphc bench NET`: runs `benchmarks/run.py`, which comes with the source, not with the wheel."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import graphc
from graphc.cli.command import Command, Exit, Report, not_found

SCRIPT = Path(graphc.__file__).parent.parent / "benchmarks" / "run.py"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", help="a net of benchmarks/nets.py, for example lenet")
    parser.add_argument("--against", nargs="*", default=["torch-eager"], help="the other variants")
    parser.add_argument("--quick", action="store_true", help="two short rounds")


def run(args: argparse.Namespace) -> Report:
    if not SCRIPT.is_file():
        return not_found(f"{SCRIPT} is missing: clone the repository to run benchmarks")
    peers = {variant.partition("-")[0] for variant in args.against} & {"torch", "jax"}
    missing = [name for name in sorted(peers) if importlib.util.find_spec(name) is None]
    if missing:
        return not_found(f'{" and ".join(missing)} is not installed: pip install "graphc[peers]"')
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, str(SCRIPT), "--nets", args.net, "--json", str(result)]
        command += ["--variants", "graphc", *args.against, *(["--quick"] if args.quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if not result.is_file():
            status = Exit.MISUSED if done.returncode == Exit.MISUSED else Exit.FAILED
            return Report("the benchmark did not run", {"exit": done.returncode}, status)
        data = json.loads(result.read_text())
    return Report(done.stdout.rstrip(), data, Exit.FAILED if done.returncode else Exit.OK)


COMMAND = Command("bench", "time a benchmark net against its peers", arguments, run)
