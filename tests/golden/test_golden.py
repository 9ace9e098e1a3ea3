"""Dumps of three small steps, kept as files: a refactor leaves them untouched.

A wanted change is blessed with `pytest tests/golden --update-golden` and read in review.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.steps import MODELS, training

HERE = Path(__file__).parent
STAGES = ("tidy", "split_reduce", "fuse", "memory")


def dump(name: str) -> str:
    step, x, y, _ = training(name)
    step(x, y)
    text = "\n\n".join(f"== {stage} ==\n{step.ir(stage)}" for stage in STAGES) + "\n"
    return re.sub(r"  \d+\.\d ms  ", "  - ms  ", text)


@pytest.mark.parametrize("name", MODELS)
def test_dump_is_as_kept(name: str, request: pytest.FixtureRequest) -> None:
    file = HERE / f"{name}.txt"
    text = dump(name)
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert text == file.read_text()


def test_another_process_prints_the_same_bytes() -> None:
    code = "from tests.golden.test_golden import dump; print(dump('convolution'), end='')"
    root = HERE.parent.parent
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "7"}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout == dump("convolution")
