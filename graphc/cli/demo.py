"""`graphc demo`: train one conv net on real images, eager and compiled, and show the compiler's IR.

Both runs start from the same weights and see the same batches and dropout masks, so their losses
agree to rounding. PyTorch takes part where it is installed; it draws its own dropout masks.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

import graphc
from graphc.cli import digits
from graphc.cli.command import Command, Exit, Report, not_found

GOAL = 0.97
EXCERPT_LINES = 14
WIDTH = 118
PYTORCH_EPOCHS = 2  # enough steps for a median


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--ir", type=Path, default=Path("graphc_ir"), help="folder for the IR")


def run(args: argparse.Namespace) -> Report:
    if importlib.util.find_spec("sklearn") is None:
        return not_found('the digits are scikit-learn\'s: pip install "graphc[demo]"')
    data = digits.load()
    graphc.manual_seed(digits.SEED)
    initial = {k: v.numpy() for k, v in digits.net(graphc).state_dict().items()}
    runs: dict[str, digits.Run] = {}
    runs["eager"], _ = trained(graphc, "eager", data, initial, args.epochs, plain)
    with dumping(args.ir):
        runs["compiled"], step = trained(
            graphc, "compiled", data, initial, args.epochs, graphc.compile
        )
    torch = imported("torch")
    if torch is not None:
        torch.set_num_threads(graphc.get_num_threads())
        runs["pytorch"], _ = trained(torch, "pytorch", data, initial, PYTORCH_EPOCHS, plain)
    return report(runs, step, args.ir)


def plain(step: Callable[..., Any]) -> Callable[..., Any]:
    return step


def imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def trained(
    T: Any, name: str, data: digits.Digits, initial: Any, epochs: int, transform: Callable[..., Any]
) -> tuple[digits.Run, Any]:
    steps = epochs * -(-len(data.train_x) // digits.BATCH)
    with tqdm(total=steps, desc=f"{name:<8}", unit="step", leave=True) as bar:
        return digits.train(T, data, initial, epochs, transform, bar.update)


@contextmanager
def dumping(folder: Path) -> Iterator[None]:
    """GRAPHC_DUMP for what is compiled inside: the way a person would ask for it."""
    before = os.environ.get("GRAPHC_DUMP")
    os.environ["GRAPHC_DUMP"] = str(folder)
    try:
        yield
    finally:
        del os.environ["GRAPHC_DUMP"]
        if before is not None:
            os.environ["GRAPHC_DUMP"] = before


def report(runs: dict[str, digits.Run], step: Any, folder: Path) -> Report:
    test_accuracy = runs["compiled"].accuracies[-1]
    data = {
        "test_accuracy": test_accuracy,
        "median_ms": {name: statistics.median(run.step_ms) for name, run in runs.items()},
        "losses": {name: run.losses for name, run in runs.items()},
        "accuracies": {name: run.accuracies for name, run in runs.items()},
        "first_step_ms": runs["compiled"].first_step_ms,
        "compiles": step.stats.compiles,
        "programs": step.stats.programs,
        "kernels": step.stats.kernels,
        "kernels_compiled": step.stats.kernels_compiled,
        "compile_seconds": step.stats.compile_seconds,
        "peak_bytes": step.stats.peak_bytes,
        "ir": str(folder.resolve()),
        "stages": list(step.stages),
    }
    parts = [epoch_table(runs), summary(data), excerpt(step)]
    status = Exit.OK if test_accuracy >= GOAL else Exit.FAILED
    return Report("\n\n".join(parts), data, status)


def epoch_table(runs: dict[str, digits.Run]) -> str:
    eager, compiled = runs["eager"], runs["compiled"]
    head = "epoch    eager: loss  test accuracy    compiled: loss  test accuracy"
    columns = (eager.losses, eager.accuracies, compiled.losses, compiled.accuracies)
    rows = [
        f"{epoch:>5} {a:>14.4f} {b:>13.1%} {c:>18.4f} {d:>13.1%}"
        for epoch, (a, b, c, d) in enumerate(zip(*columns, strict=True), 1)
    ]
    return "\n".join([head, *rows])


def summary(data: dict[str, Any]) -> str:
    ms = data["median_ms"]
    speed = [f"{name} {value:.2f} ms ({value / ms['compiled']:.1f}x)" for name, value in ms.items()]
    goal = "" if data["test_accuracy"] >= GOAL else f", below the goal of {GOAL:.0%}"
    cached = data["kernels"] - data["kernels_compiled"]
    rows = [
        f"test accuracy   {data['test_accuracy']:.1%}{goal}",
        f"median step     {'   '.join(speed)}",
        f"compile         {data['compile_seconds']:.2f} s; {data['kernels']} kernels, "
        f"{cached} of them from the cache",
        f"planned peak    {data['peak_bytes'] / 1e6:.2f} MB",
        f"IR by stage     {data['ir']}",
    ]
    return "\n".join(rows)


def excerpt(step: Any) -> str:
    """The first operations of the step as a Graph, and the kernel of its first convolution."""
    values = [row for row in step.ir("tidy").splitlines() if row.startswith("  %")]
    kernels = [kernel.text for kernel in step.kernels]
    contractions = [text for text in kernels if " contract " in text.partition("\n")[0]]
    kernel = (contractions or kernels)[0].splitlines()
    titles = "the step as a graph, after simplify:", "the kernel of a convolution or product:"
    return "\n".join([titles[0], *shortened(values), "", titles[1], *shortened(kernel)])


def shortened(lines: list[str]) -> list[str]:
    shown = [line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in lines]
    more = len(lines) - EXCERPT_LINES
    return [*shown[:EXCERPT_LINES], f"  ... {more} more lines"] if more > 0 else shown


COMMAND = Command("demo", "train on handwritten digits, eager and compiled", arguments, run)
