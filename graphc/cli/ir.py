"""`graphc ir DIR`: read the stages of a step that GRAPHC_DUMP wrote into a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from graphc.cli.command import Command, Report, not_found
from graphc.frontend.step.inspect.compared import changes

SUFFIX = ".gir"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder written by GRAPHC_DUMP")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stage", help="print one stage, by name")
    what.add_argument("--diff", nargs=2, metavar=("A", "B"), help="lines from stage A to stage B")
    what.add_argument("--kernel", metavar="NAME", help="print one kernel's LLVM")
    parser.add_argument("--asm", action="store_true", help="with --kernel: its assembly instead")


def run(args: argparse.Namespace) -> Report:
    stages = stage_files(args.folder)
    if not stages:
        return not_found(f"{args.folder}: no stages here; set GRAPHC_DUMP to write some")
    if args.kernel:
        return show_kernel(args.folder, args.kernel, "s" if args.asm else "ll")
    wanted = args.diff or ([args.stage] if args.stage else [])
    unknown = [name for name in wanted if name not in stages]
    if unknown:
        return not_found(f"no stage {unknown[0]}; there are: {', '.join(stages)}")
    if args.diff and args.diff != sorted(args.diff, key=list(stages).index):
        before, after = args.diff
        return not_found(f"{after} comes before {before}: --diff {after} {before}")
    if args.diff:
        return show_diff(stages, *args.diff)
    if args.stage:
        text = stages[args.stage].read_text()
        return Report(text.rstrip(), {"stage": args.stage, "text": text})
    return list_stages(args.folder, stages)


def stage_files(folder: Path) -> dict[str, Path]:
    """The files by stage name, in order: `04_layout.gir` is `layout`."""
    return {path.stem.partition("_")[2]: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def kernel_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "kernels").glob("*.ll"))


def list_stages(folder: Path, stages: dict[str, Path]) -> Report:
    lines = {name: len(path.read_text().splitlines()) for name, path in stages.items()}
    kernels = kernel_names(folder)
    rows = [f"{name:<12} {count:>6} lines" for name, count in lines.items()]
    text = "\n".join([*rows, "", f"{len(kernels)} kernels:", *(f"  {name}" for name in kernels)])
    return Report(text, {"stages": lines, "kernels": kernels})


def show_diff(stages: dict[str, Path], before: str, after: str) -> Report:
    text = "\n".join(changes(stages[before].read_text(), stages[after].read_text()))
    return Report(text, {"before": before, "after": after, "diff": text})


def show_kernel(folder: Path, name: str, suffix: str) -> Report:
    if name not in kernel_names(folder):
        return not_found(f"no kernel {name}; there are: {', '.join(kernel_names(folder))}")
    text = (folder / "kernels" / f"{name}.{suffix}").read_text()
    return Report(text.rstrip(), {"kernel": name, "text": text})


COMMAND = Command("ir", "print a dumped step: stages, differences, kernels", arguments, run)
