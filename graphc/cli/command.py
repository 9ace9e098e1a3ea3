"""What a command is: a row with its arguments and a function from those to a report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any


class Exit(IntEnum):
    """What the shell sees. argparse itself exits with 2 on bad usage."""

    OK = 0
    FAILED = 1  # the command ran and the answer is no: a self-test failed, accuracy too low
    MISUSED = 2  # what was asked for cannot be meant
    NOT_FOUND = 3  # what was asked about does not exist: code, folder, stage, kernel


@dataclass(frozen=True, slots=True)
class Report:
    """A command's answer twice: `text` for people, `data` for `--json`."""

    text: str
    data: dict[str, Any]
    status: Exit = Exit.OK

    def show(self, as_json: bool) -> str:
        return json.dumps(self.data, indent=1) if as_json else self.text


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the command line."""

    name: str
    doc: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Report]


def not_found(what: str) -> Report:
    return Report(what, {"error": what}, Exit.NOT_FOUND)


def nothing_compiled(script: Path) -> Report:
    return not_found(f"{script} ran nothing compiled: put @graphc.compile on a step or a model")


def misused(what: str) -> Report:
    return Report(what, {"error": what}, Exit.MISUSED)


def no_arguments(parser: argparse.ArgumentParser) -> None:
    pass
