"""Every example runs as its reader would run it, and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# arguments, and a pattern that what it prints must match
ROWS: dict[str, tuple[list[str], str]] = {
    "linear_regression": ([], r"slope 2\.9\d|slope 3\.0\d"),
    "mnist": (["--epochs", "2", "--out", "curves.png"], r"curves in curves\.png"),
    "transfer_learning": (["--epochs", "1"], r"unchanged: True"),
    "custom_function": ([], r"weights \[0\.75, -0\.5, 0\.25, -?0\.0, 1\.0, -1\.0, 0\.5, -0\.25\]"),
    "hooks": ([], r"step  60  loss 0\.0"),
    "warmup": (
        ["--epochs", "2"],
        r"loss 2\.\d+ -> 0\.\d+, rate at the end 0\.0e\+00\n.*compiled: 1",
    ),
    "char_transformer": (["--steps", "50"], r"step   50  loss [12]\."),
    "custom_dataset": (["--epochs", "6"], r"accuracy (9\d|100)"),
    "tensorboard_logging": (["--epochs", "1", "--out", "events"], r"events in events"),
    "digits": ([], r"test accuracy 9\d"),
    "inspect_step": ([], r"arena lower bound"),
}
WRITES = {"mnist": "curves.png", "tensorboard_logging": "events/events.*"}
NEEDS = {"mnist": "matplotlib", "tensorboard_logging": "tensorboardX"}


@pytest.mark.parametrize("name", ROWS)
def test_example(name: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(name, "sklearn"))
    arguments, pattern = ROWS[name]
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr
    assert re.search(pattern, ran.stdout), ran.stdout
    losses = [float(x) for x in re.findall(r"loss (\d+\.\d+)", ran.stdout)]
    assert len(losses) < 2 or losses[-1] < losses[0]
    if name in WRITES:
        (path,) = tmp_path.glob(WRITES[name])
        assert path.stat().st_size > 1000


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(ROWS)
