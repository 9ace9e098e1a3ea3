"""`graphc run SCRIPT`: run a script written for PyTorch, with graphc in torch's place."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from graphc.cli.command import Command, Exit, Report, not_found
from graphc.cli.script import run_script

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)")
RTOL, ATOL = 1e-3, 1e-4  # of numbers as people print them


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compare", action="store_true", help="run under PyTorch too, and compare what is printed"
    )
    parser.add_argument("script", type=Path, help="a Python file that imports torch")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="the script's own arguments")


def run(args: argparse.Namespace) -> Report:
    if not args.script.is_file():
        return not_found(f"{args.script}: no such file")
    if args.compare:
        return compare(args.script, args.args)
    run_script(args.script, args.args)
    return Report("", {"script": str(args.script)})


class Outcome(NamedTuple):
    """What a process printed, and its exit status."""

    lines: list[str]
    status: int


def _outcome(command: list[str]) -> Outcome:
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    return Outcome(done.stdout.splitlines(), done.returncode)


def alike(mine: str, theirs: str) -> bool:
    """Whether two lines say the same, numbers up to rounding."""
    mine = mine.replace("graphc", "torch")
    if NUMBER.split(mine) != NUMBER.split(theirs):
        return False
    pairs = zip(NUMBER.findall(mine), NUMBER.findall(theirs))
    return all(_close(float(a), float(b)) for a, b in pairs)


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= ATOL + RTOL * abs(b)


def compare(script: Path, args: list[str]) -> Report:
    """Both runs in processes of their own; standard error goes where it always goes."""
    if importlib.util.find_spec("torch") is None:
        return not_found("PyTorch is not installed here: there is nothing to compare with")
    mine = _outcome(["-m", "graphc", "run", str(script), *args])
    theirs = _outcome([str(script), *args])
    rows = zip_longest(mine.lines, theirs.lines)
    differing = [
        (number, a, b)
        for number, (a, b) in enumerate(rows, 1)
        if a is None or b is None or not alike(a, b)
    ]
    same = not differing and mine.status == theirs.status
    count = max(len(mine.lines), len(theirs.lines))
    head = f"{count - len(differing)} of {count} lines agree with PyTorch's"
    text = [head, *(_shown(*row) for row in differing)]
    if mine.status != theirs.status:
        text.append(f"exit status {mine.status}, under PyTorch {theirs.status}")
    data = {
        "lines": count,
        "differing": [{"line": n, "graphc": a, "torch": b} for n, a, b in differing],
        "status": {"graphc": mine.status, "torch": theirs.status},
    }
    return Report("\n".join(text), data, Exit.OK if same else Exit.FAILED)


def _shown(number: int, mine: str | None, theirs: str | None) -> str:
    return f"line {number}\n  graphc  {mine}\n  torch   {theirs}"


COMMAND = Command("run", "run a PyTorch script on graphc; --compare with PyTorch", arguments, run)
