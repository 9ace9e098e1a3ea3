"""Eager steps find the memory of the last step as it was."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from graphc.frontend.eager.kept import TUNED

# The arrays of a step, made and freed as it does; printed are the pages taken from the system.
STEPS = """
import resource
import numpy as np
import graphc

def step():
    return len([np.ones(1 << 20, np.float32) for _ in range(50)])

{first}
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LOSS = "graphc.nn.functional.mse_loss(graphc.ones(3), graphc.zeros(3))"


def pages(first: str, **environment: str) -> int:
    clean = {k: v for k, v in os.environ.items() if k not in TUNED}
    ran = subprocess.run(
        [sys.executable, "-c", STEPS.format(first=first)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_after_a_loss_a_step_takes_no_new_pages_unless_the_user_tuned_malloc() -> None:
    assert pages(LOSS) < 100
    assert pages(LOSS, MALLOC_TRIM_THRESHOLD_="131072") > 10_000
