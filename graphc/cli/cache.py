"""`graphc cache info|clear`: the folder of compiled kernels."""

from __future__ import annotations

import argparse

from graphc.cli.command import Command, Report
from graphc.runtime.disk_cache import DiskCache


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["info", "clear"])


def run(args: argparse.Namespace) -> Report:
    cache = DiskCache()
    folder = str(cache.info().path)
    if args.action == "clear":
        removed = cache.clear()
        return Report(f"{folder}: {removed} entries removed", {"path": folder, "removed": removed})
    info = cache.info()
    text = f"{folder}: {info.entries} entries, {info.size_bytes / 1e6:.1f} MB"
    return Report(text, {"path": folder, "entries": info.entries, "size_bytes": info.size_bytes})


COMMAND = Command("cache", "show or empty the folder of compiled kernels", arguments, run)
